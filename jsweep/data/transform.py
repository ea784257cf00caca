"""Transformations of inputs that are fitted on training examples alone, such as standardisation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jsweep.data.arrays import as_array, check_values
from jsweep.errors import ConfigError

Inputs = Shaped[np.ndarray, "examples ..."]
Fitted = Callable[[Inputs], Any]
"""Maps inputs, shape (examples, ...), to as many: each example by itself."""
Transform = Callable[[Inputs, Shaped[np.ndarray, "examples ..."]], Fitted]
"""``transform(x, y)`` fits on training examples and returns what maps inputs."""

CHECKED = 5  # examples that are also transformed alone
TOLERANCE = 1e-4  # between the values of an example transformed alone and among others, of the largest value


def fit(transform: Transform, x: Inputs, y: Shaped[np.ndarray, "examples ..."]) -> Fitted:
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


def apply(fitted: Fitted, x: Inputs) -> Inputs:
    """Inputs transformed; ConfigError unless they are as many, finite, and each the same as when it is transformed alone."""
    found = _applied(fitted, x)
    check_values("the inputs that transform makes", found)
    for row in np.linspace(0, len(x) - 1, min(CHECKED, len(x))).astype(int):
        with np.errstate(all="ignore"):
            alone = _applied(fitted, x[row : row + 1])[0]
        if not np.allclose(alone, found[row], rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(found[row]).max()))):
            raise ConfigError(
                f"transform gives example {row} other values alone than among others: compute what depends on several examples "
                "in transform(x, y), of training examples only, and let the function that it returns apply it."
            )
    return found


def apply_by_fold(
    transform: Transform, x: Inputs, y: Shaped[np.ndarray, "examples ..."], held_out: Sequence[Int[np.ndarray, " _"]]
) -> tuple[tuple[Fitted, ...], Shaped[np.ndarray, "rows ..."]]:
    """What each fold fits, and the inputs as each fold transforms them, one fold after another.

    Args:
        transform: fits on the examples that train.
        x: inputs, shape (examples, ...).
        y: targets, of the same length.
        held_out: the rows of each fold that validate.

    Returns:
        One fitted function a fold, and inputs of shape (folds * examples, ...).
    """
    fits, copies = [], []
    for rows in held_out:
        trains = np.ones(len(x), bool)
        trains[rows] = False
        fitted = fit(transform, x[trains], y[trains])
        training, validating = apply(fitted, x[trains]), apply(fitted, x[rows])
        if training.shape[1:] != validating.shape[1:] or (copies and copies[0].shape[1:] != training.shape[1:]):
            raise ConfigError(
                f"transform gives examples of shape {training.shape[1:]} in one fold and of "
                f"{(copies[0] if copies else validating).shape[1:]} in another: make them of one shape, such as by a fixed "
                "number of components or categories."
            )
        copy = np.empty((len(x), *training.shape[1:]), training.dtype)
        copy[trains], copy[rows] = training, validating
        fits.append(fitted)
        copies.append(copy)
    return tuple(fits), np.concatenate(copies)


def _applied(fitted: Fitted, x: Inputs) -> Inputs:
    found = fitted(x)
    if hasattr(found, "toarray"):
        raise ConfigError("transform makes sparse inputs: let it make dense ones, such as by sparse_output=False.")
    found = np.asarray(as_array("the inputs that transform makes", found))
    if found.ndim == 0 or len(found) != len(x):
        raise ConfigError(
            f"transform makes {len(found) if found.ndim else 'no'} inputs of {len(x)}: return one for each example."
        )
    return found
