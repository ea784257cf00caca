"""The grid: every combination of the values, once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jsweep.errors import ConfigError
from jsweep.space._conditions import leaf_in, leaves
from jsweep.space._configs import Configs
from jsweep.space._domains import Distribution
from jsweep.space._space import Space, as_space

Where = Callable[[dict[str, Any]], bool]


def grid(space: Mapping[str, Any], *, where: Where | None = None) -> Configs:
    """Every combination of the space's values, in the order of `itertools.product`: the last name varies fastest.

    A conditional name (`when`) takes its values in the configs where its condition holds and is absent from the others
    (which come first, where that name decides the order); no config occurs twice. ``where(config) -> bool`` keeps the
    configs for which it returns True.
    Raises ConfigError for a distribution, which a grid cannot list, and where nothing is left.

    >>> grid({"layers": [1, 2], "width": [64, 128]}, where=lambda config: config["layers"] * config["width"] <= 128)
    3 configs
      layers=1, width=64
      layers=1, width=128
      layers=2, width=64
    """
    space = as_space(space)
    _check_listable(space)
    configs = _combinations(space)
    if where is not None:
        check_where(where)
        configs = [config for config in configs if passes(where, space, config)]
    if not configs:
        raise ConfigError("where is True for no config of the grid: loosen it.")
    return Configs(tuple(configs), (space,))


def check_where(where: Any) -> None:
    """ConfigError unless ``where`` can be called."""
    if not callable(where):
        raise ConfigError(f"where={where!r} is no function: give one from a config to True or False.")


def passes(where: Where, space: Space, config: Mapping[str, Any]) -> bool:
    """What ``where`` says of a config; ConfigError where it says neither True nor False, or reads an absent name."""
    try:
        answer = where(dict(config))
    except KeyError as error:
        name = error.args[0] if error.args else None
        if name not in space or name in config:
            raise
        raise ConfigError(
            f"where reads {name!r}, which not every config has: read it with config.get({name!r})."
        ) from error
    if not isinstance(answer, bool | np.bool_):
        raise ConfigError(f"where returned {answer!r}: return True for the configs to keep and False for the others.")
    return bool(answer)


def _combinations(space: Space) -> list[dict[str, Any]]:
    """Depth first through the names in the order their conditions ask for, then sorted as the names were given."""
    found: list[tuple[dict[str, int], dict[str, Any]]] = [({}, {})]
    for name in space.order:
        found = [extended for places, config in found for extended in _extended(space, name, places, config)]
    names = tuple(space)
    if space.order != names:
        found.sort(key=lambda pair: [pair[0].get(name, -1) for name in names])
    return [{name: config[name] for name in names if name in config} for _, config in found]


def _extended(
    space: Space, name: str, places: dict[str, int], config: dict[str, Any]
) -> Iterator[tuple[dict[str, int], dict[str, Any]]]:
    leaf = leaf_in(space[name], config)
    if leaf is None:
        yield places, config
    else:
        assert not isinstance(leaf, Distribution)  # _check_listable
        for place, value in enumerate(leaf.values):
            yield {**places, name: place}, {**config, name: value}


def _check_listable(space: Space) -> None:
    for name, part in space.items():
        for leaf in leaves(part):
            if isinstance(leaf, Distribution):
                low, high = leaf.arguments
                lists = {"uniform": "linspace", "log_uniform": "logspace"}
                mend = f"js.{lists[leaf.kind]}({low!r}, {high!r}, 8)" if leaf.kind in lists else "a list"
                raise ConfigError(
                    f"{name} is {leaf}, a distribution, which a grid cannot list: give {mend}, or draw with js.random."
                )
            if leaf.weights is not None:
                raise ConfigError(
                    f"{name} has weights, which a grid cannot use: give the list alone, or draw with js.random."
                )
