"""Writing a store in transactions, and what it has beside trials: seconds, what searches propose, the ledger."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from jsweep._runtime.garbage import collection_paused
from jsweep.errors import StoreError
from jsweep.storage import ledger
from jsweep.storage.ledger import Reservation
from jsweep.storage.queries import number_of
from jsweep.storage.reader import StoreReader
from jsweep.storage.records import Batch, Outcome, TestOpening
from jsweep.storage.rows import dump_configs, dump_outcomes
from jsweep.storage.transitions import Alive

T = TypeVar("T")


class StoreWriter(StoreReader):
    """An open store, for writing. Every method that writes is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str, file: Path | None):
        super().__init__(connection, path, file)
        self._numbers: dict[tuple[str | int, ...], int] = {}
        opened = os.stat(file) if file is not None else None
        self._identity = opened and (opened.st_dev, opened.st_ino)

    def add_seconds(self, sweep: int, seconds: float) -> None:
        """Add to the time that the sweep has been trained for, by all processes together."""
        with self._transaction():
            self._db.execute(
                "UPDATE sweeps SET settings = json_set(settings, '$.seconds', "
                "COALESCE(json_extract(settings, '$.seconds'), 0) + ?) WHERE id = ?",
                (seconds, sweep),
            )

    def add_batch(self, sweep: int, number: int, batch: Batch) -> None:
        """Record what a search has proposed, unless another process has recorded a batch of that number."""
        told = None if batch.told is None else dump_outcomes(batch.told)
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO batches (sweep, number, configs, told) SELECT id, ?, ?, ? FROM sweeps WHERE id = ?",
                (number, dump_configs(batch.configs), told, sweep),
            )

    def tell_batch(self, sweep: int, number: int, told: Sequence[Outcome]) -> None:
        """Record what a search is told of a batch, unless that is recorded already."""
        with self._transaction():
            self._db.execute(
                "UPDATE batches SET told = ? WHERE sweep = ? AND number = ? AND told IS NULL",
                (dump_outcomes(told), sweep, number),
            )

    def reserve_look(self, asked: TestOpening, owner: str, again: bool, alive: Alive) -> Reservation:
        """Enter a look at a test split that is about to happen; see `jsweep.storage.ledger.reserve`."""
        with self._transaction():
            return ledger.reserve(self._db, asked, owner, again, alive)

    def withdraw_look(self, key: int, owner: str) -> None:
        """Give up a look that was reserved and has not happened."""
        with self._transaction():
            ledger.withdraw(self._db, key, owner)

    def open_look(self, key: int, owner: str) -> None:
        """Enter that the test split is evaluated now; StoreError if the look is not ``owner``'s any more."""
        with self._transaction():
            ledger.open_look(self._db, key, owner)

    def complete_look(
        self, key: int, owner: str, scores: Mapping[str, Sequence[float]], seeds: Sequence[int]
    ) -> TestOpening:
        """Enter the scores of a look, and return its entry; StoreError if it is not ``owner``'s any more."""
        with self._transaction():
            return ledger.complete(self._db, key, owner, scores, seeds)

    def take_in(self, part: StoreReader, take: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``take`` in one transaction in which the tables of another store are at hand as ``part``."""
        with self._locked():
            self._db.execute("ATTACH DATABASE ? AS part", (str(part.file),))
            try:
                with self._transaction():
                    return take(self._db)
            finally:
                self._db.execute("DETACH DATABASE part")

    def check_file(self) -> None:
        """Raise StoreError unless the path leads to the file that was opened: SQLite would write to one that is gone."""
        if self.file is None:
            return
        try:
            found = os.stat(self.file)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            what = "was moved or removed" if found is None else "was replaced by another file"
            raise StoreError(
                f"store={self.path!r} {what} while it was open, so nothing more is written: put it back, or run the sweep again "
                "with the path that it has now."
            )

    def _number(self, table: str, **columns: str | int) -> int:
        """As `number_of`, of rows that are never removed."""
        described = (table, *columns.values())
        if described not in self._numbers:
            self._numbers[described] = number_of(self._db, table, **columns)
        return self._numbers[described]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._locked(), collection_paused():
            self.check_file()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                self._numbers.clear()
                if self._db.in_transaction:  # on a full disk SQLite has rolled back already
                    self._db.execute("ROLLBACK")
                if isinstance(error, UnicodeEncodeError | OverflowError):
                    raise StoreError(
                        f"store={self.path!r} cannot hold a value ({error}): names must be valid Unicode, and whole "
                        "numbers less than 2**63."
                    ) from error
                raise
