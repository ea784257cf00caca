"""Questions that many transactions ask of a store: how trials stand, and the numbers of what tables describe."""

import operator
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from jsweep.storage.records import Status
from jsweep.storage.standing import Row, TrialState

T = TypeVar("T")

_STATUS = {str(status): status for status in Status}
MOST_PARAMETERS = 500  # of one query, which SQLite limits


def read_states(
    db: sqlite3.Connection, sweep: int, ids: Sequence[str] | None = None, untouched: bool = True
) -> dict[str, TrialState]:
    """The rows of trials by id, as far as there are any.

    Args:
        db: the connection.
        sweep: the sweep's key.
        ids: which trials; None for all of the sweep.
        untouched: of all of the sweep, whether to read those of which nothing is recorded and which nobody holds.
    """
    owners = names(db, "owners", "name")
    widths = {number: width for number, (_, width) in programs(db).items()}
    found: dict[str, TrialState] = {}
    for trial, extension, key, status, steps, done, owner, program in _rows(db, sweep, ids, untouched):
        row = Row(int(key), _STATUS[status], int(steps), int(done), owners.get(owner), widths.get(program))
        found[trial] = TrialState(found[trial].own, row) if extension else TrialState(row)
    return found


OF_SWEEP = "key BETWEEN ? AND ? AND +sweep = ?"
"""The trials of a sweep, for the parameters of `span`: read in order of key, where the index would give them in disorder."""


def span(db: sqlite3.Connection, sweep: int) -> tuple[int, int, int]:
    """Between which keys the trials of a sweep are, with the sweep's key."""
    (sweeps,) = db.execute("SELECT COUNT(*) FROM sweeps").fetchone()
    ends = "SELECT (SELECT MIN(key) FROM trials{0}), (SELECT MAX(key) FROM trials{0})"
    if sweeps == 1:  # then SQLite need not go over all of its trials
        first, last = db.execute(ends.format("")).fetchone()
    else:
        first, last = db.execute(ends.format(" WHERE sweep = :sweep"), {"sweep": sweep}).fetchone()
    return (0, -1, sweep) if first is None else (int(first), int(last), sweep)


def names(db: sqlite3.Connection, table: str, column: str) -> dict[int, str]:
    """The texts of a table of texts, by the numbers under which other tables have them."""
    return {int(number): str(text) for number, text in db.execute(f"SELECT id, {column} FROM {table}")}


def programs(db: sqlite3.Connection) -> dict[int, tuple[str, int]]:
    """The fingerprint of each tile program and the lanes of its tiles, by the number under which trials have it."""
    rows = db.execute("SELECT id, digest, width FROM programs")
    return {int(number): (str(digest), int(width)) for number, digest, width in rows}


def number_of(db: sqlite3.Connection, table: str, **columns: str | int) -> int:
    """The number of a row in a table of descriptions, which enters it if it is new."""
    marks, same = ", ".join("?" * len(columns)), " AND ".join(f"{name} = ?" for name in columns)
    described = tuple(columns.values())
    db.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", described)
    return int(db.execute(f"SELECT id FROM {table} WHERE {same}", described).fetchone()[0])


def among(db: sqlite3.Connection, query: str, keys: Sequence[int], *others: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of a query whose ``{}`` is a list of keys in brackets and comes before ``others``."""
    for some in parts(keys):
        yield from db.execute(query.format(marks(1, len(some))), (*some, *others)).fetchall()


def parts(values: Sequence[T], size: int = MOST_PARAMETERS) -> Iterator[Sequence[T]]:
    """Values that follow one another, at most ``size`` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _rows(db: sqlite3.Connection, sweep: int, ids: Sequence[str] | None, untouched: bool) -> Iterator[tuple[Any, ...]]:
    select = "SELECT id, extension, key, status, steps, done, owner, program FROM trials WHERE"
    if ids is None:
        which = OF_SWEEP if untouched else f"{OF_SWEEP} AND NOT ({UNTOUCHED})"
        rows = db.execute(f"{select} {which} ORDER BY key", span(db, sweep)).fetchall()
        yield from sorted(rows, key=operator.itemgetter(1))  # extensions last, else in their order
        return
    for some in parts(ids):
        asked = f"{select} sweep = ? AND id IN {marks(1, len(some))} ORDER BY extension, key"
        yield from db.execute(asked, (sweep, *some)).fetchall()


def untouched(db: sqlite3.Connection, sweep: int) -> dict[str, int]:
    """The keys of the trials, by id, of which nothing is recorded and which nobody holds: whoever wants one may claim it."""
    select = f"SELECT id, key FROM trials WHERE {OF_SWEEP} AND {UNTOUCHED} ORDER BY key"
    return dict(db.execute(select, span(db, sweep)).fetchall())


UNTOUCHED = "status = 'waiting' AND owner IS NULL AND extension = 0"
"""That a row is that of a trial of which nothing is recorded and which nobody holds."""


def insert(db: sqlite3.Connection, into: str, columns: Sequence[Sequence[Any]]) -> None:
    """Insert rows, given column by column; ``into`` is the statement up to its values.

    Many rows go in one statement: SQLite enters several in the time in which Python steps through one.
    """
    width = len(columns)
    values: list[Any] = [None] * (width * len(columns[0]))
    for place, column in enumerate(columns):
        values[place::width] = column
    for some in parts(values, MOST_PARAMETERS // width * width):
        db.execute(f"{into} VALUES {marks(len(some) // width, width)}", some)


@cache
def marks(rows: int, columns: int) -> str:
    """The places of the values of rows in a statement: "(?,?), (?,?)"."""
    return ", ".join([f"({','.join('?' * columns)})"] * rows)


def change(db: sqlite3.Connection, keys: Sequence[int], **columns: int | str | bytes | None) -> None:
    """Set columns of many trials to what is the same for all of them."""
    assigned = ", ".join(f"{name} = ?" for name in columns)
    for some in parts(keys):
        db.execute(f"UPDATE trials SET {assigned} WHERE key IN {marks(1, len(some))}", (*columns.values(), *some))
