"""Configs that the user added to a recorded sweep: copies of its configs with some values changed."""

from collections.abc import Mapping
from dataclasses import dataclass

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.search._where import Filter
from jsweep.space import Configs, Space, config_id, format_value
from jsweep.space import configs as checked
from jsweep.space._conditions import Leaf, leaf_in, same
from jsweep.space._domains import Distribution, Values
from jsweep.storage.records import SweepRecord


@dataclass(frozen=True)
class Clone:
    """That a config was added: a copy of ``source`` (an id) with other ``values``."""

    source: str
    values: Mapping[str, int | float | str]


def clones_of(record: SweepRecord | None) -> list[Clone]:
    """The clones that a record has, in the order in which they were added."""
    found = [] if record is None else record.settings.get("clones", [])
    return [Clone(source, values) for source, values in found]


def with_clones(configs: Configs, record: SweepRecord | None) -> Configs:
    """Configs with the clones of them that the record has; what the configs have by now is not added twice."""
    for clone in clones_of(record):
        configs = added_to(configs, clone)
    return configs


def added_to(configs: Configs, clone: Clone) -> Configs:
    """Configs with a clone of one at the end; ConfigError where its source is not among them."""
    source = dict(zip(configs.ids, configs.rows, strict=True)).get(clone.source)
    if source is None:
        raise ConfigError(
            f"the record has a clone of config {clone.source}, which is not among the configs any more: put it back, or "
            "give this sweep a name of its own (name=..., --name)."
        )
    return configs + checked([{**source, **clone.values}])


def changed(configs: Configs, source: str, values: Mapping[str, Value]) -> Clone:
    """A clone that the configs' space allows.

    Args:
        configs: the sweep's configs, clones included.
        source: the id of one.
        values: the new values.

    Raises:
        ConfigError: for a name that the config does not have, a value of another type or outside of the space, a
            constraint that does not hold, and a config that is there already.
    """
    old = dict(zip(configs.ids, configs.rows, strict=True))[source]
    if not values:
        raise ConfigError("values is empty: pass what differs, such as {'learning_rate': 3e-3}.")
    given = {name: _of_type(name, old, value) for name, value in values.items()}
    new = checked([{**old, **given}]).rows[0]
    if config_id(new) in configs.ids:
        raise ConfigError(f"the sweep has this config already ({config_id(new)}): pass other values.")
    for space in configs.spaces[:1] if len(configs.spaces) == 1 else ():
        _check_in(space, new, given)
    return Clone(source, given)


def _of_type(name: str, config: Mapping[str, Value], value: Value) -> int | float | str:
    if name not in config:
        raise ConfigError(f"the config has no {name!r} to change: it has {', '.join(config)}.")
    old = config[name]
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(old, int | float | str):
        raise ConfigError(
            f"{name} is {format_value(old)}, and only numbers, strings and booleans can be changed: list the config in the file."
        )
    if type(value) is not type(old) or not isinstance(value, int | float | str):
        raise ConfigError(
            f"{name}={format_value(value)} is not valid, as the config has {format_value(old)}: pass a {type(old).__name__}."
        )
    return value


def _check_in(space: Space, config: Mapping[str, Value], given: Mapping[str, Value]) -> None:
    for name in space:
        leaf = leaf_in(space[name], config)
        if (leaf is not None) != (name in config):
            raise ConfigError(
                f"with {_shown(given)} the space {'asks for' if leaf is not None else 'has no'} {name!r}, "
                f"which the config {'does not have' if leaf is not None else 'has'}: clone another config."
            )
        if name in given and leaf is not None and not _holds(leaf, given[name]):
            raise ConfigError(
                f"{name}={format_value(given[name])} is not in the space, which says {leaf}: pass one that is."
            )
    if not Filter(space).keeps(config):
        raise ConfigError(f"with {_shown(given)} {Filter(space)} does not hold: pass other values.")


def _holds(leaf: Leaf, value: Value) -> bool:
    """Whether a value lies within a distribution, or is in a list; of a list of numbers, between its ends."""
    if isinstance(leaf, Distribution):
        low, high = leaf.arguments
        return isinstance(value, int | float) and (leaf.kind == "normal" or low <= value <= high)
    return any(same(value, other) for other in leaf.values) or _between(leaf, value)


def _between(leaf: Values, value: Value) -> bool:
    numbers = [each for each in leaf.values if isinstance(each, int | float) and not isinstance(each, bool)]
    if isinstance(value, bool) or not isinstance(value, int | float) or len(numbers) < len(leaf.values):
        return False
    return min(numbers) <= value <= max(numbers)


def _shown(given: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={format_value(value)}" for name, value in given.items())
