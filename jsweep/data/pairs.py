"""Pairs (x, y) as users give them: converted to NumPy, checked, and taken row by row."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree, Shaped

from jsweep.data.arrays import Arrays, SupportsArray, as_array, check_values, count_examples
from jsweep.errors import ConfigError

Examples = Array | np.ndarray | SupportsArray | Sequence | Mapping
"""One value per example on the first axis: an array, nested lists, pandas, polars or PyTorch data, or a dict of those."""
Labels = Array | np.ndarray | SupportsArray | Sequence


def check_pairs(x: Examples, y: Examples) -> tuple[Arrays, Arrays]:
    """``x`` and ``y`` as NumPy arrays of the same length; ConfigError for what cannot be paired or is not finite."""
    _check_index(x, y)
    x, y = _arrays("x", x), _arrays("y", y)
    counts = [_count(value) for value in (x, y)]
    if counts[0] != counts[1] or None in counts:
        shown = ["no" if count is None else count for count in counts]
        raise ConfigError(f"x has {shown[0]} examples and y has {shown[1]}: pass arrays of the same length.")
    if not counts[0]:
        raise ConfigError("x has no examples: pass at least two.")
    for name, value in (("x", x), ("y", y)):
        for path, array in jax.tree_util.tree_leaves_with_path(value):
            check_values(name + jax.tree_util.keystr(path), array)
    return x, y


def take(arrays: Arrays, rows: Int[np.ndarray, " _"]) -> Arrays:
    """Some examples of arrays."""
    return jax.tree.map(lambda array: array[rows], arrays)


def labels_of(y: Arrays, stratify: "bool | Labels") -> Shaped[np.ndarray, "..."] | None:
    """The classes to stratify by: ``y`` itself, or others; None where ``stratify`` is False."""
    if isinstance(stratify, bool):
        if stratify and isinstance(y, dict):
            raise ConfigError("stratify=True needs y to be one array: pass the labels, such as stratify=y['label'].")
        return y if stratify else None
    labels = np.asarray(as_array("stratify", np.asarray(stratify)))
    if labels.shape[:1] != (count_examples(y),):
        raise ConfigError(
            f"stratify has shape {labels.shape}: pass True, False, or one label per example, shape ({count_examples(y)},)."
        )
    return labels


def _arrays(name: str, value: Examples) -> Arrays:
    """``x`` or ``y`` as a NumPy array, or a dict of them."""
    if isinstance(value, Mapping):
        if not value:
            raise ConfigError(f"{name} has no arrays: pass an array, or a dict of arrays.")
        return {key: _arrays(f"{name}[{key!r}]", part) for key, part in value.items()}
    if value is None:
        raise ConfigError(f"{name} is None: pass an array.")
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):  # also a column of Hugging Face's datasets
        kind = type(value).__name__
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{name} is a {kind} whose parts have different lengths: pad them to one length, and pass an array."
            ) from error
    return np.asarray(as_array(name, value))


def _count(arrays: Arrays) -> int | None:
    """The length of the first axis of all arrays; None where they have none."""
    lengths = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(arrays)}
    return lengths.pop() if len(lengths) == 1 else count_examples(arrays)


def _check_index(x: PyTree, y: PyTree) -> None:
    """Raise ConfigError for pandas data whose rows are labelled differently, and so perhaps ordered differently."""
    if not (hasattr(x, "iloc") and hasattr(y, "iloc")) or len(x) != len(y):
        return
    if not x.index.equals(y.index):
        raise ConfigError("x and y have different indexes: pass rows in the same order, such as y.loc[x.index].")
