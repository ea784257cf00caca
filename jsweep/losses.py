"""Losses: functions ``(outputs, targets) -> values``, one value per example, so that a batch can be weighted or masked.

Values are computed in float32 at least, whatever the type of the outputs. Arguments whose shapes do not belong together are
refused; labels out of range give NaN.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, Num, PyTree, Shaped

from jsweep._runtime.per_example import (
    AnyArray,
    PerExample,
    at_least_float32,
    check_ignore,
    classes_and_targets,
    in_unit_interval,
    is_class,
    one_logit,
    parts_of,
    same_shape,
    without_ignored,
)
from jsweep.errors import ConfigError

Loss = Callable[[PyTree, PyTree], Float[Array, " batch"]]
"""``(outputs, targets) -> values``, one value per example."""


def softmax_cross_entropy(
    outputs: Float[AnyArray, "*batch classes"], targets: Integer[AnyArray, "*batch"]
) -> Float[Array, "*batch"]:
    """Cross-entropy of integer classes: ``log sum(exp(outputs)) - outputs[target]``, in nats.

    The same as `optax.softmax_cross_entropy_with_integer_labels`, except that a target outside 0 to classes - 1 gives NaN.
    Logits are picked by comparison, which is elementwise, unlike indexing, and therefore fast in lanes.

    Args:
        outputs: logits, shape (batch, classes).
        targets: integer classes of any width, shape (batch,). Sequences, (batch, length, classes) against
            (batch, length), give one value per position; `masked` reduces them to one per example.

    Returns:
        One value per example, shape (batch,).

    Raises:
        ConfigError: for targets that are not integers, and for shapes that do not match.
    """
    outputs, targets = classes_and_targets(
        "softmax_cross_entropy", outputs, targets, binary="jsweep.losses.sigmoid_binary_cross_entropy"
    )
    classes = outputs.shape[-1]
    picked = jnp.where(is_class(classes, targets), outputs, 0.0).sum(axis=-1)
    picked = jnp.where((targets >= 0) & (targets < classes), picked, jnp.nan)
    return jax.nn.logsumexp(outputs, axis=-1) - picked


def smoothed_softmax_cross_entropy(smoothing: float | Float[Array, ""]) -> Loss:
    """Cross-entropy against labels mixed with the uniform distribution (Szegedy et al. 2016, section 7).

    ``(1 - smoothing) * CE(target) + smoothing * mean over classes of CE``; ``smoothing`` may be traced.
    """

    def loss(
        outputs: Float[AnyArray, "*batch classes"], targets: Integer[AnyArray, "*batch"]
    ) -> Float[Array, "*batch"]:
        hard = softmax_cross_entropy(outputs, targets)
        log_probabilities = jax.nn.log_softmax(at_least_float32(outputs))
        return (1 - smoothing) * hard - smoothing * log_probabilities.mean(axis=-1)

    return loss


def squared_error(outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]) -> Float[Array, " batch"]:
    """Squared error summed over all axes but the first: ``sum((outputs - targets) ** 2)``, with no factor of one half.

    Raises ConfigError unless outputs and targets have the same shape.
    """
    outputs, targets = same_shape("squared_error", outputs, targets)
    difference = (outputs - targets).reshape(outputs.shape[0], -1)
    return jnp.sum(difference**2, axis=-1)


def sigmoid_binary_cross_entropy(
    outputs: Float[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]
) -> Float[Array, " batch"]:
    """Binary cross-entropy of one logit per example, in nats.

    Args:
        outputs: logits, shape (batch,) or (batch, 1).
        targets: labels 0 and 1, or probabilities, shape (batch,) or (batch, 1); others give NaN.

    Returns:
        One value per example, shape (batch,).

    Raises:
        ConfigError: for other shapes.
    """
    several = "jsweep.losses.multilabel_cross_entropy for several labels"
    outputs, targets = one_logit("sigmoid_binary_cross_entropy", outputs, targets, several)
    return optax.sigmoid_binary_cross_entropy(outputs, targets)


def multilabel_cross_entropy(
    outputs: Float[AnyArray, " batch *labels"], targets: Num[AnyArray, " batch *labels"]
) -> Float[Array, " batch"]:
    """Binary cross-entropy of several labels that do not exclude each other, averaged over the labels, in nats.

    Args:
        outputs: logits, shape (batch, labels).
        targets: 0 and 1 (or probabilities) for each label, shape (batch, labels); others give NaN.

    Returns:
        One value per example, shape (batch,).

    Raises:
        ConfigError: unless outputs and targets have the same shape.
    """
    outputs, targets = same_shape("multilabel_cross_entropy", outputs, targets)
    values = optax.sigmoid_binary_cross_entropy(outputs, in_unit_interval(targets))
    return values.reshape(values.shape[0], -1).mean(axis=-1)


def masked(loss: PerExample, *, ignore: int | float, tokens: float | None = None) -> Loss:
    """A loss of sequences that leaves out the positions whose target is ``ignore``, such as padding.

    Args:
        loss: gives one value per position, shape (batch, length), as `softmax_cross_entropy` does.
        ignore: the target of the positions to leave out; never read as a class.
        tokens: what each example's sum is divided by. None divides by the number of its own kept positions, so that
            every example weighs the same. A number, such as the average length of a sequence, is the same for all
            examples, so that every token weighs the same.

    Returns:
        A loss of one value per example; 0 for an example without a kept position.

    Raises:
        ConfigError: if ``ignore`` or ``tokens`` is not valid, or ``loss`` does not give one value per target.
    """
    if tokens is not None and not 0 < tokens < math.inf:
        raise ConfigError(f"tokens={tokens!r} is not valid: pass a number above 0, such as the average length.")
    check_ignore(ignore)

    def masked_loss(outputs: PyTree[AnyArray], targets: Num[AnyArray, " batch *length"]) -> Float[Array, " batch"]:
        values, kept = without_ignored(loss, outputs, targets, ignore)
        sums = _by_example(values).sum(axis=-1)
        if tokens is not None:
            return sums / tokens
        return sums / jnp.maximum(_by_example(kept).sum(axis=-1, dtype=values.dtype), 1.0)

    return masked_loss


def weighted(loss: PerExample) -> Loss:
    """A loss multiplied by weights that come with the targets, which are then a pair ``(targets, weights)``.

    Weights have shape (batch,), or that of the values of ``loss``, such as (batch, length); the products are summed over all
    axes but the first. They are not normalised: weights that average 1 over the data keep the scale of the loss.

    Raises ConfigError, when called, for targets that are not such a pair, and for weights of another shape.

    >>> import numpy as np
    >>> weighted(squared_error)(np.array([1.0, 2.0]), (np.array([0.0, 0.0]), np.array([0.5, 1.5]))).tolist()
    [0.5, 6.0]
    """

    def weighted_loss(outputs: PyTree[AnyArray], targets: tuple[PyTree[AnyArray], AnyArray]) -> Float[Array, " batch"]:
        if not isinstance(targets, tuple) or len(targets) != 2:
            raise ConfigError(f"weighted got targets that are a {type(targets).__name__}: pass (targets, weights).")
        values, weights = at_least_float32(loss(outputs, targets[0])), at_least_float32(jnp.asarray(targets[1]))
        if weights.shape == values.shape[:1]:
            weights = weights.reshape(*weights.shape, *(1,) * (values.ndim - 1))
        elif weights.shape != values.shape:
            raise ConfigError(
                f"weighted got weights of shape {weights.shape} for values of shape {values.shape}: pass weights of shape "
                f"{values.shape[:1]} or {values.shape}."
            )
        return _by_example(values * weights).sum(axis=-1)

    return weighted_loss


def of_part(name: str, loss: PerExample) -> Loss:
    """A loss of one part of outputs and targets that are dicts, such as one of several heads.

    Args:
        name: the key of the part, in outputs and targets alike.
        loss: of the part.

    Raises:
        ConfigError: when called, where outputs or targets are no dict that has the part.

    >>> import numpy as np
    >>> value = of_part("value", squared_error)
    >>> value({"value": np.array([1.0])}, {"value": np.array([3.0]), "class": np.array([0])}).tolist()
    [4.0]
    """
    return lambda outputs, targets: loss(*parts_of(name, outputs, targets))


def _by_example(values: Shaped[Array, "batch ..."]) -> Shaped[Array, "batch rest"]:
    return values.reshape(values.shape[0], -1)
