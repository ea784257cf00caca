"""The record: one SQLite file, written at segment ends in one transaction, and read."""

import contextlib
import functools
import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsweep.errors import StoreError
from jsweep.storage.connection import connect, readable, shown_path
from jsweep.storage.records import (
    Checkpoint,
    SweepRecord,
    TestOpening,
    Trial,
    checkpoint_from_row,
    dump,
    dump_config,
    dump_number,
    load_number,
    load_object,
    now,
    opening_from_row,
    sweep_from_row,
    trial_from_row,
)

_Method = TypeVar("_Method", bound=Callable)


def open_store(path: str | Path | None, write: bool = True) -> "Store":
    """Open the record at ``path`` (None: in memory), making it if it is to be written; StoreError where that fails."""
    return Store(connect(path, write), shown_path(path))


def _guarded(method: _Method) -> _Method:
    """A reading method whose failures are one sentence: what it finds may have been written by anyone."""

    @functools.wraps(method)
    def reading(self: "Store", *arguments: Any) -> Any:
        with self._reading():
            try:
                return method(self, *arguments)
            except (
                ValueError,
                TypeError,
                KeyError,
                AttributeError,
                IndexError,
                RecursionError,
                OverflowError,
            ) as error:
                raise StoreError(
                    f"store={self.path!r} holds what no jsweep wrote ({type(error).__name__}): see jsweep verify, "
                    "restore it from a copy, or give another path."
                ) from error

    return reading  # pyright: ignore[reportReturnType]


