"""Metrics: what is measured on a split, and whether larger or smaller values are better.

A metric per example gives one value per example, and their mean over the split is recorded. A metric of the whole split
(F1, R2, AUC, perplexity, ...) is called once with all outputs and targets and gives a scalar.

All are computed in float32 at least. Outputs of classifiers are logits. NaN outputs, and labels out of range, give NaN.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Num, PyTree

from jsweep._runtime.per_example import (
    AnyArray,
    at_least_float32,
    check_ignore,
    classes_and_targets,
    is_class,
    one_logit,
    parts_of,
    same_shape,
    without_ignored,
)
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError

Labels = Num[AnyArray, "batch ..."]
Logits = Float[AnyArray, "*batch classes"]
Classes = Integer[AnyArray, "*batch"]
OnePerExample = Float[Array, " batch"]


@dataclass(frozen=True)
class Metric:
    """A metric with its direction; calling it calls ``function``.

    Args:
        function: ``(outputs, targets) -> values``, one value per example, shape (batch,), whose mean over the split is
            recorded; or, with ``per_example=False``, a scalar.
        mode: "max" where larger values are better, "min" where smaller ones are. None leaves it open: rankings by this
            metric then need `jsweep.maximize` or `jsweep.minimize`.
        per_example: False for a metric that is not a mean over examples: it is called once, with the outputs and targets of
            the whole split, and returns a scalar.

    Raises:
        ConfigError: if ``function`` is not callable or ``mode`` is another value.

    >>> import jax.numpy as jnp
    >>> largest = Metric(lambda outputs, targets: abs(outputs - targets).max(), mode="min", per_example=False)
    >>> float(largest(jnp.array([1.0, 5.0]), jnp.array([1.5, 2.0])))
    3.0
    """

    function: Callable[[PyTree, PyTree], Array]
    mode: Mode | None
    per_example: bool = True

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(
                f"function={self.function!r} is not callable: pass a function (outputs, targets) -> values."
            )
        if self.mode not in ("min", "max", None):
            raise ConfigError(f'mode={self.mode!r} is not valid: pass "max", "min" or None.')
        if not isinstance(self.per_example, bool):
            raise ConfigError(f"per_example={self.per_example!r} is not valid: pass True or False.")

    def __call__(self, outputs: PyTree[AnyArray], targets: PyTree[AnyArray]) -> Float[Array, "..."]:
        return self.function(outputs, targets)


def _accuracy(outputs: Logits, targets: Classes) -> Float[Array, "*batch"]:
    outputs, targets = classes_and_targets("accuracy", outputs, targets, binary="jsweep.metrics.binary_accuracy")
    return _nan_unless_valid(jnp.argmax(outputs, axis=-1).astype(targets.dtype) == targets, outputs, targets)


accuracy = Metric(_accuracy, mode="max")
"""1.0 where the largest of the logits (batch, classes) is the target class (batch,), else 0.0."""


def top_k_accuracy(k: SupportsIndex) -> Metric:
    """1.0 where the target class (batch,) is among the ``k`` largest of the logits (batch, classes), else 0.0.

    Raises ConfigError for a ``k`` below 1 and, when called, for one above the number of classes.
    """
    if isinstance(k, bool) or not hasattr(k, "__index__") or operator.index(k) < 1:
        raise ConfigError(f"k={k!r} is not valid: pass a whole number of at least 1.")
    most = operator.index(k)

    def top_k(outputs: Logits, targets: Classes) -> Float[Array, "*batch"]:
        outputs, targets = classes_and_targets("top_k_accuracy", outputs, targets, "jsweep.metrics.binary_accuracy")
        if most > outputs.shape[-1]:
            raise ConfigError(f"k={most} is more than the {outputs.shape[-1]} classes: pass a smaller k.")
        largest = jax.lax.top_k(outputs, most)[1].astype(targets.dtype)
        return _nan_unless_valid((largest == targets[..., None]).any(axis=-1), outputs, targets)

    return Metric(top_k, mode="max")


def _nan_unless_valid(correct: Array, outputs: Logits, targets: Classes) -> Float[Array, "*batch"]:
    """``correct`` as numbers, NaN where a logit is NaN or the target is not a class."""
    valid = (targets >= 0) & (targets < outputs.shape[-1]) & ~jnp.isnan(outputs.max(axis=-1))
    return jnp.where(valid, correct.astype(jnp.float32), jnp.nan)


def _binary_accuracy(outputs: Labels, targets: Labels) -> Float[Array, " batch"]:
    predicted, positive = _binary("binary_accuracy", outputs, targets)
    return jnp.where(jnp.isnan(predicted + positive), jnp.nan, (predicted == positive).astype(jnp.float32))


binary_accuracy = Metric(_binary_accuracy, mode="max")
"""1.0 where the logit, (batch,) or (batch, 1), is above 0 for a target of 1 and not above 0 for a target of 0, else 0.0."""


def _multilabel_accuracy(
    outputs: Num[AnyArray, "batch labels"], targets: Num[AnyArray, "batch labels"]
) -> OnePerExample:
    correct = _correct_labels("multilabel_accuracy", outputs, targets)
    return correct.reshape(correct.shape[0], -1).mean(axis=-1)


multilabel_accuracy = Metric(_multilabel_accuracy, mode="max")
"""The share of an example's labels that the signs of the logits (batch, labels) get right: 1 minus the Hamming loss."""


