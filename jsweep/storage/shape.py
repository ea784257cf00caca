"""Whether a file's tables are those of a store: one from elsewhere may have views, triggers or other tables in their place."""

import functools
import re
import sqlite3
from contextlib import closing

from jsweep.storage.schema import TABLES

LARGEST_CELL = 8 << 20  # bytes of a text; what jsweep writes is far below

Objects = dict[str, tuple[str, str, str]]
"""By name: the type of a schema's object, the table that it belongs to, and the statement that makes it."""


def why_not(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the tables, in words; None if they are those of a store.

    Tables and views of the user's own, under other names, do no harm, as nothing reads them.
    """
    expected = _expected()
    found: Objects = {}
    for kind, name, table, statement in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if kind == "trigger":
            return f"it has the trigger {str(name)!r}"
        if table in expected and name not in expected:
            return f"its table {table!r} has the {kind} {str(name)!r}"
        if name in expected:
            if name in found:
                return f"it has {name!r} twice"
            found[name] = (kind, table, _normal(statement))
    for name, made in expected.items():
        if name not in found:
            return f"it has no {made[0]} {name!r}"
        if found[name] != made:
            return f"its {made[0]} {name!r} is another"
    return None


def objects(connection: sqlite3.Connection) -> Objects:
    """The objects of a schema."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return {name: (kind, table, _normal(statement)) for kind, name, table, statement in rows}


@functools.cache
def _expected() -> Objects:
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(TABLES)
        return objects(made)


def _normal(statement: str | None) -> str:
    """A statement without its comments and the width of its spaces; "" for an index that SQLite makes itself."""
    without = re.sub(r"--[^\n]*", "", statement or "")
    return " ".join(without.split())
