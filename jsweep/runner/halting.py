"""When a run ends before its trials have: the sweep's time is over, its target is reached, or somebody asked for it."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from jsweep._runtime.durations import duration, seconds_of
from jsweep.errors import ConfigError, JsweepError
from jsweep.results.result import Result
from jsweep.runner.clones import clones_of
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
    """

    wall_time: float | None = None
    target: float | None = None


def make_limits(wall_time: float | str | None, target: float | None) -> Limits:
    """The limits that `jsweep.run` was given; ConfigError where they make no sense."""
    if target is not None and (isinstance(target, bool) or not math.isfinite(target)):
        raise ConfigError(f"target={target!r} is not a finite number: pass the objective that is good enough.")
    return Limits(None if wall_time is None else seconds_of("wall_time", wall_time), target)


@dataclass(frozen=True)
class Watch:
    """Looks whether a run should end.

    Attributes:
        limits: what ends it.
        store: the record.
        sweep: the sweep as it was when its part of the run began.
        asked: how often runs of the sweep had been asked to stop when this one began.
        begun: when its part of the run began, by `time.perf_counter`.
    """

    limits: Limits
    store: Store
    sweep: SweepRecord
    asked: int
    begun: float

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
        if self.limits.target is None:
            return None
        if not any(state.own.status in ENDED for state in self.store.states(self.sweep.key).values()):
            return None
        score = Result(self.store, self.sweep.name).ranking()[0]
        if not score.complete:
            return None
        reached = score.mean >= self.limits.target if score.mode == "max" else score.mean <= self.limits.target
        return f"{score.metric} is {score.mean:.6g} and target is {self.limits.target:.6g}" if reached else None


def requests(sweep: SweepRecord | None) -> int:
    """How often runs of a sweep have been asked to stop."""
    return 0 if sweep is None else int(sweep.settings.get("stop_requests", 0))
