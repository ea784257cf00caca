"""Writing a store: one SQLite file, each change one transaction."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsweep.errors import StoreError
from jsweep.storage.connection import connect
from jsweep.storage.paths import resolve, shown
from jsweep.storage.reader import StoreReader
from jsweep.storage.records import Batch, Checkpoint, JsonObject, Outcome, Score, SweepRecord, TestOpening, Trial, now
from jsweep.storage.rows import OPENING_COLUMNS, dump, dump_config, dump_configs, dump_outcomes, opening_to_row


def open_store(path: str | os.PathLike[str] | None, write: bool = True) -> "Store":
    """Open a store; use it as a context manager, or close it.

    Args:
        path: The store's file, as `jsweep.storage.paths.resolve` reads it; None for a store in memory.
        write: Whether it will be written. A file that does not exist is then created.

    Returns:
        The open store.

    Raises:
        ConfigError: If ``path`` is not the path of a file.
        StoreError: If the file cannot be opened, is damaged, or is not a store of this format.
    """
    file = resolve(path)
    return Store(connect(file, shown(path), write=write), shown(path), file)


class Store(StoreReader):
    """An open store, made by `open_store`. Every method that writes is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str, file: Path | None):
        super().__init__(connection, path, file)
        self._metrics: dict[str, int] = {}

    def add_sweep(self, name: str, task: str, identity: JsonObject, settings: JsonObject) -> SweepRecord:
        """Record a new sweep.

        Args:
            name: The sweep's name in the store.
            task: The task's name.
            identity: What must be equal when the sweep is run again.
            settings: How the sweep is read: metrics, objective, modes, roles.

        Returns:
            The sweep as recorded; the one that another process has added under this name, if there is one.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO sweeps (name, task, identity, settings, created) VALUES (?, ?, ?, ?, ?)",
                (name, task, dump(identity), dump(settings), now()),
            )
        row = self.sweep(name)
        assert row is not None
        return row

    def set_settings(self, sweep: int, settings: JsonObject) -> None:
        """Replace the settings of a sweep."""
        with self._transaction():
            self._db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (dump(settings), sweep))

    def add_seconds(self, sweep: int, seconds: float) -> None:
        """Add to the time that the sweep has been trained for, by all processes together."""
        with self._transaction():
            self._db.execute(
                "UPDATE sweeps SET settings = json_set(settings, '$.seconds', "
                "COALESCE(json_extract(settings, '$.seconds'), 0) + ?) WHERE id = ?",
                (seconds, sweep),
            )

    def add_trials(self, sweep: int, trials: Iterable[Trial]) -> None:
        """Record trials as waiting; those that are recorded already stay as they are."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO trials (sweep, id, config_id, config, seed, steps) VALUES (?, ?, ?, ?, ?, ?)",
                ((sweep, t.id, t.config_id, dump_config(t.config), t.seed, t.steps) for t in trials),
            )

    def extend_trials(self, sweep: int, steps: Mapping[str, int]) -> None:
        """Give trials more steps; a finished trial becomes a running one."""
        with self._transaction():
            self._db.executemany(
                "UPDATE trials SET steps = ?, digest = NULL, "
                "status = CASE WHEN done < ? AND status = 'finished' THEN 'running' ELSE status END "
                "WHERE sweep = ? AND id = ? AND steps < ?",
                ((n, n, sweep, trial, n) for trial, n in steps.items()),
            )

    def claim(
        self,
        sweep: int,
        trials: Sequence[str],
        owner: str,
        environment: JsonObject,
        may_take: Callable[[str | None, str, str], bool],
    ) -> list[str]:
        """Mark trials as ``owner``'s to train. It is one transaction, so that of two processes only one gets a trial.

        Args:
            sweep: The sweep's key.
            trials: The ids of the trials that are wanted.
            owner: The name of the running process, from `jsweep.storage.locks.owner`.
            environment: What they will be trained under.
            may_take: Called with a trial's owner, status and id; whether it may be claimed.

        Returns:
            The ids that were claimed, in the order of ``trials``.
        """
        with self._transaction():
            described = dump(environment)
            self._db.execute("INSERT OR IGNORE INTO environments (described) VALUES (?)", (described,))
            (place,) = self._db.execute("SELECT id FROM environments WHERE described = ?", (described,)).fetchone()
            states = {trial: (holder, status) for trial, holder, status in self._states(sweep, trials)}
            mine = [trial for trial in trials if trial in states and may_take(*states[trial], trial)]
            self._db.executemany(
                "UPDATE trials SET owner = ?, environment = ? WHERE sweep = ? AND id = ?",
                ((owner, place, sweep, trial) for trial in mine),
            )
        return mine

    def release(self, owner: str) -> None:
        """Give up the trials that ``owner`` holds."""
        with self._transaction():
            self._db.execute("UPDATE trials SET owner = NULL WHERE owner = ?", (owner,))

    def record_segment(
        self,
        sweep: int,
        program: str,
        width: int,
        scores: Sequence[Score],
        checkpoints: Sequence[Checkpoint] = (),
        outdated: Sequence[Checkpoint] = (),
    ) -> None:
        """Record one segment of a tile.

        Args:
            sweep: The sweep's key.
            program: The fingerprint of the tile's program.
            width: The lanes of the tile.
            scores: The scores at the segment's end.
            checkpoints: Checkpoints whose files have been written.
            outdated: Checkpoints to forget; their files may be removed afterwards.
        """
        with self._transaction():
            for score in scores:
                self._record_score(sweep, program, width, score)
            for row in checkpoints:
                self._db.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (sweep, row.tile, row.step, row.file, row.sha256, dump(list(row.trials)), int(row.finished)),
                )
            self._forget(sweep, outdated)

    def record_failure(self, sweep: int, trials: Iterable[str], reason: str, traceback: str | None = None) -> None:
        """Mark trials as failed. Their scores so far stay; trials that have finished stay finished.

        Args:
            sweep: The sweep's key.
            trials: The ids of the trials.
            reason: Why they failed, in one line.
            traceback: The whole traceback of the error, if there is one.
        """
        with self._transaction():
            self._db.executemany(
                "UPDATE trials SET status = 'failed', reason = ?, traceback = ?, owner = NULL "
                "WHERE sweep = ? AND id = ? AND status != 'finished'",
                ((reason, traceback, sweep, trial) for trial in trials),
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

    def record_test(self, sweep: int, entry: TestOpening) -> None:
        """Enter an opening of the test split in the ledger."""
        marks = ", ".join("?" * (1 + len(OPENING_COLUMNS.split(","))))
        with self._transaction():
            self._db.execute(
                f"INSERT INTO tests (sweep, {OPENING_COLUMNS}) VALUES ({marks})", (sweep, *opening_to_row(entry))
            )

    def forget_checkpoints(self, sweep: int, rows: Iterable[Checkpoint]) -> None:
        """Remove checkpoints from the store; their files may be removed afterwards."""
        with self._transaction():
            self._forget(sweep, rows)

    def drop_trials(self, sweep: int, trials: Iterable[str]) -> None:
        """Remove trials and their scores."""
        with self._transaction():
            for trial in trials:
                self._db.execute(
                    "DELETE FROM scores WHERE trial = (SELECT key FROM trials WHERE sweep = ? AND id = ?)",
                    (sweep, trial),
                )
                self._db.execute("DELETE FROM trials WHERE sweep = ? AND id = ?", (sweep, trial))

    def drop_sweep(self, sweep: int) -> None:
        """Remove a sweep that has no trials left, and its ledger."""
        with self._transaction():
            for table in ("checkpoints", "tests", "batches"):
                self._db.execute(f"DELETE FROM {table} WHERE sweep = ?", (sweep,))
            self._db.execute("DELETE FROM sweeps WHERE id = ?", (sweep,))

    def _record_score(self, sweep: int, program: str, width: int, score: Score) -> None:
        status = "finished" if score.finished else "running"
        (key,) = self._db.execute(
            "UPDATE trials SET done = ?, status = ?, nonfinite = COALESCE(nonfinite, ?), program = ?, width = ?, reason = NULL, "
            "traceback = NULL, owner = CASE WHEN ? THEN NULL ELSE owner END WHERE sweep = ? AND id = ? RETURNING key",
            (score.step, status, score.nonfinite, program, width, score.finished, sweep, score.trial),
        ).fetchone()
        self._db.executemany(
            "INSERT OR REPLACE INTO scores (trial, metric, step, value) VALUES (?, ?, ?, ?)",
            ((key, self._metric_id(name), score.step, value) for name, value in score.metrics.items()),
        )
        if score.finished:
            self._db.execute("UPDATE trials SET digest = ? WHERE key = ?", (self._digest(key), key))

    def _metric_id(self, name: str) -> int:
        if name not in self._metrics:
            self._db.execute("INSERT OR IGNORE INTO metrics (name) VALUES (?)", (name,))
            self._metrics[name] = self._db.execute("SELECT id FROM metrics WHERE name = ?", (name,)).fetchone()[0]
        return self._metrics[name]

    def _forget(self, sweep: int, rows: Iterable[Checkpoint]) -> None:
        self._db.executemany(
            "DELETE FROM checkpoints WHERE sweep = ? AND tile = ? AND step = ?",
            ((sweep, row.tile, row.step) for row in rows),
        )

    def _states(self, sweep: int, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """(id, owner, status) of trials, read in pieces that stay below SQLite's limit on parameters."""
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ", ".join("?" * len(some))
            select = f"SELECT id, owner, status FROM trials WHERE sweep = ? AND id IN ({marks})"
            yield from self._db.execute(select, (sweep, *some)).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._locked():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                self._metrics.clear()
                if self._db.in_transaction:  # on a full disk SQLite has rolled back already
                    self._db.execute("ROLLBACK")
                if isinstance(error, UnicodeEncodeError | OverflowError):
                    raise StoreError(
                        f"store={self.path!r} cannot hold a value ({error}): names must be valid Unicode, and whole "
                        "numbers less than 2**63."
                    ) from error
                raise
