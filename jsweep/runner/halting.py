"""When a run ends before its trials have: the sweep's time is over, its target is reached, or somebody asked for it."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jsweep._runtime.durations import duration, seconds_of
from jsweep.errors import ConfigError, JsweepError
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.runner.clones import clones_of
from jsweep.space._numbers import whole_number
from jsweep.storage import Store, SweepRecord
from jsweep.storage.standing import ENDED

POLL_SECONDS = 0.5  # between two looks
MOST_SHARE = 0.05  # of the time that looks may take


class Halted(Exception):
    """A run ends after its current segments; says why."""


class Grown(Exception):
    """Another process has added configs to the sweep: after the current segments, the run goes on with these as well."""


@dataclass(frozen=True)
class Limits:
    """What ends a run early.

    Attributes:
        wall_time: the seconds that the sweep may be trained for, in all runs together.
        target: the objective that is good enough, as a mean over a config's seeds.
        no_improvement: the configs that may come to their end after the best one.
    """

    wall_time: float | None = None
    target: float | None = None
    no_improvement: int | None = None

    @property
    def objective(self) -> str:
        """The limit that needs an objective, as it was given; "" where there is none."""
        named = {"target": self.target, "no_improvement": self.no_improvement}
        return next((f"{name}={value!r}" for name, value in named.items() if value is not None), "")


@dataclass
class Best:
    """The best config so far in a run, and how many had come to their end when it was first seen."""

    config_id: str | None = None
    ended: int = 0


def make_limits(wall_time: float | str | None, target: float | None, no_improvement: int | None) -> Limits:
    """The limits that `jsweep.run` was given; ConfigError where they make no sense."""
    if target is not None and (isinstance(target, bool) or not math.isfinite(target)):
        raise ConfigError(f"target={target!r} is not a finite number: pass the objective that is good enough.")
    if no_improvement is not None:
        no_improvement = whole_number("no_improvement", no_improvement, 1)
    return Limits(None if wall_time is None else seconds_of("wall_time", wall_time), target, no_improvement)


@dataclass(frozen=True)
class Watch:
    """Looks whether a run should end.

    Attributes:
        limits: what ends it.
        store: the record.
        sweep: the sweep as it was when its part of the run began.
        asked: how often runs of the sweep had been asked to stop when this one began.
        begun: when its part of the run began, by `time.perf_counter`.
        best: the best config so far, in all parts of the run.
    """

    limits: Limits
    store: Store
    sweep: SweepRecord
    asked: int
    begun: float
    best: Best

    def check(self) -> None:
        """Raise `Halted` where the run should end, and `Grown` where its sweep has more configs than it had."""
        reason = self._over() or self._asked() or self._reached()
        if reason is not None:
            raise Halted(reason)
        self.check_grown()

    def check_grown(self) -> None:
        """Raise `Grown` where the sweep has more configs than it had."""
        if len(clones_of(self.store.sweep(self.sweep.name))) > len(clones_of(self.sweep)):
            raise Grown

    @contextlib.contextmanager
    def setting(self, stop: threading.Event) -> Iterator[list[Halted | Grown]]:
        """Look again and again while the block runs; set ``stop`` and enter in the list what `check` raises, if it does."""
        found: list[Halted | Grown] = []
        left = threading.Event()

        def look() -> None:
            pause = POLL_SECONDS
            while not left.wait(pause):
                begun = time.perf_counter()
                try:
                    self.check()
                except (Halted, Grown) as reason:
                    found.append(reason)
                    stop.set()
                    return
                except JsweepError:
                    pass  # the run meets it too, where it can be raised
                pause = max(POLL_SECONDS, (time.perf_counter() - begun) / MOST_SHARE)

        thread = threading.Thread(target=look, daemon=True, name="jsweep-watch")
        thread.start()
        try:
            yield found
        finally:
            left.set()
            thread.join()

    def _over(self) -> str | None:
        most = self.limits.wall_time
        trained = self.sweep.settings.get("seconds", 0.0) + time.perf_counter() - self.begun
        if most is None or trained < most:
            return None
        return f"it has been trained for {duration(trained)} and wall_time is {duration(most)}"

    def _asked(self) -> str | None:
        row = self.store.sweep(self.sweep.name)
        return "it was asked to stop" if row is not None and requests(row) > self.asked else None

    def _reached(self) -> str | None:
        """Why the best config so far is good enough."""
        if not self.limits.objective:
            return None
        if not any(state.own.status in ENDED for state in self.store.states(self.sweep.key).values()):
            return None
        complete = [score for score in Result(self.store, self.sweep.name).ranking() if score.complete]
        return (self._good(complete[0]) or self._stalled(complete)) if complete else None

    def _good(self, best: ConfigScore) -> str | None:
        target = self.limits.target
        if target is None or not (best.mean >= target if best.mode == "max" else best.mean <= target):
            return None
        return f"{best.metric} is {best.mean:.6g} and target is {target:.6g}"

    def _stalled(self, complete: Sequence[ConfigScore]) -> str | None:
        if self.best.config_id != complete[0].config_id:
            self.best.config_id, self.best.ended = complete[0].config_id, len(complete)
        since, most = len(complete) - self.best.ended, self.limits.no_improvement
        return None if most is None or since < most else f"{since} configs have not improved on {self.best.config_id}"


def requests(sweep: SweepRecord | None) -> int:
    """How often runs of a sweep have been asked to stop."""
    return 0 if sweep is None else int(sweep.settings.get("stop_requests", 0))
