"""Training one tile: from its trials' seeds to scores, segment by segment."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, PyTree, UInt32

from jsweep._runtime.prng import SOURCES, config_key_data, trial_keys
from jsweep.engine.carry import Carry
from jsweep.engine.input_pipeline import InputPipeline
from jsweep.engine.placement import placement
from jsweep.engine.program import Batches, Lanes, Steps, Tally, TileProgram, sums_dtype
from jsweep.planning import Group, Tile
from jsweep.storage.records import Score, Scores, Trial, scores_of
from jsweep.task.task import Task


@dataclass(frozen=True)
class Setting:
    """What all tiles of a sweep share.

    Attributes:
        task: the task.
        root: the data of the sweep's root key.
        pairing: "common" where trials of one seed share their randomness across configs, else "independent".
        evaluate_every: steps between evaluations.
        vary: what trials' seeds decide, of `SOURCES`; all else is that of seed 0.
    """

    task: Task
    root: UInt32[np.ndarray, "2"]
    pairing: str
    evaluate_every: int
    vary: tuple[str, ...] = SOURCES


@dataclass(frozen=True)
class Segment:
    """The end of a segment of a tile.

    Attributes:
        scores: of the trials that were evaluated.
        carry: what training goes on from.
        last: whether all of the tile's trials have trained to their ends.
        steps_done: the steps trained in this segment, summed over the trials.
    """

    scores: Sequence[Score]
    carry: Carry
    last: bool
    steps_done: int

    @property
    def state(self) -> PyTree:
        """The task's state, with the lanes on the leading axis."""
        return self.carry.state


@dataclass(frozen=True)
class OnDevice:
    """The splits on a tile's device; ``train`` is None where it is streamed."""

    train: PyTree
    validation: PyTree


@dataclass(frozen=True)
class TileContext:
    """What the tiles of one program on one device share.

    Attributes:
        setting: what all tiles of the sweep share.
        group: the compile group.
        program: its compiled programs.
        data: the splits on the device.
        device: the device.
        window: rows of a window of streamed training examples; None where they are on the device.
        on_call: called after every finished call of the training program, by the training thread.
        also: by trial, further steps after which it is evaluated: those of a trial that was given more steps.
    """

    setting: Setting
    group: Group
    program: TileProgram
    data: OnDevice
    device: jax.Device
    window: int | None = None
    on_call: Callable[[], None] = lambda: None
    also: Mapping[str, Set[int]] = field(default_factory=dict)

    @property
    def where(self) -> jax.sharding.Sharding:
        """Where its arrays are."""
        return placement(self.setting.task, self.device)


def train_tile(
    context: TileContext,
    tile: Tile,
    begin: Carry | None = None,
) -> Iterator[Segment]:
    """Train the trials of one tile, to their ends or until ``tile.until``, yielding at each segment's end.

    What was copied into it is trained first, from where ``begin`` stands, and nothing is yielded of that.

    Args:
        context: the program, the data and the device.
        tile: the trials.
        begin: the carry of a checkpoint to resume from; None starts from the seeds. Trials that end where it stands are
            evaluated there.
    """
    if begin is not None and begin.width != tile.width:  # other widths are other programs, and give other bits
        raise ValueError(f"a tile of {tile.width} lanes cannot go on from one of {begin.width}.")
    for piece in tile.pieces(0 if begin is None else begin.step):
        for segment in train_tile(context, piece, begin):
            begin = segment.carry
    lanes, watched, carry, pipeline = _start(context, tile)
    if begin is not None:
        state = jax.tree.map(lambda leaf, begun: jax.device_put(leaf, begun.sharding), begin.state, carry.state)
        sums, first = jax.device_put((begin.sums, begin.first_nonfinite_step), context.where)
        carry = Carry(*begin.position, state, sums, first)
    every = context.setting.evaluate_every
    more = {step for trial in tile.trials for step in context.also.get(trial.id, ()) if step % every}
    ends_here = begin is not None and any(trial.steps == carry.step for trial in tile.trials)
    stop = carry.step if ends_here else next_stop(carry.step, tile.trials, every, more)
    while stop is not None and (tile.until is None or stop <= tile.until):
        begun = carry.step
        carry = _train_to(stop, context, lanes, carry, pipeline) if stop > begun else carry
        running = [trial for trial in tile.trials if trial.steps >= stop]
        scores = _evaluate(context, tile, lanes, watched, carry)
        stop = next_stop(carry.step, tile.trials, every, more)
        yield Segment(scores, carry, stop is None, (carry.step - begun) * len(running))


class _Start(NamedTuple):
    """A tile at step 0; ``watched`` are the leaves of each lane's state that are finite there."""

    lanes: Lanes
    watched: Bool[jax.Array, "lanes leaves"]
    carry: Carry
    pipeline: InputPipeline


