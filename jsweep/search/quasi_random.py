"""Quasi-random search: Sobol sequences and Latin hypercubes."""

import math
from collections.abc import Mapping
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float

from jsweep._runtime.optional import import_optional
from jsweep._runtime.prng import Key, generator
from jsweep.errors import ConfigError
from jsweep.search._exchange import exchanged
from jsweep.search._where import Filter, Where
from jsweep.search.random import check_n, drawn_names, first_different, rows_of
from jsweep.space._configs import Configs
from jsweep.space._space import SpaceLike, as_space

_SOBOL_NAMES = 21_201  # dimensions for which SciPy has direction numbers


def sobol(space: SpaceLike, n: SupportsIndex, *, key: Key, where: Where | None = None) -> Configs:
    """``n`` different configs from a scrambled Sobol sequence, which covers the space more evenly than random draws.

    The sequence is SciPy's ``qmc.Sobol``, scrambled by ``key``, with a dimension for every name that is drawn,
    conditional or not, in the order of the space; a list takes position ``floor(u len)``. It is balanced over its first
    2, 4, 8, ... configs. The first configs of a longer draw are those of a shorter one, but adding a name changes the
    others. A point that repeats a config, or that a `constraint` of the space or ``where`` does not keep, is skipped.

    Args:
        space: names and what they take, as `Space` takes them.
        n: how many configs, 1 to 10,000,000.
        key: a JAX key, or an integer.
        where: keeps the configs for which ``where(config)`` is True.

    Returns:
        ``n`` configs.

    Raises:
        ConfigError: for an ``n`` or a ``key`` that is not valid, and if 100,000 points in a row give no new config.
        MissingExtraError: without SciPy (``pip install 'jsweep[search]'``).

    >>> import jsweep as js
    >>> sorted(config["layers"] for config in js.sobol({"layers": [1, 2], "l2": js.uniform(0.0, 1.0)}, 4, key=0))
    [1, 1, 2, 2]
    """
    space, n = as_space(space), check_n(n)
    names = drawn_names(space)
    if len(names) > _SOBOL_NAMES:
        raise ConfigError(f"the space has {len(names)} names, more than sobol's {_SOBOL_NAMES}: draw with js.random.")
    if not names:
        return first_different(space, n, lambda count: {}, where)
    sequence = import_optional("scipy.stats.qmc", "search").Sobol(
        len(names), scramble=True, rng=generator(key, "sobol")
    )

    def source(count: int) -> dict[str, Float[np.ndarray, " n"]]:
        # SciPy warns if the first draw is not a power of two; a longer draw begins with the same points.
        return dict(zip(names, sequence.random(2 ** math.ceil(math.log2(count))).T, strict=True))

    return first_different(space, n, source, where)


def latin_hypercube(space: SpaceLike, n: SupportsIndex, *, key: Key, where: Where | None = None) -> Configs:
    """``n`` configs such that each name, taken alone, has one draw in each of ``n`` equally likely intervals.

    The sample is SciPy's ``qmc.LatinHypercube``. Its intervals depend on ``n``, so a longer draw cannot begin with a
    shorter one: the key is mixed with ``n``, and samples of different ``n`` share nothing. To draw more configs later,
    use `sobol` or `random`. Where the space has a `constraint`, or with ``where``, points that are not kept exchange
    numbers with others until all are, so that every interval still has its draw.

    Args:
        space: names and what they take, as `Space` takes them.
        n: how many configs, 1 to 10,000,000.
        key: a JAX key, or an integer.
        where: keeps the configs for which ``where(config)`` is True.

    Returns:
        ``n`` configs.

    Raises:
        ConfigError: for an ``n`` or a ``key`` that is not valid, if configs repeat, as in a space of short lists, and if
            no exchange is found that satisfies the constraints.
        MissingExtraError: without SciPy (``pip install 'jsweep[search]'``).

    >>> import jsweep as js
    >>> sorted(int(config["dropout"] * 8) for config in js.latin_hypercube({"dropout": js.uniform(0.0, 0.5)}, 4, key=0))
    [0, 1, 2, 3]
    """
    space, n = as_space(space), check_n(n)
    names = drawn_names(space)
    kept = Filter(space, where)
    units: Mapping[str, Float[np.ndarray, " n"]] = {}
    if names:
        sample = import_optional("scipy.stats.qmc", "search").LatinHypercube(
            len(names), rng=generator(key, "latin_hypercube", n)
        )
        units = dict(zip(names, sample.random(n).T, strict=True))
    if kept.conditions:
        units = exchanged(kept, units, n, generator(key, "latin_hypercube exchanges", n))
    different = dict(rows_of(space, units, n))
    if len(different) < n:
        raise ConfigError(
            f"n={n} is too many for latin_hypercube, which drew only {len(different)} different configs from short lists: "
            "use js.random, js.sobol or js.grid."
        )
    return Configs(tuple(different.values()), (space,))
