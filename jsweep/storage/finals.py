"""The last scores of a sweep's trials as columns, which a million trials are ranked by."""

import sqlite3
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep.storage.queries import OF_SWEEP, span
from jsweep.storage.records import Status
from jsweep.storage.standing import ENDED

_BEYOND = "9e999"  # SQLite reads it as infinity
STATES = tuple(Status)
_PLACES = {str(state): place for place, state in enumerate(STATES)}
_STATE = f"CASE status {' '.join(f'WHEN {state!r} THEN {place}' for state, place in _PLACES.items())} END"


@dataclass(frozen=True, eq=False)
class Finals:
    """A metric after each trial's last step, and what else a ranking by it depends on; in the order of the record.

    ``keys`` are the trials' rows, ``configs`` count the configs as they come, and ``status`` are places in `STATES`. ``values``
    is NaN where a trial has not ended or nothing was recorded; ``diverged`` says that the metric, or a loss, was recorded
    there and is not finite.
    """

    keys: Int64[np.ndarray, " trials"]
    configs: Int64[np.ndarray, " trials"]
    status: Int64[np.ndarray, " trials"]
    seeds: Int64[np.ndarray, " trials"]
    steps: Int64[np.ndarray, " trials"]
    done: Int64[np.ndarray, " trials"]
    values: Float64[np.ndarray, " trials"]
    diverged: Bool[np.ndarray, " trials"]

    def counts(self) -> Counter[str]:
        """How many trials there are in each state, in the order in which the states come."""
        codes, first, count = np.unique(self.status, return_index=True, return_counts=True)
        order = np.argsort(first)
        return Counter(dict(zip((str(STATES[code]) for code in codes[order]), count[order].tolist(), strict=True)))


def read_finals(
    db: sqlite3.Connection, sweep: int, metric: str, losses: Sequence[str], among: Container[str] | None
) -> Finals:
    """Read the last scores of a sweep.

    Args:
        db: the connection.
        sweep: the sweep's key.
        metric: the metric's name.
        losses: the names of the losses.
        among: the ids of the trials that count; None for all.
    """
    where, found = f"{OF_SWEEP} AND extension = 0", span(db, sweep)
    alike = _alike(db, metric, where, found)
    (keys, status, seeds, steps, done), values = alike or _columns(db, metric, where, found)
    ended = np.isin(status, [STATES.index(state) for state in ENDED])
    diverged = np.zeros(len(keys), bool)
    if alike is None:
        diverged[np.searchsorted(keys, _diverged(db, (metric, *losses), where, found))] = True
    configs = np.arange(len(keys))
    if len(seeds) and seeds.min() != seeds.max():  # else each trial is of a config of its own
        configs = _counted(
            [text for (text,) in db.execute(f"SELECT config_id FROM trials WHERE {where} ORDER BY key", found)]
        )
    finals = Finals(keys, configs, status, seeds, steps, done, np.where(ended, values, np.nan), diverged & ended)
    if among is None:
        return finals
    ids = db.execute(f"SELECT id FROM trials WHERE {where} ORDER BY key", found)
    kept = np.array([trial in among for (trial,) in ids], bool)
    part = {each.name: getattr(finals, each.name)[kept] for each in fields(Finals)}
    return Finals(**{**part, "configs": _counted(part["configs"].tolist())})


_Columns = tuple[list[Int64[np.ndarray, " trials"]], Float64[np.ndarray, " trials"]]


def _alike(db: sqlite3.Connection, metric: str, where: str, found: tuple[int, ...]) -> _Columns | None:
    """As `_columns`, of trials that stand alike, with nothing that was not finite, next to one another, and all with a score.

    As a sweep of one seed that has ended is: the scores are then read without looking at each trial. None for others.
    """
    names = ("status", "seed", "steps", "done")
    one = db.execute(f"SELECT {', '.join(names)} FROM trials WHERE {where} ORDER BY key LIMIT 1", found).fetchone()
    if one is None:
        return None
    same = " AND ".join(["nonfinite IS NULL", *(f"{name} = ?" for name in names)])
    first, last, count = found[0], found[1], found[1] - found[0] + 1
    if db.execute(f"SELECT COUNT(*) FROM trials WHERE {where} AND {same}", (*found, *one)).fetchone() != (count,):
        return None
    status, seed, steps, done = one
    rows = db.execute(
        "SELECT COALESCE(value, 'nan') FROM scores WHERE trial BETWEEN ? AND ? AND step = ? "
        "AND metric = (SELECT id FROM metrics WHERE name = ?) ORDER BY trial",
        (first, last, done, metric),
    )
    values = np.fromiter(rows, [("value", np.float64)])["value"]
    if len(values) != count:
        return None
    same_for_all = (np.full(count, int(value)) for value in (_PLACES[status], seed, steps, done))
    return [np.arange(first, last + 1), *same_for_all], values


def _columns(db: sqlite3.Connection, metric: str, where: str, found: tuple[int, ...]) -> _Columns:
    """Keys, places of states, seeds, steps and steps done of the trials, and the last values of a metric.

    Most of these are the same for all trials, and keys count up: what the least and the greatest say is not read.
    """
    names = ("key", "status", "seed", "steps", "done")
    select = ", ".join(f"MIN({name}), MAX({name})" for name in names)
    count, *ends = db.execute(f"SELECT COUNT(*), {select} FROM trials WHERE {where}", found).fetchone()
    if not count:
        return [np.empty(0, np.int64) for _ in names], np.empty(0)
    spans = dict(zip(names, zip(ends[::2], ends[1::2], strict=True), strict=True))
    first, last = spans["key"]
    varying = [name for name in names[1:] if spans[name][0] != spans[name][1]]
    read = [*(["key"] if last - first >= count else []), *varying]
    rows = np.fromiter(
        db.execute(
            f"SELECT {', '.join(_STATE if name == 'status' else name for name in read)}{', ' * bool(read)}"
            "COALESCE(value, 'nan') FROM trials LEFT JOIN scores ON trial = key AND step = done "
            f"AND metric = (SELECT id FROM metrics WHERE name = ?) WHERE {where} ORDER BY key",
            (metric, *found),
        ),
        [*((name, np.int64) for name in read), ("value", np.float64)],
        count,
    )
    same = {name: spans[name][0] for name in names if name not in read}
    if "status" in same:
        same["status"] = _PLACES[same["status"]]
    columns = [np.full(count, int(same[name])) if name in same else rows[name] for name in names]
    if "key" not in read:
        columns[0] = np.arange(first, last + 1)
    return columns, rows["value"]


def _diverged(db: sqlite3.Connection, metrics: Sequence[str], where: str, found: tuple[int, ...]) -> list[int]:
    """The trials with one of the metrics recorded and not finite at their last step: all that are have ``nonfinite``."""
    rows = db.execute(
        f"SELECT key FROM trials WHERE {where} AND nonfinite IS NOT NULL AND EXISTS (SELECT 1 FROM scores "
        f"JOIN metrics ON id = metric WHERE trial = key AND step = done AND name IN ({', '.join('?' * len(metrics))}) "
        f"AND (value IS NULL OR abs(value) = {_BEYOND})) ORDER BY key",
        (*found, *metrics),
    )
    return [key for (key,) in rows]


def _counted(values: Sequence[object]) -> Int64[np.ndarray, " values"]:
    """Equal values as equal numbers, which count up as they come."""
    numbers: dict[object, int] = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, len(values))
