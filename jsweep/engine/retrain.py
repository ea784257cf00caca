"""Training recorded trials again from their seeds, in the tile program they were trained in."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace

import jax
from jaxtyping import PyTree

from jsweep.engine.carry import take
from jsweep.engine.executors.threads import Work, on_device
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.placement import workers_of
from jsweep.engine.program import compile_tile
from jsweep.engine.tile import Segment, Setting, TileContext, train_tile
from jsweep.planning import Group, Tile
from jsweep.storage.records import Score


def retrain(
    setting: Setting,
    share: Work,
    device: jax.Device,
    *,
    steps: Mapping[str, int] | None = None,
    evaluated: Mapping[str, Set[int]] | None = None,
) -> tuple[dict[str, dict[int, Score]], dict[str, PyTree]]:
    """Train the tiles of one group's share again, each up to the last step that is wanted of its trials.

    Args:
        setting: what all tiles of the sweep share.
        share: the group and its tiles, all of one width.
        device: the device to train on.
        steps: by trial, the evaluation after which its state is wanted; its last one where it is not named.
        evaluated: by trial, the steps at which the record has it evaluated: a trial that was given more steps was evaluated
            at its former end, too.

    Returns:
        The scores by trial and step, and the arrays of every trial's state after those steps.
    """
    wanted = {trial.id: trial.steps for tile in share.tiles for trial in tile.trials} | dict(steps or {})
    width = share.tiles[0].width
    program, _ = compile_tile(setting.task, share.group, width, device, share.window)
    data = on_device(setting, device, share.window is not None)
    context = TileContext(setting, share.group, program, data, device, share.window, also=evaluated or {})
    scores: dict[str, dict[int, Score]] = {}
    states: dict[str, PyTree] = {}
    for tile in share.tiles:
        lanes = {trial.id: lane for lane, trial in enumerate(tile.trials)}
        last = max(wanted[trial.id] for trial in tile.trials)
        for segment in _segments(context, tile):
            for score in segment.scores:
                scores.setdefault(score.trial, {})[score.step] = score
                if score.step == wanted[score.trial]:
                    states[score.trial] = take(segment.carry, lanes[score.trial]).state
            if segment.carry.step >= last:
                break
    return scores, states


def _segments(context: TileContext, tile: Tile) -> Iterator[Segment]:
    """The segments of a tile from its seeds on; what was copied into its lanes is scored as its trials', too."""
    begin = None
    for piece in [*tile.pieces(0), replace(tile, past={})]:
        named = tuple(replace(lived, id=trial.id) for lived, trial in zip(piece.trials, tile.trials, strict=True))
        for segment in train_tile(context, replace(piece, trials=named), begin):
            begin = segment.carry
            yield segment


def tiles_to_retrain(
    setting: Setting, groups: Sequence[Group], widths: Mapping[str, int], neighbours: bool
) -> list[Work]:
    """The tiles that hold given trials, group by group and width by width.

    Args:
        setting: what all tiles of the sweep share.
        groups: the sweep's compile groups.
        widths: the tile width of each trial to train, by its id.
        neighbours: whether to fill the tiles as in the whole sweep; otherwise each trial fills a tile with copies of itself.
    """
    data, device = setting.task.data, workers_of(setting.task)[0]
    shares = []
    for group in groups:
        members = {trial.id: trial for trial in group.trials}
        for width in dict.fromkeys(width for trial, width in widths.items() if trial in members):
            wanted = {trial for trial, own in widths.items() if trial in members and own == width}
            if neighbours:
                tiles = [tile for tile in group.tiles(width) if any(trial.id in wanted for trial in tile.trials)]
            else:
                tiles = [Tile((members[trial],), width) for trial in wanted]
            window = window_rows(group, tiles, data, setting.pairing) if streams(data, device) else None
            shares.append(Work(group, tuple(tiles), window))
    return shares
