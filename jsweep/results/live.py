"""How the sweeps of a record stand at a moment, for displays that follow a run from another process."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jsweep.errors import ConfigError, MissingExtraError
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.results.statistics.intervals import UNKNOWN, Interval, mean_interval
from jsweep.storage import Status, Store, Trial
from jsweep.storage.standing import ENDED

MOST_FAILURES = 3


@dataclass(frozen=True)
class LiveSweep:
    """A sweep at a moment.

    ``steps`` of ``total_steps`` are trained, where a trial that was stopped or has failed wants no more than it has.
    ``best`` is the best complete config, ``interval`` the 95% interval of its mean over seeds (NaN for one seed, or
    without SciPy). ``failures`` are the latest failed trials, by id, with their reasons.
    """

    name: str
    counts: Mapping[Status, int]
    steps: int
    total_steps: int
    best: ConfigScore | None
    interval: Interval
    failures: Sequence[tuple[str, str]]

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many trials finished, were stopped, or failed."""
        return sum(count for status, count in self.counts.items() if status in (*ENDED, Status.FAILED))

    @property
    def fraction(self) -> float:
        """The steps trained as a share of those wanted; 1 for a sweep without any."""
        return self.steps / self.total_steps if self.total_steps else 1.0


def live_sweeps(store: Store, name: str | None = None) -> list[LiveSweep]:
    """The sweeps of a store as they stand now, all at one moment: first those with trials to train, the latest first.

    Args:
        store: The open store.
        name: The one sweep to look at; default: all.

    Raises:
        UnknownNameError: There is no sweep of that name.
    """
    with store.snapshot():
        found = [_live(Result(store, each)) for each in ([name] if name is not None else reversed(store.names()))]
    return sorted(found, key=lambda sweep: sweep.ended == sweep.trials)


def _live(result: Result) -> LiveSweep:
    trials = result.trials()
    counts = {status: sum(trial.status == status for trial in trials) for status in Status}
    over = (Status.STOPPED, Status.FAILED)
    best = _best(result)
    failed = [trial for trial in trials if trial.status == Status.FAILED][-MOST_FAILURES:]
    return LiveSweep(
        name=result.name,
        counts={status: count for status, count in counts.items() if count},
        steps=sum(min(trial.done, trial.steps) for trial in trials),
        total_steps=sum(min(trial.done, trial.steps) if trial.status in over else trial.steps for trial in trials),
        best=best,
        interval=UNKNOWN if best is None else _interval(best),
        failures=[(trial.id, _reason(trial)) for trial in reversed(failed)],
    )


def _best(result: Result) -> ConfigScore | None:
    try:
        ranking = result.ranking()
    except ConfigError:  # nothing is recorded yet, or the objective has no direction
        return None
    return ranking[0] if ranking and ranking[0].complete else None


def _interval(best: ConfigScore) -> Interval:
    try:
        return mean_interval(best.values, overlap=best.overlap)
    except MissingExtraError:
        return UNKNOWN


def _reason(trial: Trial) -> str:
    return trial.reason or "it failed without a reason"


def rate_of(looks: Sequence[tuple[float, int]]) -> float:
    """Steps a second between the first and the last of some looks, each a time in seconds and the steps by then; NaN for one."""
    if len(looks) < 2:
        return math.nan
    (first, before), (last, now) = looks[0], looks[-1]
    return max(0, now - before) / (last - first) if last > first else math.nan
