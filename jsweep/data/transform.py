"""Transformations that are fitted on training examples alone, such as standardisation: of inputs, and of targets."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jsweep.data.arrays import Arrays, as_arrays, check_values, count_examples
from jsweep.data.pairs import take
from jsweep.errors import ConfigError

Fitted = Callable[[Any], Any]
"""Maps inputs, or targets, to as many: each example by itself."""
Transform = Callable[[Any, Any], Fitted]
"""``transform(x, y)`` fits on training examples and returns what maps inputs."""
Rows = Int[np.ndarray, " _"]

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


def apply(fitted: Fitted, values: Arrays, name: str = "transform") -> Arrays:
    """Inputs or targets transformed; ConfigError unless they are as many, finite, and each the same as when it is alone.

    Args:
        fitted: maps them.
        values: what is mapped.
        name: the argument that made ``fitted``, for messages: "transform" of inputs or "target_transform" of targets.
    """
    found, count = _applied(fitted, values, name), count_examples(values)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        check_values(f"{_made_by(name)}{jax.tree_util.keystr(path)}", leaf)
    for row in np.linspace(0, count - 1, min(CHECKED, count)).astype(int):
        with np.errstate(all="ignore"):
            alone = _applied(fitted, take(values, np.array([row])), name)
        if not jax.tree.all(jax.tree.map(_close, alone, take(found, np.array([row])))):
            raise ConfigError(
                f"{name} gives example {row} other values alone than among others: compute what depends on several examples "
                f"in {name}({_arguments(name)}), of training examples only, and let the function that it returns apply it."
            )
    return found


def apply_by_fold(fits: Sequence[Fitted], values: Arrays, held_out: Sequence[Rows], name: str = "transform") -> Arrays:
    """Inputs or targets as each fold transforms them, one fold after another.

    Args:
        fits: what each fold has fitted on the examples that train.
        values: what is mapped.
        held_out: the rows of each fold that validate.
        name: as for `apply`.

    Returns:
        Arrays of ``folds * examples`` rows.
    """
    copies = []
    for fitted, rows in zip(fits, held_out, strict=True):
        rest = training_rows(values, rows)
        order = np.argsort(np.concatenate([rest, rows]), kind="stable")
        parts = [apply(fitted, take(values, part), name) for part in (rest, rows)]
        _check_alike([*copies[:1], *parts], name)
        copies.append(take(concatenate(parts), order))
    return concatenate(copies)


def training_rows(values: Arrays, held_out: Rows) -> Rows:
    """The rows of all examples but those that validate."""
    return np.setdiff1d(np.arange(count_examples(values)), held_out)


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Arrays one after another."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _applied(fitted: Fitted, values: Arrays, name: str) -> Arrays:
    found = fitted(values)
    if hasattr(found, "toarray"):
        raise ConfigError(f"{name} makes sparse {_noun(name)}: let it make dense ones, such as by sparse_output=False.")
    found = jax.tree.map(np.asarray, as_arrays(_made_by(name), found))
    made, given = count_examples(found, _made_by(name)), count_examples(values)
    if made != given:
        raise ConfigError(f"{name} makes {made} {_noun(name)} of {given}: return one for each example.")
    return found


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    scale = max(1.0, float(np.abs(other).max(initial=0)))
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=TOLERANCE * scale)


def _check_alike(parts: Sequence[Arrays], name: str) -> None:
    """Raise ConfigError where values have other shapes or types in one fold than in another."""
    kinds = [jax.tree.map(lambda a: (a.shape[1:], str(a.dtype)), part) for part in parts]
    for kind in kinds[1:]:
        if kind != kinds[0]:
            raise ConfigError(
                f"{name} gives {_noun(name)} of shape {jax.tree.leaves(kinds[0])} in one fold and of {jax.tree.leaves(kind)} "
                "in another: make them of one shape, such as by a fixed number of components or categories."
            )


def _noun(name: str) -> str:
    return "targets" if name == "target_transform" else "inputs"


def _arguments(name: str) -> str:
    return "y" if name == "target_transform" else "x, y"


def _made_by(name: str) -> str:
    return f"the {_noun(name)} that {name} makes"