def _subset_accuracy(outputs: Num[AnyArray, "batch labels"], targets: Num[AnyArray, "batch labels"]) -> OnePerExample:
    correct = _correct_labels("subset_accuracy", outputs, targets)
    return correct.reshape(correct.shape[0], -1).min(axis=-1)


subset_accuracy = Metric(_subset_accuracy, mode="max")
"""1.0 where the signs of the logits (batch, labels) get every label of an example right, else 0.0."""


def _absolute_error(outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]) -> Float[Array, " batch"]:
    outputs, targets = same_shape("absolute_error", outputs, targets)
    return jnp.abs(outputs - targets).reshape(outputs.shape[0], -1).mean(axis=-1)


absolute_error = Metric(_absolute_error, mode="min")
"""Absolute error averaged over all axes but the first; outputs and targets of the same shape."""


def _root_mean_squared_error(
    outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]
) -> Float[Array, ""]:
    outputs, targets = _columns("root_mean_squared_error", outputs, targets)
    return jnp.sqrt(jnp.square(outputs - targets).mean(axis=0)).mean()


root_mean_squared_error = Metric(_root_mean_squared_error, mode="min", per_example=False)
"""``sqrt(mean((outputs - targets) ** 2))`` over the whole split; of several outputs, the mean of theirs."""


def _r2_score(outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]) -> Float[Array, ""]:
    outputs, targets = _columns("r2_score", outputs, targets)
    residual = jnp.square(targets - outputs).sum(axis=0)
    total = jnp.square(targets - targets.mean(axis=0, keepdims=True)).sum(axis=0)
    constant = (targets == targets[:1]).all(axis=0)
    scores = 1 - residual / jnp.where(constant, 1.0, total)
    exact = jnp.where(residual == 0, 1.0, jnp.where(jnp.isnan(residual), jnp.nan, 0.0))
    return jnp.where(constant, exact, scores).mean()


r2_score = Metric(_r2_score, mode="max", per_example=False)
"""``1 - sum((targets - outputs) ** 2) / sum((targets - mean(targets)) ** 2)``; of several outputs, the mean of theirs.

For constant targets it is 1.0 where all outputs are exact, else 0.0, as in scikit-learn.
"""


def _correlation(outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]) -> Float[Array, ""]:
    outputs, targets = _columns("correlation", outputs, targets)
    constant = (outputs == outputs[:1]).all(axis=0) | (targets == targets[:1]).all(axis=0)
    outputs, targets = (array - array.mean(axis=0, keepdims=True) for array in (outputs, targets))
    scales = jnp.sqrt(jnp.square(outputs).sum(axis=0)) * jnp.sqrt(jnp.square(targets).sum(axis=0))
    return jnp.where(constant, jnp.nan, (outputs * targets).sum(axis=0) / scales).mean()


correlation = Metric(_correlation, mode="max", per_example=False)
"""Pearson's correlation of outputs and targets; of several outputs, the mean of theirs; NaN where either is constant."""


def _f1_score(outputs: Labels, targets: Labels) -> Float[Array, ""]:
    predicted, positive = _binary("f1_score", outputs, targets)
    both, either = (predicted * positive).sum(), (predicted + positive).sum()
    return jnp.where(either == 0, 0.0, 2 * both / jnp.where(either == 0, 1.0, either))


f1_score = Metric(_f1_score, mode="max", per_example=False)
"""F1 of the positive class for one logit per example: ``2 TP / (2 TP + FP + FN)``; 0.0 without positives at all."""


