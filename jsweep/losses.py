"""Losses: functions ``(outputs, targets) -> one value per example``, so that a batch can be weighted or masked."""

import jax
import jax.numpy as jnp
import optax

from jsweep.errors import ConfigError


def softmax_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of integer classes: outputs (batch, classes) are logits, targets (batch,) integers.

    ``log sum(exp(outputs)) - outputs[target]``, as `optax.softmax_cross_entropy_with_integer_labels`; NaN for a target that is
    no class. The target's logit is picked by comparing, which unlike indexing is a function of single elements, forwards and
    backwards, and as such fast in lanes. Raises ConfigError for targets that are not integers.
    """
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ConfigError(f"the targets are {targets.dtype}: give the classes as integers, from 0.")
    classes = outputs.shape[-1]
    is_target = targets[..., None] == jnp.arange(classes, dtype=targets.dtype)
    picked = jnp.where(is_target, outputs, 0.0).sum(axis=-1)
    picked = jnp.where((targets >= 0) & (targets < classes), picked, jnp.nan)
    return jax.nn.logsumexp(outputs, axis=-1) - picked


def smoothed_softmax_cross_entropy(smoothing: float | jax.Array):
    """Cross-entropy against labels mixed with the uniform distribution (Szegedy et al. 2016, section 7).

    ``(1 - smoothing) * CE(target) + smoothing * mean over classes of CE``; ``smoothing`` may be traced.
    """

    def loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(outputs)
        hard = softmax_cross_entropy(outputs, targets)
        return (1 - smoothing) * hard - smoothing * log_probabilities.mean(axis=-1)

    return loss


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error summed over all but the first axis: ``sum((outputs - targets) ** 2)``, no factor of one half."""
    difference = (outputs - targets).reshape(outputs.shape[0], -1)
    return jnp.sum(difference**2, axis=-1)


def sigmoid_binary_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Binary cross-entropy of logits of shape (batch,) or (batch, 1) against targets in [0, 1], per example."""
    return optax.sigmoid_binary_cross_entropy(outputs.reshape(targets.shape), targets)
