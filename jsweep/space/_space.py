"""The space: names, and what each of them takes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from jsweep.errors import ConfigError
from jsweep.space import _domains
from jsweep.space._annotations import Annotated, Annotation
from jsweep.space._conditions import (
    Condition,
    Part,
    When,
    Written,
    bounded,
    check_conditions,
    conditions_of,
    in_order,
    part_of,
)
from jsweep.space._constraints import Constraint
from jsweep.space._domains import Distribution, Values, choice, values_of
from jsweep.space._encode import Json, decode, encode
from jsweep.space._kinds import ValueKind, kind_of_part
from jsweep.space._named import Named, name_of


@dataclass(frozen=True, eq=False, repr=False)
class Space(Mapping[str, Part]):
    """Names and what each takes: a list of values, a distribution, a conditional part (`when`), or one value.

    A `constraint` stands in it under a name of its own, which is not a hyperparameter.

    `grid`, `random` and the other searches take the plain dict as well; a `Space` made from it is checked, prints itself
    and converts to JSON. A list (or range, or 1-D array) holds values to choose from; everything else, a tuple too,
    is one value that every config has. Raises ConfigError, with the name, for what is not a part of a space.

    >>> import jsweep as js
    >>> momentum = js.when(optimizer="sgd", then=js.uniform(0.0, 0.99))
    >>> js.Space({"optimizer": ["sgd", "adam"], "momentum": momentum, "l2": 1e-4})
    Space
      optimizer: sgd, adam
      momentum:  uniform(0, 0.99)  when optimizer is sgd
      l2:        1e-4
    """

    parts: Mapping[str, Part]
    """What each name takes."""
    order: tuple[str, ...] = field(init=False)
    """The names, each after those it is conditional on."""
    annotations: Mapping[str, Annotation] = field(init=False)
    """The roles that `lane` and `static` require, by name."""
    constraints: Mapping[str, Constraint] = field(init=False)
    """What every config satisfies, by the constraint's name."""

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Mapping):
            raise ConfigError(f"space={self.parts!r} is not a space: pass a dict from names to lists or distributions.")
        if not self.parts:
            raise ConfigError("the space is empty: pass at least one name, as in {'learning_rate': [0.1, 0.3]}.")
        parts: dict[str, Part] = {}
        annotations: dict[str, Annotation] = {}
        constraints: dict[str, Constraint] = {}
        for name, value in self.parts.items():
            check_name(name)
            if isinstance(value, Constraint):
                constraints[name] = value
                continue
            if isinstance(value, Annotated):
                annotations[name], value = value.role, value.part
            try:
                parts[name] = part_of(value)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None
        if not parts:
            raise ConfigError("the space has only constraints: add names and what they take.")
        check_conditions(parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "constraints", constraints)
        object.__setattr__(self, "order", in_order(parts))
        object.__setattr__(self, "annotations", annotations)

    def __getitem__(self, name: str) -> Part:
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, Space) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def _identity(self) -> tuple[object, ...]:
        return self.parts_to_json(), tuple(self.constraints.items())

    def __repr__(self) -> str:
        width = max(map(len, (*self.parts, *self.constraints))) + 1
        roles = {
            name: f"  ({'a lane' if role == 'lane' else 'compiled in'})" for name, role in self.annotations.items()
        }
        entries = {**self.parts, **self.constraints}
        shown = (f"{name + ':':<{width}} {part}{roles.get(name, '')}" for name, part in entries.items())
        return "\n  ".join(["Space", *shown])

    @property
    def conditions(self) -> frozenset[str]:
        """The names that conditions of the space look at."""
        return frozenset(other for part in self.parts.values() for other, _ in conditions_of(part))

    @cached_property
    def value_kinds(self) -> Mapping[str, ValueKind]:
        """What kind of values each name can take, whatever is drawn."""
        return {name: kind_of_part(part) for name, part in self.parts.items()}

    def to_json(self) -> str:
        """The space as JSON, exactly; functions by name, and so ConfigError for a constraint that is a lambda."""
        constraints = {name: {"constraint": name_of(c.holds)} for name, c in self.constraints.items()}
        return json.dumps({**self._parts_data(), **constraints}, allow_nan=False)

    def parts_to_json(self) -> str:
        """The names and what they take as JSON, without the constraints."""
        return json.dumps(self._parts_data(), allow_nan=False)

    def _parts_data(self) -> dict[str, Json]:
        data: dict[str, Json] = {name: _part_to_data(part) for name, part in self.parts.items()}
        return {n: {self.annotations[n]: d} if n in self.annotations else d for n, d in data.items()}

    @classmethod
    def from_json(cls, text: str, resolve: bool = False) -> "Space":
        """The space that `to_json` wrote. Functions are read as `Named`; ``resolve=True`` imports them.

        Raises ConfigError for text that is not a space.
        """
        try:
            written = {name: _part_from_data(data, resolve) for name, data in json.loads(text).items()}
        except (AttributeError, TypeError, json.JSONDecodeError) as error:
            raise ConfigError(f"this is not the JSON of a space ({error}): pass what to_json returned.") from error
        return as_space(written)


