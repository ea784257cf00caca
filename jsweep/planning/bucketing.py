"""Joining or grouping: whether values that differ in shape or in code share a program.

Batch sizes and hidden widths can share one by padding to the largest and masking, names by computing every option and
selecting. That saves compiling and costs masked work; which weighs more is estimated from traces alone, in seconds of
the reference core, so the same sweep is divided the same way on every machine. What was recorded is in the sweep's record.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jsweep.planning.cost import Work, step_work
from jsweep.planning.roles import Role
from jsweep.planning.traced import LaneType, lane_type, trace
from jsweep.space import config_id, format_value
from jsweep.task.task import Task

TRACED_VALUES = 3  # of one name whose work is traced; that of values between is interpolated
TYPICAL_WIDTH = 8  # lanes of a tile, for what a tile pays once


@dataclass(frozen=True)
class RecordedRoles:
    """What a record has recorded: value -> the value it is padded to, by name; and how names of options take part."""

    tiers: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)


def assign_buckets(
    task: Task,
    configs: Sequence[tuple[Mapping[str, Any], int]],
    roles: Mapping[str, Role],
    told: Mapping[str, str],
    recorded: RecordedRoles,
) -> dict[str, Role]:
    """The roles with every name that could be joined or grouped recorded; ``configs`` are pairs of config and steps."""
    found = _without_what_fails_together(task, [config for config, _ in configs], dict(roles))
    for name, role in found.items():
        steps: Counter = Counter()
        for config, count in configs:
            if name in config:
                steps[config[name]] += count
        try:
            found[name] = _decide(_Case(task, configs, found, name), role, steps, told, recorded)
        except Exception:  # the typical config cannot be traced, which is told of its trials alone
            found[name] = replace(role, padded=None) if role.kind == "static" else role
    return found


def _decide(case: "_Case", role: Role, steps: Counter, told: Mapping[str, str], recorded: RecordedRoles) -> Role:
    name = role.name
    if role.kind == "lane" and all(isinstance(value, str) for value in steps):
        if recorded.kinds.get(name) in ("lane", "static"):
            return _options_as(role, recorded.kinds[name])
        return role if len(steps) == 1 or told.get(name) == "lane" else _decide_options(case, role, steps)
    if role.padded is not None or (name == "batch_size" and role.kind == "lane"):
        return _decide_tiers(case, role, steps, told, recorded)
    return role


def _options_as(role: Role, kind: str) -> Role:
    return role if kind == "lane" else replace(role, kind="static", reason="each name a program: so the record has it")


def _without_what_fails_together(
    task: Task, configs: Sequence[Mapping[str, Any]], roles: dict[str, Role]
) -> dict[str, Role]:
    """No untold width is padded where the task does not trace with all of them padded at once."""
    names = [name for name, role in roles.items() if role.kind == "static" and role.padded is not None]
    config = next((config for config in configs if all(name in config for name in names)), None)
    if len(names) > 1 and config is not None:
        lanes = {name: padded for name in names if (padded := roles[name].padded) is not None}
        try:
            trace(task, {n: v for n, v in config.items() if n not in lanes}, lanes, rows_of(task, config))
        except Exception:
            return roles | {name: replace(roles[name], padded=None) for name in names}
    return roles


class _Case:
    """One name that may be joined: a typical config, and the programs that each of its values multiplies."""

    def __init__(
        self, task: Task, configs: Sequence[tuple[Mapping[str, Any], int]], roles: Mapping[str, Role], name: str
    ):
        having = [config for config, _ in configs if name in config]
        size = lambda config: sum(v for n, v in config.items() if n != name and roles[n].padded is not None)
        self.task, self.name = task, name
        self.config = sorted(having, key=size)[len(having) // 2]
        others = [n for n, role in roles.items() if n != name and role.kind == "static"]
        self.programs = len({config_id({n: c[n] for n in others if n in c}) for c in having})
        self._lanes = {
            n: lane
            for n, role in roles.items()
            if n != name and n in self.config and role.kind == "lane"
            if (lane := role.padded or lane_type([config[n] for config, _ in configs if n in config]))
        }

    def work(self, value: Any, lane: LaneType | None = None, rows: int | None = None) -> Work:
        """A step's work with ``value`` compiled in or, with ``lane``, traced."""
        config = {**self.config, self.name: value}
        lanes = self._lanes if lane is None else {**self._lanes, self.name: lane}
        static = {n: v for n, v in config.items() if n not in lanes}
        return step_work(self.task, static, lanes, rows or rows_of(self.task, config))


def rows_of(task: Task, config: Mapping[str, Any]) -> int:
    """The rows of a batch of one config."""
    return config.get("batch_size", task.batch_size)


