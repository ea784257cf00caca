"""Pytrees of arrays that share their leading axis, the examples: counted, compared, checked and hashed."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jsweep.errors import ConfigError

Arrays = Any  # a pytree of NumPy or JAX arrays that share their leading axis, the examples


def arrays_equal(one: Arrays, two: Arrays) -> bool:
    """Whether two pytrees of NumPy arrays are alike in structure and in every number, NaN included."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    same = lambda a, b: np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")
    return all(map(same, jax.tree.leaves(one), jax.tree.leaves(two)))


def count_examples(arrays: Arrays, name: str = "data") -> int:
    """The shared length of the leading axis of a pytree of arrays; ConfigError if there is none or they differ."""
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1 or None in lengths:
        shown = sorted(str(length) for length in lengths) or ["no arrays"]
        raise ConfigError(
            f"the arrays of {name} have lengths {', '.join(shown)}: give arrays that share their first axis."
        )
    count = lengths.pop()
    if not count:
        raise ConfigError(f"{name} has no examples: give at least one.")
    return int(count)


def check_finite(name: str, array: np.ndarray) -> None:
    if not np.issubdtype(array.dtype, np.inexact):
        return
    for start in range(0, len(array), 65536):
        finite = np.isfinite(array[start : start + 65536])
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            where = (where[0] + start, *where[1:])
            raise ConfigError(
                f"{name} holds {array[where]} at index {list(where)}: fill or remove values that are not finite."
            )


def chunks(examples: int, size: int) -> Iterator[slice]:
    """Slices that cover ``examples`` in pieces of at most ``size``."""
    for start in range(0, examples, size):
        yield slice(start, min(start + size, examples))
