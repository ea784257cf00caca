"""Conditional parts of a space: what a name takes depends on the values of other names.

A condition is data, not a function, so that a space can be printed, written down and read back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsweep.errors import ConfigError
from jsweep.space._domains import Leaf, Values, values_of
from jsweep.space._encode import canonical, encode, plain
from jsweep.space._format import format_value, format_values

_ABSENT = object()


@dataclass(frozen=True)
class Condition:
    """What one value must satisfy: ``kind`` is "any_of" (with the values), "at_least" or "at_most" (with the bound)."""

    kind: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        if self.kind == "any_of":
            return ("is " if len(self.arguments) == 1 else "is one of ") + format_values(self.arguments)
        return f"is {self.kind.replace('_', ' ')} {format_value(self.arguments[0])}"


@dataclass(frozen=True)
class When:
    """A part that depends on others: ``then`` where every condition holds, else ``otherwise`` (None: absent)."""

    conditions: tuple[tuple[str, Condition], ...]
    then: Any
    otherwise: Any = None

    def __str__(self) -> str:
        conditions = " and ".join(f"{name} {condition}" for name, condition in self.conditions)
        otherwise = "" if self.otherwise is None else f"; otherwise {self.otherwise}"
        return f"{self.then}  when {conditions}{otherwise}"


Part = Leaf | When


def when(*, then: Any, otherwise: Any = _ABSENT, **conditions: Any) -> When:
    """A part of a space that depends on other names: ``then`` in the configs where every condition holds.

    Elsewhere the name takes ``otherwise``, or is absent from the config where no ``otherwise`` is given. ``then`` and
    ``otherwise`` are what a space takes anywhere: a list, a distribution, one value, another `when`. A condition is
    ``name=value``, ``name=[values]`` (any of them), ``name=at_least(bound)`` or ``name=at_most(bound)``; a name that is
    itself absent satisfies none. It does not matter which name stands first in the space. Raises ConfigError
    (in the space) for names the space has not, for values a name never takes, and for names that wait for each other.

    >>> grid({"optimizer": ["sgd", "adam"], "momentum": when(optimizer="sgd", then=[0.0, 0.9])})
    3 configs
      optimizer=sgd, momentum=0
      optimizer=sgd, momentum=0.9
      optimizer=adam
    >>> widths = {f"width_{i}": when(layers=at_least(i), then=[16, 32]) for i in (1, 2, 3)}
    >>> len(grid({"layers": [1, 2, 3], **widths}))
    14
    """
    if not conditions:
        raise ConfigError(
            "when was given no condition: give one by name, as in when(optimizer='sgd', then=[0.0, 0.9])."
        )
    parts = tuple((name, _condition(name, value)) for name, value in conditions.items())
    return When(parts, part_of(then), None if otherwise is _ABSENT else part_of(otherwise))


def at_least(bound: float) -> Condition:
    """For `when`: the value is ``bound`` or more."""
    return Condition("at_least", (_bound("at_least", bound),))


def at_most(bound: float) -> Condition:
    """For `when`: the value is ``bound`` or less."""
    return Condition("at_most", (_bound("at_most", bound),))


def part_of(value: Any) -> Part:
    """What a user wrote for a name, as a part: a list, range or 1-D array holds its values, all else is one value."""
    if isinstance(value, Part):
        return value
    if isinstance(value, Condition):
        raise ConfigError(
            "at_least and at_most are conditions: use them in when, as in when(layers=at_least(2), then=[16])."
        )
    return _values_written(value)


def _values_written(value: Any) -> Values:
    if isinstance(value, list | range):
        return values_of(value)
    if getattr(value, "ndim", 0):
        if getattr(value, "ndim", 0) != 1:
            raise ConfigError(
                f"an array of shape {value.shape} is no list of values: give a list, or an array of one axis."
            )
        return values_of(value.tolist())
    return Values((plain(value),))


def leaves(part: Part | None) -> Iterator[Leaf]:
    """The lists and distributions in a part, each once."""
    if isinstance(part, When):
        yield from leaves(part.then)
        yield from leaves(part.otherwise)
    elif part is not None:
        yield part


def conditions_of(part: Part | None) -> Iterator[tuple[str, Condition]]:
    """Every condition in a part, with the name it looks at."""
    if isinstance(part, When):
        yield from part.conditions
        yield from conditions_of(part.then)
        yield from conditions_of(part.otherwise)


def leaf_in(part: Part | None, config: Mapping[str, Any]) -> Leaf | None:
    """The list or distribution that a part comes to in a config; None where the name is absent."""
    while isinstance(part, When):
        holds = all(name in config and satisfies(config[name], condition) for name, condition in part.conditions)
        part = part.then if holds else part.otherwise
    return part


def satisfies(value: Any, condition: Condition) -> bool:
    """Whether a value meets a condition; only numbers meet a bound."""
    if condition.kind == "any_of":
        return any(same(value, other) for other in condition.arguments)
    if type(value) not in (int, float):
        return False
    return value >= condition.arguments[0] if condition.kind == "at_least" else value <= condition.arguments[0]


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same; of numbers, whether they are equal."""
    if type(a) in (int, float) and type(b) in (int, float):
        return a == b
    return type(a) is type(b) and (a == b if isinstance(a, str) else canonical(encode(a)) == canonical(encode(b)))


def in_order(parts: Mapping[str, Part]) -> tuple[str, ...]:
    """The names, each after those its conditions look at, else as given; ConfigError where names wait for each other."""
    done: dict[str, None] = {}

    def visit(name: str, waiting: tuple[str, ...]) -> None:
        if name in waiting:
            circle = " on ".join([*waiting[waiting.index(name) :], name])
            raise ConfigError(f"the conditions go in a circle ({circle}): let one of them stand alone.")
        if name not in done:
            for other, _ in conditions_of(parts[name]):
                visit(other, (*waiting, name))
            done[name] = None

    for name in parts:
        visit(name, ())
    return tuple(done)


def check_conditions(parts: Mapping[str, Part]) -> None:
    """ConfigError for a condition on a name that is not there, or that no value of that name can meet."""
    for name, part in parts.items():
        for other, condition in conditions_of(part):
            if other not in parts:
                raise ConfigError(
                    f"{name} is conditional on {other!r}, which the space does not have: add it or correct it."
                )
            _check_can_hold(name, other, parts[other], condition)


def _check_can_hold(name: str, other: str, part: Part, condition: Condition) -> None:
    """Each value that is asked for must be one that ``other`` can take; a distribution may give any number."""
    values = [value for leaf in leaves(part) if isinstance(leaf, Values) for value in leaf.values]
    drawn = any(not isinstance(leaf, Values) for leaf in leaves(part))
    asked = (
        [Condition("any_of", (value,)) for value in condition.arguments] if condition.kind == "any_of" else [condition]
    )
    for single in asked:
        number = type(single.arguments[0]) in (int, float)
        if not (drawn and number) and not any(satisfies(value, single) for value in values):
            takes = ", ".join(str(leaf) for leaf in leaves(part))
            raise ConfigError(f"{name} asks whether {other} {single}, which it never is: it takes {takes}.")


def _condition(name: str, value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, Part):
        raise ConfigError(f"when has {name}={value}: give a value, a list of values, at_least(...) or at_most(...).")
    try:
        return Condition("any_of", _values_written(value).values)
    except ConfigError as error:
        raise ConfigError(f"when has a condition on {name} that is none: {error}") from None


def _bound(where: str, bound: Any) -> int | float:
    number = plain(bound)
    if type(number) not in (int, float) or number != number:
        raise ConfigError(f"{where} was given {bound!r}: give a number.")
    return number
