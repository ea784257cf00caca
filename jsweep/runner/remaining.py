"""What is left of a sweep to train, divided into tiles: those of a checkpoint together, in the width they had."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import jax

from jsweep.engine.executors.threads import Work
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.tile_size import choose_width
from jsweep.planning import Group, Tile
from jsweep.runner.prepare import Prepared
from jsweep.storage import Checkpoint, Trial
from jsweep.storage.standing import TrialState, Wanted, recorded_of, resumes_from


@dataclass(frozen=True)
class Remaining:
    """A sweep, the trials of it that are ``left`` to train, those that others hold, and what the record has of them."""

    prepared: Prepared
    left: Set[str]
    states: Mapping[str, TrialState] = field(default_factory=dict)
    checkpoints: Sequence[Checkpoint] = ()
    held: Set[str] = frozenset()


def divide(remaining: Remaining, workers: Sequence[jax.Device]) -> list[Work]:
    """Each compile group's trials that are left, in tiles."""
    shares = []
    prepared, states = remaining.prepared, remaining.states
    data = prepared.setting.task.data
    streamed = streams(data, workers[0])
    widths = {trial: state.width for trial, state in states.items() if state.width}
    for group in prepared.groups:
        left = {trial.id: trial for trial in group.trials if trial.id in remaining.left}
        tiles = _interrupted(group, left, widths, remaining)
        if left:
            recorded = next((widths[trial.id] for trial in group.trials if trial.id in widths), None)
            width = choose_width(prepared.setting.task, group, recorded, prepared.sweep.tile, workers)
            tiles += replace(group, trials=tuple(left.values())).tiles(width)
        window = window_rows(group, tiles, data, prepared.sweep.pairing) if streamed and tiles else None
        shares.append(Work(group, tuple(tiles), window))
    return shares


def _interrupted(group: Group, left: dict[str, Trial], widths: Mapping[str, int], remaining: Remaining) -> list[Tile]:
    """Take the trials that have a checkpoint to resume from out of ``left``, in tiles that resume from the same step."""
    every = remaining.prepared.setting.evaluate_every
    ended_alike: dict[tuple[int, int], list[Trial]] = {}
    tiles = []

    def resumes(trial: str, step: int) -> bool:
        if trial not in left or trial not in widths:
            return False
        end = left[trial].steps
        recorded = recorded_of(remaining.states[trial], Wanted(end, fixed="steps" in group.traced.reads))
        return resumes_from(step, recorded, end, every)

    for row in remaining.checkpoints:  # those of the most steps first
        members = [left.pop(trial) for trial in row.members if resumes(trial, row.step)]
        if members and row.finished:
            ended_alike.setdefault((row.step, widths[members[0].id]), []).extend(members)
        elif members:
            tiles.append(Tile(tuple(members), widths[members[0].id]))
    for (_, width), trials in ended_alike.items():
        tiles += replace(group, trials=tuple(trials)).tiles(width)
    return tiles
