"""Which numbers cannot be lanes, because a task computes something else with a traced one than with a Python number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool

from jsweep._runtime.types import Value
from jsweep.planning.agreement import Operation, disagreement, operations_of, straying
from jsweep.planning.lane_types import LaneType
from jsweep.planning.traced import Traced

SUSPECTS = 4  # configs of a group, at most, that are traced because a number of theirs is rounded to another one
MOST_WHOLE, MOST_LISTED = 16, 8  # distinct whole numbers, and others, of which each is compared

Config = Mapping[str, Value]
Trace = Callable[[Config, Mapping[str, LaneType], int], Traced | Exception]
"""``trace(static, lanes, rows)``"""


class Drafted(Protocol):
    """What is asked of a draft of a compile group."""

    @property
    def lanes(self) -> Mapping[str, LaneType]: ...
    @property
    def rows(self) -> int: ...
    @property
    def traced(self) -> Traced: ...
    @property
    def members(self) -> Sequence[int]: ...


def why_not_numbers(draft: Drafted, configs: Sequence[Config], trace: Trace) -> dict[str, str]:
    """The lanes of a group that must be static, with the reasons.

    Args:
        draft: the group.
        configs: the distinct configs of the sweep.
        trace: traces a group with some values compiled in, or returns the exception that stopped it.
    """
    numbers = [n for n, lane in draft.lanes.items() if n in draft.traced.used and _is_number(n, lane)]
    if not numbers:
        return {}
    case = _Case(draft, [configs[member] for member in draft.members], trace)
    values = {name: [config[name] for config in case.configs] for name in numbers}
    operations = operations_of(draft.traced, values)
    reasons: dict[str, str] = {}
    for place in _samples(draft, values, operations):
        compiled_in = case.trace(place, ())
        if isinstance(compiled_in, Traced):
            without = operations_of(compiled_in, {})
            found = disagreement(operations, without, place)
            if found is not None:  # a choice between two numbers is none where they are equal in this config alone
                of_config = {name: [column[place]] for name, column in values.items()}
                found = disagreement(operations_of(draft.traced, of_config), without, 0)
            if found is not None:
                suspects = sorted(found.lanes or numbers)
                at_fault = suspects if len(suspects) == 1 else case.at_fault(place, compiled_in, suspects)
                reasons |= {
                    name: f"{found.reason} of type {draft.lanes[name].dtype}, at its value {case.configs[place][name]!r}"
                    for name in at_fault
                }
    return reasons


@dataclass(frozen=True)
class _Case:
    """A group and its configs."""

    draft: Drafted
    configs: Sequence[Config]
    tracing: Trace

    def trace(self, place: int, lanes: Sequence[str]) -> Traced | Exception:
        """The trace of one config in its group, of whose numbers only ``lanes`` are lanes."""
        kept = {n: lane for n, lane in self.draft.lanes.items() if n in lanes or not _is_number(n, lane)}
        static = {name: value for name, value in self.configs[place].items() if name not in kept}
        return self.tracing(static, kept, self.draft.rows)

    def at_fault(self, place: int, compiled_in: Traced, suspects: Sequence[str]) -> Sequence[str]:
        """Which of the suspects cannot be lanes, by trying each alone; all of them where none is at fault alone."""
        without, found = operations_of(compiled_in, {}), []
        for name in suspects:
            alone = self.trace(place, (name,))
            if isinstance(alone, Traced):
                operations = operations_of(alone, {name: [self.configs[place][name]]})
                if disagreement(operations, without, 0) is not None:
                    found.append(name)
        return found or suspects


def _samples(draft: Drafted, values: Mapping[str, Sequence[Value]], operations: Sequence[Operation]) -> list[int]:
    """Which configs are compared, by their places: the first, suspects, and as many as have all `_telling` values."""
    places = [0, *straying(operations)[:SUSPECTS]]
    have = np.concatenate([_telling(column, draft.lanes[name].dtype.kind) for name, column in values.items()])
    missing = ~have[:, places].any(axis=1)
    while missing.any():
        places.append(int(have[missing].sum(axis=0).argmax()))
        missing &= ~have[:, places[-1]]
    return list(dict.fromkeys(places))


def _telling(column: Sequence[Value], kind: str) -> Bool[np.ndarray, "values configs"]:
    """The values of a lane that are compared, as the configs that have each: all of a few, and the ends of many.

    No rounding tells that powers by negative whole numbers are fractions in Python, that True + True is 2, that a whole
    number is an index there, or that a value of a certain type and size takes another branch.
    """
    codes: dict[tuple[type, Value], int] = {}
    of_configs = np.array([codes.setdefault((type(value), value), len(codes)) for value in column])
    by_size = np.argsort(np.array([float(value) for _, value in codes]))  # pyright: ignore[reportArgumentType]
    most = MOST_LISTED if kind == "f" else MOST_WHOLE
    if len(by_size) > most:
        by_size = by_size[np.linspace(0, len(by_size) - 1, 2 if kind == "f" else most).round().astype(int)]
    return np.equal.outer(by_size, of_configs)


def _is_number(name: str, lane: LaneType) -> bool:
    """Whether a lane stands for a Python number."""
    return not lane.names and not lane.most and name != "batch_size"
