"""Replay: train a recorded trial again and say whether it is bit-equal, or where it first differs."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jsweep._runtime.environment import describe_environment
from jsweep.engine.executors.threads import default_workers
from jsweep.engine.retrain import retrain, tiles_to_retrain
from jsweep.errors import ConfigError
from jsweep.runner.run import attach
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.storage.integrity import Verified, sample


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    ``compared`` scores, of which ``difference`` is the first that differs (metric, step, recorded, now), None where all
    are bit-equal; ``furthest`` is the largest distance between a recorded score and its replay. ``environment`` has what
    is other than recorded: name -> (recorded, now).
    """

    trial: str
    width: int
    compared: int
    difference: tuple[str, int, float, float] | None
    furthest: float
    environment: Mapping[str, tuple[Any, Any]]

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


def replay(sweep: Sweep, trial: str, *, batch_with: Literal["neighbours", "copies", "none"] = "neighbours") -> Replay:
    """Train a recorded trial again from its seed and compare every score with the record.

    ``trial`` is its id, or the beginning of it. It trains in the tile width it was recorded with, in the batch_with of
    "neighbours" of its compile group or of "copies" of itself, neither of which may change a bit on CPU; or, with
    "none", in a program of its own that is not vmapped, which may round otherwise. Raises ConfigError for a trial that is
    not recorded whole.
    """
    if batch_with not in ("neighbours", "copies", "none"):
        raise ConfigError(f"batch_with={batch_with!r} is none of 'neighbours', 'copies' and 'none': give one of them.")
    with attach(sweep) as result:
        row = result.trial(trial)
        if row.status != "finished" or row.width is None:
            raise ConfigError(
                f"trial {row.id} is {row.status}, so there is nothing whole to compare: run the sweep first."
            )
        width = 1 if batch_with == "none" else row.width
        return replay_many(result, [row.id], width, batch_with == "neighbours")[0]


def replay_many(
    result: Session, trials: Sequence[str], width: int | None = None, neighbours: bool = True
) -> list[Replay]:
    """Replay finished trials of an attached result, each compile group's program compiled once.

    ``width`` None is each trial's recorded one. Without ``neighbours`` each trains among copies of itself.
    """
    rows = {row.id: row for row in result.trials()}
    curves = {metric: result.curves(metric) for metric in result.metrics()}
    known, now = result.environments(), describe_environment()
    found: dict[str, Replay] = {}
    setting, groups = result.prepared.setting, result.prepared.groups
    for share in tiles_to_retrain(
        setting, groups, {trial: width or rows[trial].width or 1 for trial in trials}, neighbours
    ):
        scores, _ = retrain(setting, share, default_workers()[0])
        wide = share.tiles[0].width
        for trial in (t for t in trials if t in scores and (width or rows[t].width) == wide):
            before = known.get(rows[trial].environment or 0, {})
            other = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]}
            compared = _compare({metric: curve[trial] for metric, curve in curves.items()}, scores[trial])
            found[trial] = Replay(trial, wide, *compared, other)
    return [found[trial] for trial in trials]


def verify_against(found: Verified, sweep: Sweep, count: int) -> Verified:
    """Add to ``found`` whether every trial of ``sweep`` is recorded, and what replaying ``count`` of them shows."""
    with attach(sweep) as result:
        rows = result.trials()
        replayed = replay_many(result, sample([row.id for row in rows if row.status == "finished"], count))
    faults = [
        f"trial {trial} is asked for and not recorded" for trial in sorted(result.trial_ids - {r.id for r in rows})
    ]
    faults += [f"trial {row.id} is {row.status}" for row in rows if row.status != "finished"]
    faults += [str(one) for one in replayed if one.difference is not None]
    return dataclasses.replace(found, replayed=len(replayed), faults=(*found.faults, *faults))


def _compare(recorded: Mapping[str, Any], scores: Mapping[int, Any]) -> tuple[int, Any, float]:
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
