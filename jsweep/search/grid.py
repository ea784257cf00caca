"""The grid: every combination of the values, once."""

from collections.abc import Iterator

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.search._count import count_configs
from jsweep.search._where import Filter, Where
from jsweep.space._conditions import leaf_in, leaves
from jsweep.space._configs import Configs
from jsweep.space._domains import Distribution
from jsweep.space._space import Space, SpaceLike, as_space

MOST_CONFIGS = 10_000_000
"""The most configs that one search builds: several gigabytes of them."""


def grid(space: SpaceLike, *, where: Where | None = None) -> Configs:
    """Every combination of the space's values, in the order of `itertools.product`: the last name varies fastest.

    A conditional name (`when`) takes its values in the configs where its condition holds and is absent from the others,
    which come first where that name decides the order; no config occurs twice. Configs that do not satisfy a `constraint`
    of the space are left out.

    Args:
        space: names and their values, as `Space` takes them.
        where: keeps the configs for which ``where(config)`` is True.

    Returns:
        The configs.

    Raises:
        ConfigError: for a distribution, which a grid cannot list; for more than 10,000,000 configs (constraints and
            ``where`` not counted), before any is built; and if no config is left.

    >>> import jsweep as js
    >>> js.grid({"layers": [1, 2], "width": [64, 128]}, where=lambda config: config["layers"] * config["width"] <= 128)
    3 configs
      layers=1, width=64
      layers=1, width=128
      layers=2, width=64
    """
    space = as_space(space)
    kept = Filter(space, where)
    _check_listable(space)
    _check_size(space)
    configs = _combinations(space)
    if kept.conditions:
        configs = [config for config in configs if kept.keeps(config)]
    if not configs:
        raise ConfigError(f"{kept} kept no config of the grid: loosen it.")
    return Configs(tuple(configs), (space,))


def _combinations(space: Space) -> list[dict[str, Value]]:
    """Depth first through the names in the order their conditions ask for, then sorted as the names were given."""
    names = tuple(space)
    if space.order == names:
        configs: list[dict[str, Value]] = [{}]
        for name in names:
            configs = [config | own for config in configs for _, own in _choices(space, name, config)]
        return configs
    found: list[tuple[dict[str, int], dict[str, Value]]] = [({}, {})]
    for name in space.order:
        found = [
            (places | {name: place}, config | own)
            for places, config in found
            for place, own in _choices(space, name, config)
        ]
    found.sort(key=lambda pair: [pair[0][name] for name in names])
    return [{name: config[name] for name in names if name in config} for _, config in found]


def _choices(space: Space, name: str, config: dict[str, Value]) -> Iterator[tuple[int, dict[str, Value]]]:
    """What a name adds to a config, with its place in the list of values; place -1 and nothing where it is absent."""
    leaf = leaf_in(space[name], config)
    if leaf is None:
        yield -1, {}
        return
    assert not isinstance(leaf, Distribution)  # _check_listable
    yield from ((place, {name: value}) for place, value in enumerate(leaf.values))


def _check_size(space: Space) -> None:
    size = count_configs(space)
    if size > MOST_CONFIGS:
        raise ConfigError(
            f"the grid has {size:,} configs, more than {MOST_CONFIGS:,}: shorten its lists, or draw configs with "
            "js.random(space, 1000, key=0)."
        )


def _check_listable(space: Space) -> None:
    for name, part in space.items():
        for leaf in leaves(part):
            if isinstance(leaf, Distribution):
                low, high = leaf.arguments
                lists = {"uniform": "linspace", "log_uniform": "logspace"}
                fix = f"js.{lists[leaf.kind]}({low!r}, {high!r}, 8)" if leaf.kind in lists else "a list"
                raise ConfigError(
                    f"{name} is {leaf}, a distribution, which a grid cannot list: pass {fix}, or draw with js.random."
                )
            if leaf.weights is not None:
                raise ConfigError(
                    f"{name} has weights, which a grid cannot use: pass the list alone, or draw with js.random."
                )
