"""The space: names, and what each of them takes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsweep.errors import ConfigError
from jsweep.space import _domains
from jsweep.space._annotations import Annotated
from jsweep.space._conditions import Condition, Part, When, at_least, at_most, check_conditions, in_order, part_of
from jsweep.space._domains import Distribution, Values, choice, values_of
from jsweep.space._encode import decode, encode


@dataclass(frozen=True, eq=False, repr=False)
class Space(Mapping[str, Any]):
    """Names and what each takes: a list of values, a distribution, a part that depends on others (`when`), one value.

    `grid`, `random` and their kin take the plain dict as well; a space made of it is checked, prints itself, and goes
    through JSON. A list (or range, or 1-D array) holds values to choose from; everything else, a tuple too,
    is one value that every config has. Raises ConfigError, with the name, for what is no part of a space.

    >>> Space({"optimizer": ["sgd", "adam"], "momentum": when(optimizer="sgd", then=uniform(0.0, 0.99)), "l2": 1e-4})
    Space
      optimizer: sgd, adam
      momentum:  uniform(0, 0.99)  when optimizer is sgd
      l2:        1e-4
    """

    parts: Mapping[str, Part]
    order: tuple[str, ...] = field(init=False)
    """The names, each after those it is conditional on."""
    annotations: Mapping[str, str] = field(init=False)
    """The names whose role was decided by `lane` or `static`."""

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Mapping):
            raise ConfigError(f"space={self.parts!r} is no space: give a dict from names to lists or distributions.")
        if not self.parts:
            raise ConfigError("the space is empty: give at least one name, as in {'learning_rate': [0.1, 0.3]}.")
        parts, annotations = {}, {}
        for name, value in self.parts.items():
            check_name(name)
            if isinstance(value, Annotated):
                annotations[name], value = value.role, value.part
            try:
                parts[name] = part_of(value)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None
        check_conditions(parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "order", in_order(parts))
        object.__setattr__(self, "annotations", annotations)

    def __getitem__(self, name: str) -> Part:
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Space) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        width = max(map(len, self.parts)) + 1
        roles = {
            name: f"  ({'a lane' if role == 'lane' else 'compiled in'})" for name, role in self.annotations.items()
        }
        shown = (f"{name + ':':<{width}} {part}{roles.get(name, '')}" for name, part in self.parts.items())
        return "\n  ".join(["Space", *shown])

    def to_json(self) -> str:
        """The space as JSON, exactly; functions by name."""
        data = {name: _part_to_data(part) for name, part in self.parts.items()}
        return json.dumps(
            {n: {self.annotations[n]: d} if n in self.annotations else d for n, d in data.items()}, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str, resolve: bool = False) -> "Space":
        """The space that `to_json` wrote. Functions come back as `Named`; ``resolve=True`` imports them.

        Raises ConfigError for text that is no space.
        """
        try:
            return cls({name: _part_from_data(data, resolve) for name, data in json.loads(text).items()})
        except (AttributeError, TypeError, json.JSONDecodeError) as error:
            raise ConfigError(f"this is not the JSON of a space ({error}): give what to_json returned.") from error


def as_space(space: Any) -> Space:
    """A space as given, or made of the dict that was given."""
    return space if isinstance(space, Space) else Space(space)


def check_name(name: Any) -> None:
    """ConfigError unless ``name`` can name a hyperparameter: text that is not empty."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{name!r} is no name: give text, as in {{'learning_rate': [0.1, 0.3]}}.")


def _part_to_data(part: Part) -> dict[str, Any]:
    if isinstance(part, Values):
        weights = {} if part.weights is None else {"weights": list(part.weights)}
        return {"values": [encode(value) for value in part.values], **weights}
    if isinstance(part, Distribution):
        return {part.kind: list(part.arguments)}
    conditions = {name: {c.kind: [encode(value) for value in c.arguments]} for name, c in part.conditions}
    otherwise = {} if part.otherwise is None else {"otherwise": _part_to_data(part.otherwise)}
    return {"when": conditions, "then": _part_to_data(part.then), **otherwise}


def _part_from_data(data: Any, resolve: bool) -> Any:
    match data:
        case {"lane": part, **rest} if not rest:
            return Annotated("lane", _part_from_data(part, resolve))
        case {"static": part, **rest} if not rest:
            return Annotated("static", _part_from_data(part, resolve))
        case {"values": [*values], "weights": [*weights], **rest} if not rest:
            return choice(decode(values, resolve), weights=weights)
        case {"values": [*values], **rest} if not rest:
            return values_of(decode(values, resolve))
        case {"when": dict(conditions), "then": then, **rest} if not set(rest) - {"otherwise"}:
            otherwise = _part_from_data(rest["otherwise"], resolve) if rest else None
            read = tuple((name, _condition_from_data(c, resolve)) for name, c in conditions.items())
            return When(read, _part_from_data(then, resolve), otherwise)
        case dict() if len(data) == 1:
            ((kind, arguments),) = data.items()
            if kind in ("uniform", "log_uniform", "int_uniform", "log_int", "normal"):
                return getattr(_domains, kind)(*arguments)
    raise ConfigError(f"{data!r} is no part of a space: give what to_json returned.")


def _condition_from_data(data: Any, resolve: bool) -> Condition:
    match data:
        case {"any_of": [*values], **rest} if values and not rest:
            return Condition("any_of", tuple(decode(values, resolve)))
        case {"at_least": [bound], **rest} if not rest:
            return at_least(decode(bound))
        case {"at_most": [bound], **rest} if not rest:
            return at_most(decode(bound))
    raise ConfigError(f"{data!r} is no condition: give what to_json returned.")
