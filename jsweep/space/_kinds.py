"""What kind of values a name can take: decided by the space, not by the values drawn from it so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from jsweep._runtime.types import Value
from jsweep.space._conditions import Part, leaves
from jsweep.space._domains import Distribution, Leaf


@dataclass(frozen=True)
class ValueKind:
    """The type of every value that a name can take, and their names or bounds.

    Attributes:
        type: "float" also for integers and floats mixed; "other" for tuples, lists, dicts, functions, None, and
            mixtures of types.
        names: for "str", every string that the name can take, sorted; otherwise empty.
        low: for "int" and "float", the smallest value that the name can take; None where there is no such bound.
        high: likewise the largest.
    """

    type: Literal["bool", "int", "float", "str", "other"]
    names: tuple[str, ...] = ()
    low: int | float | None = None
    high: int | float | None = None


def kind_of_part(part: Part) -> ValueKind:
    """The kind of a part of a space; where it is conditional, of all that it can come to."""
    return reduce(merge, map(_kind_of_leaf, leaves(part)))


def kinds_of_configs(configs: Iterable[Mapping[str, Value]]) -> dict[str, ValueKind]:
    """The kind of every name's values in ``configs``."""
    values: dict[str, list[Value]] = {}
    for config in configs:
        for name, value in config.items():
            values.setdefault(name, []).append(value)
    return {name: _kind_of_values(found) for name, found in values.items()}


def merge_kinds(kinds: Iterable[Mapping[str, ValueKind]]) -> dict[str, ValueKind]:
    """The kinds of names that take their values from several places."""
    merged: dict[str, ValueKind] = {}
    for each in kinds:
        for name, kind in each.items():
            merged[name] = merge(merged[name], kind) if name in merged else kind
    return merged


def merge(a: ValueKind, b: ValueKind) -> ValueKind:
    """The kind of values that are of kind ``a`` or of kind ``b``."""
    types = {a.type, b.type}
    if types == {"str"}:
        return ValueKind("str", tuple(sorted({*a.names, *b.names})))
    if types <= {"int", "float"}:
        low = None if a.low is None or b.low is None else min(a.low, b.low)
        high = None if a.high is None or b.high is None else max(a.high, b.high)
        return ValueKind("int" if types == {"int"} else "float", (), low, high)
    return a if types == {"bool"} else ValueKind("other")


def _kind_of_leaf(leaf: Leaf) -> ValueKind:
    if not isinstance(leaf, Distribution):
        return _kind_of_values(leaf.values)
    low, high = (None, None) if leaf.kind == "normal" else leaf.arguments
    return ValueKind("int" if leaf.kind in ("int_uniform", "log_int") else "float", (), low, high)


def _kind_of_values(values: Sequence[Value]) -> ValueKind:
    types = {type(value) for value in values}
    if types == {bool}:
        return ValueKind("bool")
    if types == {str}:
        return ValueKind("str", tuple(sorted({value for value in values if isinstance(value, str)})))
    if types <= {int, float}:
        numbers = [value for value in values if isinstance(value, int | float)]
        bounded = not any(number != number for number in numbers)
        low, high = (min(numbers), max(numbers)) if bounded else (None, None)
        return ValueKind("int" if types == {int} else "float", (), low, high)
    return ValueKind("other")
