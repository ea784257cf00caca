"""The gradient of max pooling, where windows do not overlap.

XLA's CPU backend finds the position of each window's maximum in a loop over pairs of numbers and positions, and adds the
gradients there one at a time. Where no two windows overlap, comparing every number with its window's maximum does the same.
"""

import math

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p
from jaxtyping import Array

from jsweep.engine.layout.ir import Op


def is_disjoint_pooling(op: Op) -> bool:
    """Whether an operation is the gradient of max pooling over adjacent windows without padding."""
    return (
        op.primitive is p.select_and_scatter_add_p
        and op.params["select_prim"] is p.ge_p
        and tuple(op.params["window_strides"]) == tuple(op.params["window_dimensions"])
        and all(tuple(edge) == (0, 0) for edge in op.params["padding"])
    )


def emit_pool_gradient(op: Op, source: Array, operand: Array) -> Array:
    """``source`` at the first maximum of each window of ``operand``, and 0 elsewhere.

    A window with a NaN has its gradient at its last position.
    """
    window = tuple(op.params["window_dimensions"])
    covered = tuple(size * length for size, length in zip(source.shape, window, strict=True))
    split = tuple(part for size, length in zip(source.shape, window, strict=True) for part in (size, length))
    within = tuple(range(1, 2 * len(window), 2))
    windows = lax.slice(operand, (0,) * operand.ndim, covered).reshape(split)
    over_window = lambda a: jnp.expand_dims(a, within)
    position = sum(
        lax.broadcasted_iota(jnp.int32, split, axis) * math.prod(window[at + 1 :]) for at, axis in enumerate(within)
    )
    largest, last = (
        windows.max(within),
        math.prod(window) - 1,
    )  # the largest is NaN where there is one, and equals nothing
    first = jnp.where(windows == over_window(largest), position, last).min(within)
    gradient = jnp.where(position == over_window(first), over_window(source), 0).reshape(covered)
    return jnp.pad(gradient, [(0, size - used) for size, used in zip(operand.shape, covered, strict=True)])
