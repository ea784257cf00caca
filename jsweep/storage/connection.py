"""Connections to a store: the checks before it is used, and SQLite's errors in one sentence."""

import os
import sqlite3
import time
from pathlib import Path

from jsweep.errors import StoreError
from jsweep.storage.schema import TABLES, VERSION
from jsweep.storage.shape import LARGEST_CELL, why_not

LOCK_WAIT = 60.0  # seconds that a writer waits for another one before it raises


def connect(file: Path | None, shown: str, *, write: bool = True) -> sqlite3.Connection:
    """Connect to a store.

    Args:
        file: The store's absolute path; None for a store in memory.
        shown: The path as the user wrote it, for messages.
        write: Whether the store will be written. A file that does not exist is then created.

    Returns:
        A connection in autocommit mode that any thread may use; the caller closes it.

    Raises:
        StoreError: If the file cannot be opened, is damaged, or is not a store of this format.
    """
    if file is not None:
        _check_path(file, shown, write)
    connection = None
    try:
        connection = _open(file, write)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_CELL)
        _check_format(connection, shown, create=file is None or write)
        if file is not None and write:
            _check_structure(connection, shown)
            _use_write_ahead_log(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = MEMORY")  # of what a statement may have to undo, too
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):
            raise explain(error, shown) from error
        raise
    return connection


def explain(error: Exception, shown: str) -> StoreError:
    """SQLite's error as a sentence that names the store and the fix."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(
            f"store={shown!r} was locked by another process for {LOCK_WAIT:.0f} seconds: wait for that process, or stop it."
        )
    if "closed database" in text:
        return StoreError(f"store={shown!r} was closed: open it again before you use it.")
    if "readonly" in text or "unable to open" in text or "read-only" in text:
        return StoreError(f"store={shown!r} cannot be written ({text}): check its permissions, or pass another path.")
    if "full" in text or "disk I/O" in text:
        return StoreError(
            f"store={shown!r} could not be written ({text}): free some space; everything recorded before is kept."
        )
    return StoreError(f"store={shown!r} cannot be read ({text}): restore it from a copy, or pass another path.")


def _open(file: Path | None, write: bool) -> sqlite3.Connection:
    if file is None or write:
        return _sqlite(":memory:" if file is None else str(file))
    connection = _sqlite(f"{file.as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("SELECT name FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error) or "busy" in str(error):
            raise
        return _open_in_read_only_folder(file, error)
    except BaseException:
        connection.close()
        raise
    return connection


def _open_in_read_only_folder(file: Path, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """A connection that creates no files beside the store. SQLite then ignores the write-ahead log, so it must be empty."""
    log = file.with_name(f"{file.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"the last changes of {str(file)!r} are still in {log.name!r}, and SQLite cannot read them in this folder "
            f"({error}): copy both files to a folder that can be written, and open the copy."
        ) from error
    return _sqlite(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)


def _sqlite(name: str, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False, uri=uri)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Use a write-ahead log, so that readers never block writers; several processes may ask for it at once."""
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:  # SQLite does not wait for a lock when it changes the mode
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _check_path(file: Path, shown: str, write: bool) -> None:
    if not write and not file.exists():
        raise StoreError(
            f"store={shown!r} does not exist: run a sweep into it first, or pass the path of the store (--store)."
        )
    if not file.parent.is_dir():
        folder = Path(shown).parent
        folder = folder if folder.absolute() == file.parent else file.parent
        raise StoreError(f"store={shown!r} cannot be created, as the folder {str(folder)!r} does not exist: create it.")
    if write and file.exists() and not os.access(file, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StoreError(f"store={shown!r} cannot be written: check its permissions, or pass another path.")
    if write and file.exists() and file.stat().st_nlink > 1:
        raise StoreError(
            f"store={shown!r} has {file.stat().st_nlink} names (hard links), and SQLite keeps its log beside one of them: "
            "remove the other names, or pass the path of a copy."
        )


def _check_format(connection: sqlite3.Connection, shown: str, create: bool) -> None:
    if create and not _has(connection, "meta"):
        _create_tables(connection)
    if not _has(connection, "meta"):
        raise StoreError(f"store={shown!r} is not a jsweep store: pass another path.")
    version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version is None:
        raise StoreError(
            f"store={shown!r} is damaged, as its format is missing: restore it from a copy, or pass another path."
        )
    if version[0] != str(VERSION):
        raise StoreError(
            f"store={shown!r} has format {str(version[0])[:20]}, and this jsweep reads format {VERSION}: "
            "open it with the version of jsweep that wrote it, or pass another path."
        )
    reason = why_not(connection)
    if reason is not None:
        raise StoreError(f"store={shown!r} is not a jsweep store, as {reason}: pass another path.")


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether there is a table of that name, which is no view: a view might take for ever to read."""
    select = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ? AND sql LIKE 'CREATE TABLE %'"
    return connection.execute(select, (table,)).fetchone()[0] == 1


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    empty = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
    if empty:  # another process may have created them while this one waited
        for statement in TABLES.strip().split(";\n\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('jsweep', 'store'), ('version', ?)", (str(VERSION),))
    connection.execute("COMMIT")


def _check_structure(connection: sqlite3.Connection, shown: str) -> None:
    """Refuse to write to a damaged file, its indexes included: writing to it would lose more."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"store={shown!r} is damaged ({found}): restore it from a copy, or pass another path.")
