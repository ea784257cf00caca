"""The record: one SQLite file, opened, written at segment ends in one transaction, and read."""

import contextlib
import functools
import hashlib
import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from jsweep.errors import UserError
from jsweep.space import decode, encode
from jsweep.store.schema import TABLES, VERSION

_Method = TypeVar("_Method", bound=Callable)
LOCK_WAIT = 60.0  # seconds a writer waits for another before it says so


@dataclass(frozen=True)
class SweepRow:
    """A sweep as recorded."""

    key: int
    name: str
    task: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    created: str


@dataclass(frozen=True)
class TrialRow:
    """A trial as recorded; ``config`` holds callables as `jsweep.space.Named`, so that reading runs no code."""

    key: int
    id: str
    config_id: str
    config: Mapping[str, Any]
    seed: int
    steps: int
    done: int
    status: str
    nonfinite: int | None
    reason: str | None
    program: str | None
    width: int | None
    owner: str | None
    environment: int | None
    digest: str | None


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint as recorded; ``finished``: of one trial at its end, in place of a tile's stacked state."""

    tile: str
    step: int
    file: str
    sha256: str
    trials: Sequence[str]
    finished: bool


@dataclass(frozen=True)
class TestRow:
    """One opening of the test split."""

    config_id: str
    config: Mapping[str, Any]
    chosen_by: str
    scores: Mapping[str, list[float]]
    seeds: Sequence[int]
    again: bool
    opened: str


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
                raise UserError(
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
    ) -> SweepRow:
        """Record a new sweep under ``name``; the one that is there, if another process was first."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO sweeps (name, task, identity, settings, created) VALUES (?, ?, ?, ?, ?)",
                (name, task, _dump(identity), _dump(settings), now()),
            )
        row = self.sweep(name)
        assert row is not None
        return row

    def set_settings(self, sweep: int, settings: Mapping[str, Any]) -> None:
        """Replace what the record says of how a sweep is read."""
        with self._transaction():
            self._db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (_dump(settings), sweep))

    def add_trials(self, sweep: int, trials: Iterable[Any]) -> None:
        """Record trials as waiting; those already there stay as they are."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO trials (sweep, id, config_id, config, seed, steps) VALUES (?, ?, ?, ?, ?, ?)",
                ((sweep, t.id, t.config_id, _dump_config(t.config), t.seed, t.steps) for t in trials),
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
            self._db.execute("INSERT OR IGNORE INTO environments (described) VALUES (?)", (_dump(environment),))
            (place,) = self._db.execute(
                "SELECT id FROM environments WHERE described = ?", (_dump(environment),)
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
        checkpoints: Sequence[CheckpointRow] = (),
        outdated: Sequence[CheckpointRow] = (),
    ) -> None:
        """Record one segment of a tile: how it was run, its scores, the checkpoints written before; forget outdated ones."""
        with self._transaction():
            for score in scores:
                self._record_score(sweep, program, width, score)
            for row in checkpoints:
                self._db.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (sweep, row.tile, row.step, row.file, row.sha256, _dump(list(row.trials)), int(row.finished)),
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
    def checkpoints(self, sweep: int) -> list[CheckpointRow]:
        """The checkpoints of a sweep, those of the most steps first."""
        rows = self._db.execute(
            "SELECT tile, step, file, sha256, trials, finished FROM checkpoints WHERE sweep = ? "
            "ORDER BY step DESC, tile",
            (sweep,),
        ).fetchall()
        return [
            CheckpointRow(str(t), int(step), str(f), str(sha), [str(i) for i in _load(trials)], bool(done))
            for t, step, f, sha, trials, done in rows
        ]

    def forget_checkpoints(self, sweep: int, rows: Iterable[CheckpointRow]) -> None:
        """Take checkpoints out of the record; their files may be removed afterwards."""
        with self._transaction():
            self._forget(sweep, rows)

    def _forget(self, sweep: int, rows: Iterable[CheckpointRow]) -> None:
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
        return {key: _object(text) for key, text in self._db.execute("SELECT id, described FROM environments")}

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

    def record_test(self, sweep: int, row: TestRow) -> None:
        """Enter an opening of the test split in the ledger."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO tests (sweep, config_id, config, chosen_by, scores, seeds, again, opened) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    sweep,
                    row.config_id,
                    _dump_config(row.config),
                    row.chosen_by,
                    _dump({name: [_json_number(v) for v in values] for name, values in row.scores.items()}),
                    _dump(list(row.seeds)),
                    int(row.again),
                    row.opened,
                ),
            )

    # -- reading ------------------------------------------------------------------------------------------------

    @_guarded
    def sweeps(self) -> list[SweepRow]:
        """All sweeps, oldest first."""
        rows = self._db.execute("SELECT id, name, task, identity, settings, created FROM sweeps ORDER BY id").fetchall()
        return [
            SweepRow(int(key), str(name), str(task), _object(identity), _object(settings), str(created))
            for key, name, task, identity, settings, created in rows
        ]

    def sweep(self, name: str) -> SweepRow | None:
        """The sweep of that name, or None."""
        return next((row for row in self.sweeps() if row.name == name), None)

    @_guarded
    def trials(self, sweep: int) -> list[TrialRow]:
        """The trials of a sweep in the order they were added."""
        rows = self._db.execute(
            "SELECT key, id, config_id, config, seed, steps, done, status, nonfinite, reason, program, width, "
            "owner, environment, digest FROM trials WHERE sweep = ? ORDER BY key",
            (sweep,),
        )  # read one by one: the table may have many rows
        return [_trial_row(row) for row in rows]

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
            found.setdefault(trial, []).append((int(step), _number(value)))
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
            found.setdefault(trial, {})[str(metric)] = _number(value)
        return found

    @_guarded
    def metrics(self, sweep: int) -> list[str]:
        """The names of the metrics recorded for a sweep."""
        settings = next((row.settings for row in self.sweeps() if row.key == sweep), {})
        return [str(name) for name in settings.get("metrics", [])]

    @_guarded
    def tests(self, sweep: int) -> list[TestRow]:
        """The ledger of a sweep, oldest first."""
        rows = self._db.execute(
            "SELECT config_id, config, chosen_by, scores, seeds, again, opened FROM tests WHERE sweep = ? ORDER BY id",
            (sweep,),
        ).fetchall()
        return [
            TestRow(
                str(config_id),
                _load_config(config),
                str(chosen_by),
                {name: [float(v) for v in values] for name, values in _object(scores).items()},
                [int(seed) for seed in _load(seeds)],
                bool(again),
                str(opened),
            )
            for config_id, config, chosen_by, scores, seeds, again, opened in rows
        ]

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
                raise _readable(error, self.path) from error


def open_store(path: str | Path | None, write: bool = True) -> Store:
    """Open the record at ``path`` (None: in memory), making it if it is to be written; UserError where that fails."""
    shown = ":memory:" if path is None else str(path)
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
        raise _readable(error, shown) from error
    return Store(connection, shown)


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
        raise UserError(f"store={str(path)!r} is a folder: give a file, such as {str(path / 'sweeps.db')!r}.")
    if not write and not path.exists():
        raise UserError(f"store={str(path)!r} does not exist: run a sweep into it first, or name another with --store.")
    if not path.parent.is_dir():
        raise UserError(
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
        raise UserError(f"store={path!r} is no jsweep record: give another path.")
    version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version is None:
        raise UserError(
            f"store={path!r} is damaged, it has lost its format: restore it from a copy, or give another path."
        )
    if version[0] != str(VERSION):
        raise UserError(
            f"store={path!r} has format {version[0]}, and this jsweep reads format {VERSION}: "
            "open it with the jsweep that wrote it, or give another path."
        )


def _check_whole(connection: sqlite3.Connection, path: str) -> None:
    """Refuse to write to a damaged file: more would be lost."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise UserError(f"store={path!r} is damaged ({found}): restore it from a copy, or give another path.")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _readable(error: Exception, path: str) -> UserError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return UserError(
            f"store={path!r} was held by another process for {LOCK_WAIT:.0f} seconds: wait for it, or stop that process."
        )
    if "readonly" in text or "unable to open" in text or "read-only" in text:
        return UserError(f"store={path!r} cannot be written ({text}): check its permissions, or give another path.")
    if "full" in text or "disk I/O" in text:
        return UserError(
            f"store={path!r} could not be written ({text}): free some space; what was recorded before is kept."
        )
    return UserError(
        f"store={path!r} cannot be used as a record ({text}): restore it from a copy, or give another path."
    )


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _load(text: str) -> Any:
    return json.loads(text)


def _dump_config(config: Mapping[str, Any]) -> str:
    return json.dumps({name: encode(value) for name, value in config.items()}, allow_nan=False)


def _load_config(text: str) -> dict[str, Any]:
    return {name: decode(value) for name, value in _object(text).items()}


def _json_number(value: float) -> Any:
    return value if math.isfinite(value) else str(value)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError for JSON of another kind."""
    value = _load(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _trial_row(row: Sequence[Any]) -> TrialRow:
    """A row of the table as a trial, every field of its type whatever the file holds."""
    key, trial, config_id, config, seed, steps, done, status, nonfinite, reason, program, width, *rest = row
    whole = lambda value: None if value is None else int(value)
    text = lambda value: None if value is None else str(value)
    owner, environment, digest = rest
    return TrialRow(
        key=int(key),
        id=str(trial),
        config_id=str(config_id),
        config=_load_config(config),
        seed=int(seed),
        steps=int(steps),
        done=int(done),
        status=str(status),
        nonfinite=whole(nonfinite),
        reason=text(reason),
        program=text(program),
        width=whole(width),
        owner=text(owner),
        environment=whole(environment),
        digest=text(digest),
    )
