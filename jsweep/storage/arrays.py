"""A state's arrays by name: how a pytree is written to a checkpoint and read back."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jsweep._runtime.jax_internals import generator_name


def named_arrays(state: PyTree) -> dict[str, jax.Array | np.ndarray]:
    """A state's arrays by their path in the pytree; JAX keys become arrays of their key data."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {_name(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf for path, leaf in leaves}


def restore(shapes: PyTree, arrays: Mapping[str, np.ndarray]) -> PyTree | None:
    """A state from named arrays.

    Args:
        shapes: The shapes and types of one lane's state, as `jax.eval_shape` gives them.
        arrays: The state's arrays by name, each with the lanes on its leading axis.

    Returns:
        The state with the lanes on the leading axis of every array; None if the arrays do not fit ``shapes``.
    """
    leaves = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        array = arrays.get(_name(path))
        if array is None:
            return None
        wanted = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        if array.ndim == 0 or array.shape[1:] != wanted.shape or array.dtype != wanted.dtype:
            return None
        is_key = wanted is not leaf
        leaves.append(
            jax.random.wrap_key_data(jnp.asarray(array), impl=generator_name(leaf.dtype)) if is_key else array
        )
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _name(path: jax.tree_util.KeyPath) -> str:
    return f"state{jax.tree_util.keystr(path)}"


def _is_key(leaf: jax.Array | np.ndarray | jax.ShapeDtypeStruct) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
