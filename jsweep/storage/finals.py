"""The last scores of a sweep's trials as columns, which a million trials are ranked by."""

import sqlite3
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep.storage.standing import ENDED
from jsweep.storage.transitions import OF_SWEEP, span

_BEYOND = "9e999"  # SQLite reads it as infinity


@dataclass(frozen=True, eq=False)
class Finals:
    """A metric after each trial's last step, and what else a ranking by it depends on; in the order of the record.

    ``configs`` are JSON, for `jsweep.storage.rows.load_config`. ``values`` is NaN where a trial has not ended or nothing was
    recorded; ``diverged`` says that the metric, or a loss, was recorded there and is not finite.
    """

    ids: Sequence[str]
    config_ids: Sequence[str]
    configs: Sequence[str]
    status: Sequence[str]
    seeds: Int64[np.ndarray, " trials"]
    steps: Int64[np.ndarray, " trials"]
    done: Int64[np.ndarray, " trials"]
    values: Float64[np.ndarray, " trials"]
    diverged: Bool[np.ndarray, " trials"]


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
    score = "FROM scores WHERE trial = key AND metric = (SELECT id FROM metrics WHERE name = ?) AND step = done"
    value, wrong = f"(SELECT value {score})", f"(SELECT value IS NULL OR abs(value) = {_BEYOND} {score})"
    checked = list(dict.fromkeys((metric, *losses)))
    ended = f"status IN ({', '.join(repr(str(status)) for status in sorted(ENDED))})"
    worst = " OR ".join(f"COALESCE({wrong}, 0)" for _ in checked)
    rows = db.execute(
        f"SELECT id, config_id, config, status, seed, steps, done, CASE WHEN {ended} THEN {value} END, "
        f"CASE WHEN {ended} THEN {worst} ELSE 0 END FROM trials WHERE {OF_SWEEP} AND extension = 0 ORDER BY key",
        (metric, *checked, *span(db, sweep)),
    )
    kept = rows.fetchall() if among is None else [row for row in rows if row[0] in among]
    columns = list(zip(*kept, strict=True)) or [()] * 9
    ids, config_ids, configs, status, seeds, steps, done, values, diverged = columns
    whole = lambda column: np.array(column, np.int64)
    numbers = np.array(values, np.float64)  # None becomes NaN
    return Finals(
        ids, config_ids, configs, status, whole(seeds), whole(steps), whole(done), numbers, np.array(diverged, bool)
    )
