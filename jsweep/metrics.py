"""Metrics: functions ``(outputs, targets) -> one value per example``; the mean over a split is recorded.

A metric of which more is better says so by the attribute ``higher_is_better``; a custom one may set it too.
"""

import jax
import jax.numpy as jnp


def accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """1.0 where the largest of the logits (batch, classes) is the target class (batch,), else 0.0."""
    return (jnp.argmax(outputs, axis=-1) == targets).astype(jnp.float32)


def top_k_accuracy(k: int):
    """1.0 where the target class is among the ``k`` largest logits."""

    def top_k(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        best = jax.lax.top_k(outputs, k)[1]
        return (best == targets[..., None]).any(axis=-1).astype(jnp.float32)

    top_k.higher_is_better = True  # pyright: ignore[reportFunctionMemberAccess]
    return top_k


def absolute_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Absolute error averaged over all but the first axis."""
    return jnp.abs(outputs - targets).reshape(outputs.shape[0], -1).mean(axis=-1)


accuracy.higher_is_better = True  # pyright: ignore[reportFunctionMemberAccess]
