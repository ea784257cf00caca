"""Targets that are transformed for the loss, by what was fitted on training examples alone, and given back for metrics."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, PyTree

from jsweep.data.arrays import Arrays, count_examples
from jsweep.data.pairs import take
from jsweep.data.transform import Fitted, Rows, apply, apply_by_fold, concatenate, training_rows
from jsweep.errors import ConfigError

TargetTransform = Callable[[Any], Fitted | tuple[Fitted, Fitted]]
"""``target_transform(y)`` fits on training targets and returns what maps targets, alone or with its inverse."""

CHECKED = 16  # targets that are also mapped there and back
TOLERANCE = 1e-3  # of their spread, that these may be off


class FittedTargets(NamedTuple):
    """What a ``target_transform`` returned.

    Args:
        forward: maps targets to what the loss sees.
        inverse: maps a model's outputs to the units of the targets; None where metrics see what the loss sees.
    """

    forward: Fitted
    inverse: Fitted | None


class Targets(NamedTuple):
    """Targets as the loss sees them beside those that were given, of which metrics are computed.

    Args:
        transformed: the targets that the loss sees.
        given: the targets as they were given.
        fold: for each example the fold whose inverse maps its outputs.
    """

    transformed: Arrays
    given: Arrays
    fold: Int32[Array | np.ndarray, " _examples"]


def transform_targets(
    target_transform: TargetTransform, parts: Sequence[Arrays]
) -> tuple[tuple[FittedTargets, ...], list[Arrays]]:
    """Fit on the first part of the targets, and map all parts that have examples."""
    fitted = _fit(target_transform, parts[0])
    forward = [apply(fitted.forward, part, "target_transform") if count(part) else part for part in parts]
    return (fitted,), [_beside(fitted, *pair, 0) for pair in zip(forward, parts, strict=True)]


def transform_targets_by_fold(
    target_transform: TargetTransform, y: Arrays, tested: Arrays, held_out: Sequence[Rows]
) -> tuple[tuple[FittedTargets, ...], Arrays, Arrays]:
    """Fit on what trains in each fold; returns the fits, and the targets and those for test, each once a fold."""
    fits = tuple(_fit(target_transform, take(y, training_rows(y, rows))) for rows in held_out)
    if len({fitted.inverse is None for fitted in fits}) > 1:
        raise ConfigError("target_transform(y) returned an inverse in some folds only: return one in all of them.")
    mapped = apply_by_fold([fitted.forward for fitted in fits], y, held_out, "target_transform")
    split = np.split(np.arange(count(mapped)), len(fits))
    targets = [_beside(fitted, take(mapped, rows), y, fold) for fold, (fitted, rows) in enumerate(zip(fits, split))]
    if not count(tested):
        return fits, concatenate(targets), tested
    test = [
        _beside(fitted, apply(fitted.forward, tested, "target_transform"), tested, fold)
        for fold, fitted in enumerate(fits)
    ]
    return fits, concatenate(targets), concatenate(test)


def count(arrays: Arrays) -> int:
    """The examples of arrays, which may be none."""
    return int(np.shape(jax.tree.leaves(arrays)[0])[0])


def has_given(arrays: PyTree) -> bool:
    """Whether there are `Targets` in a pytree."""
    is_targets = lambda part: isinstance(part, Targets)
    return any(map(is_targets, jax.tree.leaves(arrays, is_leaf=is_targets)))


def seen_by_loss(y: Arrays) -> Arrays:
    """The targets that a loss is computed of."""
    return y.transformed if isinstance(y, Targets) else y


def seen_by_metrics(fits: Sequence[FittedTargets], outputs: PyTree, y: Arrays) -> tuple[PyTree, Arrays]:
    """What metrics are computed of: outputs in the units of the targets that were given, and those.

    All examples of ``y`` are of one fold, as those are that a lane is evaluated on.
    """
    if not isinstance(y, Targets):
        return outputs, y
    inverses = [fitted.inverse for fitted in fits if fitted.inverse is not None]
    if len(inverses) == 1:
        return inverses[0](outputs), y.given
    return jax.lax.switch(y.fold[0], inverses, outputs), y.given


def _fit(target_transform: TargetTransform, y: Arrays) -> FittedTargets:
    """What ``target_transform`` makes of training targets; ConfigError unless its inverse takes them back."""
    if not callable(target_transform):
        raise ConfigError(
            f"target_transform is a {type(target_transform).__name__}: pass a function of the training targets, such as "
            "lambda y: (numpy.log, jax.numpy.exp)."
        )
    made = target_transform(y)
    forward, inverse = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not callable(forward) or not (inverse is None or callable(inverse)):
        kinds = [type(each).__name__ for each in (made if isinstance(made, tuple) else (made,))]
        raise ConfigError(
            f"target_transform(y) returned {', '.join(kinds)}: return a function that maps targets, or the pair of it and its "
            "inverse, such as (numpy.log, jax.numpy.exp)."
        )
    fitted = FittedTargets(forward, inverse)
    if fitted.inverse is not None:
        _check_inverse(fitted.forward, fitted.inverse, y)
    return fitted


def _check_inverse(forward: Fitted, inverse: Fitted, y: Arrays) -> None:
    """Raise ConfigError unless JAX can trace the inverse and it takes some training targets back to what they were."""
    some = take(y, np.unique(np.linspace(0, count_examples(y) - 1, CHECKED).astype(int)))
    mapped = jax.tree.map(jnp.asarray, forward(some))
    try:
        back = jax.jit(lambda outputs: inverse(outputs))(mapped)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
        raise ConfigError(
            "the inverse that target_transform(y) returned cannot be traced by JAX, in whose programs metrics are computed: "
            "write it with jax.numpy, such as lambda outputs: outputs * scale + mean."
        ) from error
    if jax.tree.structure(back) != jax.tree.structure(some) or not jax.tree.all(
        jax.tree.map(_taken_back, back, some, y)
    ):
        raise ConfigError(
            "the inverse that target_transform(y) returned does not take its targets back to what they were: correct it, or "
            "return the function alone, so that metrics see what the loss sees."
        )


def _taken_back(back: Array, some: np.ndarray, y: np.ndarray) -> bool:
    rounding = 16 * float(jnp.finfo(jnp.result_type(float)).eps) * float(np.abs(y).max(initial=0))
    allowed = TOLERANCE * float(np.std(y)) + rounding
    return back.shape == some.shape and np.allclose(np.asarray(back), some, rtol=0, atol=allowed)


def _beside(fitted: FittedTargets, transformed: Arrays, given: Arrays, fold: int) -> Arrays:
    """Transformed targets beside those that were given, if outputs can be taken back to them."""
    if fitted.inverse is None:
        return transformed
    return Targets(transformed, given, np.full(count(given), fold, np.int32))
