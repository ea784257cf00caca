"""Searches that draw: each is a source of numbers, uniform on [0, 1), that the space turns into configs."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jsweep._runtime.prng import next_uniform, uniform_stream
from jsweep.errors import ConfigError
from jsweep.search.grid import Where, check_where, passes
from jsweep.space._conditions import leaf_in, leaves
from jsweep.space._configs import Configs
from jsweep.space._domains import Values, draw, value_of
from jsweep.space._encode import plain
from jsweep.space._space import Space, as_space

# Draws in a row without a new config after which there is taken to be none. Were 1 in 10,000 new, that would happen
# once in 22,000 times.
_FRUITLESS = 100_000


Source = Callable[[int], Mapping[str, np.ndarray]]


"""Gives the next n numbers of every drawn name, each of shape (n,)."""


def random(space: Mapping[str, Any], n: int, *, key: Any, where: Where | None = None) -> Configs:
    """``n`` different configs drawn at random: from a list each value alike, from a distribution as that says.

    ``key`` is a JAX key (typed or old) or a whole number; the whole number s is the key ``jax.random.key(s)``. Every
    name has a stream of its own, made from the key and the name, of which draw i takes the i-th number. So the first
    configs of a longer draw are those of a shorter one, and adding a name or moving it changes no other name's draws.
    A draw that repeats a config, or for which ``where(config) -> bool`` is False, is passed over, and the next one taken.

    Raises ConfigError for ``n < 1``, for what is no key, and where 100,000 draws in a row give no new config.

    >>> random({"learning_rate": log_uniform(1e-4, 1.0), "l2": [0.0, 1e-4]}, 3, key=0)
    3 configs
      learning_rate=0.01436, l2=0
      learning_rate=7.572e-4, l2=1e-4
      learning_rate=1.237e-4, l2=0
    """
    space = as_space(space)
    streams = {name: uniform_stream(key, name) for name in drawn_names(space)}

    def source(count: int) -> dict[str, np.ndarray]:
        return {name: next_uniform(stream, count) for name, stream in streams.items()}

    return _first_different(space, _check_n(n), source, where)


def drawn_names(space: Space) -> tuple[str, ...]:
    """The names that a draw decides, in the order of the space: all but those that take one value."""
    return tuple(
        name
        for name, part in space.items()
        if any(not isinstance(leaf, Values) or len(leaf.values) > 1 for leaf in leaves(part))
    )


def _first_different(space: Space, n: int, source: Source, where: Where | None) -> Configs:
    """The first ``n`` different configs of a source that pass ``where``."""
    if where is not None:
        check_where(where)
    found: dict[tuple, dict[str, Any]] = {}
    fruitless = 0
    for identity, config in _endless(space, source, n):
        if identity not in found and (where is None or passes(where, space, config)):
            found[identity] = config
            fruitless = 0
            if len(found) == n:
                return Configs(tuple(found.values()), (space,))
        fruitless += 1
        if fruitless == _FRUITLESS:
            break
    tried = f"{_FRUITLESS:,} draws in a row"
    if where is None:
        raise ConfigError(f"the space gave {len(found)} different configs and then none in {tried}: ask for no more.")
    raise ConfigError(
        f"where kept {len(found)} different configs and then none in {tried} (it must keep 1 in 10,000): loosen it"
        + (f", or ask for n={len(found)}." if found else ".")
    )


def _endless(space: Space, source: Source, n: int) -> Iterator[tuple[tuple, dict[str, Any]]]:
    for count in itertools.chain([n], itertools.repeat(max(n, 1024))):
        units = source(count)
        yield from _rows(space, units, min(map(len, units.values()), default=count))


def _rows(space: Space, units: Mapping[str, np.ndarray], n: int) -> Iterator[tuple[tuple, dict[str, Any]]]:
    """The configs that the numbers select, each with a tuple that is equal for equal configs alone."""
    once = np.zeros(n)  # for names that take one value
    columns = {
        name: [(leaf, draw(leaf, units.get(name, once))) for leaf in leaves(part)] for name, part in space.items()
    }
    names = tuple(space)
    ordered = space.order == names
    for i in range(n):
        config: dict[str, Any] = {}
        drawn: list[Any] = []
        for name in space.order:
            leaf = leaf_in(space[name], config)
            if leaf is None:
                drawn.append(None)
                continue
            entry = next(column[i] for other, column in columns[name] if other is leaf)
            drawn.append(entry)
            config[name] = value_of(leaf, entry)
        yield tuple(drawn), config if ordered else {name: config[name] for name in names if name in config}


def _check_n(n: Any) -> int:
    count = plain(n) if not callable(n) else None
    if type(count) is not int or count < 1:
        raise ConfigError(f"n={n!r} is no number of configs: give a whole number of at least 1.")
    return count
