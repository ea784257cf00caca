"""A space as an Optuna study sees it: each list or distribution a parameter, and the values of both sides."""

from collections.abc import Mapping
from statistics import NormalDist
from types import ModuleType
from typing import Any

import numpy as np

from jsweep._runtime.types import Value
from jsweep.space._conditions import leaf_in, leaves, same
from jsweep.space._domains import Distribution, Leaf, Values, rounded, value_of
from jsweep.space._domains import draw as drawn
from jsweep.space._encode import canonical, encode
from jsweep.space._space import Space


def suggest(trial: Any, optuna: ModuleType, space: Space) -> dict[str, Value]:
    """The config that a study's trial suggests, name by name in the order that conditions ask for."""
    config: dict[str, Value] = {}
    for name in space.order:
        leaf = leaf_in(space[name], config)
        if leaf is None:
            continue
        distribution = distribution_of(leaf, optuna)
        if distribution is None:
            config[name] = value_of(leaf, 0)
        else:
            config[name] = _value(leaf, _suggested(trial, parameter_name(space, name, leaf), distribution, optuna))
    return {name: config[name] for name in space if name in config}


def parameter_name(space: Space, name: str, leaf: Leaf) -> str:
    """The study's name for a list or distribution: the hyperparameter's, numbered where it has several of them."""
    every = list(leaves(space[name]))
    place = next(place for place, other in enumerate(every) if other is leaf)
    return name if len(every) == 1 else f"{name} ({place + 1})"


def distribution_of(leaf: Leaf, optuna: ModuleType) -> Any:
    """Optuna's distribution for a list or distribution; None for a single value.

    A list of numbers is its places in ascending order, so that a sampler knows which are neighbours; any other list is
    categorical. A normal distribution is its quantiles.
    """
    of = optuna.distributions
    if isinstance(leaf, Values):
        last = len(leaf.values) - 1
        if last == 0:
            return None
        return of.IntDistribution(0, last) if _is_ordered(leaf) else of.CategoricalDistribution(tuple(range(last + 1)))
    low, high = leaf.arguments
    match leaf.kind:
        case "int_uniform" | "log_int":
            return of.IntDistribution(int(low), int(high), log=leaf.kind == "log_int")
        case "uniform" | "log_uniform":
            return of.FloatDistribution(float(low), float(high), log=leaf.kind == "log_uniform")
        case _:
            return of.FloatDistribution(0.0, 1.0)


def numbers_of(space: Space, config: Mapping[str, Value]) -> list[tuple[str, Leaf, int | float]] | None:
    """A config as the study holds it: each parameter's name, what it takes, and the number; None if it is not of the space."""
    found: list[tuple[str, Leaf, int | float]] = []
    names = set()
    for name in space.order:
        leaf = leaf_in(space[name], config)
        if leaf is None:
            continue
        names.add(name)
        number = _number(leaf, config[name]) if name in config else None
        if number is None:
            return None
        found.append((parameter_name(space, name, leaf), leaf, number))
    return found if names == config.keys() else None


def _suggested(trial: Any, name: str, distribution: Any, optuna: ModuleType) -> int | float:
    of = optuna.distributions
    if isinstance(distribution, of.CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, of.IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _value(leaf: Leaf, number: int | float) -> Value:
    """The value that a parameter's number stands for, rounded as one that is drawn."""
    if isinstance(leaf, Values):
        return leaf.values[_ascending(leaf)[int(number)] if _is_ordered(leaf) else int(number)]
    if leaf.kind == "normal":
        return drawn(leaf, np.array([number], np.float64))[0]
    return int(number) if leaf.kind in ("int_uniform", "log_int") else rounded([float(number)], *leaf.arguments)[0]


def _number(leaf: Leaf, value: Value) -> int | float | None:
    """The number that stands for a value; None for a value that is not one of the leaf's."""
    if isinstance(leaf, Values):
        place = next((place for place, other in enumerate(leaf.values) if _is(value, other)), None)
        return place if place is None or not _is_ordered(leaf) else _ascending(leaf).index(place)
    return _number_in(leaf, value)


def _number_in(leaf: Distribution, value: Value) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = leaf.arguments
    if leaf.kind == "normal":
        return NormalDist(low, high).cdf(value)
    whole = leaf.kind in ("int_uniform", "log_int")
    if not low <= value <= high or (whole and not isinstance(value, int)):
        return None
    return value if whole else float(value)


def _is(value: Value, other: Value) -> bool:
    """Whether two values are the same, one of which may be a function's name in place of the function."""
    return same(value, other) or canonical(encode(value)) == canonical(encode(other))


def _is_ordered(leaf: Values) -> bool:
    return all(type(value) in (int, float) and value == value for value in leaf.values)


def _ascending(leaf: Values) -> list[int]:
    """The places of a list of numbers, the smallest number first."""
    numbers = [float(value) if isinstance(value, int | float) else 0.0 for value in leaf.values]
    return sorted(range(len(numbers)), key=numbers.__getitem__)
