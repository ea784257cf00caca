"""Training one tile: from its trials' seeds to scores, segment by segment."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import jax
import numpy as np
from jaxtyping import Float32, PyTree, UInt32

from jsweep._runtime.prng import config_key_data
from jsweep.engine.carry import Carry
from jsweep.engine.input_pipeline import InputPipeline
from jsweep.engine.program import Batches, Lanes, Steps, Tally, TileProgram
from jsweep.planning import Group, Tile
from jsweep.storage.records import Score, Trial
from jsweep.task.task import Task


@dataclass(frozen=True)
class Setting:
    """What all tiles of a sweep share.

    Attributes:
        task: the task.
        root: the data of the sweep's root key.
        pairing: "common" where trials of one seed share their randomness across configs, else "independent".
        evaluate_every: steps between evaluations.
    """

    task: Task
    root: UInt32[np.ndarray, "2"]
    pairing: str
    evaluate_every: int


@dataclass(frozen=True)
class Segment:
    """The end of a segment of a tile.

    Attributes:
        scores: of the trials that were evaluated.
        carry: what training goes on from.
        last: whether the tile has no further segment.
        steps_done: the steps trained in this segment, summed over the trials.
    """

    scores: tuple[Score, ...]
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


def train_tile(
    context: TileContext,
    tile: Tile,
    begin: Carry | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Segment]:
    """Train the trials of one tile, yielding at each segment's end.

    Args:
        context: the program, the data and the device.
        tile: the trials.
        begin: the carry of a checkpoint to resume from; None starts from the seeds.
        should_stop: asked after every segment; training ends when it answers True.
    """
    lanes, carry, pipeline = _start(context, tile)
    if begin is not None:
        state, sums, first = jax.device_put((begin.state, begin.sums, begin.first_nonfinite_step), context.device)
        carry = Carry(begin.step, begin.since, state, sums, first)
    further = {step for trial in tile.trials for step in context.also.get(trial.id, ())}
    stops = sorted({*stops_of(tile.trials, context.setting.evaluate_every), *further})
    stops = [stop for stop in stops if stop > carry.step]
    for stop in stops:
        begun = carry.step
        carry = _train_to(stop, context, lanes, carry, pipeline)
        running = [trial for trial in tile.trials if trial.steps >= stop]
        scores = _evaluate(context, tile, lanes, carry)
        yield Segment(scores, carry, stop == stops[-1], (stop - begun) * len(running))
        if should_stop():
            return


def _start(context: TileContext, tile: Tile) -> tuple[Lanes, Carry, InputPipeline]:
    """The tile at step 0, from its trials' seeds."""
    setting, group = context.setting, context.group
    values = jax.device_put(group.lane_values(tile.lanes), context.device)
    config_data = np.stack([config_key_data(trial.config_id, setting.pairing) for trial in tile.lanes])
    seeds = np.array([trial.seed for trial in tile.lanes], np.uint32)
    # The compiled program puts small arrays on its device.
    state, noise, order = context.program.init(setting.root, seeds, config_data, values)
    pipeline = InputPipeline(
        setting.task, group, tile.lanes, np.asarray(order), resident=context.data.train, window=context.window
    )
    carry = Carry(0, 0, state, _zero_sums(context), np.full(tile.width, -1, np.int32))
    return Lanes(values, noise), carry, pipeline


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
    return Carry(step, since, state, sums, first)


def _zero_sums(context: TileContext) -> dict[str, Float32[np.ndarray, " lanes"]]:
    width = context.program.width
    return {name: np.zeros(width, np.float32) for name in context.group.traced.train_metrics}


def stops_of(trials: Sequence[Trial], evaluate_every: int) -> list[int]:
    """The steps at which a tile is evaluated: every ``evaluate_every``, and where one of its trials ends."""
    longest = max(trial.steps for trial in trials)
    regular = set(range(evaluate_every, longest + 1, evaluate_every))
    return sorted(regular | {trial.steps for trial in trials})


def _evaluate(context: TileContext, tile: Tile, lanes: Lanes, carry: Carry) -> tuple[Score, ...]:
    """The scores of the trials that are due at the carry's step."""
    step, every = carry.step, context.setting.evaluate_every
    measured = jax.device_get(context.program.evaluate(lanes.values, carry.state, context.data.validation))
    sums, first = jax.device_get((carry.sums, carry.first_nonfinite_step))
    metrics = {f"train/{name}": total / np.float32(step - carry.since) for name, total in sums.items()}
    metrics |= {f"validation/{name}": values for name, values in measured.items()}
    return tuple(
        _score(trial, step, {name: float(values[lane]) for name, values in metrics.items()}, int(first[lane]))
        for lane, trial in enumerate(tile.trials)
        if trial.steps == step or (trial.steps > step and step % every == 0) or step in context.also.get(trial.id, ())
    )


def _score(trial: Trial, step: int, metrics: Mapping[str, float], first_nonfinite_step: int) -> Score:
    nonfinite = first_nonfinite_step if first_nonfinite_step >= 0 else None
    if nonfinite is None and not np.isfinite(list(metrics.values())).all():
        nonfinite = step
    return Score(trial.id, step, dict(metrics), nonfinite, trial.steps == step)