def _start(context: TileContext, tile: Tile) -> _Start:
    """The tile at step 0, from its trials' seeds."""
    setting, group = context.setting, context.group
    values = jax.device_put(group.lane_values(tile.lanes), context.where)
    config_data = config_key_data([trial.config_id for trial in tile.lanes], setting.pairing)
    folds = setting.task.data.folds
    seeds = np.array([trial.seed // (folds.count if folds else 1) for trial in tile.lanes], np.uint32)
    seeds = seeds[:, None] * np.array([source in setting.vary for source in SOURCES], np.uint32)
    for_init, order, noise = trial_keys(setting.root, seeds, config_data)
    state, watched = context.program.init(jax.device_put(for_init, context.where), values)
    task, train = setting.task, context.data.train
    pipeline = InputPipeline(task, group, tile.lanes, order, resident=train, window=context.window, where=context.where)
    carry = Carry(0, 0, tile.width, state, _zero_sums(context), np.full(tile.width, -1, np.int32))
    return _Start(Lanes(values, jax.device_put(noise, context.where)), watched, carry, pipeline)


def _train_to(stop: int, context: TileContext, lanes: Lanes, carry: Carry, pipeline: InputPipeline) -> Carry:
    """Train until step ``stop``, call by call; ``carry.state`` gives its memory to the result."""
    step, since, state, sums, first = carry.step, carry.since, carry.state, carry.sums, carry.first_nonfinite_step
    if step % context.setting.evaluate_every == 0:
        sums, since = _zero_sums(context), step
    while step < stop:
        count = min(pipeline.most_steps, stop - step)
        batches = Batches(*pipeline.take(step, count))
        before = first
        state, sums, first = context.program.train(
            lanes, state, Tally(sums, first), batches, Steps(np.int32(step), np.int32(count))
        )
        jax.block_until_ready(before)  # while one call runs the next is prepared, and no more wait
        context.on_call()
        step += count
    return Carry(step, since, carry.width, state, sums, first)


def _zero_sums(context: TileContext) -> dict[str, Float[np.ndarray, " lanes"]]:
    width = context.program.width
    return {name: np.zeros(width, sums_dtype()) for name in context.group.traced.train_metrics}


def next_stop(step: int, trials: Sequence[Trial], evaluate_every: int, more_stops: Collection[int] = ()) -> int | None:
    """The next step at which a tile is evaluated: every ``evaluate_every``, and where one of its trials ends; None at the end.

    Args:
        step: the step that it has reached.
        trials: its trials.
        evaluate_every: steps between evaluations.
        more_stops: steps at which it is evaluated, too.
    """
    ends = [trial.steps for trial in trials if trial.steps > step]
    if not ends:
        return None
    more = (stop for stop in more_stops if step < stop < max(ends))
    return min((step // evaluate_every + 1) * evaluate_every, *ends, *more)


def count_stops(trials: Sequence[Trial], evaluate_every: int) -> int:
    """How often a tile is evaluated from its start to its end."""
    ends = {trial.steps for trial in trials}
    return max(ends) // evaluate_every + sum(end % evaluate_every != 0 for end in ends)


def _evaluate(
    context: TileContext, tile: Tile, lanes: Lanes, watched: Bool[jax.Array, "lanes leaves"], carry: Carry
) -> Scores:
    """The scores of the trials that are due at the carry's step; NaN where the state has become NaN or infinite."""
    step, every = carry.step, context.setting.evaluate_every
    folds = context.setting.task.data.folds
    rows = (
        () if folds is None else (np.stack([folds.validation[folds.of(t.seed)] for t in tile.lanes]).astype(np.int32),)
    )
    measured, sound = jax.device_get(
        context.program.evaluate(lanes.values, carry.state, watched, *rows, context.data.validation)
    )
    sums, first = jax.device_get((carry.sums, carry.first_nonfinite_step))
    first = np.where((first < 0) & ~sound, step, first)
    measured = {name: np.where(sound, values.astype(np.float64), np.nan) for name, values in measured.items()}
    metrics = {f"train/{name}": total / total.dtype.type(step - carry.since) for name, total in sums.items()}
    metrics |= {f"validation/{name}": values for name, values in measured.items()}
    ends = np.array([trial.steps for trial in tile.trials])
    due = (ends == step) | ((ends > step) & (step % every == 0))
    if context.also:
        due |= np.array([step in context.also.get(trial.id, ()) for trial in tile.trials])
    at = np.flatnonzero(due)
    values = {name: np.asarray(own).astype(np.float64)[at] for name, own in metrics.items()}
    trials = [tile.trials[lane].id for lane in at.tolist()]
    return scores_of(trials, step, values, np.asarray(first)[at].astype(np.int64), ends[at] == step)