SpaceLike: TypeAlias = (
    "Space | Mapping[str, Annotated] | Mapping[str, Written] | Mapping[str, Annotated | Written | Constraint]"
)
"""A space, or the dict of which one is made."""


def as_space(space: SpaceLike) -> Space:
    """A space as given, or made from the dict that was given."""
    return space if isinstance(space, Space) else Space(space)  # pyright: ignore[reportArgumentType]


def check_name(name: object) -> None:
    """ConfigError unless ``name`` can name a hyperparameter: a string that is not empty."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{name!r} is not a name: pass a string, as in {{'learning_rate': [0.1, 0.3]}}.")


def _part_to_data(part: Part) -> dict[str, Json]:
    if isinstance(part, Values):
        weights: dict[str, Json] = {} if part.weights is None else {"weights": list(part.weights)}
        return {"values": [encode(value) for value in part.values], **weights}
    if isinstance(part, Distribution):
        return {part.kind: list(part.arguments)}
    conditions: Json = {name: {c.kind: [encode(value) for value in c.arguments]} for name, c in part.conditions}
    otherwise: dict[str, Json] = {} if part.otherwise is None else {"otherwise": _part_to_data(part.otherwise)}
    return {"when": conditions, "then": _part_to_data(part.then), **otherwise}


def _part_from_data(data: Json, resolve: bool) -> Part | Annotated | Constraint:
    match data:
        case {"constraint": str(name), **rest} if not rest:
            return Constraint(Named(name).resolve() if resolve else Named(name))
        case {"lane": part, **rest} if not rest:
            return Annotated("lane", _unannotated(part, resolve))
        case {"static": part, **rest} if not rest:
            return Annotated("static", _unannotated(part, resolve))
    return _unannotated(data, resolve)


def _unannotated(data: Json, resolve: bool) -> Part:
    match data:
        case {"values": [*values], "weights": [*weights], **rest} if not rest:
            return choice([decode(value, resolve) for value in values], weights=weights)  # pyright: ignore[reportArgumentType]
        case {"values": [*values], **rest} if not rest:
            return values_of([decode(value, resolve) for value in values])
        case {"when": dict(conditions), "then": then, **rest} if not set(rest) - {"otherwise"}:
            otherwise = _unannotated(rest["otherwise"], resolve) if rest else None
            read = tuple((name, _condition_from_data(c, resolve)) for name, c in conditions.items())
            return When(read, _unannotated(then, resolve), otherwise)
        case dict() if len(data) == 1:
            ((kind, arguments),) = data.items()
            if kind in ("uniform", "log_uniform", "int_uniform", "log_int", "normal") and isinstance(arguments, list):
                return getattr(_domains, kind)(*arguments)
    raise ConfigError(f"{data!r} is not a part of a space: pass what to_json returned.")


def _condition_from_data(data: Json, resolve: bool) -> Condition:
    match data:
        case {"any_of": [*values], **rest} if values and not rest:
            return Condition("any_of", tuple(decode(value, resolve) for value in values))
        case {"at_least": [bound], **rest} if not rest:
            return bounded("at_least", decode(bound))
        case {"at_most": [bound], **rest} if not rest:
            return bounded("at_most", decode(bound))
    raise ConfigError(f"{data!r} is not a condition: pass what to_json returned.")
