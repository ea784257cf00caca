"""Configs: a fixed sequence of different points of a space."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from jsweep.errors import ConfigError
from jsweep.space._encode import config_id, decode, encode, plain
from jsweep.space._format import format_config
from jsweep.space._space import Space, check_name

_SHOWN = 3  # configs at either end that a printed sequence shows


@dataclass(frozen=True, eq=False, repr=False)
class Configs(Sequence[dict[str, Any]]):
    """A fixed sequence of configs, no two equal, as `grid`, `random` and their kin return it; make one with `configs`.

    It has a length, is iterated, indexed and sliced, and hands out copies, so that nothing can change it. ``a + b`` is
    the union: ``a``, then what ``b`` adds; ``b`` may be a list of dicts. ``spaces`` are the spaces it was drawn
    from, none for configs written by hand.

    >>> grid({"l2": [0.0, 1e-4]}) + [{"l2": 1e-4}, {"l2": 1e-3}]
    3 configs
      l2=0
      l2=1e-4
      l2=1e-3
    """

    rows: tuple[Mapping[str, Any], ...]
    spaces: tuple[Space, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (_copy(config) for config in self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "Configs": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Any] | Configs":
        if isinstance(index, slice):
            return Configs(self.rows[index], self.spaces)
        return _copy(self.rows[index])

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The `config_id` of each config, in order."""
        return tuple(config_id(config) for config in self.rows)

    @cached_property
    def annotations(self) -> dict[str, str]:
        """The names whose role the spaces decide, by `lane` or `static`; the first space that does counts."""
        return {name: role for space in reversed(self.spaces) for name, role in space.annotations.items()}

    def __contains__(self, config: object) -> bool:
        return isinstance(config, Mapping) and config_id(config) in self.ids

    def __eq__(self, other: object) -> bool:
        return self.ids == other.ids if isinstance(other, Configs) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ids)

    def __add__(self, other: Iterable[Mapping[str, Any]]) -> "Configs":
        return _union(self, configs(other)) if isinstance(other, Iterable) else NotImplemented

    def __radd__(self, other: Iterable[Mapping[str, Any]]) -> "Configs":
        return _union(configs(other), self) if isinstance(other, Iterable) else NotImplemented

    def __repr__(self) -> str:
        shown = [format_config(config) or "(no names)" for config in self.rows[:_SHOWN]]
        if len(self) > 2 * _SHOWN:
            shown.append("...")
        shown += [format_config(config) for config in self.rows[max(_SHOWN, len(self) - _SHOWN) :]]
        return "\n  ".join([f"{len(self)} config{'s' * (len(self) != 1)}", *shown])

    def to_json(self) -> str:
        """The configs and their spaces as JSON, exactly; functions by name."""
        rows = [{name: encode(value) for name, value in config.items()} for config in self.rows]
        return json.dumps({"configs": rows, "spaces": [json.loads(space.to_json()) for space in self.spaces]})

    @classmethod
    def from_json(cls, text: str, resolve: bool = False) -> "Configs":
        """What `to_json` wrote. Functions come back as `Named`; ``resolve=True`` imports them. Raises ConfigError."""
        try:
            data = json.loads(text)
            rows, spaces = data["configs"], data["spaces"]
            given = [{name: decode(value, resolve) for name, value in row.items()} for row in rows]
            return cls(configs(given).rows, tuple(Space.from_json(json.dumps(s), resolve) for s in spaces))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ConfigError(f"this is not the JSON of configs ({error}): give what to_json returned.") from error


def configs(rows: Iterable[Mapping[str, Any]]) -> Configs:
    """The configs given one by one, each a dict of names and values, in which a list is a value like any other.

    Raises ConfigError for one that occurs twice, or holds what no config can.

    >>> configs([{"learning_rate": 0.1, "widths": (64, 64)}, {"learning_rate": 0.3, "widths": (32,)}])
    2 configs
      learning_rate=0.1, widths=64x64
      learning_rate=0.3, widths=(32,)
    """
    if isinstance(rows, Configs):
        return rows
    if isinstance(rows, Mapping):
        raise ConfigError("configs was given one dict: give a list of them, or the space to jsweep.grid.")
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise ConfigError(f"configs={rows!r} is no list of configs: give a list of dicts from names to values.")
    items = tuple(_checked(row) for row in rows)
    first: dict[str, int] = {}
    for index, config in enumerate(items):
        earlier = first.setdefault(config_id(config), index)
        if earlier != index:
            raise ConfigError(f"configs[{index}] is configs[{earlier}] again ({format_config(config)}): remove one.")
    return Configs(items)


def _checked(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{row!r} is no config: give a dict from names to values.")
    config = {}
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


def _copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copy_lists(value) for name, value in config.items()}


def _copy_lists(value: Any) -> Any:
    """Lists are the one value that could be changed in place."""
    return type(value)(_copy_lists(item) for item in value) if type(value) in (list, tuple) else value
