"""A store's connection, which threads share, and how it is read: one at a time, with errors in one sentence."""

import contextlib
import functools
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from jsweep._runtime.garbage import collection_paused
from jsweep.errors import StoreError
from jsweep.storage.checkpoints import folder_of
from jsweep.storage.connection import explain

_R = TypeVar("_R")
_P = ParamSpec("_P")
_S = TypeVar("_S", bound="Connected")
_FOREIGN = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)


def reads(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """A method that reads: one thread at a time, and whatever values it stumbles over become one StoreError."""

    @functools.wraps(method)
    def reading(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._locked(), collection_paused():
            try:
                return method(self, *args, **kwargs)
            except _FOREIGN as error:
                what = f"{type(error).__name__}: {str(error)[:200]}"
                raise StoreError(
                    f"store={self.path!r} holds values that jsweep did not write ({what}): run jsweep verify, restore it from a "
                    "copy, or pass another path."
                ) from error

    return reading


class Connected:
    """A connection to a store that threads share; a context manager that closes it.

    ``path`` is the store as the user wrote it (":memory:" for one in memory), ``file`` its absolute path (None in memory).
    """

    def __init__(self, connection: sqlite3.Connection, path: str, file: Path | None):
        self.path, self.file = path, file
        self._db = connection
        self._lock = threading.RLock()
        self._close = weakref.finalize(
            self, connection.close
        )  # a store that nobody closes is closed with its last user

    def close(self) -> None:
        """Close the connection; everything recorded is on disk already. Closing twice does no harm."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The folder of the checkpoints, beside the store; one in memory has none, and then the folder does not exist."""
        return folder_of(self.file or self.path)

    @reads
    def version(self) -> int:
        """A number that is another one after another connection has written to the record."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Whatever is read in the block is of one moment; what is written meanwhile shows after it."""
        with self._locked():
            if self._db.in_transaction:  # an outer block's
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")  # of nothing

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One user of the connection at a time; SQLite's errors become one sentence."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise explain(error, self.path) from error
