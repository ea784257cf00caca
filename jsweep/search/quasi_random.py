"""Quasi-random search: Sobol sequences and Latin hypercubes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep._runtime.prng import generator
from jsweep.errors import ConfigError
from jsweep.search.grid import Where
from jsweep.search.random import _check_n, _first_different, _rows, drawn_names
from jsweep.space._configs import Configs
from jsweep.space._space import as_space

_SOBOL_NAMES = 21_201  # dimensions for which SciPy has direction numbers


def sobol(space: Mapping[str, Any], n: int, *, key: Any, where: Where | None = None) -> Configs:
    """``n`` different configs from a scrambled Sobol sequence, which fills the space more evenly than chance does.

    The sequence is SciPy's ``qmc.Sobol``, scrambled by ``key`` (a JAX key, or a whole number). Every name that is
    drawn, conditional or not, has a dimension, in the order of the space; a list takes position ``floor(u len)``.
    The first configs of a longer draw are those of a shorter one, but adding a name changes the others. Repeated
    configs, and those for which ``where(config) -> bool`` is False, are passed over.

    The sequence is balanced over its first 2, 4, 8, ... configs; any ``n`` is taken, and draws no warning.

    Raises ConfigError for ``n < 1``, for what is no key, and where 100,000 draws in a row give no new config; ImportError
    without SciPy (``pip install 'jsweep[search]'``).

    >>> sorted(config["layers"] for config in sobol({"layers": [1, 2], "l2": uniform(0.0, 1.0)}, 4, key=0))
    [1, 1, 2, 2]
    """
    space = as_space(space)
    names = drawn_names(space)
    if len(names) > _SOBOL_NAMES:
        raise ConfigError(f"the space has {len(names)} names, and sobol at most {_SOBOL_NAMES}: draw with random.")
    if not names:
        return _first_different(space, _check_n(n), lambda count: {}, where)
    sequence = import_optional("scipy.stats.qmc", "search").Sobol(
        len(names), scramble=True, rng=generator(key, "sobol")
    )

    def source(count: int) -> dict[str, np.ndarray]:
        # SciPy warns of a first draw that is no power of two; a longer one, cut, is the same points.
        return dict(zip(names, sequence.random(2 ** math.ceil(math.log2(count))).T, strict=True))

    return _first_different(space, _check_n(n), source, where)


def latin_hypercube(space: Mapping[str, Any], n: int, *, key: Any) -> Configs:
    """``n`` configs such that each name, looked at alone, has one draw in each of ``n`` equally likely parts.

    The sample is SciPy's ``qmc.LatinHypercube``, by ``key`` (a JAX key, or a whole number). It is made for its ``n``:
    the first configs of a longer draw cannot be those of a shorter one, as the parts are others. So the key is mixed
    with ``n``, and samples of different ``n`` have nothing in common; to draw more later, use `sobol` or `random`.
    It takes no ``where``, which would leave parts empty.

    Raises ConfigError for ``n < 1``, for what is no key, and where configs repeat, as in a space of short lists;
    ImportError without SciPy (``pip install 'jsweep[search]'``).

    >>> sorted(int(config["dropout"] * 8) for config in latin_hypercube({"dropout": uniform(0.0, 0.5)}, 4, key=0))
    [0, 1, 2, 3]
    """
    space = as_space(space)
    names, n = drawn_names(space), _check_n(n)
    units: Mapping[str, np.ndarray] = {}
    if names:
        sample = import_optional("scipy.stats.qmc", "search").LatinHypercube(
            len(names), rng=generator(key, "latin_hypercube", n)
        )
        units = dict(zip(names, sample.random(n).T, strict=True))
    different = dict(_rows(space, units, n))
    if len(different) < n:
        raise ConfigError(
            f"latin_hypercube drew only {len(different)} different configs of {n}, as the space is one of short lists: "
            "use random, sobol or grid."
        )
    return Configs(tuple(different.values()), (space,))
