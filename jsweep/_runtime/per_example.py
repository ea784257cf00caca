"""What losses and metrics check of their arguments: shapes that belong together, labels in range, types wide enough."""

import math
import numbers
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Num, PyTree, Shaped

from jsweep.errors import ConfigError

AnyArray = Array | np.ndarray

PerExample = Callable[[PyTree, PyTree], Array]
"""``(outputs, targets) -> values``, one value per example, shape (batch,)."""


def at_least_float32(array: Shaped[AnyArray, "..."]) -> Float[Array, "..."]:
    """``array`` in float32, or in its own type where that is more precise."""
    wide = jnp.issubdtype(array.dtype, jnp.inexact) and array.dtype.itemsize >= 4
    return jnp.asarray(array) if wide else jnp.asarray(array, jnp.float32)


def same_shape(
    name: str, outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."]
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch ..."]]:
    """Outputs and targets in float32 at least; ConfigError unless their shapes are equal and have a batch axis."""
    outputs, targets = _array(name, "outputs", outputs), _array(name, "targets", targets)
    if outputs.shape != targets.shape:
        raise ConfigError(
            f"{_got(name, outputs, targets)}: pass arrays of the same shape{_matching(outputs.shape, targets.shape)}."
        )
    if not outputs.ndim:
        raise ConfigError(f"{_got(name, outputs, targets)}: pass arrays whose first axis is the batch.")
    return at_least_float32(outputs), at_least_float32(targets)


def classes_and_targets(
    name: str, outputs: Num[AnyArray, "*batch classes"], targets: Integer[AnyArray, "*batch"], binary: str
) -> tuple[Float[Array, "*batch classes"], Integer[Array, "*batch"]]:
    """Logits in float32 at least and class numbers in int32 at least, whose shapes belong together.

    Args:
        name: the loss or metric, for the message.
        outputs: logits, one for each class on the last axis.
        targets: integer classes, one for each row of logits.
        binary: what to use instead for a single logit per example.

    Raises:
        ConfigError: for a single logit, for targets that are not integers, and for shapes that do not match.
    """
    outputs, targets = _array(name, "outputs", outputs), _array(name, "targets", targets)
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        raise ConfigError(
            f"{_got(name, outputs, targets)}, which is one logit per example: use {binary}, or give the model one "
            "output per class."
        )
    if targets.shape != outputs.shape[:-1]:
        fix = f"pass targets of shape {outputs.shape[:-1]}"
        if targets.shape == outputs.shape:
            fix += ", such as targets.argmax(axis=-1) of one-hot targets"
        elif targets.shape == (*outputs.shape[:-1], 1):
            fix += ", such as targets[..., 0]"
        raise ConfigError(f"{_got(name, outputs, targets)}: {fix}.")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ConfigError(
            f"{name} got targets of type {targets.dtype}: pass the classes as integers that start at 0, such as "
            'targets.astype("int32").'
        )
    if targets.dtype.itemsize < 4:  # so that the number of classes fits the type that it is compared in
        targets = targets.astype(jnp.int32)
    return at_least_float32(outputs), targets


def parts_of(name: str, outputs: PyTree, targets: PyTree) -> tuple[PyTree, PyTree]:
    """One part of outputs and of targets; ConfigError where either is no dict that has it."""
    for which, value in (("outputs", outputs), ("targets", targets)):
        if not isinstance(value, Mapping) or name not in value:
            has = (
                f"a dict of {', '.join(map(repr, value))}"
                if isinstance(value, Mapping)
                else f"a {type(value).__name__}"
            )
            raise ConfigError(f"of_part({name!r}, ...) got {which} that are {has}: return a dict that has {name!r}.")
    return outputs[name], targets[name]


def is_class(classes: int, labels: Integer[AnyArray, "*batch"]) -> Bool[Array, "*batch classes"]:
    """Which class each label is: labels (...) compared with 0 to ``classes - 1`` on a new last axis."""
    numbers = jnp.arange(classes, dtype=labels.dtype)
    return labels[..., None] == jnp.expand_dims(numbers, tuple(range(labels.ndim)))


def one_logit(
    name: str, outputs: Num[AnyArray, "batch ..."], targets: Num[AnyArray, "batch ..."], several: str
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """One logit and one target per example, (batch,) or (batch, 1) each, as float vectors; targets outside [0, 1] are NaN.

    Raises ConfigError for other shapes; ``several`` says what to use for more than one logit per example.
    """
    outputs, targets = _array(name, "outputs", outputs), _array(name, "targets", targets)
    batch = outputs.shape[:1]
    if not batch or any(array.shape not in (batch, (*batch, 1)) for array in (outputs, targets)):
        raise ConfigError(
            f"{_got(name, outputs, targets)}: pass one logit and one target per example, shape (batch,) or (batch, 1), or "
            f"use {several}."
        )
    return at_least_float32(outputs).reshape(batch), in_unit_interval(targets).reshape(batch)


def in_unit_interval(targets: Num[AnyArray, "..."]) -> Float[Array, "..."]:
    """Targets in float32 at least, with NaN for those outside [0, 1]: labels of -1 and 1, or of two classes 1 and 2."""
    floats = at_least_float32(targets)
    return jnp.where((floats >= 0) & (floats <= 1), floats, jnp.nan)


def check_ignore(ignore: int | float) -> None:
    """Raise ConfigError unless ``ignore`` is a finite number, so that targets can be equal to it."""
    if isinstance(ignore, bool) or not isinstance(ignore, numbers.Real) or not math.isfinite(ignore):
        raise ConfigError(
            f"ignore={ignore!r} is not valid: pass the number that marks a position to leave out, such as -1."
        )


def without_ignored(
    function: PerExample, outputs: PyTree[AnyArray], targets: Num[AnyArray, " batch *length"], ignore: int | float
) -> tuple[Float[Array, " batch *length"], Bool[Array, " batch *length"]]:
    """The values of a loss or metric per position, and which positions are kept; values of the others are 0.

    Args:
        function: gives one value per position, the shape of ``targets``.
        outputs: what the model returns.
        targets: one target per position; ``function`` sees 0 in place of ``ignore``.
        ignore: the target of the positions to leave out.

    Returns:
        Values in float32 at least, and a mask, both of the shape of ``targets``.

    Raises:
        ConfigError: if the targets' type does not hold ``ignore``, or the values have another shape.
    """
    targets = _array("masked", "targets", targets)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        limits = jnp.iinfo(targets.dtype)
        if ignore != int(ignore) or not limits.min <= ignore <= limits.max:
            raise ConfigError(
                f"ignore={ignore!r} is not a value of {targets.dtype} targets: pass one from {limits.min} to {limits.max}, or "
                'convert the targets, such as targets.astype("int32").'
            )
        ignore = int(ignore)
    kept = targets != jnp.asarray(ignore, targets.dtype)
    values = function(outputs, jnp.where(kept, targets, jnp.zeros((), targets.dtype)))
    if values.shape != targets.shape:
        raise ConfigError(
            f"masked got values of shape {values.shape} for targets of shape {targets.shape}: pass a loss or metric that "
            "returns one value per target."
        )
    return jnp.where(kept, at_least_float32(values), 0.0), kept


def _array(name: str, argument: str, value: Num[AnyArray, "..."]) -> Num[Array, "..."]:
    if not hasattr(value, "shape"):
        raise ConfigError(
            f"{name} got {argument} that are a {type(value).__name__}: pass one array, or write a loss or metric of your own "
            "that picks it."
        )
    return jnp.asarray(value)


def _got(name: str, outputs: Num[AnyArray, "..."], targets: Num[AnyArray, "..."]) -> str:
    return f"{name} got outputs of shape {outputs.shape} and targets of shape {targets.shape}"


def _matching(outputs: tuple[int, ...], targets: tuple[int, ...]) -> str:
    """How to make two shapes equal where one has an axis of length 1 more than the other."""
    if outputs == (*targets, 1):
        return ", such as targets[..., None]"
    if targets == (*outputs, 1):
        return ", such as targets[..., 0]"
    return ""
