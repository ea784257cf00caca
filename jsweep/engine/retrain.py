"""Training recorded trials again from their seeds, in the tile program they were trained in."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jsweep.engine.executors.threads import Work, default_workers, on_device
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.program import lower_tile
from jsweep.engine.tile import Setting, train_tile
from jsweep.planning import Group, Tile
from jsweep.storage.records import Score


def retrain(setting: Setting, share: Work, device: jax.Device) -> tuple[dict[str, dict[int, Score]], dict[str, Any]]:
    """Train the tiles of one group's share again: scores by trial and step, and every trial's state at its end.

    The tiles are of one width.
    """
    width = share.tiles[0].width
    program = lower_tile(setting.task, share.group, width, device, share.window).compile()
    data = on_device(setting, device, share.window is not None)
    scores: dict[str, dict[int, Score]] = {}
    states: dict[str, Any] = {}
    for tile in share.tiles:
        lane = {trial.id: place for place, trial in enumerate(tile.trials)}
        for segment in train_tile(setting, share.group, tile, program, data, device, share.window):
            for score in segment.scores:
                scores.setdefault(score.trial, {})[score.step] = score
                if score.finished:
                    states[score.trial] = jax.tree.map(lambda a, i=lane[score.trial]: a[i], segment.state)
    return scores, states


def tiles_to_retrain(
    setting: Setting, groups: Sequence[Group], widths: Mapping[str, int], neighbours: bool
) -> list[Work]:
    """The tiles that hold the trials of ``widths`` (id -> tile width), group by group and width by width.

    With ``neighbours`` they are those of the whole sweep; without, each trial fills a tile of its own with copies.
    """
    data, device = setting.task.data, default_workers()[0]
    shares = []
    for group in groups:
        members = {trial.id: trial for trial in group.trials}
        for wide in dict.fromkeys(width for trial, width in widths.items() if trial in members):
            wanted = {trial for trial, width in widths.items() if trial in members and width == wide}
            if neighbours:
                tiles = [tile for tile in group.tiles(wide) if any(trial.id in wanted for trial in tile.trials)]
            else:
                tiles = [Tile((members[trial],), wide) for trial in wanted]
            window = window_rows(group, tiles, data, setting.pairing) if streams(data, device) else None
            shares.append(Work(group, tuple(tiles), window))
    return shares
