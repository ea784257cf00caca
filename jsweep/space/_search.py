"""Searches that draw: each is a source of numbers, uniform on [0, 1), that the space turns into configs."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jsweep._extras import need
from jsweep.errors import UserError
from jsweep.space._conditions import leaf_in, leaves
from jsweep.space._configs import Configs
from jsweep.space._domains import Values, draw, value_of
from jsweep.space._encode import plain
from jsweep.space._grid import Where, check_where, passes
from jsweep.space._keys import generator, next_uniform, uniform_stream
from jsweep.space._space import Space, as_space

# Draws in a row without a new config after which there is taken to be none. Were 1 in 10,000 new, that would happen
# once in 22,000 times.
_FRUITLESS = 100_000
_SOBOL_NAMES = 21_201  # dimensions for which SciPy has direction numbers

Source = Callable[[int], Mapping[str, np.ndarray]]
"""Gives the next n numbers of every drawn name, each of shape (n,)."""


def random(space: Mapping[str, Any], n: int, key: Any, where: Where | None = None) -> Configs:
    """``n`` different configs drawn at random: from a list each value alike, from a distribution as that says.

    ``key`` is a JAX key (typed or old) or a whole number; the whole number s is the key ``jax.random.key(s)``. Every
    name has a stream of its own, made from the key and the name, of which draw i takes the i-th number. So the first
    configs of a longer draw are those of a shorter one, and adding a name or moving it changes no other name's draws.
    A draw that repeats a config, or for which ``where(config) -> bool`` is False, is passed over, and the next one taken.

    Raises UserError for ``n < 1``, for what is no key, and where 100,000 draws in a row give no new config.

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


def sobol(space: Mapping[str, Any], n: int, key: Any, where: Where | None = None) -> Configs:
    """``n`` different configs from a scrambled Sobol sequence, which fills the space more evenly than chance does.

    The sequence is SciPy's ``qmc.Sobol``, scrambled by ``key`` (a JAX key, or a whole number). Every name that is
    drawn, conditional or not, has a dimension, in the order of the space; a list takes position ``floor(u len)``.
    The first configs of a longer draw are those of a shorter one, but adding a name changes the others. Repeated
    configs, and those for which ``where(config) -> bool`` is False, are passed over.

    The sequence is balanced over its first 2, 4, 8, ... configs; any ``n`` is taken, and draws no warning.

    Raises UserError for ``n < 1``, for what is no key, and where 100,000 draws in a row give no new config; ImportError
    without SciPy (``pip install 'jsweep[search]'``).

    >>> sorted(config["layers"] for config in sobol({"layers": [1, 2], "l2": uniform(0.0, 1.0)}, 4, key=0))
    [1, 1, 2, 2]
    """
    space = as_space(space)
    names = drawn_names(space)
    if len(names) > _SOBOL_NAMES:
        raise UserError(f"the space has {len(names)} names, and sobol at most {_SOBOL_NAMES}: draw with random.")
    if not names:
        return _first_different(space, _check_n(n), lambda count: {}, where)
    sequence = need("scipy.stats.qmc", "search").Sobol(len(names), scramble=True, rng=generator(key, "sobol"))

    def source(count: int) -> dict[str, np.ndarray]:
        # SciPy warns of a first draw that is no power of two; a longer one, cut, is the same points.
        return dict(zip(names, sequence.random(2 ** math.ceil(math.log2(count))).T, strict=True))

    return _first_different(space, _check_n(n), source, where)


def latin_hypercube(space: Mapping[str, Any], n: int, key: Any) -> Configs:
    """``n`` configs such that each name, looked at alone, has one draw in each of ``n`` equally likely parts.

    The sample is SciPy's ``qmc.LatinHypercube``, by ``key`` (a JAX key, or a whole number). It is made for its ``n``:
    the first configs of a longer draw cannot be those of a shorter one, as the parts are others. So the key is mixed
    with ``n``, and samples of different ``n`` have nothing in common; to draw more later, use `sobol` or `random`.
    It takes no ``where``, which would leave parts empty.

    Raises UserError for ``n < 1``, for what is no key, and where configs repeat, as in a space of short lists;
    ImportError without SciPy (``pip install 'jsweep[search]'``).

    >>> sorted(int(config["dropout"] * 8) for config in latin_hypercube({"dropout": uniform(0.0, 0.5)}, 4, key=0))
    [0, 1, 2, 3]
    """
    space = as_space(space)
    names, n = drawn_names(space), _check_n(n)
    units: Mapping[str, np.ndarray] = {}
    if names:
        sample = need("scipy.stats.qmc", "search").LatinHypercube(len(names), rng=generator(key, "latin_hypercube", n))
        units = dict(zip(names, sample.random(n).T, strict=True))
    different = dict(_rows(space, units, n))
    if len(different) < n:
        raise UserError(
            f"latin_hypercube drew only {len(different)} different configs of {n}, as the space is one of short lists: "
            "use random, sobol or grid."
        )
    return Configs(tuple(different.values()), (space,))


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
        raise UserError(f"the space gave {len(found)} different configs and then none in {tried}: ask for no more.")
    raise UserError(
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
        raise UserError(f"n={n!r} is no number of configs: give a whole number of at least 1.")
    return count
