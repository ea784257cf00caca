"""A config as a task reads it: an immutable mapping and a pytree that notes which names are read."""

import copy
import difflib
import operator
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jsweep.errors import ConfigError, UnknownNameError
from jsweep.task.lanes import Choice, Width


class ConfigAttributeError(ConfigError, AttributeError):
    """A name of a config was read as an attribute."""


class Config(Mapping):  # of str and Any; said here, run-time type checkers would read values to check them
    """One config as a task reads it: a mapping from names to values that cannot be changed.

    Values in lanes are tracers (or a `Choice` or a `Width` that holds one), all others are Python values. Every name that
    is read is noted, so that jsweep knows what the task depends on. ``dict(config)`` makes a dict that can be changed, and
    ``config | {"momentum": 0.9}`` another config.

    A Config is a pytree: it may be an argument of functions under `jax.jit`, `jax.checkpoint`, `jax.vmap` or `jax.grad`.
    The arrays in it are its leaves; all other values are static, as are those of ``static_argnums``.

    >>> config = Config({"learning_rate": 0.1})
    >>> config["learning_rate"], config.get("momentum", 0.9), "momentum" in config
    (0.1, 0.9, False)
    """

    __slots__ = ("_lanes", "_reads", "_values")

    def __init__(self, values: Mapping[str, Any], reads: set[str] | None = None):
        self._values = dict(values)
        self._lanes = frozenset(name for name, value in self._values.items() if _holds_arrays(value))
        self._reads: set[str] = set() if reads is None else reads

    @property
    def reads(self) -> set[str]:
        """The names that were read, of this config and of all that were made from it."""
        return self._reads

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            close = difflib.get_close_matches(str(name), list(map(str, self._values)), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UnknownNameError(
                f"the task reads config[{name!r}], which this config does not have "
                f"(it has: {', '.join(map(str, self._values))}{hint}): add it to the space, with otherwise= where js.when makes "
                "it conditional, or read it with config.get."
            )
        self._reads.add(name)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._values:
            return False
        self._reads.add(str(name))
        return True

    def __iter__(self) -> Iterator[str]:
        self._reads.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._values:
            raise ConfigAttributeError(f'config.{name} is not how a config is read: use config["{name}"].')
        raise AttributeError(f"a Config has no attribute {name!r}.")

    def __or__(self, other: object) -> "Config":
        if not isinstance(other, Mapping):
            return NotImplemented
        return Config({**self._values, **other}, self._reads)

    def __ror__(self, other: object) -> "Config":
        if not isinstance(other, Mapping):
            return NotImplemented
        return Config({**other, **self._values}, self._reads)

    def copy(self) -> "Config":
        """The same config, whose reads are noted with this one's."""
        return Config(self._values, self._reads)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "Config":
        values = {n: v if n in self._lanes else copy.deepcopy(v, memo) for n, v in self._values.items()}
        return Config(values, self._reads)

    def __reduce__(self) -> tuple[type["Config"], tuple[dict[str, Any]]]:
        self._reads.update(self._values)
        return Config, (self._values,)

    def __repr__(self) -> str:
        self._reads.update(self._values)
        return f"Config({self._values!r})"


class _Static:
    """What of a config is not in its leaves: its names in order, its static values, and the set that notes reads."""

    def __init__(self, config: Config):
        self.names = tuple(config._values)
        self.lanes = config._lanes
        self.values = {name: value for name, value in config._values.items() if name not in config._lanes}
        self.reads = config._reads
        self._key = (self.names, self.lanes, tuple((name, _key_of(value)) for name, value in self.values.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return ", ".join(self.names)


def _flatten_with_keys(config: Config) -> tuple[list[tuple[jax.tree_util.DictKey, Any]], _Static]:
    """A function that is handed the leaves reads the names unseen, and not at all where JAX has its trace: note them."""
    config.reads.update(config._values)
    static = _Static(config)
    return [(jax.tree_util.DictKey(n), config._values[n]) for n in static.names if n in static.lanes], static


def _unflatten(static: _Static, children: Any) -> Config:
    lanes = iter(children)
    config = Config.__new__(Config)
    config._values = {name: next(lanes) if name in static.lanes else static.values[name] for name in static.names}
    config._lanes = static.lanes
    config._reads = static.reads
    return config


jax.tree_util.register_pytree_with_keys(Config, _flatten_with_keys, _unflatten)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_arrays, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    return isinstance(value, jax.Array | np.ndarray | Choice | Width)


def _key_of(value: Any) -> Hashable:
    """Equal for values with which a task computes the same: 1, 1.0 and True differ, as do 0.0 and -0.0; NaN is NaN."""
    if isinstance(value, float):
        return type(value), value.hex()
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_key_of, value))
    if isinstance(value, Mapping):
        return type(value), tuple((_key_of(name), _key_of(item)) for name, item in value.items())
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(_key_of, value))
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    return type(value), value


class _Identity:
    """A value that cannot be hashed, equal to itself alone."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int; ConfigError unless it is a whole number (NumPy's included) of at least ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or (count := operator.index(value)) < least:
        raise ConfigError(f"{name}={value!r} is not valid: pass a whole number of at least {least}.")
    return count
