"""What a store holds, as Python values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import compress
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep._runtime.types import Value

JsonObject: TypeAlias = Mapping[str, Any]
"""What a JSON object holds; whoever reads a field checks its type, as a store may have been written by anyone."""


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as recorded."""

    key: int
    name: str
    task: str
    identity: JsonObject
    settings: JsonObject
    created: str


class Status(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # by the sweep's rule or the user, before its end
    FAILED = "failed"


STOPPED_BY_USER = "stopped by the user"
"""How the reason of a trial begins that was stopped on request, and not by a rule."""


@dataclass(frozen=True)
class Trial:
    """One config under one seed, planned or recorded.

    ``id`` is a stable hash of the task's name, the config and the seed. ``steps`` is how long the trial trains, ``done``
    how many of these steps are recorded. In a trial that was read from a store, ``config`` holds each callable as a
    `jsweep.space.Named`, so that reading runs no code. ``reason`` says why a trial failed or was stopped,
    ``traceback`` where it failed.
    """

    id: str
    config_id: str
    config: Mapping[str, Value]
    seed: int
    steps: int
    done: int = 0
    status: Status = Status.WAITING
    nonfinite: int | None = None  # the first step at which a metric was not finite
    reason: str | None = None
    traceback: str | None = None
    program: str | None = None
    width: int | None = None
    environment: int | None = None
    key: int = -1  # its row; -1 if it is not in a store


def is_stopped_by_user(trial: Trial) -> bool:
    """Whether a trial was stopped on request."""
    return trial.status == Status.STOPPED and (trial.reason or "").startswith(STOPPED_BY_USER)


@dataclass(frozen=True)
class Score:
    """One trial's metrics by name ("validation/loss") after ``step`` steps; ``nonfinite`` is the first step with a NaN."""

    trial: str
    step: int
    metrics: Mapping[str, float]
    nonfinite: int | None
    finished: bool


@dataclass(frozen=True, eq=False)
class Scores(Sequence):  # of Score; said here, run-time type checkers would make them all
    """The scores of trials that were evaluated together, as columns: a trial's `Score` is made when it is looked at.

    ``trials`` are their ids, ``values`` the metrics by name, ``nonfinite`` as in `Score` but -1 for none, and ``finished`` says
    which of the trials have come to their ends; all in the order of the trials.
    """

    trials: Sequence[str]
    step: int
    values: Mapping[str, Float64[np.ndarray, " trials"]]
    nonfinite: Int64[np.ndarray, " trials"]
    finished: Bool[np.ndarray, " trials"]

    @property
    def ended(self) -> list[str]:
        """The trials that have come to their ends."""
        return list(compress(self.trials, self.finished.tolist()))

    def only(self, places: Sequence[int]) -> "Scores":
        """The scores at some places, in their order."""
        if list(places) == list(range(len(self))):
            return self
        chosen = np.array(places, np.intp)
        values = {name: own[chosen] for name, own in self.values.items()}
        trials = [self.trials[place] for place in places]
        return Scores(trials, self.step, values, self.nonfinite[chosen], self.finished[chosen])

    def __len__(self) -> int:
        return len(self.trials)

    @overload
    def __getitem__(self, place: int) -> Score: ...

    @overload
    def __getitem__(self, place: slice) -> list[Score]: ...

    def __getitem__(self, place: int | slice) -> Score | list[Score]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        metrics = {name: float(values[place]) for name, values in self.values.items()}
        first = int(self.nonfinite[place])
        return Score(self.trials[place], self.step, metrics, first if first >= 0 else None, bool(self.finished[place]))


def ended_among(scores: Sequence[Score]) -> list[str]:
    """The trials that have come to their ends, among some whose scores are given."""
    return scores.ended if isinstance(scores, Scores) else [score.trial for score in scores if score.finished]


def scores_of(
    trials: Sequence[str],
    step: int,
    values: Mapping[str, Float64[np.ndarray, " trials"]],
    nonfinite: Int64[np.ndarray, " trials"],
    finished: Bool[np.ndarray, " trials"],
) -> Scores:
    """The scores of trials, as of `Scores`; one of which a metric is not finite, and nothing was before, is so from now on."""
    finite = np.logical_and.reduce([np.isfinite(own) for own in values.values()])
    return Scores(trials, step, values, np.where(finite | (nonfinite >= 0), nonfinite, step), finished)


def by_column(scores: Sequence[Score]) -> list[Scores]:
    """Scores as columns, apart where their steps or metrics differ."""
    if isinstance(scores, Scores):
        return [scores]
    alike: dict[tuple[int, tuple[str, ...]], list[Score]] = {}
    for score in scores:
        alike.setdefault((score.step, tuple(score.metrics)), []).append(score)
    return [
        scores_of(
            [score.trial for score in some],
            step,
            {name: np.array([score.metrics[name] for score in some], np.float64) for name in names},
            np.array([-1 if score.nonfinite is None else score.nonfinite for score in some], np.int64),
            np.array([score.finished for score in some], bool),
        )
        for (step, names), some in alike.items()
    ]


@dataclass(frozen=True)
class Stop:
    """That a rule stopped a trial after ``step`` steps, and why."""

    trial: str
    step: int
    reason: str


@dataclass(frozen=True)
class Copy:
    """That a config went on from another's training state after ``step`` steps, by the rule of its sweep.

    From then on it trains with what ``source`` trained with until then, but for the new ``values``.
    """

    step: int
    config_id: str
    source: str  # a config's id
    values: Mapping[str, int | float]


class Position(NamedTuple):
    """Where the lanes of a tile stand, which those that go on in one tile have in common.

    ``step`` are the steps trained, ``since`` the step after which the sums of training metrics began, and ``width`` the lanes
    of the tile that trained them.
    """

    step: int
    since: int
    width: int


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: where the state of a trial at its end is, if ``finished``, else that of a tile's trials on their way.

    ``trials`` are those whose states are in ``file``, in the order of the lanes; "" stands for one that was dropped. ``tile``
    is the finished trial's id, or a hash of the tile's trials. Trials that finish together share a file.
    """

    tile: str
    step: int
    file: str
    sha256: str
    trials: Sequence[str]
    finished: bool

    @property
    def members(self) -> Sequence[str]:
        """The trials that it is kept for."""
        return [self.tile] if self.finished else self.trials


@dataclass(frozen=True)
class Outcome:
    """What a search is told of a config: the objectives, NaN where a seed failed or diverged; ``stopped`` by a rule."""

    values: tuple[float, ...]
    stopped: int | None = None  # after so many steps


@dataclass(frozen=True)
class Batch:
    """Configs that a search has proposed together, and what it was told of each; None until all of them have ended."""

    configs: Sequence[Mapping[str, Value]]
    told: Sequence[Outcome] | None = None


@dataclass(frozen=True, kw_only=True)
class TestOpening:
    """One look at a test split: the config, what chose it, and its test scores, one per seed.

    ``data`` is the hash of the test split, ``look`` that of what is tested, ``sweep`` the name of the sweep. ``metric`` and
    ``mode`` are the objective, ``rule`` and ``at`` how the selection compared configs, and ``step`` is the step whose
    parameters were tested. ``opened`` is None until the split is about to be evaluated, and ``scores`` are there once it
    is ``complete``.
    """

    data: str
    look: str
    sweep: str
    config_id: str
    config: Mapping[str, Value]
    metric: str
    mode: str
    rule: str = "mean"
    at: str = "last"
    step: int
    seeds: Sequence[int]
    again: bool = False
    owner: str | None = None
    opened: str | None = None
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    complete: bool = False
    key: int = -1  # its row; -1 if it is not in a store


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
