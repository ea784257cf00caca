"""Replay: train a recorded trial again and say whether it is bit-equal, or where it first differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from jsweep._runtime.environment import describe_environment
from jsweep.engine.executors.threads import default_workers
from jsweep.engine.retrain import retrain, tiles_to_retrain
from jsweep.errors import ConfigError
from jsweep.results.result import Result
from jsweep.runner.prepare import Prepared
from jsweep.storage import Status
from jsweep.storage.records import Score

BatchWith = Literal["neighbours", "copies", "none"]
"""What fills a replayed trial's tile: its neighbours, copies of itself, or nothing (a program that is not vmapped)."""


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        trial: the trial's id.
        width: lanes of the tile that it was replayed in.
        compared: how many scores were compared.
        difference: the first that differs, as (metric, step, recorded, now); None where all are bit-equal.
        furthest: the largest distance between a recorded score and its replay.
        environment: what is not as recorded, by name, as (recorded, now).
    """

    trial: str
    width: int
    compared: int
    difference: tuple[str, int, float, float] | None
    furthest: float
    environment: Mapping[str, tuple[object, object]]

    def __str__(self) -> str:
        where = f"in tiles of {self.width}" if self.width > 1 else "in a program of its own"
        if self.difference is None:
            found = f"trial {self.trial}: bit-equal in {self.compared} scores, {where}"
        else:
            metric, step, before, now = self.difference
            found = (
                f"trial {self.trial}, {where}: {metric} at step {step} was {before!r} and is {now!r} now; over "
                f"{self.compared} scores the largest difference is {self.furthest:.3g}"
            )
        changed = [f"{name} was {before} and is {now}" for name, (before, now) in self.environment.items()]
        return "; ".join([found, *changed])


def replay_one(result: Result, prepared: Prepared, trial: str, batch_with: BatchWith) -> Replay:
    """Replay one finished trial of a prepared sweep, given by its id or the beginning of it; see `Session.replay`."""
    if batch_with not in get_args(BatchWith):
        allowed = ", ".join(map(repr, get_args(BatchWith)))
        raise ConfigError(f"batch_with={batch_with!r} is not valid: pass one of {allowed}.")
    row = result.trial(trial)
    if row.status != Status.FINISHED or row.width is None:
        raise ConfigError(f"trial {row.id} is {row.status}, so its record is not complete: run the sweep first.")
    width = 1 if batch_with == "none" else row.width
    return replay_many(result, prepared, [row.id], width, batch_with == "neighbours")[0]


def replay_many(
    result: Result, prepared: Prepared, trials: Sequence[str], width: int | None = None, neighbours: bool = True
) -> list[Replay]:
    """Replay finished trials, each compile group's program compiled once.

    Args:
        result: the recorded sweep.
        prepared: the same sweep, analysed.
        trials: ids.
        width: lanes of the tiles; None is each trial's recorded width.
        neighbours: whether tiles are filled as in the whole sweep; else with copies of each trial.
    """
    rows = {row.id: row for row in result.trials()}
    curves = {metric: result.curves(metric) for metric in result.metrics()}
    known, now = result.environments(), describe_environment()
    found: dict[str, Replay] = {}
    setting, groups = prepared.setting, prepared.groups
    widths = {trial: width or rows[trial].width or 1 for trial in trials}
    for share in tiles_to_retrain(setting, groups, widths, neighbours):
        scores, _ = retrain(setting, share, default_workers()[0])
        wide = share.tiles[0].width
        for trial in (t for t in trials if t in scores and widths[t] == wide):
            before = known.get(rows[trial].environment or 0, {})
            other = {name: (before.get(name), now[name]) for name in now if before.get(name) != now[name]}
            compared = _compare({metric: curve[trial] for metric, curve in curves.items()}, scores[trial])
            found[trial] = Replay(trial, wide, *compared, other)
    return [found[trial] for trial in trials]


def _compare(
    recorded: Mapping[str, Sequence[tuple[int, float]]], scores: Mapping[int, Score]
) -> tuple[int, tuple[str, int, float, float] | None, float]:
    """How many scores were compared, the first that differs, and the largest difference."""
    compared, differing, furthest = 0, [], 0.0
    for metric, curve in recorded.items():
        for step, value in curve:
            again = scores[step].metrics[metric]
            compared += 1
            if again != value and not (np.isnan(again) and np.isnan(value)):
                differing.append((metric, step, value, again))
                furthest = max(furthest, abs(again - value))
    return compared, min(differing, key=lambda d: d[1], default=None), furthest
