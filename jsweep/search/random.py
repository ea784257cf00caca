"""Random search: independent draws, and what it shares with the quasi-random searches.

Each search is a source of numbers, uniform on [0, 1), that the space turns into configs.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float

from jsweep._runtime.prng import Key, next_uniform, uniform_stream
from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.search._where import Filter, Where
from jsweep.search.grid import MOST_CONFIGS
from jsweep.space._conditions import leaf_in, leaves
from jsweep.space._configs import Configs
from jsweep.space._domains import Values, draw, value_of
from jsweep.space._numbers import whole_number
from jsweep.space._space import Space, SpaceLike, as_space

# After so many draws in a row without a new config, there is taken to be none. If 1 in 10,000 were new, that would
# happen once in 22,000 times.
_FRUITLESS = 100_000

Source = Callable[[int], Mapping[str, Float[np.ndarray, " n"]]]
"""Returns the next n numbers of every drawn name."""


def random(space: SpaceLike, n: SupportsIndex, *, key: Key, where: Where | None = None) -> Configs:
    """``n`` different configs drawn at random: lists uniformly, distributions as they say.

    Every name has its own stream of numbers, made from the key and the name, and draw i takes the i-th number of each.
    So the first configs of a longer draw are those of a shorter one, and adding or moving a name changes the draws of no
    other. A draw that repeats a config, or that a `constraint` of the space or ``where`` does not keep, is skipped.

    Args:
        space: names and what they take, as `Space` takes them.
        n: how many configs, 1 to 10,000,000.
        key: a JAX key (``jax.random.key`` or ``PRNGKey``), or an integer s for ``jax.random.key(s)``.
        where: keeps the configs for which ``where(config)`` is True.

    Returns:
        ``n`` configs.

    Raises:
        ConfigError: for an ``n`` or a ``key`` that is not valid, and if 100,000 draws in a row give no new config.

    >>> import jsweep as js
    >>> js.random({"learning_rate": js.log_uniform(1e-4, 1.0), "l2": [0.0, 1e-4]}, 3, key=0)
    3 configs
      learning_rate=0.01436, l2=0
      learning_rate=7.572e-4, l2=1e-4
      learning_rate=1.237e-4, l2=0
    """
    space, n = as_space(space), check_n(n)
    streams = {name: uniform_stream(key, name) for name in drawn_names(space)}

    def source(count: int) -> dict[str, Float[np.ndarray, " n"]]:
        return {name: next_uniform(stream, count) for name, stream in streams.items()}

    return first_different(space, n, source, where)


def drawn_names(space: Space) -> tuple[str, ...]:
    """The names that a draw decides, in the order of the space: all but those that take a single value."""
    return tuple(
        name
        for name, part in space.items()
        if any(not isinstance(leaf, Values) or len(leaf.values) > 1 for leaf in leaves(part))
    )


def first_different(space: Space, n: int, source: Source, where: Where | None) -> Configs:
    """The first ``n`` different configs of a source that constraints and ``where`` keep; ConfigError if there are too few."""
    kept = Filter(space, where)
    found: dict[Drawn, dict[str, Value]] = {}
    fruitless = 0
    for drawn, config in _endless(space, source, n):
        if drawn not in found and kept.keeps(config):
            found[drawn] = config
            fruitless = 0
            if len(found) == n:
                return Configs(tuple(found.values()), (space,))
        fruitless += 1
        if fruitless == _FRUITLESS:
            break
    tried = f"{_FRUITLESS:,} draws in a row"
    if not kept.conditions:
        raise ConfigError(f"n={n} is too many: the space gave {len(found)} different configs and then none in {tried}.")
    raise ConfigError(
        f"{kept} kept {len(found)} different configs and then none in {tried} (it must keep 1 in 10,000): loosen it"
        + (f", or pass n={len(found)}." if found else ".")
    )


Drawn = tuple[int | float | None, ...]
"""One draw: for each name the number drawn, or the position in its list; None where it is absent."""


def rows_of(
    space: Space, units: Mapping[str, Float[np.ndarray, " n"]], n: int
) -> Iterator[tuple[Drawn, dict[str, Value]]]:
    """The configs that numbers select.

    Args:
        space: the space.
        units: for every drawn name at least n numbers, uniform on [0, 1).
        n: how many configs.

    Yields:
        The draw, which is equal for equal configs only, and the config.
    """
    constant = np.zeros(n)  # for names that take a single value
    columns = {
        name: [(leaf, draw(leaf, units.get(name, constant))) for leaf in leaves(part)] for name, part in space.items()
    }
    names = tuple(space)
    ordered = space.order == names
    for i in range(n):
        config: dict[str, Value] = {}
        drawn: list[int | float | None] = []
        for name in space.order:
            leaf = leaf_in(space[name], config)
            if leaf is None:
                drawn.append(None)
                continue
            entry = next(column[i] for other, column in columns[name] if other is leaf)
            drawn.append(entry)
            config[name] = value_of(leaf, entry)
        yield tuple(drawn), config if ordered else {name: config[name] for name in names if name in config}


def check_n(n: object) -> int:
    """The number of configs to draw, as an int; ConfigError unless it is 1 to 10,000,000."""
    count = whole_number("n", n, 1)
    if count > MOST_CONFIGS:
        raise ConfigError(
            f"n={count:,} is more than the {MOST_CONFIGS:,} configs that one search draws: pass a smaller n."
        )
    return count


def _endless(space: Space, source: Source, n: int) -> Iterator[tuple[Drawn, dict[str, Value]]]:
    for count in itertools.chain([n], itertools.repeat(max(n, 1024))):
        units = source(count)
        yield from rows_of(space, units, min(map(len, units.values()), default=count))
