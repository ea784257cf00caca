"""Losses: functions ``(outputs, targets) -> one value per example``, so that a batch can be weighted or masked."""

import jax
import jax.numpy as jnp
import optax


def softmax_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of integer classes: outputs (batch, classes) are logits, targets (batch,) integers.

    ``-log softmax(outputs)[target]``, as `optax.softmax_cross_entropy_with_integer_labels`.
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def smoothed_softmax_cross_entropy(smoothing: float | jax.Array):
    """Cross-entropy against labels mixed with the uniform distribution (Szegedy et al. 2016, section 7).

    ``(1 - smoothing) * CE(target) + smoothing * mean over classes of CE``; ``smoothing`` may be traced.
    """

    def loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(outputs)
        hard = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        return (1 - smoothing) * hard - smoothing * log_probabilities.mean(axis=-1)

    return loss


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error summed over all but the first axis: ``sum((outputs - targets) ** 2)``, no factor of one half."""
    difference = (outputs - targets).reshape(outputs.shape[0], -1)
    return jnp.sum(difference**2, axis=-1)


def sigmoid_binary_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Binary cross-entropy of logits of shape (batch,) or (batch, 1) against targets in [0, 1], per example."""
    return optax.sigmoid_binary_cross_entropy(outputs.reshape(targets.shape), targets)
