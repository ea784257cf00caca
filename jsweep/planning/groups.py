"""Compile groups: the trials that share one compiled program, cut into tiles of a fixed width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jax
import numpy as np

from jsweep._runtime.types import Value
from jsweep.planning.identity import ProgramIdentity, identity_of
from jsweep.planning.lane_types import LaneType
from jsweep.planning.traced import LaneFunctions, Traced
from jsweep.space import config_id, format_value
from jsweep.storage.records import Trial
from jsweep.task.config import check_count
from jsweep.task.task import Task


@dataclass(frozen=True)
class Lived:
    """That a state was in the lane of ``trial``, which trained with its config, until the step ``until``."""

    until: int
    trial: Trial


@dataclass(frozen=True)
class Tile:
    """Trials that are trained together in a program of ``width`` lanes; the first trial has the first lane.

    ``until`` is the evaluation, in steps, after which a rule decides who goes on; None trains them to their ends. ``past`` is,
    of trials that go on from copies, in whose lanes their states were before, in order.
    """

    trials: tuple[Trial, ...]
    width: int
    until: int | None = None
    past: Mapping[str, Sequence[Lived]] = field(default_factory=dict)

    def before(self, step: int) -> tuple["Trial", ...]:
        """The trial in whose lane each state was on its way to ``step``."""
        return tuple(
            next((lived.trial for lived in self.past.get(trial.id, ()) if step <= lived.until), trial)
            for trial in self.trials
        )

    def pieces(self, step: int) -> "list[Tile]":
        """The tiles that train from ``step`` on what was copied into this one, one after another."""
        ends = sorted({lived.until for path in self.past.values() for lived in path if lived.until > step})
        return [Tile(self.before(end), self.width, end) for end in ends]

    @property
    def lanes(self) -> list[Trial]:
        """The trial in every lane. Empty places hold copies, whose results are dropped: they can do no numerical harm."""
        return [self.trials[i % len(self.trials)] for i in range(self.width)]


@dataclass(frozen=True)
class Group:
    """Trials that share a compiled program.

    ``static`` are the values compiled in, those included that no trial of the group depends on; ``varying`` names the
    latter where trials differ in them. ``rows`` are the rows of a batch as compiled. ``validation_rows`` are the examples that
    validate each trial, where the data has folds.
    """

    static: Mapping[str, Value]
    lanes: Mapping[str, LaneType]
    trials: tuple[Trial, ...]
    rows: int
    traced: Traced = field(compare=False, repr=False)
    varying: frozenset[str] = frozenset()
    validation_rows: int | None = None

    @property
    def lane_bytes(self) -> int:
        """Bytes of one lane's state."""
        return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.traced.state))

    @property
    def compiled_in(self) -> dict[str, Value]:
        """The static values that the program depends on, as far as is known."""
        return {n: v for n, v in self.static.items() if n in self.traced.reads and n not in self.varying}

    @property
    def label(self) -> str:
        """The values compiled in, in words, or "all" where there are none."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.compiled_in.items()) or "all"

    @cached_property
    def identity(self) -> ProgramIdentity:
        """What the group's programs compute."""
        return identity_of(self.traced)

    @property
    def key(self) -> str:
        """What the group is in a record: a hash of its static values, the types of its lanes, and the rows of a batch."""
        lanes = {name: str(lane) for name, lane in self.lanes.items()}
        static = {name: value for name, value in self.static.items() if name not in self.varying}
        folded = {} if self.validation_rows is None else {"validation_rows": self.validation_rows}
        return config_id({"static": config_id(static), "lanes": config_id(lanes), "rows": self.rows, **folded})

    def batch_size(self, trial: Trial) -> int:
        """The examples of a trial's batches, without padding."""
        return check_count("batch_size", trial.config.get("batch_size", self.rows))

    def batch_sizes(self, trials: Sequence[Trial]) -> list[int]:
        """`batch_size` of each of some trials, most of which have the group's own."""
        if "batch_size" not in self.static and "batch_size" not in self.lanes:
            return [self.rows] * len(trials)
        return [self.batch_size(trial) for trial in trials]

    def functions(self, task: Task) -> LaneFunctions:
        """The task's three functions for one lane of this group, to be traced again."""
        return LaneFunctions(task, self.static, self.lanes, self.traced.template)

    def lane_values(self, trials: Sequence[Trial]) -> dict[str, np.ndarray]:
        """What each trial puts in its lane: name -> array of shape (len(trials),)."""
        columns = {n: [t.steps if n == "steps" else t.config[n] for t in trials] for n in self.lanes}
        return {
            name: np.array([*map(lane.encode, columns[name])] if lane.names else columns[name], lane.dtype)
            for name, lane in self.lanes.items()
        }

    def tiles(self, width: int) -> list[Tile]:
        """The trials in tiles of at most ``width``, those of like length together, so that few wait for the longest."""
        longest_first = sorted(self.trials, key=lambda trial: -trial.steps)
        return [Tile(tuple(longest_first[k : k + width]), width) for k in range(0, len(longest_first), width)]


def seen_by_task(trial: Trial) -> dict[str, Value]:
    """A trial's config as the task reads it: with ``steps``, however its length was said."""
    return {**trial.config, "steps": trial.steps}