def _decide_options(case: _Case, role: Role, steps: Counter) -> Role:
    """Every option computed in one program, or a program for each name."""
    names = sorted(steps)
    joined = case.work(names[0], lane_type(names))
    spared = (len(names) - 1) * case.programs * joined.compile_seconds
    if sum(steps.values()) * joined.a_lane(TYPICAL_WIDTH) <= spared:
        return role
    wasted = sum(steps[n] * (joined.a_lane(TYPICAL_WIDTH) - case.work(n).a_lane(TYPICAL_WIDTH)) for n in names)
    told = f"about {_seconds(wasted)} of options computed in vain, {_seconds(spared)} of compiling spared"
    if wasted <= spared:
        return replace(role, reason=f"{role.reason}, joined: {told}")
    return replace(role, kind="static", reason=f"a program for each name, for joined: {told}")


def _decide_tiers(case: _Case, role: Role, steps: Counter, told: Mapping[str, str], recorded: RecordedRoles) -> Role:
    values = sorted(steps)
    name, widest = case.name, values[-1]
    if told.get(name) == "lane":
        return replace(role, tiers=dict.fromkeys(values, widest))
    if name in recorded.tiers:
        tiers = _grown(recorded.tiers[name], values)
        return _with_tiers(role, tiers, "as the record has it")
    if len(values) == 1:
        return _with_tiers(role, {widest: widest}, "")
    joined = _between(values, lambda v: case.work(v, _lane_for(role, v), v if name == "batch_size" else None))
    compiling = case.programs * case.work(widest).compile_seconds
    total = sum(steps.values())
    if total * joined(widest) <= compiling:  # less than one program's compiling: whatever is masked, it pays
        return _with_tiers(role, dict.fromkeys(values, widest), f"under {_seconds(compiling)} of compiling a value")
    alone = _between(values, lambda v: case.work(v))
    tiers = _cheapest(values, steps, alone, joined, compiling)
    spared = (len(values) - len(set(tiers.values()))) * compiling
    shared = [v for v in values if not _is_alone(tiers, v)]
    wasted = sum(steps[v] * (joined(tiers[v]) - alone(v)) for v in shared)
    if not shared:
        full = sum(steps[v] * (joined(widest) - alone(v)) for v in values)
        worth = (len(values) - 1) * compiling
        return _with_tiers(role, tiers, f"joined, {_seconds(full)} of masked work for {_seconds(worth)} of compiling")
    return _with_tiers(role, tiers, f"about {_seconds(wasted)} of masked work, {_seconds(spared)} of compiling spared")


def _lane_for(role: Role, most: int) -> LaneType:
    return LaneType(np.dtype(np.int32)) if role.padded is None else replace(role.padded, most=most)


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
    joined: Callable[[int], float],
    compiling: float,
) -> dict[int, int]:
    """The division of sorted values into neighbours that share a program, of the least compiling and work together."""
    best: list[tuple[float, list[int]]] = [(0.0, [])]  # for the first k values: seconds, and where each part begins
    for end in range(1, len(values) + 1):
        options = []
        for begin in range(end):
            part = values[begin:end]
            a_step = alone(part[0]) if len(part) == 1 else joined(part[-1])
            seconds = best[begin][0] + compiling + a_step * sum(steps[v] for v in part)
            options.append((seconds, [*best[begin][1], begin]))
        best.append(min(options))
    begins = [*best[-1][1], len(values)]
    return {v: values[end - 1] for begin, end in itertools.pairwise(begins) for v in values[begin:end]}


def _grown(tiers: Mapping[int, int], values: Sequence[int]) -> dict[int, int]:
    """A record's tiers with values it has not: in the narrowest program that takes them, else in one of their own."""
    grown = dict(tiers)
    shared = sorted({tier for tier in tiers.values() if list(tiers.values()).count(tier) > 1})
    new = [v for v in values if v not in tiers]
    beyond = [v for v in new if not shared or v > shared[-1]]
    for value in new:
        grown[value] = max(beyond) if value in beyond else next(tier for tier in shared if tier >= value)
    return grown


def _is_alone(tiers: Mapping[int, int], value: int) -> bool:
    return list(tiers.values()).count(tiers[value]) == 1


def _with_tiers(role: Role, tiers: Mapping[int, int], why: str) -> Role:
    parts: dict[int, list[int]] = {}
    for value, tier in sorted(tiers.items()):
        parts.setdefault(tier, []).append(value)
    shared = [f"{', '.join(map(str, part))} padded to {tier}" for tier, part in parts.items() if len(part) > 1]
    single = [format_value(tier) for tier, part in parts.items() if len(part) == 1]
    because = f" ({why})" if why else ""
    if not shared:
        reason = role.reason if role.kind == "static" else "used as a shape: the rows of a batch"
        return replace(role, kind="static", tiers=dict(tiers), reason=f"{reason}{'; ' + why if why else ''}")
    apart = f"; {', '.join(single)} compiled in" if single else ""
    return replace(role, kind="lane", tiers=dict(tiers), reason=f"{'; '.join(shared)}, and masked{apart}{because}")


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
