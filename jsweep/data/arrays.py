"""Pytrees of arrays that share their first axis, the examples: converted, counted, compared and checked."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, Shaped

from jsweep.errors import ConfigError

Arrays = PyTree[Shaped[Array | np.ndarray, "_examples ..."]]
"""A pytree of NumPy or JAX arrays that share their first axis, the examples."""


@runtime_checkable
class SupportsArray(Protocol):
    """What NumPy can read: pandas, polars and PyTorch data."""

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray: ...


ROWS_AT_ONCE = 65536  # so that a memory map is never loaded whole
FEW_LEVELS = 100  # values, of a column that rounding leaves next to nothing of


def as_arrays(name: str, value: PyTree) -> Arrays:
    """A pytree whose leaves are NumPy or JAX arrays of numbers in native byte order.

    NumPy and JAX arrays are kept as they are. pandas, polars and PyTorch data, masked arrays without masked values, and
    big-endian arrays are converted.

    Args:
        name: the argument, for the message.
        value: a pytree of arrays.

    Returns:
        The same pytree of arrays.

    Raises:
        ConfigError: for what cannot be converted without a guess: a list, a data loader, None, masked values, strings and
            other objects.
    """
    if value is None:
        raise ConfigError(f"{name} is None: pass arrays, such as a tuple (x, y).")
    if isinstance(value, list):
        raise ConfigError(f"{name} is a list: pass a tuple of arrays, such as (x, y).")
    leaves, structure = jax.tree_util.tree_flatten_with_path(value)
    if not leaves:
        raise ConfigError(f"{name} has no arrays: pass a pytree of arrays, such as a tuple (x, y).")
    arrays = [as_array(name + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(structure, arrays)


def as_array(name: str, value: object) -> jax.Array | np.ndarray:
    """One array of numbers in native byte order; ConfigError for what is none. See `as_arrays`."""
    if not isinstance(value, jax.Array | np.ndarray):
        value = _convert(name, value)
    if isinstance(value, np.ma.MaskedArray):
        count = int(np.ma.count_masked(value))
        if count:
            raise ConfigError(f"{name} has {count} masked values: fill them, or leave their examples out.")
        value = np.ma.getdata(value)
    if not jnp.issubdtype(value.dtype, jnp.number) and value.dtype != bool:
        raise ConfigError(f"{name} has dtype {value.dtype}: {_conversion(value.dtype)}.")
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        if isinstance(value, np.memmap):
            raise ConfigError(
                f"{name} is a memory map in the other byte order ({value.dtype.str}): write it again as "
                f"{value.dtype.newbyteorder('=').str}."
            )
        value = value.astype(value.dtype.newbyteorder("="))
    return value


def _convert(name: str, value: object) -> np.ndarray:
    """What NumPy makes of an object that says how it becomes an array; ConfigError for one that does not."""
    kind = type(value).__name__
    if hasattr(value, "toarray"):
        raise ConfigError(f"{name} is a sparse {kind}: pass a dense array, such as {name}.toarray().")
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # PyTorch
        value = value.detach().cpu()  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(value, "with_format"):  # Hugging Face's datasets
        raise ConfigError(
            f'{name} is a {kind}: pass its columns as arrays, such as dataset.with_format("numpy")["x"][:].'
        )
    if not hasattr(value, "__array__") and not (isinstance(value, Sequence) and not isinstance(value, str | bytes)):
        if isinstance(value, bool | int | float | complex | str | bytes):
            raise ConfigError(f"{name} is the {kind} {value!r}: pass arrays, such as numpy.asarray of a list.")
        if callable(value) or hasattr(value, "__iter__") or hasattr(value, "__getitem__"):
            raise ConfigError(
                f"{name} is a {kind}, which is not an array: pass arrays, or, for training examples that come in batches, "
                "jsweep.Batches(make) of a function make(seed, epoch) that returns an iterable of them."
            )
        raise ConfigError(f"{name} is a {kind}, which is not an array: pass arrays.")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name} is a {kind} that NumPy cannot convert ({error}): pass a NumPy array.") from error


def _conversion(dtype: np.dtype) -> str:
    """What to do about a dtype that is not one of numbers."""
    if dtype.kind in "US":
        return "convert text to numbers, such as numpy.unique(labels, return_inverse=True)[1] for classes"
    if dtype.kind in "mM":
        return "convert times to numbers, such as seconds since the first"
    if dtype.kind == "O":
        return (
            'convert it to one type of numbers, such as by astype("float32"), and fill or drop missing values; stack arrays of '
            "one shape by numpy.stack, and pad sequences to one length"
        )
    return "pass numbers"


def arrays_equal(one: Arrays, two: Arrays) -> bool:
    """Whether two pytrees of arrays are equal in structure and in every number; NaN equals NaN."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    inexact = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)
    same = lambda a, b: a.dtype == b.dtype and np.array_equal(a, b, equal_nan=inexact(a))
    return all(map(same, jax.tree.leaves(one), jax.tree.leaves(two)))


