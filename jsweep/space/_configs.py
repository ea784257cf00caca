"""Configs: a fixed sequence of different points of a space."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._annotations import Annotation
from jsweep.space._encode import config_id, config_ids, decode, encode_config, plain
from jsweep.space._format import format_config
from jsweep.space._kinds import ValueKind, kinds_of_configs, merge_kinds
from jsweep.space._space import Space, check_name

_SHOWN = 3  # configs at either end that a printed sequence shows


@dataclass(frozen=True, eq=False, repr=False)
class Configs(Sequence[dict[str, Value]]):
    """A fixed sequence of configs, no two equal: what `grid`, `random` and the other searches return.

    `configs` makes one from dicts. It can be iterated, indexed and sliced, and returns copies, so that it never
    changes. ``a + b`` is the union: ``a``, then what ``b`` adds; ``b`` may be a list of dicts.

    >>> import jsweep as js
    >>> js.grid({"l2": [0.0, 1e-4]}) + [{"l2": 1e-4}, {"l2": 1e-3}]
    3 configs
      l2=0
      l2=1e-4
      l2=1e-3
    """

    rows: tuple[Mapping[str, Value], ...]
    """The configs themselves, not to be changed."""
    spaces: tuple[Space, ...] = ()
    """The spaces from which configs were drawn; none for configs written by hand."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return (_copy(config) for config in self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Value]: ...
    @overload
    def __getitem__(self, index: slice) -> "Configs": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Value] | Configs":
        if isinstance(index, slice):
            return Configs(self.rows[index], self.spaces)
        return _copy(self.rows[index])

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The `config_id` of each config, in order."""
        return tuple(config_ids(self.rows))

    @cached_property
    def annotations(self) -> dict[str, Annotation]:
        """The roles that `lane` and `static` require, by name; where spaces differ, the first one counts."""
        return {name: role for space in reversed(self.spaces) for name, role in space.annotations.items()}

    @cached_property
    def value_kinds(self) -> Mapping[str, ValueKind]:
        """What kind of values each name can take: what the spaces say, and the values of configs written by hand.

        It does not depend on what was drawn: drawing more configs from the same spaces changes nothing.

        >>> import jsweep as js
        >>> js.random({"dropout": js.uniform(0.0, 0.5), "layers": [1, 2, 4]}, 2, key=0).value_kinds["layers"]
        ValueKind(type='int', names=(), low=1, high=4)
        """
        return merge_kinds([*(space.value_kinds for space in self.spaces), kinds_of_configs(self.rows)])

    def __contains__(self, config: object) -> bool:
        return isinstance(config, Mapping) and config_id(config) in self.ids

    def __eq__(self, other: object) -> bool:
        return self.ids == other.ids if isinstance(other, Configs) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ids)

    def __add__(self, other: Iterable[Mapping[str, Value]]) -> "Configs":
        return _union(self, configs(other)) if isinstance(other, Iterable) else NotImplemented

    def __radd__(self, other: Iterable[Mapping[str, Value]]) -> "Configs":
        return _union(configs(other), self) if isinstance(other, Iterable) else NotImplemented

    def __repr__(self) -> str:
        shown = [format_config(config) or "(no names)" for config in self.rows[:_SHOWN]]
        if len(self) > 2 * _SHOWN:
            shown.append("...")
        shown += [format_config(config) for config in self.rows[max(_SHOWN, len(self) - _SHOWN) :]]
        return "\n  ".join([f"{len(self)} config{'s' * (len(self) != 1)}", *shown])

    def to_json(self) -> str:
        """The configs and their spaces as JSON, exactly; functions by name."""
        rows = [encode_config(config) for config in self.rows]
        return json.dumps({"configs": rows, "spaces": [json.loads(space.to_json()) for space in self.spaces]})

    @classmethod
    def from_json(cls, text: str, resolve: bool = False) -> "Configs":
        """The configs that `to_json` wrote. Functions are read as `Named`; ``resolve=True`` imports them.

        Raises ConfigError for text that is not configs.
        """
        try:
            data = json.loads(text)
            rows, spaces = data["configs"], data["spaces"]
            given = [{name: decode(value, resolve) for name, value in row.items()} for row in rows]
            return cls(configs(given).rows, tuple(Space.from_json(json.dumps(s), resolve) for s in spaces))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ConfigError(f"this is not the JSON of configs ({error}): pass what to_json returned.") from error


def configs(rows: Iterable[Mapping[str, Value]]) -> Configs:
    """Configs listed one by one, each a dict from names to values, in which a list is a value like any other.

    Raises ConfigError for a config that occurs twice, and for a value that a config cannot hold.

    >>> import jsweep as js
    >>> js.configs([{"learning_rate": 0.1, "widths": (64, 64)}, {"learning_rate": 0.3, "widths": (32,)}])
    2 configs
      learning_rate=0.1, widths=64x64
      learning_rate=0.3, widths=(32,)
    """
    if isinstance(rows, Configs):
        return rows
    if isinstance(rows, Mapping):
        raise ConfigError("configs is one dict: pass a list of dicts, or pass the space to js.grid.")
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise ConfigError(f"configs={rows!r} is not a list of configs: pass a list of dicts from names to values.")
    items = tuple(_checked(row) for row in rows)
    first: dict[str, int] = {}
    for index, config in enumerate(items):
        earlier = first.setdefault(config_id(config), index)
        if earlier != index:
            raise ConfigError(f"configs[{index}] equals configs[{earlier}] ({format_config(config)}): remove one.")
    return Configs(items)


def _checked(row: object) -> dict[str, Value]:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{row!r} is not a config: pass a dict from names to values.")
    config: dict[str, Value] = {}
    for name, value in row.items():
        check_name(name)
        try:
            config[name] = plain(value)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
    return config


def _union(a: Configs, b: Configs) -> Configs:
    have = set(a.ids)
    new = tuple(config for config, identity in zip(b.rows, b.ids, strict=True) if identity not in have)
    spaces = a.spaces + tuple(space for space in b.spaces if space not in a.spaces)
    return Configs(a.rows + new, spaces)


def _copy(config: Mapping[str, Value]) -> dict[str, Value]:
    return {name: _copy_value(value) for name, value in config.items()}


def _copy_value(value: Value) -> Value:
    """Lists and dicts, which could be changed in place, are copied."""
    if isinstance(value, dict):
        return _copy(value)
    return type(value)(_copy_value(item) for item in value) if isinstance(value, list | tuple) else value
