"""Training one tile: from its trials' seeds to scores, segment by segment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jsweep.data import batch_indices, count_examples
from jsweep.engine.program import STEPS_PER_CALL, TileProgram
from jsweep.keys import config_words
from jsweep.planning import Group, Trial
from jsweep.task import Task


@dataclass(frozen=True)
class Setting:
    """What all tiles of a sweep share: the task, the root key's words, pairing, and steps between evaluations."""

    task: Task
    root: np.ndarray
    pairing: str
    evaluate_every: int


@dataclass(frozen=True)
class Score:
    """One trial's metrics after ``step`` steps, by name ("validation/loss"); ``nonfinite`` is the step NaN began."""

    trial: str
    step: int
    metrics: dict[str, float]
    nonfinite: int | None
    finished: bool


@dataclass(frozen=True)
class Segment:
    """The end of a segment of a tile: scores of the trials looked at, and the stacked state."""

    step: int
    scores: tuple[Score, ...]
    state: Any
    lanes_running: int
    steps_done: int


@dataclass(frozen=True)
class OnDevice:
    """The data a tile trains on and is scored by, on its device."""

    train: Any
    validation: Any


def train_tile(
    setting: Setting,
    group: Group,
    trials: Sequence[Trial],
    program: TileProgram,
    data: OnDevice,
    device: jax.Device,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Segment]:
    """Train the trials of one tile from their seeds, yielding at each segment's end.

    Empty places of the tile are filled with copies of its trials, whose results are dropped: a copy costs what any
    filling would and can do no numerical harm.
    """
    padded = [trials[i % len(trials)] for i in range(program.width)]
    put = lambda value: jax.device_put(value, device)
    lanes = put(group.lane_values(padded))
    words = np.stack([config_words(trial.config_id, setting.pairing) for trial in padded])
    seeds = np.array([trial.seed for trial in padded], np.uint32)
    state, noise, order = program.init(put(setting.root), put(seeds), put(words), lanes)
    rows = RowSource(np.asarray(order), padded, group, count_examples(setting.task.data.train))
    zero = {name: np.zeros(program.width, np.float32) for name in group.traced.train_metrics}
    sums, bad = put(zero), put(np.full(program.width, -1, np.int32))
    step, since = 0, 0
    for stop in stops_of(trials, setting.evaluate_every):
        begun = step
        while step < stop:
            count = min(STEPS_PER_CALL, stop - step)
            indices = put(rows.take(step, count))
            state, sums, bad = program.train(
                lanes, noise, state, sums, bad, data.train, indices, np.int32(step), np.int32(count)
            )
            step += count
        measured = jax.device_get(program.evaluate(lanes, state, data.validation))
        totals, first_bad = jax.device_get((sums, bad))
        means = {name: total / np.float32(stop - since) for name, total in totals.items()}
        running = [lane for lane, trial in enumerate(trials) if trial.steps >= stop]
        due = [lane for lane in running if trials[lane].steps == stop or stop % setting.evaluate_every == 0]
        scores = tuple(_score(trials[lane], lane, stop, means, measured, first_bad) for lane in due)
        yield Segment(stop, scores, state, len(running), (stop - begun) * len(running))
        if stop % setting.evaluate_every == 0:
            sums, since = put(zero), stop
        if should_stop():
            return


def stops_of(trials: Sequence[Trial], evaluate_every: int) -> list[int]:
    """The steps at which a tile is looked at: every ``evaluate_every``, and where one of its trials ends."""
    longest = max(trial.steps for trial in trials)
    regular = set(range(evaluate_every, longest + 1, evaluate_every))
    return sorted(regular | {trial.steps for trial in trials})


class RowSource:
    """Which examples each lane sees at each step; lanes of one order key share the work of drawing it."""

    def __init__(self, order: np.ndarray, trials: Sequence[Trial], group: Group, examples: int):
        self.words = [(int(a), int(b)) for a, b in order]
        self.sizes = [trial.config.get("batch_size", group.rows) for trial in trials]
        self.rows, self.examples = group.rows, examples

    def take(self, start: int, count: int) -> np.ndarray:
        """int32 of shape (STEPS_PER_CALL, lanes, rows); what lies past ``count`` steps or a lane's batch is 0."""
        taken = np.zeros((STEPS_PER_CALL, len(self.words), self.rows), np.int32)
        drawn: dict[Any, np.ndarray] = {}
        for lane, (words, size) in enumerate(zip(self.words, self.sizes, strict=True)):
            if (words, size) not in drawn:
                drawn[words, size] = batch_indices(words, self.examples, size, start, count)
            taken[:count, lane, :size] = drawn[words, size]
        return taken


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
