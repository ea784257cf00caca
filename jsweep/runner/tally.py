"""What a run has trained so far: steps, trials, speed, and the best config by the sweep's objective."""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jsweep._runtime.types import Mode, Value
from jsweep.results.ranking import ConfigScore
from jsweep.storage.records import Status, Trial
from jsweep.storage.standing import ENDED, TrialState

WINDOW_SECONDS = 60.0  # the speed is that of the last minute


@dataclass(frozen=True)
class Best:
    """The best config so far: its mean over seeds of the objective."""

    mean: float
    seeds: int
    config: Mapping[str, Value]


class Scoreboard:
    """The best config by a metric, among the configs whose every seed has finished with a finite value.

    Args:
        trials: the trials asked for.
        metric: the objective's metric ("validation/loss").
        mode: which of its values are better; None where that is not known, and then no config is the best.
    """

    def __init__(self, trials: Iterable[Trial], metric: str, mode: Mode | None):
        self.metric, self.mode = metric, mode
        self._trials: dict[str, Trial] = {}
        self._missing: dict[str, int] = {}
        self.configs = 0
        self._values: dict[str, dict[str, float]] = {}
        self.extend(trials)
        self.complete = self.diverged = 0
        self.best: Best | None = None

    def extend(self, trials: Iterable[Trial]) -> None:
        """Expect more trials, of other configs."""
        for trial in trials:
            if trial.id not in self._trials:
                self._trials[trial.id] = trial
                self.configs += trial.config_id not in self._missing
                self._missing[trial.config_id] = self._missing.get(trial.config_id, 0) + 1

    def add(self, trial: str, value: float, trained: Mapping[str, Value]) -> None:
        """Enter the value of the metric that a trial ended with, and the config that it was ``trained`` with last."""
        config = self._trials[trial].config_id
        values = self._values.setdefault(config, {})
        if trial in values:
            return
        values[trial] = value
        self._missing[config] -= 1
        if self._missing[config]:
            return
        del self._values[config]
        if not all(math.isfinite(value) for value in values.values()):
            self.diverged += 1
            return
        self.complete += 1
        mean = statistics.mean(values.values())
        if self.mode is not None and (self.best is None or self._is_better(mean, self.best.mean)):
            self.best = Best(mean, len(values), trained)

    def _is_better(self, value: float, than: float) -> bool:
        return value > than if self.mode == "max" else value < than


class Tally:
    """Counts of a run, over all trials of the sweep; the speed and the time left are of this run alone.

    Args:
        trials: the trials asked for, as planned.
        programs: how many programs the run compiles.
        scoreboard: receives the scores of trials that finish.
        clock: the time in seconds.
        expected: how many trials there will be, if more than are known by now.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        programs: int,
        scoreboard: Scoreboard,
        clock: Callable[[], float] = time.monotonic,
        expected: int | None = None,
    ):
        self.steps: dict[str, int] = {}
        self.total_steps, self.total_trials, self._expected = 0, 0, expected or 0
        self.programs, self.compiled = programs, 0
        self.scoreboard = scoreboard
        self.may_stop = False  # whether a rule may stop trials, so that less is left than it seems
        self.done_steps = self.trained_steps = 0
        self.ended: set[str] = set()
        self.failed = self.stopped = 0
        self._done: dict[str, int] = {}
        self._clock, self._begun = clock, clock()
        self._trained: deque[tuple[float, int]] = deque([(self._begun, 0)])
        self.extend(trials)

    def extend(self, trials: Sequence[Trial]) -> None:
        """Expect more trials; those still unknown are taken to be as long as the others."""
        self.scoreboard.extend(trials)
        self.steps |= {trial.id: trial.steps for trial in trials}
        known = len(self.steps)
        self.total_trials = max(known, self._expected)
        self.total_steps = round(sum(self.steps.values()) * self.total_trials / known) if known else 0

    def record(self, states: Mapping[str, TrialState], ranking: Iterable[ConfigScore], retried: bool = False) -> None:
        """Count what the record has: before this run, or by another process.

        Args:
            states: the trials as recorded, by id.
            ranking: the configs' scores by the objective.
            retried: whether trials recorded as failed are tried again, and so have not ended.
        """
        finished = set()
        for trial, state in states.items():
            if trial not in self.steps or trial in self.ended:
                continue
            failed = state.open.status == Status.FAILED
            if state.own.status == Status.STOPPED:
                self.stop([trial])
            elif state.own.status in ENDED and state.own.steps >= self.steps[trial]:
                finished.add(trial)
                self._end(trial)
            elif failed and not retried:
                self.fail([trial])
            else:
                self._set_done(trial, 0 if failed else state.open.done)
        for score in ranking:
            for trial, value in zip(score.trials, score.values):
                if trial in finished:
                    self.scoreboard.add(trial, value, score.config)

    def compile(self) -> None:
        """Count a compiled program; the speed is measured from the first on."""
        self.compiled += 1
        if self.trained_steps == 0:
            self._trained = deque([(self._clock(), 0)])

    def train(self, trials: Iterable[str], step: int, steps: int) -> None:
        """Count a segment: its trials have reached ``step``, by ``steps`` steps of all of them together."""
        for trial in trials:
            self._set_done(trial, step)
        self.trained_steps += steps
        now = self._clock()
        self._trained.append((now, self.trained_steps))
        while len(self._trained) > 2 and now - self._trained[1][0] > WINDOW_SECONDS:
            self._trained.popleft()

    def finish(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """Count a trial that finished, with the metrics at its end."""
        self._end(trial.id)
        self.scoreboard.add(trial.id, metrics.get(self.scoreboard.metric, math.nan), trial.config)

    def fail(self, trials: Iterable[str]) -> None:
        """Count trials that failed: nothing of them is left to train."""
        for trial in trials:
            self.failed += trial not in self.ended
            self._end(trial)

    def stop(self, trials: Iterable[str]) -> None:
        """Count trials that the sweep's rule stopped: nothing of them is left to train."""
        for trial in trials:
            self.stopped += trial not in self.ended
            self._end(trial)

    @property
    def fraction(self) -> float:
        """The share of all steps that is done, from 0 to 1."""
        return self.done_steps / self.total_steps if self.total_steps else 1.0

    @property
    def speed(self) -> float | None:
        """Steps a second, of all trials together; None before the first segment of this run."""
        (since, before), (until, after) = self._trained[0], self._trained[-1]
        return (after - before) / (until - since) if until > since and after > before else None

    @property
    def seconds_left(self) -> float | None:
        """The time that the remaining steps take at the present speed; None where that is not known."""
        speed = self.speed
        return None if speed is None else (self.total_steps - self.done_steps) / speed

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begun

    def _end(self, trial: str) -> None:
        self._set_done(trial, self.steps[trial])
        self.ended.add(trial)

    def _set_done(self, trial: str, step: int) -> None:
        if trial in self.ended:
            return
        step = min(step, self.steps[trial])
        self.done_steps += step - self._done.get(trial, 0)
        self._done[trial] = step
