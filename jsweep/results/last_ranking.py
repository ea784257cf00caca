"""A ranking by what each trial ended with, from columns: a config's score is made when it is looked at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep.results.objective import Objective
from jsweep.results.ranking import ConfigScore, mean_of, spread_of
from jsweep.storage import Status
from jsweep.storage.finals import Finals


@dataclass(frozen=True, eq=False)
class LastRanking(Sequence[ConfigScore]):
    """The configs of a sweep, best first. ``order`` are their numbers; the arrays have a row a config, in order of number.

    ``members`` are the rows of ``finals`` config by config, each config's in order of seed, and ``starts`` where a config's
    begin among them.
    """

    finals: Finals
    objective: Objective
    overlap: float
    config_of: Callable[[str, str], Mapping[str, Any]]
    order: Int64[np.ndarray, " configs"]
    members: Int64[np.ndarray, " trials"]
    starts: Int64[np.ndarray, " bounds"]
    means: Float64[np.ndarray, " configs"]
    steps: Int64[np.ndarray, " configs"]
    complete: Bool[np.ndarray, " configs"]
    stopped: Bool[np.ndarray, " configs"]
    values: Float64[np.ndarray, " trials"]

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, place: int) -> ConfigScore: ...

    @overload
    def __getitem__(self, place: slice) -> list[ConfigScore]: ...

    def __getitem__(self, place: int | slice) -> ConfigScore | list[ConfigScore]:
        if isinstance(place, slice):
            return [self._score(int(config)) for config in self.order[place]]
        return self._score(int(self.order[place]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType] (as a list)

    def __iter__(self) -> Iterator[ConfigScore]:
        return map(self._score, self.order.tolist())

    def _score(self, config: int) -> ConfigScore:
        rows = [int(row) for row in self.members[self.starts[config] : self.starts[config + 1]]]
        values, mean, first = tuple(self.values[rows].tolist()), float(self.means[config]), rows[0]
        identity = self.finals.config_ids[first]
        return ConfigScore(
            config_id=identity,
            config=self.config_of(identity, self.finals.configs[first]),
            metric=self.objective.metric,
            mean=mean,
            std=spread_of(values) if np.isfinite(mean) else np.nan,
            values=values,
            seeds=tuple(self.finals.seeds[rows].tolist()),
            trials=tuple(self.finals.ids[row] for row in rows),
            complete=bool(self.complete[config]),
            step=int(self.steps[config]),
            mode=self.objective.mode or "min",
            stopped=bool(self.stopped[config]),
            overlap=self.overlap,
        )


def rank_last(
    finals: Finals, objective: Objective, overlap: float, config_of: Callable[[str, str], Mapping[str, Any]]
) -> Sequence[ConfigScore]:
    """What `jsweep.results.ranking.rank` gives for the last evaluation.

    Args:
        finals: the last scores.
        objective: the metric, with its direction.
        overlap: as in `ConfigScore`.
        config_of: a config by its id and its JSON.
    """
    if not len(finals.ids):
        return ()
    numbers: dict[str, int] = {}
    config = np.array([numbers.setdefault(identity, len(numbers)) for identity in finals.config_ids], np.int64)
    members = np.lexsort((finals.seeds, config))
    starts = np.searchsorted(config[members], np.arange(len(numbers) + 1))
    status = np.array(finals.status)
    each = lambda operation, column: operation.reduceat(column[members], starts[:-1])
    was_stopped = status == str(Status.STOPPED)
    stopped = each(np.logical_or, was_stopped)
    steps = np.where(stopped, each(np.minimum, finals.done), each(np.maximum, finals.steps))
    # Where a seed was stopped, all are looked at where the first was, and those that are elsewhere have no value there.
    there = ~stopped[config] | (np.where(was_stopped, finals.done, finals.steps) == steps[config])
    values = np.where(there, finals.values, np.nan)
    finite = each(np.logical_and, np.isfinite(values))
    healthy = ~each(np.logical_or, finals.diverged)
    complete = finite & healthy & each(np.logical_and, status == str(Status.FINISHED))
    means = _means(values[members], starts, finite)
    order = _order(means, steps, complete, complete | (stopped & np.isfinite(means)), objective)
    return LastRanking(
        finals, objective, overlap, config_of, order, members, starts, means, steps, complete, stopped, values
    )


def _means(
    values: Float64[np.ndarray, " trials"],
    starts: Int64[np.ndarray, " bounds"],
    finite: Bool[np.ndarray, " configs"],
) -> Float64[np.ndarray, " configs"]:
    """The mean of each config's values, NaN where one is not finite."""
    found = np.full(len(finite), np.nan)
    single = finite & (np.diff(starts) == 1)
    found[single] = values[starts[:-1][single]]
    for config in np.flatnonzero(finite & ~single).tolist():
        found[config] = mean_of(values[starts[config] : starts[config + 1]].tolist())
    return found


def _order(
    means: Float64[np.ndarray, " configs"],
    steps: Int64[np.ndarray, " configs"],
    complete: Bool[np.ndarray, " configs"],
    shown: Bool[np.ndarray, " configs"],
    objective: Objective,
) -> Int64[np.ndarray, " configs"]:
    """The configs' numbers, best first: what `jsweep.results.ranking` places them by; ties keep their order."""
    score = np.where(shown, means if objective.mode == "min" else -means, 0.0)
    return np.lexsort((score, np.where(complete, 0, -steps), ~shown, ~complete))
