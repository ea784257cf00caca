"""Opening a record: the checks before it, and what goes wrong with a file in one sentence."""

import os
import sqlite3
import time
from pathlib import Path

from jsweep.errors import StoreError
from jsweep.storage.schema import TABLES, VERSION

LOCK_WAIT = 60.0  # seconds a writer waits for another before it says so


def connect(path: str | Path | None, write: bool = True) -> sqlite3.Connection:
    """A connection to the record at ``path`` (None: in memory), made if it is to be written; StoreError where that fails."""
    shown = shown_path(path)
    if path is not None:
        _check_path(Path(path), write)
    try:
        if path is None or write:
            connection = sqlite3.connect(shown, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
            _check_version(connection, shown, write)
            _check_whole(connection, shown)
            _use_wal(connection)
        else:
            connection = _open_to_read(Path(path))
            _check_version(connection, shown, write)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise readable(error, shown) from error
    return connection


def shown_path(path: str | Path | None) -> str:
    """The path as messages show it, and as SQLite takes it."""
    return ":memory:" if path is None else str(path)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Write ahead, so that readers never block writers; several processes may ask for it at once."""
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:  # changing the mode does not wait for a lock by itself
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; where the folder cannot be written either, SQLite must not look for locks."""
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=LOCK_WAIT, isolation_level=None)
    try:
        connection.execute("SELECT name FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if os.access(path.parent, os.W_OK) or "unable to open" not in str(error):
            raise
        connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return connection


def _check_path(path: Path, write: bool) -> None:
    if path.is_dir():
        raise StoreError(f"store={str(path)!r} is a folder: give a file, such as {str(path / 'sweeps.db')!r}.")
    if not write and not path.exists():
        raise StoreError(
            f"store={str(path)!r} does not exist: run a sweep into it first, or name another with --store."
        )
    if not path.parent.is_dir():
        raise StoreError(
            f"store={str(path)!r} cannot be written, as the folder {str(path.parent)!r} does not exist: make it."
        )


def _check_version(connection: sqlite3.Connection, path: str, write: bool) -> None:
    tables = _tables(connection)
    if not tables and write:
        connection.execute("BEGIN IMMEDIATE")
        if not _tables(connection):  # another process may have made them while this one waited
            for statement in TABLES.strip().split(";\n\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('jsweep', 'store'), ('version', ?)", (str(VERSION),))
        connection.execute("COMMIT")
        tables = _tables(connection)
    if not {"meta", "sweeps", "trials", "scores"} <= tables:
        raise StoreError(f"store={path!r} is no jsweep record: give another path.")
    version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version is None:
        raise StoreError(
            f"store={path!r} is damaged, it has lost its format: restore it from a copy, or give another path."
        )
    if version[0] != str(VERSION):
        raise StoreError(
            f"store={path!r} has format {version[0]}, and this jsweep reads format {VERSION}: "
            "open it with the jsweep that wrote it, or give another path."
        )


def _check_whole(connection: sqlite3.Connection, path: str) -> None:
    """Refuse to write to a damaged file: more would be lost."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"store={path!r} is damaged ({found}): restore it from a copy, or give another path.")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def readable(error: Exception, path: str) -> StoreError:
    """What SQLite raised, as a sentence that names the record and the mend."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(
            f"store={path!r} was held by another process for {LOCK_WAIT:.0f} seconds: wait for it, or stop that process."
        )
    if "readonly" in text or "unable to open" in text or "read-only" in text:
        return StoreError(f"store={path!r} cannot be written ({text}): check its permissions, or give another path.")
    if "full" in text or "disk I/O" in text:
        return StoreError(
            f"store={path!r} could not be written ({text}): free some space; what was recorded before is kept."
        )
    return StoreError(
        f"store={path!r} cannot be used as a record ({text}): restore it from a copy, or give another path."
    )
