"""A Latin hypercube under constraints: points exchange the numbers of a name, which leaves every interval its one draw."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jsweep.errors import ConfigError
from jsweep.search._where import Filter
from jsweep.search.random import rows_of

_TRIES, _MOST_TRIES = 400, 200_000  # exchanges for each point, and for all


def exchanged(
    kept: Filter, units: Mapping[str, Float[np.ndarray, " n"]], n: int, draws: np.random.Generator
) -> dict[str, Float[np.ndarray, " n"]]:
    """The numbers of every name permuted so that every config is kept.

    Args:
        kept: what is kept.
        units: n numbers of every drawn name, uniform on [0, 1).
        n: how many points.
        draws: decides which points are tried as partners.

    Raises:
        ConfigError: where that is not found.
    """
    columns = {name: np.array(column) for name, column in units.items()}
    names = list(columns)

    def holds(point: int) -> bool:
        one = {name: column[point : point + 1] for name, column in columns.items()}
        return all(kept.keeps(config) for _, config in rows_of(kept.space, one, 1))

    wrong = {point for point in range(n) if not holds(point)}
    for _ in range(min(_TRIES * n, _MOST_TRIES) if wrong and names else 0):
        point = sorted(wrong)[int(draws.integers(len(wrong)))]
        column = columns[names[int(draws.integers(len(names)))]]
        other = int(draws.integers(n))
        column[[point, other]] = column[[other, point]]
        after = {each for each in (point, other) if not holds(each)}
        if len(after) > len(wrong & {point, other}):
            column[[point, other]] = column[[other, point]]
            continue
        wrong = wrong - {point, other} | after  # equally many are allowed: others may be easier to put right
        if not wrong:
            return columns
    if not wrong:
        return columns
    raise ConfigError(
        f"{kept} left {len(wrong)} of {n} points of latin_hypercube without a config, whatever they exchanged: loosen "
        "it, or use js.random or js.sobol, which skip such points."
    )
