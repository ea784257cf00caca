"""A state's arrays by name: how a pytree is written to a file and read back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep._runtime.jax_internals import generator_name


def _named(state: Any) -> dict[str, Any]:
    """A state's arrays by their path in the pytree; JAX keys as the words they are made of."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {f"state{jax.tree_util.keystr(path)}": _words(leaf) for path, leaf in leaves}


def restore(shapes: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The state, lanes leading, of one lane's ``shapes`` from named arrays; None where they do not fit."""
    leaves = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        array = arrays.get(f"state{jax.tree_util.keystr(path)}")
        if array is None:
            return None
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            array = jax.random.wrap_key_data(jnp.asarray(array), impl=generator_name(leaf.dtype))
        if array.shape[1:] != leaf.shape or array.dtype != leaf.dtype:
            return None
        leaves.append(array)
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _words(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
