"""What is left of a sweep to train, divided into tiles: those of a checkpoint together, in the width they had."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import jax

from jsweep.engine.executors.threads import Work
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.tile_size import choose_width
from jsweep.planning import Group, Tile
from jsweep.runner.prepare import Prepared
from jsweep.storage import Checkpoint, Trial


@dataclass(frozen=True)
class Remaining:
    """A sweep, its trials that have ``ended``, and what the record has of the others."""

    prepared: Prepared
    ended: Set[str]
    rows: Sequence[Trial]
    checkpoints: Sequence[Checkpoint] = ()


def divide(remaining: Remaining, workers: Sequence[jax.Device]) -> list[Work]:
    """Each compile group's trials that have not ended, in tiles."""
    shares = []
    prepared = remaining.prepared
    data = prepared.setting.task.data
    streamed = streams(data, workers[0])
    widths = {trial.id: trial.width for trial in remaining.rows if trial.width}
    for group in prepared.groups:
        left = {trial.id: trial for trial in group.trials if trial.id not in remaining.ended}
        tiles = _interrupted(group, left, widths, remaining.checkpoints)
        if left:
            recorded = next((widths[trial.id] for trial in group.trials if trial.id in widths), None)
            width = choose_width(prepared.setting.task, group, recorded, prepared.sweep.tile, workers)
            tiles += replace(group, trials=tuple(left.values())).tiles(width)
        window = window_rows(group, tiles, data, prepared.sweep.pairing) if streamed and tiles else None
        shares.append(Work(group, tuple(tiles), window))
    return shares


def _interrupted(
    group: Group, left: dict[str, Trial], widths: Mapping[str, int], checkpoints: Sequence[Checkpoint]
) -> list[Tile]:
    """Take the trials that have a checkpoint out of ``left``, in tiles that resume from the same step."""
    ended_alike: dict[tuple[int, int], list[Trial]] = {}
    tiles = []
    for row in checkpoints:  # those of the most steps first
        members = [left.pop(trial) for trial in row.trials if trial in left and trial in widths]
        if members and row.finished:
            ended_alike.setdefault((row.step, widths[members[0].id]), []).extend(members)
        elif members:
            tiles.append(Tile(tuple(members), widths[members[0].id]))
    for (_, width), trials in ended_alike.items():
        tiles += replace(group, trials=tuple(trials)).tiles(width)
    return tiles
