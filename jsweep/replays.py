"""Replay: train a recorded trial again and say whether it is bit-equal, or where it first differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jsweep.engine.feed import streams, window_rows
from jsweep.engine.replay import replay_trials
from jsweep.engine.run import Work, default_workers
from jsweep.environment import describe_environment
from jsweep.errors import UserError
from jsweep.planning import Tile
from jsweep.results import Result
from jsweep.running import attach
from jsweep.sweeps import Prepared, Sweep


@dataclass(frozen=True)
class Replay:
    """What a replay found: scores compared, the first that differs (metric, step, recorded, now), and other versions."""

    trial: str
    width: int
    compared: int
    difference: tuple[str, int, float, float] | None
    environment: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        if self.difference is None:
            found = f"trial {self.trial}: bit-equal in {self.compared} scores, in tiles of {self.width}"
        else:
            metric, step, before, now = self.difference
            found = f"trial {self.trial}: {metric} at step {step} was {before!r} and is {now!r} now"
        changed = [f"{name} was {before} and is {now}" for name, (before, now) in self.environment.items()]
        return "; ".join([found, *changed])


def replay(sweep: Sweep, trial: str, alone: bool = False) -> Replay:
    """Train a recorded trial again from its seed, in the tile width it was recorded with, and compare every score.

    ``trial`` is its id, or the beginning of it. Its companions are its first neighbours of the same compile group or, with
    ``alone``, copies of itself; neither may change a bit. Raises UserError for a trial that is not recorded.
    """
    result = attach(sweep)
    matching = [row for row in result.trials() if row.id.startswith(trial)]
    if len(matching) != 1:
        raise UserError(
            f"{trial!r} fits {len(matching)} trials of {result.name!r}: give an id from jsweep show --json."
        )
    row = matching[0]
    if row.status != "finished" or row.width is None:
        raise UserError(f"trial {row.id} is {row.status}, so there is nothing whole to compare: run the sweep first.")
    share = _tile_with(result.prepared, row.id, row.width, alone)
    scores, _ = replay_trials(result.prepared, share, default_workers()[0])
    difference, compared = _first_difference(result, row.id, scores[row.id])
    now = describe_environment()
    before = result.environments().get(row.environment or 0, {})
    other = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]}
    return Replay(row.id, row.width, compared, difference, other)


def _tile_with(prepared: Prepared, trial: str, width: int, alone: bool) -> Work:
    group = next(group for group in prepared.groups if any(t.id == trial for t in group.trials))
    tile = next(tile for tile in group.tiles(width) if any(t.id == trial for t in tile.trials))
    if alone:
        tile = Tile(tuple(t for t in tile.trials if t.id == trial), width)
    data, device = prepared.setting.task.data, default_workers()[0]
    window = window_rows(group, [tile], data, prepared.sweep.pairing) if streams(data, device) else None
    return Work(group, (tile,), window)


def _first_difference(result: Result, trial: str, scores: Mapping[int, Any]) -> tuple[Any, int]:
    found, compared = [], 0
    for metric in result.metrics():
        for step, value in result.curves(metric)[trial]:
            again = scores[step].metrics[metric]
            compared += 1
            if again != value and not (np.isnan(again) and np.isnan(value)):
                found.append((metric, step, value, again))
    return min(found, key=lambda d: d[1], default=None), compared
