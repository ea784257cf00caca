"""Bucketing: whether values that differ in shape or in code share a program.

Batch sizes can share one by padding to the largest and masking, where rows are proven not to look at one another; names can by
computing every option and selecting. That saves compiling and costs masked work; which weighs more is estimated from traces
alone, in seconds of the reference core, so the same sweep is divided the same way on every machine.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from jsweep._runtime.types import Value
from jsweep.planning.assignment import Assignment, is_alone
from jsweep.planning.cost import Work, work_of
from jsweep.planning.lane_types import INT, LaneType
from jsweep.planning.padding import why_rows_mix
from jsweep.planning.traced import LaneFunctions, Traced, trace
from jsweep.task.task import Task

TRACED_VALUES = 3  # of one name whose work is traced; that of values between is interpolated
TYPICAL_WIDTH = 8  # lanes of a tile, for what a tile pays once

Config = Mapping[str, Value]


class Drafted(Protocol):
    """What is asked of a draft of a compile group."""

    @property
    def static(self) -> Config: ...
    @property
    def lanes(self) -> Mapping[str, LaneType]: ...
    @property
    def rows(self) -> int: ...
    @property
    def traced(self) -> Traced: ...


def decide_buckets(
    task: Task, configs: Sequence[Config], steps: Sequence[int], drafts: Sequence[Drafted], assignment: Assignment
) -> Assignment:
    """The assignment with every name decided that could share a program by selection or padding.

    Args:
        task: the task.
        configs: the distinct configs.
        steps: for each of them the steps of all its trials together.
        drafts: the compile groups under ``assignment``.
        assignment: the roles as they stand.
    """
    found = assignment
    for name in dict.fromkeys(name for config in configs for name in config):
        totals: Counter[Value] = Counter()
        if name in assignment.fixed or not (
            name == "batch_size" or any(t.names for t in assignment.types.get(name, ()))
        ):
            continue
        for config, count in zip(configs, steps, strict=True):
            if name in config:
                totals[config[name]] += count
        if len(totals) < 2:
            continue
        case = _Case(task, configs, found, name)
        if name == "batch_size":
            found = _decide_batch_sizes(case, drafts, totals, found)
        elif name not in found.static:
            found = _decide_options(case, totals, found)
    return found


@dataclass(frozen=True)
class _Case:
    """One name that may share a program: a typical config, and the programs that each of its values multiplies."""

    task: Task
    configs: Sequence[Config]
    assignment: Assignment
    name: str

    @property
    def typical(self) -> Config:
        """A config that has the name, of middling size."""
        having = [config for config in self.configs if self.name in config]
        size = lambda config: sum(v for n, v in config.items() if n != self.name and n in self.assignment.buckets)
        return sorted(having, key=size)[len(having) // 2]

    @property
    def programs(self) -> int:
        """How many programs there are for each of its values."""
        others = (
            {n: v for n, v in self.assignment.parts(c)[1].items() if n != self.name}
            for c in self.configs
            if self.name in c
        )
        return len({self.assignment.encoded(static) for static in others})

    def work(self, value: Value, lane: LaneType | None = None, rows: int | None = None) -> Work:
        """A step's work with ``value`` compiled in or, with ``lane``, traced."""
        config = {**self.typical, self.name: value}
        lanes = {n: t for n, t in self.assignment.parts(self.typical)[0].items() if n != self.name}
        if lane is not None:
            lanes[self.name] = lane
        static = {n: v for n, v in config.items() if n not in lanes}
        size = config.get("batch_size", self.task.batch_size)
        assert isinstance(size, int)
        return work_of(trace(self.task, static, lanes, rows or size).step.jaxpr)


def _decide_options(case: _Case, steps: Counter[Value], assignment: Assignment) -> Assignment:
    """Every option computed in one program, or a program for each name."""
    names = sorted(str(value) for value in steps)
    lane = assignment.types[case.name][0]
    together = case.work(names[0], lane).a_lane(TYPICAL_WIDTH)
    spared = (len(names) - 1) * case.programs * case.work(names[0], lane).compile_seconds
    if sum(steps.values()) * together <= spared:
        return assignment
    wasted = sum(steps[n] * (together - case.work(n).a_lane(TYPICAL_WIDTH)) for n in names)
    weighed = (
        f"wastes about {_seconds(wasted)} on options that are not selected and saves {_seconds(spared)} of compiling"
    )
    if wasted <= spared:
        return replace(assignment, notes={**assignment.notes, case.name: f"which {weighed}"})
    return assignment.without({case.name: f"a program for each name, because one for all {weighed}"}, {}, case.configs)


