"""A ranking by what each trial ended with, from columns: a config's score is made when it is looked at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, overload

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep.results.objective import Objective
from jsweep.results.ranking import ConfigScore, mean_of, spread_of
from jsweep.storage import Status
from jsweep.storage.finals import STATES, Finals

Labels: TypeAlias = Callable[[Sequence[int]], Sequence[tuple[str, str, str]]]
"""Trials' ids, their configs' ids and their configs as JSON, by the trials' keys."""


@dataclass(frozen=True, eq=False)
class LastRanking(Sequence):  # of ConfigScore; said here, run-time type checkers would read one from the record
    """The configs of a sweep, best first. ``order`` are their numbers; the arrays have a row a config, in order of number.

    ``members`` are the rows of ``finals`` config by config, each config's in order of seed, and ``starts`` where a config's
    begin among them. ``labels`` are read when a score is looked at, ``config_of`` gives a config by its id and its JSON.
    """

    finals: Finals
    objective: Objective
    overlap: float
    labels: Labels
    config_of: Callable[[str, str], Mapping[str, Any]]
    order: Int64[np.ndarray, " configs"]
    members: Int64[np.ndarray, " trials"]
    starts: Int64[np.ndarray, " bounds"]
    means: Float64[np.ndarray, " configs"]
    steps: Int64[np.ndarray, " configs"]
    complete: Bool[np.ndarray, " configs"]
    stopped: Bool[np.ndarray, " configs"]
    values: Float64[np.ndarray, " trials"]

    def detached(self) -> "LastRanking":
        """The same with all labels read, for which the record need not be there any more."""
        keys = self.finals.keys.tolist()
        known = dict(zip(keys, self.labels(keys), strict=True))
        return replace(self, labels=lambda some: [known[key] for key in some])

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
        rows = self.members[self.starts[config] : self.starts[config + 1]]
        values, mean = tuple(self.values[rows].tolist()), float(self.means[config])
        labels = self.labels(self.finals.keys[rows].tolist())
        _, config_id, text = labels[0]
        return ConfigScore(
            config_id=config_id,
            config=self.config_of(config_id, text),
            metric=self.objective.metric,
            mean=mean,
            std=spread_of(values) if np.isfinite(mean) else np.nan,
            values=values,
            seeds=tuple(self.finals.seeds[rows].tolist()),
            trials=tuple(trial for trial, _, _ in labels),
            complete=bool(self.complete[config]),
            step=int(self.steps[config]),
            mode=self.objective.mode or "min",
            stopped=bool(self.stopped[config]),
            overlap=self.overlap,
        )


def rank_last(
    finals: Finals,
    objective: Objective,
    overlap: float,
    labels: Labels,
    config_of: Callable[[str, str], Mapping[str, Any]],
) -> LastRanking:
    """What `jsweep.results.ranking.rank` gives for the last evaluation.

    Args:
        finals: the last scores.
        objective: the metric, with its direction.
        overlap: as in `ConfigScore`.
        labels: see `LastRanking`, as for ``config_of``.
        config_of: a config by its id and its JSON.
    """
    config, status = finals.configs, finals.status
    count = int(config.max(initial=-1)) + 1
    alone = count == len(config)  # each trial is of a config of its own
    members = np.arange(count) if alone else np.lexsort((finals.seeds, config))
    starts = np.arange(count + 1) if alone else np.searchsorted(config[members], np.arange(count + 1))
    each = lambda operation, column: column if alone else operation.reduceat(column[members], starts[:-1])
    was_stopped = status == STATES.index(Status.STOPPED)
    stopped = each(np.logical_or, was_stopped)
    steps = np.where(stopped, each(np.minimum, finals.done), each(np.maximum, finals.steps))
    # Where a seed was stopped, all are looked at where the first was, and those that are elsewhere have no value there.
    there = ~stopped[config] | (np.where(was_stopped, finals.done, finals.steps) == steps[config])
    values = np.where(there, finals.values, np.nan)
    finite = each(np.logical_and, np.isfinite(values))
    healthy = ~each(np.logical_or, finals.diverged)
    complete = finite & healthy & each(np.logical_and, status == STATES.index(Status.FINISHED))
    means = _means(values[members], starts, finite)
    order = _order(means, steps, complete, complete | (stopped & np.isfinite(means)), objective)
    return LastRanking(
        finals, objective, overlap, labels, config_of, order, members, starts, means, steps, complete, stopped, values
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
    first, rest = np.flatnonzero(complete), np.flatnonzero(~complete)
    by_score = np.argsort(score[first], kind="stable")
    return np.concatenate([first[by_score], rest[np.lexsort((score[rest], -steps[rest], ~shown[rest]))]])
