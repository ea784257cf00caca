"""Conditional parts of a space: what a name takes depends on the values of other names.

A condition is data, not a function, so that a space can be printed, written and read back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._domains import Leaf, Values, check_length, values_of
from jsweep.space._encode import canonical, encode, plain
from jsweep.space._format import format_value, format_values


@dataclass(frozen=True)
class Condition:
    """What one value must satisfy: to be one of ``arguments``, or to lie on one side of the bound that they hold."""

    kind: Literal["any_of", "at_least", "at_most"]
    arguments: tuple[Value, ...]

    def __str__(self) -> str:
        if self.kind == "any_of":
            return ("is " if len(self.arguments) == 1 else "is one of ") + format_values(self.arguments)
        return f"is {self.kind.replace('_', ' ')} {format_value(self.arguments[0])}"


@dataclass(frozen=True)
class When:
    """A part that depends on others: ``then`` where every condition holds, otherwise ``otherwise`` (None: absent)."""

    conditions: tuple[tuple[str, Condition], ...]
    then: "Part"
    otherwise: "Part | None" = None

    def __str__(self) -> str:
        conditions = " and ".join(f"{name} {condition}" for name, condition in self.conditions)
        otherwise = "" if self.otherwise is None else f"; otherwise {self.otherwise}"
        return f"{self.then}  when {conditions}{otherwise}"


Part: TypeAlias = Leaf | When


class NumberOrArray(Protocol):
    """A number or an array of NumPy's or JAX's."""

    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


Written: TypeAlias = "Part | Value | NumberOrArray"
"""What a user may write for a name: a list, range or 1-D array of values, a distribution, a `when`, or one value."""


class _Absent:
    """The type of the default of ``otherwise``: None is a value."""


_ABSENT = _Absent()


def when(*, then: Written, otherwise: "Written | _Absent" = _ABSENT, **conditions: "Written | Condition") -> When:
    """A part of a space that depends on other names: ``then`` in the configs where every condition holds.

    It does not matter which name stands first in the space.

    Args:
        then: what the name takes where every condition holds: a list, a distribution, one value, another `when`.
        otherwise: what it takes elsewhere; if not given, the name is absent from those configs.
        **conditions: ``name=value``, ``name=[values]`` (any of them), ``name=at_least(bound)`` or
            ``name=at_most(bound)``; a name that is itself absent satisfies none.

    Returns:
        A part for a space.

    Raises:
        ConfigError: without a condition; and, once it stands in a space, for names that the space does not have, for
            values that a name never takes, and for names that depend on each other.

    >>> import jsweep as js
    >>> js.grid({"optimizer": ["sgd", "adam"], "momentum": js.when(optimizer="sgd", then=[0.0, 0.9])})
    3 configs
      optimizer=sgd, momentum=0
      optimizer=sgd, momentum=0.9
      optimizer=adam
    >>> widths = {f"width_{i}": js.when(layers=js.at_least(i), then=[16, 32]) for i in (1, 2, 3)}
    >>> len(js.grid({"layers": [1, 2, 3], **widths}))
    14
    """
    if not conditions:
        raise ConfigError("when has no condition: pass one by name, as in js.when(optimizer='sgd', then=[0.0, 0.9]).")
    parts = tuple((name, _condition(name, value)) for name, value in conditions.items())
    return When(parts, part_of(then), None if isinstance(otherwise, _Absent) else part_of(otherwise))


def at_least(bound: float) -> Condition:
    """A condition for `when`: the value is ``bound`` or more."""
    return bounded("at_least", bound)


def at_most(bound: float) -> Condition:
    """A condition for `when`: the value is ``bound`` or less."""
    return bounded("at_most", bound)


def part_of(value: object) -> Part:
    """What a user wrote for a name, as a part: a list, range or 1-D array holds its values, all else is one value."""
    if isinstance(value, Part):
        return value
    if isinstance(value, Condition):
        raise ConfigError(
            "at_least and at_most are conditions: use them in when, as in js.when(layers=js.at_least(2), then=[16])."
        )
    if isinstance(value, Mapping) and _resembles_a_space(value):
        raise ConfigError(
            f"{value!r} is a dict that holds a list or a distribution, and a space is not nested: give each name a part "
            "of its own, or write [{...}] for a dict that is one value."
        )
    return _values_written(value)


def _resembles_a_space(value: Mapping[object, object]) -> bool:
    return any(
        isinstance(item, list | range | Part) or (isinstance(item, Mapping) and _resembles_a_space(item))
        for item in value.values()
    )


def _values_written(value: object) -> Values:
    if isinstance(value, list | range):
        return values_of(value)
    shape = getattr(value, "shape", ())
    if shape:
        if len(shape) != 1:
            raise ConfigError(f"an array of shape {shape} is not a list of values: pass a list or a 1-D array.")
        check_length(shape[0])
        return values_of(value.tolist())  # pyright: ignore[reportAttributeAccessIssue]
    return Values((plain(value),))


def leaves(part: Part | None) -> Iterator[Leaf]:
    """The lists and distributions in a part, each once."""
    if isinstance(part, When):
        yield from leaves(part.then)
        yield from leaves(part.otherwise)
    elif part is not None:
        yield part


def conditions_of(part: Part | None) -> Iterator[tuple[str, Condition]]:
    """Every condition in a part, with the name that it is about."""
    if isinstance(part, When):
        yield from part.conditions
        yield from conditions_of(part.then)
        yield from conditions_of(part.otherwise)


def leaf_in(part: Part | None, config: Mapping[str, Value]) -> Leaf | None:
    """The list or distribution that applies in a config; None where the name is absent."""
    while isinstance(part, When):
        holds = all(name in config and satisfies(config[name], condition) for name, condition in part.conditions)
        part = part.then if holds else part.otherwise
    return part


def satisfies(value: Value, condition: Condition) -> bool:
    """Whether a value meets a condition; only numbers meet a bound."""
    if condition.kind == "any_of":
        return any(same(value, other) for other in condition.arguments)
    bound = condition.arguments[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(bound, int | float):
        return False
    return value >= bound if condition.kind == "at_least" else value <= bound


def same(a: Value, b: Value) -> bool:
    """Whether two values are the same; of numbers, whether they are equal."""
    if type(a) in (int, float) and type(b) in (int, float):
        return a == b
    return type(a) is type(b) and (a == b if isinstance(a, str) else canonical(encode(a)) == canonical(encode(b)))


def in_order(parts: Mapping[str, Part]) -> tuple[str, ...]:
    """The names, each after those that its conditions are about, otherwise as given.

    Raises ConfigError for names that depend on each other.
    """
    done: dict[str, None] = {}

    def visit(name: str, waiting: tuple[str, ...]) -> None:
        if name in waiting:
            circle = " on ".join([*waiting[waiting.index(name) :], name])
            raise ConfigError(f"the conditions form a circle ({circle}): make one of the names unconditional.")
        if name not in done:
            for other, _ in conditions_of(parts[name]):
                visit(other, (*waiting, name))
            done[name] = None

    for name in parts:
        visit(name, ())
    return tuple(done)


def check_conditions(parts: Mapping[str, Part]) -> None:
    """ConfigError for a condition on a name that the space does not have, or that no value of that name meets."""
    for name, part in parts.items():
        for other, condition in conditions_of(part):
            if other not in parts:
                raise ConfigError(
                    f"{name} is conditional on {other!r}, which the space does not have: add that name or correct it."
                )
            _check_can_hold(name, other, parts[other], condition)


def _check_can_hold(name: str, other: str, part: Part, condition: Condition) -> None:
    """Each value in the condition must be one that ``other`` can take; a distribution may give any number."""
    values = [value for leaf in leaves(part) if isinstance(leaf, Values) for value in leaf.values]
    drawn = any(not isinstance(leaf, Values) for leaf in leaves(part))
    asked = (
        [Condition("any_of", (value,)) for value in condition.arguments] if condition.kind == "any_of" else [condition]
    )
    for single in asked:
        number = type(single.arguments[0]) in (int, float)
        if not (drawn and number) and not any(satisfies(value, single) for value in values):
            takes = ", ".join(str(leaf) for leaf in leaves(part))
            raise ConfigError(f"{name} asks whether {other} {single}, which it never is: correct it to one of {takes}.")


def _condition(name: str, value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, Part):
        raise ConfigError(f"when has {name}={value}: pass a value, a list of values, at_least(...) or at_most(...).")
    try:
        return Condition("any_of", _values_written(value).values)
    except ConfigError as error:
        raise ConfigError(f"when has a condition on {name} that is not valid: {error}") from None


def bounded(kind: Literal["at_least", "at_most"], bound: object) -> Condition:
    """A condition on one side of a bound; ConfigError if that is not a number."""
    number = None if callable(bound) else plain(bound)
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
        raise ConfigError(f"{kind} has the bound {bound!r}: pass a number.")
    return Condition(kind, (number,))
