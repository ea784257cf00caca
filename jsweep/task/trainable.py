"""The leaves of parameters that are trained, apart from all others."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jsweep.errors import ConfigError


def split_trainable(params: PyTree) -> tuple[PyTree, PyTree]:
    """Two pytrees of the structure of ``params``: its floating-point and complex arrays, and all else.

    Each has None where the other has a leaf, so that `merge_trainable` makes one of them again.
    """
    trained = jax.tree.map(lambda leaf: leaf if _is_trainable(leaf) else None, params)
    return trained, jax.tree.map(lambda leaf: None if _is_trainable(leaf) else leaf, params)


def merge_trainable(trained: PyTree, others: PyTree) -> PyTree:
    """The parameters that `split_trainable` split."""
    return jax.tree.map(lambda a, b: b if a is None else a, trained, others, is_leaf=lambda leaf: leaf is None)


def check_params(params: PyTree) -> None:
    """Raise ConfigError for arrays of other libraries among the leaves, and where no leaf can be trained."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        is_array = isinstance(leaf, jax.Array | np.ndarray | np.generic)
        if is_array and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        if (is_array and leaf.dtype.kind in "OSU") or (not is_array and hasattr(leaf, "__array__")):
            kind = f"{leaf.dtype} array" if is_array else f"{type(leaf).__module__}.{type(leaf).__qualname__}"
            raise ConfigError(
                f"init returned params{jax.tree_util.keystr(path)} as a {kind}: return a JAX or NumPy array of numbers."
            )
    if not any(_is_trainable(leaf) for _, leaf in leaves):
        found = ", ".join(sorted({type(leaf).__name__ for _, leaf in leaves})) or "nothing"
        raise ConfigError(
            f"init returned no floating-point array among its parameters (it returned {found}): return a pytree of them."
        )


def _is_trainable(leaf: object) -> bool:
    if isinstance(leaf, float | complex):
        return True
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.inexact)