def _decide_batch_sizes(
    case: _Case, drafts: Sequence[Drafted], steps: Counter[Value], assignment: Assignment
) -> Assignment:
    """Sizes padded to larger ones, where that is proven to change nothing and costs less than compiling."""
    mixed = _why_not_padded(case.task, drafts)
    if mixed is not None:
        return assignment.without(
            {"batch_size": f"the number of rows of a batch; not padded: {mixed}"}, {}, case.configs
        )
    sizes = {value: count for value, count in steps.items() if isinstance(value, int)}
    buckets, note = _buckets(case, sorted(sizes), sizes)
    if all(is_alone(buckets, size) for size in buckets):
        return assignment.without({"batch_size": f"the number of rows of a batch; {note}"}, {}, case.configs)
    static = {n: why for n, why in assignment.static.items() if n != "batch_size"}
    notes = {**assignment.notes, "batch_size": note}
    return replace(assignment, static=static, notes=notes, buckets={**assignment.buckets, "batch_size": buckets})


def _why_not_padded(task: Task, drafts: Sequence[Drafted]) -> str | None:
    """Why some group's batches must not be padded; None where none of them minds."""
    seen = set()
    for draft in drafts:
        if "batch_size" not in draft.static:
            continue
        static = {name: value for name, value in draft.static.items() if name != "batch_size"}
        lanes = {**draft.lanes, "batch_size": LaneType(INT)}
        key = (repr(sorted(static.items(), key=lambda item: item[0])), tuple(sorted(lanes.items())))
        if key in seen:
            continue
        seen.add(key)
        functions = LaneFunctions(task, static, lanes, draft.traced.template)
        mixed = why_rows_mix(functions, draft.traced.state, draft.rows)
        if mixed is not None:
            return mixed
    return None


def _buckets(case: _Case, sizes: Sequence[int], steps: Mapping[int, int]) -> tuple[dict[int, int], str]:
    """What each batch size is padded to, and the estimate behind it."""
    widest = sizes[-1]
    padded = _between(sizes, lambda v: case.work(v, LaneType(INT), v))
    compiling = case.programs * case.work(widest).compile_seconds
    if (
        sum(steps.values()) * padded(widest) <= compiling
    ):  # less than one program's compiling: it pays whatever is masked
        return dict.fromkeys(sizes, widest), f"under {_seconds(compiling)} of compiling a value"
    alone = _between(sizes, lambda v: case.work(v))
    buckets = _cheapest(sizes, steps, alone, padded, compiling)
    shared = [v for v in sizes if not is_alone(buckets, v)]
    if not shared:
        masked = sum(steps[v] * (padded(widest) - alone(v)) for v in sizes)
        worth = (len(sizes) - 1) * compiling
        return buckets, f"padding would add {_seconds(masked)} of masked work and save {_seconds(worth)} of compiling"
    masked = sum(steps[v] * (padded(buckets[v]) - alone(v)) for v in shared)
    saved = (len(sizes) - len(set(buckets.values()))) * compiling
    return buckets, f"adds about {_seconds(masked)} of masked work and saves {_seconds(saved)} of compiling"


def _between(values: Sequence[int], work: Callable[[int], Work]) -> Callable[[int], float]:
    """Seconds of a lane's step by value, traced at a few of ``values``."""
    picked = sorted({values[round(i * (len(values) - 1) / (TRACED_VALUES - 1))] for i in range(TRACED_VALUES)})
    known: dict[int, float] = {}

    def seconds(value: int) -> float:
        for v in picked if value not in picked else [value]:
            if v not in known:
                known[v] = work(v).a_lane(TYPICAL_WIDTH)
        return known[value] if value in known else float(np.interp(value, picked, [known[v] for v in picked]))

    return seconds


def _cheapest(
    values: Sequence[int],
    steps: Mapping[int, int],
    alone: Callable[[int], float],
    padded: Callable[[int], float],
    compiling: float,
) -> dict[int, int]:
    """The division of sorted values into neighbours that share a program, of the least compiling and work together."""
    best: list[tuple[float, list[int]]] = [(0.0, [])]  # for the first k values: seconds, and where each part begins
    for end in range(1, len(values) + 1):
        options = []
        for begin in range(end):
            part = values[begin:end]
            a_step = alone(part[0]) if len(part) == 1 else padded(part[-1])
            seconds = best[begin][0] + compiling + a_step * sum(steps[v] for v in part)
            options.append((seconds, [*best[begin][1], begin]))
        best.append(min(options))
    begins = [*best[-1][1], len(values)]
    return {v: values[end - 1] for begin, end in itertools.pairwise(begins) for v in values[begin:end]}


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
