"""The record: one SQLite file, opened, written at segment ends in one transaction, and read."""

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jsweep.errors import UserError
from jsweep.space import decode, encode
from jsweep.store.schema import TABLES, VERSION

LOCK_WAIT = 60.0  # seconds a writer waits for another before it says so


@dataclass(frozen=True)
class SweepRow:
    """A sweep as recorded."""

    key: int
    name: str
    task: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
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


class Store:
    """A connection to a record. Made by `open_store`; every method is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str):
        self._db, self.path = connection, path
        self._metrics: dict[str, int] = {}

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
        environment: Mapping[str, Any],
    ) -> SweepRow:
        """Record a new sweep under ``name``."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO sweeps (name, task, identity, settings, environment, created) VALUES (?, ?, ?, ?, ?, ?)",
                (name, task, _dump(identity), _dump(settings), _dump(environment), now()),
            )
        row = self.sweep(name)
        assert row is not None
        return row

    def add_trials(self, sweep: int, trials: Iterable[Any]) -> None:
        """Record trials as waiting; those already there stay as they are."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO trials (sweep, id, config_id, config, seed, steps) VALUES (?, ?, ?, ?, ?, ?)",
                ((sweep, t.id, t.config_id, _dump_config(t.config), t.seed, t.steps) for t in trials),
            )

    def record_segments(self, sweep: int, tiles: Sequence[tuple[Mapping[str, Any], Sequence[Any]]]) -> None:
        """Record the scores of segments: pairs of how the tile was run (program, width) and its scores."""
        with self._transaction():
            for how, scores in tiles:
                for score in scores:
                    self._record_score(sweep, how, score)

    def _record_score(self, sweep: int, how: Mapping[str, Any], score: Any) -> None:
        key = self._db.execute(
            "UPDATE trials SET done = ?, status = ?, nonfinite = ?, program = ?, width = ?, reason = NULL "
            "WHERE sweep = ? AND id = ? RETURNING key",
            (
                score.step,
                "finished" if score.finished else "running",
                score.nonfinite,
                how["program"],
                how["width"],
                sweep,
                score.trial,
            ),
        ).fetchone()[0]
        self._db.executemany(
            "INSERT OR REPLACE INTO scores (trial, metric, step, value) VALUES (?, ?, ?, ?)",
            ((key, self._metric_id(name), score.step, value) for name, value in score.metrics.items()),
        )

    def record_failure(self, sweep: int, trials: Iterable[str], reason: str) -> None:
        """Mark trials as failed, with the reason; their scores so far stay."""
        with self._transaction():
            self._db.executemany(
                "UPDATE trials SET status = 'failed', reason = ? WHERE sweep = ? AND id = ?",
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

    def sweeps(self) -> list[SweepRow]:
        """All sweeps, oldest first."""
        rows = self._db.execute(
            "SELECT id, name, task, identity, settings, environment, created FROM sweeps ORDER BY id"
        ).fetchall()
        return [
            SweepRow(key, name, task, _load(identity), _load(settings), _load(environment), created)
            for key, name, task, identity, settings, environment, created in rows
        ]

    def sweep(self, name: str) -> SweepRow | None:
        """The sweep of that name, or None."""
        return next((row for row in self.sweeps() if row.name == name), None)

    def trials(self, sweep: int) -> list[TrialRow]:
        """The trials of a sweep in the order they were added."""
        rows = self._db.execute(
            "SELECT key, id, config_id, config, seed, steps, done, status, nonfinite, reason, program, width "
            "FROM trials WHERE sweep = ? ORDER BY key",
            (sweep,),
        ).fetchall()
        return [TrialRow(row[0], row[1], row[2], _load_config(row[3]), *row[4:]) for row in rows]

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
            found.setdefault(trial, []).append((step, math.nan if value is None else value))
        return found

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
            found.setdefault(trial, {})[metric] = math.nan if value is None else value
        return found

    def metrics(self, sweep: int) -> list[str]:
        """The names of the metrics recorded for a sweep."""
        settings = next((row.settings for row in self.sweeps() if row.key == sweep), {})
        return list(settings.get("metrics", []))

    def tests(self, sweep: int) -> list[TestRow]:
        """The ledger of a sweep, oldest first."""
        rows = self._db.execute(
            "SELECT config_id, config, chosen_by, scores, seeds, again, opened FROM tests WHERE sweep = ? ORDER BY id",
            (sweep,),
        ).fetchall()
        return [
            TestRow(
                config_id,
                _load_config(config),
                chosen_by,
                {name: [_from_json_number(v) for v in values] for name, values in _load(scores).items()},
                _load(seeds),
                bool(again),
                opened,
            )
            for config_id, config, chosen_by, scores, seeds, again, opened in rows
        ]

    # -- inside -------------------------------------------------------------------------------------------------

    def _metric_id(self, name: str) -> int:
        if name not in self._metrics:
            self._db.execute("INSERT OR IGNORE INTO metrics (name) VALUES (?)", (name,))
            self._metrics[name] = self._db.execute("SELECT id FROM metrics WHERE name = ?", (name,)).fetchone()[0]
        return self._metrics[name]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._metrics.clear()
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _readable(error, self.path) from error


def open_store(path: str | Path | None, write: bool = True) -> Store:
    """Open the record at ``path`` (None: in memory), making it if it is to be written; UserError where that fails."""
    shown = ":memory:" if path is None else str(path)
    if path is not None:
        _check_path(Path(path), write)
    try:
        if path is None or write:
            connection = sqlite3.connect(shown, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        else:
            uri = Path(path).absolute().as_uri() + "?mode=ro"
            connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        _check_version(connection, shown, write)
    except sqlite3.Error as error:
        raise _readable(error, shown) from error
    return Store(connection, shown)


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
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables and write:
        connection.executescript(
            f"BEGIN IMMEDIATE; {TABLES} INSERT INTO meta VALUES ('jsweep', 'store'), ('version', '{VERSION}'); COMMIT;"
        )
        return
    if not {"meta", "sweeps", "trials", "scores"} <= tables:
        raise UserError(f"store={path!r} is no jsweep record: give another path.")
    version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version is None or version[0] != str(VERSION):
        found = version[0] if version else "none"
        raise UserError(
            f"store={path!r} has format {found}, and this jsweep reads format {VERSION}: "
            "open it with the jsweep that wrote it, or give another path."
        )


def _readable(error: sqlite3.Error, path: str) -> UserError:
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
    return {name: decode(value) for name, value in json.loads(text).items()}


def _json_number(value: float) -> Any:
    return value if math.isfinite(value) else str(value)


def _from_json_number(value: Any) -> float:
    return float(value)
