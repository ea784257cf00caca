"""Training one tile: from its trials' seeds to scores, segment by segment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jsweep._runtime.prng import config_words
from jsweep.engine.input_pipeline import Feed
from jsweep.engine.program import TileProgram
from jsweep.planning import Group, Tile
from jsweep.storage.records import Score, Trial
from jsweep.task.task import Task


@dataclass(frozen=True)
class Setting:
    """What all tiles of a sweep share: the task, the root key's words, pairing, and steps between evaluations."""

    task: Task
    root: np.ndarray
    pairing: str
    evaluate_every: int


@dataclass(frozen=True)
class Carry:
    """All that training goes on from after ``step`` steps; every array has the lanes on its leading axis.

    ``sums`` are of the training metrics since step ``since``, ``bad`` is the first step that was not finite, or -1.
    """

    step: int
    since: int
    state: Any
    sums: Any
    bad: Any


@dataclass(frozen=True)
class Segment:
    """The end of a segment of a tile: scores of the trials looked at, and what training goes on from."""

    scores: tuple[Score, ...]
    carry: Carry
    last: bool
    steps_done: int

    @property
    def state(self) -> Any:
        """The stacked state."""
        return self.carry.state


@dataclass(frozen=True)
class OnDevice:
    """The data a tile trains on (None: it is streamed) and is scored by, on its device."""

    train: Any
    validation: Any


def train_tile(
    setting: Setting,
    group: Group,
    tile: Tile,
    program: TileProgram,
    data: OnDevice,
    device: jax.Device,
    window: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    begin: Carry | None = None,
) -> Iterator[Segment]:
    """Train the trials of one tile, from their seeds or from ``begin``, yielding at each segment's end.

    ``window`` is the rows of a streamed window (None: the training split is on the device).
    """
    trials, every = tile.trials, setting.evaluate_every
    put = lambda value: jax.device_put(value, device)
    lanes = put(group.lane_values(tile.lanes))
    words = np.stack([config_words(trial.config_id, setting.pairing) for trial in tile.lanes])
    seeds = np.array([trial.seed for trial in tile.lanes], np.uint32)
    state, noise, order = program.init(setting.root, seeds, words, lanes)  # which puts small arrays where they belong
    feed = Feed(setting.task, group, tile.lanes, np.asarray(order), data.train, window)
    zero = {name: np.zeros(tile.width, np.float32) for name in group.traced.train_metrics}
    sums, bad = zero, np.full(tile.width, -1, np.int32)
    step, since = 0, 0
    if begin is not None:
        state, sums, bad = put((begin.state, begin.sums, begin.bad))
        step, since = begin.step, begin.since
    stops = [stop for stop in stops_of(trials, every) if stop > step]
    for stop in stops:
        begun = step
        if step % every == 0:
            sums, since = zero, step
        while step < stop:
            count = min(feed.most_steps, stop - step)
            examples, rows = feed.take(step, count)
            before = bad
            state, sums, bad = program.train(
                lanes, noise, state, sums, bad, examples, rows, np.int32(step), np.int32(count)
            )
            jax.block_until_ready(before)  # one call runs while the next is fed, and no more wait
            step += count
        measured = jax.device_get(program.evaluate(lanes, state, data.validation))
        totals, first_bad = jax.device_get((sums, bad))
        means = {name: total / np.float32(stop - since) for name, total in totals.items()}
        running = [lane for lane, trial in enumerate(trials) if trial.steps >= stop]
        due = [lane for lane in running if trials[lane].steps == stop or stop % every == 0]
        scores = tuple(_score(trials[lane], lane, stop, means, measured, first_bad) for lane in due)
        carry = Carry(stop, since, state, sums, bad)
        yield Segment(scores, carry, stop == stops[-1], (stop - begun) * len(running))
        if should_stop():
            return


def stops_of(trials: Sequence[Trial], evaluate_every: int) -> list[int]:
    """The steps at which a tile is looked at: every ``evaluate_every``, and where one of its trials ends."""
    longest = max(trial.steps for trial in trials)
    regular = set(range(evaluate_every, longest + 1, evaluate_every))
    return sorted(regular | {trial.steps for trial in trials})


def _score(
    trial: Trial,
    lane: int,
    step: int,
    means: dict[str, np.ndarray],
    measured: dict[str, np.ndarray],
    bad: np.ndarray,
) -> Score:
    metrics = {f"train/{name}": float(values[lane]) for name, values in means.items()}
    metrics |= {f"validation/{name}": float(values[lane]) for name, values in measured.items()}
    nonfinite = int(bad[lane]) if bad[lane] >= 0 else None
    if nonfinite is None and not all(np.isfinite(list(metrics.values()))):
        nonfinite = step
    return Score(trial.id, step, metrics, nonfinite, trial.steps == step)