def _macro_f1_score(outputs: Logits, targets: Classes, ignore: int | None = None) -> Float[Array, ""]:
    outputs, targets = classes_and_targets("macro_f1_score", outputs, targets, binary="jsweep.metrics.f1_score")
    kept = jnp.ones(targets.shape, bool) if ignore is None else targets != ignore
    predicted = jnp.argmax(outputs, axis=-1).astype(targets.dtype)
    targets_are, predicted_are = (
        is_class(outputs.shape[-1], labels) & kept[..., None] for labels in (targets, predicted)
    )
    count = lambda which: which.reshape(-1, outputs.shape[-1]).sum(axis=0, dtype=jnp.int32)
    both, either = count(targets_are & predicted_are), count(targets_are) + count(predicted_are)
    scores = 2.0 * both.astype(jnp.float32) / jnp.maximum(either, 1).astype(jnp.float32)
    invalid = (jnp.isnan(_nan_unless_valid(predicted == targets, outputs, targets)) & kept).any()
    return jnp.where(invalid, jnp.nan, scores.sum() / (either > 0).sum().astype(jnp.float32))


macro_f1_score = Metric(_macro_f1_score, mode="max", per_example=False)
"""The mean of the classes' F1 for logits (..., classes) and targets (...), over the classes in targets or predictions.

A class that occurs in neither is left out, as scikit-learn does where it is not told the classes.
"""


def masked_macro_f1_score(*, ignore: int) -> Metric:
    """`macro_f1_score` over the targets that are not ``ignore``, such as padding; every token of the split counts alike."""
    check_ignore(ignore)
    return Metric(lambda outputs, targets: _macro_f1_score(outputs, targets, ignore), mode="max", per_example=False)


def _roc_auc(outputs: Labels, targets: Labels) -> Float[Array, ""]:
    scores, labels = one_logit("roc_auc", outputs, targets, several="one metric for each label")
    positive = labels == 1
    negatives = jnp.sort(jnp.where(positive, jnp.inf, scores))
    count = (~positive).sum(dtype=jnp.int32)
    below, up_to = (jnp.searchsorted(negatives, scores, side=side).astype(jnp.int32) for side in ("left", "right"))
    wins = (jnp.minimum(below, count) + jnp.minimum(up_to, count)).astype(scores.dtype) / (2 * count).astype(
        scores.dtype
    )
    area = jnp.where(positive, wins, 0.0).sum() / positive.sum().astype(scores.dtype)
    valid = ~jnp.isnan(scores).any() & ((labels == 0) | positive).all()
    return jnp.where(valid, area, jnp.nan)


roc_auc = Metric(_roc_auc, mode="max", per_example=False)
"""The area under the ROC curve for one score per example: the share of pairs (positive, negative) in the right order.

Equal scores count one half. NaN where all targets are of one class.
"""


def _perplexity(outputs: Float[AnyArray, "*batch classes"], targets: Integer[AnyArray, "*batch"]) -> Float[Array, ""]:
    return jnp.exp(_cross_entropy(outputs, targets).mean())


perplexity = Metric(_perplexity, mode="min", per_example=False)
"""``exp(mean cross-entropy)`` over every target of the split: logits (..., classes) against integer targets (...)."""


def masked_perplexity(*, ignore: int) -> Metric:
    """`perplexity` over the targets that are not ``ignore``, such as padding; every token of the split weighs the same."""
    mean = masked(_cross_entropy, ignore=ignore)
    return Metric(lambda outputs, targets: jnp.exp(mean(outputs, targets)), mode="min", per_example=False)


def masked(metric: Metric | Callable[[PyTree, PyTree], Array], *, ignore: int | float) -> Metric:
    """The mean of a metric over the positions whose target is not ``ignore``, such as padding.

    Args:
        metric: gives one value per target: logits (batch, length, classes) and targets (batch, length) give (batch, length).
        ignore: the target of the positions to leave out; never read as a class.

    Returns:
        A metric of the whole split, of the same mode, in which every kept position weighs the same; NaN without any.

    Raises:
        ConfigError: if ``metric`` is one of a whole split, or ``ignore`` is not a finite number.
    """
    mode = _mode_per_example("masked", metric)
    check_ignore(ignore)

    def mean(outputs: PyTree[AnyArray], targets: Num[AnyArray, " batch *length"]) -> Float[Array, ""]:
        values, kept = without_ignored(metric, outputs, targets, ignore)
        return values.sum() / kept.sum(dtype=values.dtype)

    return Metric(mean, mode=mode, per_example=False)