def count_examples(arrays: Arrays, name: str = "data") -> int:
    """The length of the first axis of a pytree of arrays; ConfigError if they have none, or different ones."""
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1 or None in lengths:
        shown = sorted("none" if length is None else str(length) for length in lengths)
        raise ConfigError(
            f"the arrays of {name} have lengths {', '.join(shown)}: pass arrays that share their first axis, the examples."
            if shown
            else f"{name} has no arrays: pass a pytree of arrays, such as a tuple (x, y)."
        )
    count = lengths.pop()
    if not count:
        raise ConfigError(f"{name} has no examples: pass at least one.")
    return int(count)


def check_values(name: str, array: jax.Array | np.ndarray) -> None:
    """Check every number of an array, a part at a time.

    Args:
        name: the argument, for the message.
        array: an array of numbers, which may be a memory map.

    Raises:
        ConfigError: for a value that is NaN or infinite, and for one that the type in which JAX will hold it (32 bits, unless
            64 are enabled) cannot hold. The message names the first such value and its index.
    """
    held = jax.dtypes.canonicalize_dtype(array.dtype)
    inexact = jnp.issubdtype(array.dtype, jnp.inexact)
    if not inexact and held == array.dtype:
        return
    limits = jnp.finfo(held) if inexact else np.iinfo(held)
    for start in range(0, max(1, len(array) if array.ndim else 1), ROWS_AT_ONCE):
        part = np.asarray(array[start : start + ROWS_AT_ONCE] if array.ndim else array)
        wrong = ~np.isfinite(part) if inexact else np.zeros(part.shape, bool)
        fix = "fill or remove values that are not finite"
        if not wrong.any() and held != array.dtype:
            wrong = (np.abs(part) > limits.max) if inexact else (part < limits.min) | (part > limits.max)
            fix = f"scale it, or enable 64 bits in JAX (jax_enable_x64), as {held} does not hold it"
        if wrong.any():
            index = [int(i) for i in np.argwhere(wrong)[0]]
            value = part[tuple(index)]
            index[:1] = [index[0] + start] if index else []
            raise ConfigError(f"{name} holds {value} at index {index}: {fix}.")


def columns_lost(array: jax.Array | np.ndarray) -> tuple[tuple[int, ...], float, float, int] | None:
    """The first column of float64 numbers that is all but constant in the type in which JAX will hold it.

    Args:
        array: an array of finite numbers, which may be a memory map.

    Returns:
        Its index in an example, its least and its largest value, and how many values the type has from one to the other,
        where these are fewer than `FEW_LEVELS`; None where there is no such column. One that differs by no more than the
        rounding of float64 is constant.
    """
    held = jax.dtypes.canonicalize_dtype(array.dtype)
    if array.dtype != np.float64 or held == array.dtype or array.ndim == 0:
        return None
    low, high = np.full(array.shape[1:], np.inf), np.full(array.shape[1:], -np.inf)
    for start in range(0, len(array), ROWS_AT_ONCE):
        part = np.asarray(array[start : start + ROWS_AT_ONCE])
        low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
    largest = np.maximum(np.abs(low), np.abs(high))
    levels = (high - low) / np.spacing(largest.astype(held)).astype(np.float64)
    lost = (levels < FEW_LEVELS) & (high - low > 64 * np.spacing(largest))
    if not lost.any():
        return None
    index = tuple(int(i) for i in np.argwhere(lost)[0])
    return index, float(low[index]), float(high[index]), 1 + int(levels[index])