class Store:
    """A connection to a record. Made by `open_store`; every method is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str):
        self._db, self.path = connection, path
        self._metrics: dict[str, int] = {}
        self._lock = threading.RLock()  # the engine's workers share the connection

    def close(self) -> None:
        """Close the connection; what was recorded is on disk already."""
        self._db.close()

    # -- writing ------------------------------------------------------------------------------------------------

    def add_sweep(
        self,
        name: str,
        task: str,
        identity: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> SweepRecord:
        """Record a new sweep under ``name``; the one that is there, if another process was first."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO sweeps (name, task, identity, settings, created) VALUES (?, ?, ?, ?, ?)",
                (name, task, dump(identity), dump(settings), now()),
            )
        row = self.sweep(name)
        assert row is not None
        return row

    def set_settings(self, sweep: int, settings: Mapping[str, Any]) -> None:
        """Replace what the record says of how a sweep is read."""
        with self._transaction():
            self._db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (dump(settings), sweep))

    def add_trials(self, sweep: int, trials: Iterable[Any]) -> None:
        """Record trials as waiting; those already there stay as they are."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO trials (sweep, id, config_id, config, seed, steps) VALUES (?, ?, ?, ?, ?, ?)",
                ((sweep, t.id, t.config_id, dump_config(t.config), t.seed, t.steps) for t in trials),
            )

    def extend_trials(self, sweep: int, steps: Mapping[str, int]) -> None:
        """Give trials more steps: finished ones wait for the rest."""
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
        environment: Mapping[str, Any],
        free: Callable[[str | None, str, str], bool],
    ) -> list[str]:
        """Those of ``trials`` that ``owner`` may train now, marked as its own.

        ``free(owner, status, trial)`` says whether a trial may be taken. One transaction: of two processes one gets a trial.
        """
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO environments (described) VALUES (?)", (dump(environment),))
            (place,) = self._db.execute(
                "SELECT id FROM environments WHERE described = ?", (dump(environment),)
            ).fetchone()
            states = {
                row[0]: (row[1], row[2]) for row in self._chunked("SELECT id, owner, status FROM trials", sweep, trials)
            }
            mine = [trial for trial in trials if trial in states and free(*states[trial], trial)]
            self._db.executemany(
                "UPDATE trials SET owner = ?, environment = ? WHERE sweep = ? AND id = ?",
                ((owner, place, sweep, trial) for trial in mine),
            )
        return mine

    def release(self, owner: str) -> None:
        """Give up what ``owner`` holds."""
        with self._transaction():
            self._db.execute("UPDATE trials SET owner = NULL WHERE owner = ?", (owner,))

    def record_segment(
        self,
        sweep: int,
        program: str,
        width: int,
        scores: Sequence[Any],
        checkpoints: Sequence[Checkpoint] = (),
        outdated: Sequence[Checkpoint] = (),
    ) -> None:
        """Record one segment of a tile: how it was run, its scores, the checkpoints written before; forget outdated ones."""
        with self._transaction():
            for score in scores:
                self._record_score(sweep, program, width, score)
            for row in checkpoints:
                self._db.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (sweep, row.tile, row.step, row.file, row.sha256, dump(list(row.trials)), int(row.finished)),
                )
            self._forget(sweep, outdated)

    def _record_score(self, sweep: int, program: str, width: int, score: Any) -> None:
        (key,) = self._db.execute(
            "UPDATE trials SET done = ?, status = ?, nonfinite = ?, program = ?, width = ?, reason = NULL, "
            "owner = CASE WHEN ? THEN NULL ELSE owner END WHERE sweep = ? AND id = ? RETURNING key",
            (
                score.step,
                "finished" if score.finished else "running",
                score.nonfinite,
                program,
                width,
                score.finished,
                sweep,
                score.trial,
            ),
        ).fetchone()
        self._db.executemany(
            "INSERT OR REPLACE INTO scores (trial, metric, step, value) VALUES (?, ?, ?, ?)",
            ((key, self._metric_id(name), score.step, value) for name, value in score.metrics.items()),
        )
        if score.finished:
            self._db.execute("UPDATE trials SET digest = ? WHERE key = ?", (self._digest(key), key))

    def _digest(self, key: int) -> str:
        """SHA-256 over a trial's row and its scores."""
        row = self._db.execute(
            "SELECT id, config_id, config, seed, steps, done, nonfinite, program, width FROM trials WHERE key = ?",
            (key,),
        ).fetchone()
        scores = self._db.execute(
            "SELECT metrics.name, step, value FROM scores JOIN metrics ON metrics.id = metric WHERE trial = ? "
            "ORDER BY metrics.name, step",
            (key,),
        ).fetchall()
        return hashlib.sha256(repr((row, scores)).encode()).hexdigest()

    @_guarded
    def damaged(self, sweep: int) -> list[str]:
        """The finished trials whose record is not what was written when they finished."""
        rows = self._db.execute(
            "SELECT key, id, digest FROM trials WHERE sweep = ? AND status = 'finished'", (sweep,)
        ).fetchall()
        return [trial for key, trial, digest in rows if self._digest(key) != digest]

    @_guarded
    def checkpoints(self, sweep: int) -> list[Checkpoint]:
        """The checkpoints of a sweep, those of the most steps first."""
        rows = self._db.execute(
            "SELECT tile, step, file, sha256, trials, finished FROM checkpoints WHERE sweep = ? "
            "ORDER BY step DESC, tile",
            (sweep,),
        ).fetchall()
        return [checkpoint_from_row(row) for row in rows]

    def forget_checkpoints(self, sweep: int, rows: Iterable[Checkpoint]) -> None:
        """Take checkpoints out of the record; their files may be removed afterwards."""
        with self._transaction():
            self._forget(sweep, rows)

    def _forget(self, sweep: int, rows: Iterable[Checkpoint]) -> None:
        self._db.executemany(
            "DELETE FROM checkpoints WHERE sweep = ? AND tile = ? AND step = ?",
            ((sweep, row.tile, row.step) for row in rows),
        )

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
        """Remove a sweep that has no trials left, with its ledger."""
        with self._transaction():
            for table in ("checkpoints", "tests"):
                self._db.execute(f"DELETE FROM {table} WHERE sweep = ?", (sweep,))
            self._db.execute("DELETE FROM sweeps WHERE id = ?", (sweep,))

    @_guarded
    def environments(self) -> dict[int, dict[str, Any]]:
        """Where trials were trained, by number."""
        return {key: load_object(text) for key, text in self._db.execute("SELECT id, described FROM environments")}

    @_guarded
    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file: nothing, in a sound one."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(20)")]
        broken = self._db.execute("PRAGMA foreign_key_check").fetchall()
        return [text for text in found if text != "ok"] + [
            f"{row[0]} points at nothing in {row[2]}" for row in broken[:20]
        ]

    def record_failure(self, sweep: int, trials: Iterable[str], reason: str) -> None:
        """Mark trials as failed, with the reason; their scores so far stay."""
        with self._transaction():
            self._db.executemany(
                "UPDATE trials SET status = 'failed', reason = ?, owner = NULL WHERE sweep = ? AND id = ?",
                ((reason, sweep, trial) for trial in trials),
            )

    def record_test(self, sweep: int, row: TestOpening) -> None:
        """Enter an opening of the test split in the ledger."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO tests (sweep, config_id, config, chosen_by, scores, seeds, again, opened) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    sweep,
                    row.config_id,
                    dump_config(row.config),
                    row.chosen_by,
                    dump({name: [dump_number(v) for v in values] for name, values in row.scores.items()}),
                    dump(list(row.seeds)),
                    int(row.again),
                    row.opened,
                ),
            )

    # -- reading ------------------------------------------------------------------------------------------------

    @_guarded
    def sweeps(self) -> list[SweepRecord]:
        """All sweeps, oldest first."""
        rows = self._db.execute("SELECT id, name, task, identity, settings, created FROM sweeps ORDER BY id").fetchall()
        return [sweep_from_row(row) for row in rows]

    def sweep(self, name: str) -> SweepRecord | None:
        """The sweep of that name, or None."""
        return next((row for row in self.sweeps() if row.name == name), None)

    @_guarded
    def trials(self, sweep: int) -> list[Trial]:
        """The trials of a sweep in the order they were added."""
        rows = self._db.execute(
            "SELECT key, id, config_id, config, seed, steps, done, status, nonfinite, reason, program, width, "
            "owner, environment, digest FROM trials WHERE sweep = ? ORDER BY key",
            (sweep,),
        )  # read one by one: the table may have many rows
        return [trial_from_row(row) for row in rows]

    @_guarded
    def scores(self, sweep: int, metric: str) -> dict[int, list[tuple[int, float]]]:
        """For each trial's key the (step, value) pairs of a metric, in order of step."""
        found: dict[int, list[tuple[int, float]]] = {}
        rows = self._db.execute(
            "SELECT scores.trial, scores.step, scores.value FROM scores JOIN trials ON trials.key = scores.trial "
            "JOIN metrics ON metrics.id = scores.metric WHERE trials.sweep = ? AND metrics.name = ? "
            "ORDER BY scores.trial, scores.step",
            (sweep, metric),
        )
        for trial, step, value in rows:
            found.setdefault(trial, []).append((int(step), load_number(value)))
        return found

    @_guarded
    def last_scores(self, sweep: int) -> dict[int, dict[str, float]]:
        """For each finished trial's key its metrics at its last step."""
        found: dict[int, dict[str, float]] = {}
        rows = self._db.execute(
            "SELECT scores.trial, metrics.name, scores.value FROM trials JOIN scores ON scores.trial = trials.key "
            "JOIN metrics ON metrics.id = scores.metric "
            "WHERE trials.sweep = ? AND trials.status = 'finished' AND scores.step = trials.steps",
            (sweep,),
        )
        for trial, metric, value in rows:
            found.setdefault(trial, {})[str(metric)] = load_number(value)
        return found

    @_guarded
    def metrics(self, sweep: int) -> list[str]:
        """The names of the metrics recorded for a sweep."""
        settings = next((row.settings for row in self.sweeps() if row.key == sweep), {})
        return [str(name) for name in settings.get("metrics", [])]

    @_guarded
    def tests(self, sweep: int) -> list[TestOpening]:
        """The ledger of a sweep, oldest first."""
        rows = self._db.execute(
            "SELECT config_id, config, chosen_by, scores, seeds, again, opened FROM tests WHERE sweep = ? ORDER BY id",
            (sweep,),
        ).fetchall()
        return [opening_from_row(row) for row in rows]

    # -- inside -------------------------------------------------------------------------------------------------

    def _metric_id(self, name: str) -> int:
        if name not in self._metrics:
            self._db.execute("INSERT OR IGNORE INTO metrics (name) VALUES (?)", (name,))
            self._metrics[name] = self._db.execute("SELECT id FROM metrics WHERE name = ?", (name,)).fetchone()[0]
        return self._metrics[name]

    def _chunked(self, select: str, sweep: int, ids: Sequence[str]) -> Iterator[Any]:
        """The rows of a selection of trials, asked for in pieces SQLite's limit on parameters allows."""
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ", ".join("?" * len(some))
            yield from self._db.execute(f"{select} WHERE sweep = ? AND id IN ({marks})", (sweep, *some)).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._metrics.clear()
                if self._db.in_transaction:  # SQLite ends it itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """One user of the connection at a time; what SQLite or a damaged text raises becomes one sentence."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise readable(error, self.path) from error