def weighted(metric: Metric | Callable[[PyTree, PyTree], Array]) -> Metric:
    """The weighted mean of a metric, for targets that are a pair ``(targets, weights)``.

    Args:
        metric: gives values of the weights' shape: (batch,), or one value per token, (batch, length).

    Returns:
        A metric of the whole split, of the same mode: ``sum(weights * values) / sum(weights)``.

    Raises:
        ConfigError: if ``metric`` is one of a whole split; when called, for targets that are not such a pair, and for
            weights of another shape than the values.
    """
    mode = _mode_per_example("weighted", metric)

    def mean(outputs: PyTree[AnyArray], targets: tuple[PyTree[AnyArray], AnyArray]) -> Float[Array, ""]:
        if not isinstance(targets, tuple) or len(targets) != 2:
            raise ConfigError(f"weighted got targets that are a {type(targets).__name__}: pass (targets, weights).")
        values, weights = at_least_float32(metric(outputs, targets[0])), at_least_float32(jnp.asarray(targets[1]))
        if values.shape != weights.shape:
            raise ConfigError(
                f"weighted got weights of shape {weights.shape} for values of shape {values.shape}: pass one weight per value."
            )
        return (weights * values).sum() / weights.sum()

    return Metric(mean, mode=mode, per_example=False)


def of_part(name: str, metric: Metric | Callable[[PyTree, PyTree], Array]) -> Metric:
    """A metric of one part of outputs and targets that are dicts, such as one of several heads.

    Args:
        name: the key of the part, in outputs and targets alike.
        metric: of the part.

    Returns:
        A metric of the same mode, per example or of the whole split as ``metric`` is.

    Raises:
        ConfigError: when called, where outputs or targets are no dict that has the part.
    """
    mode, each = (metric.mode, metric.per_example) if isinstance(metric, Metric) else (None, True)
    return Metric(lambda outputs, targets: metric(*parts_of(name, outputs, targets)), mode=mode, per_example=each)


def _mode_per_example(name: str, metric: Metric | Callable[[PyTree, PyTree], Array]) -> Mode | None:
    if not isinstance(metric, Metric):
        return None
    if not metric.per_example:
        raise ConfigError(
            f"{name} got a metric of the whole split: pass one with a value per example (to leave out padding, "
            "jsweep.metrics.masked_perplexity and masked_macro_f1_score are such metrics)."
        )
    return metric.mode


def _binary(name: str, outputs: Labels, targets: Labels) -> tuple[OnePerExample, OnePerExample]:
    """Predicted and true labels of one logit per example, 0.0 or 1.0; NaN for a NaN logit or another target."""
    logits, labels = one_logit(name, outputs, targets, several="jsweep.metrics.accuracy or macro_f1_score for classes")
    predicted = jnp.where(jnp.isnan(logits), jnp.nan, (logits > 0).astype(logits.dtype))
    return predicted, jnp.where((labels == 0) | (labels == 1), labels, jnp.nan)


def _correct_labels(name: str, outputs: Num[AnyArray, "batch labels"], targets: Num[AnyArray, "batch labels"]) -> Array:
    logits, labels = same_shape(name, outputs, targets)
    valid = ((labels == 0) | (labels == 1)) & ~jnp.isnan(logits)
    return jnp.where(valid, ((logits > 0) == (labels == 1)).astype(logits.dtype), jnp.nan)


def _columns(
    name: str, outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]
) -> tuple[Array, Array]:
    """Outputs and targets as (batch, outputs)."""
    outputs, targets = same_shape(name, outputs, targets)
    size = math.prod(outputs.shape[1:])
    return outputs.reshape(-1, size), targets.reshape(-1, size)


def _cross_entropy(
    outputs: Float[AnyArray, "*batch classes"], targets: Integer[AnyArray, "*batch"]
) -> Float[Array, "*batch"]:
    outputs, targets = classes_and_targets("perplexity", outputs, targets, binary="exp of the binary cross-entropy")
    picked = jnp.where(is_class(outputs.shape[-1], targets), outputs, 0.0).sum(axis=-1)
    valid = (targets >= 0) & (targets < outputs.shape[-1])
    return jnp.where(valid, jax.nn.logsumexp(outputs, axis=-1) - picked, jnp.nan)
