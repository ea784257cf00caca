"""Transformations of inputs that are fitted on training examples alone, such as standardisation."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jsweep.data.arrays import Arrays, as_arrays, check_values, count_examples
from jsweep.data.pairs import take
from jsweep.errors import ConfigError

Fitted = Callable[[Any], Any]
"""Maps inputs to as many: each example by itself."""
Transform = Callable[[Any, Any], Fitted]
"""``transform(x, y)`` fits on training examples and returns what maps inputs."""

CHECKED = 5  # examples that are also transformed alone
TOLERANCE = 1e-4  # between the values of an example transformed alone and among others, of the largest value


def fit(transform: Transform, x: Arrays, y: Arrays) -> Fitted:
    """What ``transform`` makes of training examples; ConfigError if it is no function, or takes other arguments."""
    if not callable(transform):
        fix = "transform=lambda x, y: scaler.fit(x).transform" if hasattr(transform, "fit") else "a function (x, y)"
        raise ConfigError(f"transform is a {type(transform).__name__}: pass {fix}.")
    fitted = transform(x, y)
    if not callable(fitted):
        raise ConfigError(
            f"transform(x, y) returned a {type(fitted).__name__}: return a function that maps inputs, such as "
            "StandardScaler().fit(x).transform."
        )
    return fitted


def apply(fitted: Fitted, x: Arrays) -> Arrays:
    """Inputs transformed; ConfigError unless they are as many, finite, and each the same as when it is transformed alone."""
    found, count = _applied(fitted, x), count_examples(x)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        check_values("the inputs that transform makes" + jax.tree_util.keystr(path), leaf)
    for row in np.linspace(0, count - 1, min(CHECKED, count)).astype(int):
        with np.errstate(all="ignore"):
            alone = _applied(fitted, take(x, np.array([row])))
        if not jax.tree.all(jax.tree.map(_close, alone, take(found, np.array([row])))):
            raise ConfigError(
                f"transform gives example {row} other values alone than among others: compute what depends on several examples "
                "in transform(x, y), of training examples only, and let the function that it returns apply it."
            )
    return found


def apply_by_fold(
    transform: Transform, x: Arrays, y: Arrays, held_out: Sequence[Int[np.ndarray, " _"]]
) -> tuple[tuple[Fitted, ...], Arrays]:
    """What each fold fits, and the inputs as each fold transforms them, one fold after another.

    Args:
        transform: fits on the examples that train.
        x: inputs.
        y: targets, of the same length.
        held_out: the rows of each fold that validate.

    Returns:
        One fitted function a fold, and inputs of ``folds * examples`` rows.
    """
    fits, copies = [], []
    for rows in held_out:
        rest = np.setdiff1d(np.arange(count_examples(x)), rows)
        fitted = fit(transform, take(x, rest), take(y, rest))
        order = np.argsort(np.concatenate([rest, rows]), kind="stable")
        parts = [apply(fitted, take(x, part)) for part in (rest, rows)]
        _check_alike([*copies[:1], *parts])
        fits.append(fitted)
        copies.append(take(concatenate(parts), order))
    return tuple(fits), concatenate(copies)


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Arrays one after another."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _applied(fitted: Fitted, x: Arrays) -> Arrays:
    found = fitted(x)
    if hasattr(found, "toarray"):
        raise ConfigError("transform makes sparse inputs: let it make dense ones, such as by sparse_output=False.")
    found = jax.tree.map(np.asarray, as_arrays("the inputs that transform makes", found))
    made, given = count_examples(found, "the inputs that transform makes"), count_examples(x)
    if made != given:
        raise ConfigError(f"transform makes {made} inputs of {given}: return one for each example.")
    return found


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    scale = max(1.0, float(np.abs(other).max(initial=0)))
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=TOLERANCE * scale)


def _check_alike(parts: Sequence[Arrays]) -> None:
    """Raise ConfigError where inputs have other shapes or types in one fold than in another."""
    kinds = [jax.tree.map(lambda a: (a.shape[1:], str(a.dtype)), part) for part in parts]
    for kind in kinds[1:]:
        if kind != kinds[0]:
            raise ConfigError(
                f"transform gives examples of shape {jax.tree.leaves(kinds[0])} in one fold and of {jax.tree.leaves(kind)} in "
                "another: make them of one shape, such as by a fixed number of components or categories."
            )
