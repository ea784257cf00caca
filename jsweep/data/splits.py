"""Data: one `Splits` of train, validation and test, checked at the door; the order of examples, drawn from the seed.

The training examples are arrays, in memory or mapped from disk, or `Batches` that come from the user's own loader.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jsweep._runtime.prng import philox_key
from jsweep.data.arrays import Arrays, check_finite, count_examples
from jsweep.data.loader import Batches
from jsweep.errors import ConfigError


@dataclass(frozen=True)
class Splits:
    """Train, validation and test examples: each a pytree of arrays with the examples on the leading axis.

    ``train`` may be `Batches` instead.
    The engine is handed ``train`` and ``validation`` only; ``test`` (None when there is none) is read by
    `Result.test` alone.
    """

    train: Arrays
    validation: Arrays
    test: Arrays = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            value = getattr(self, name)
            if not isinstance(value, Batches) and (name != "test" or value is not None):
                count_examples(value, name)
            if name != "train" and isinstance(value, Batches):
                raise ConfigError(f"{name} is Batches, and only train may be: give arrays.")

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{name}={'batches' if isinstance(value, Batches) else count_examples(value, name)}"
            for name, value in (("train", self.train), ("validation", self.validation), ("test", self.test))
            if value is not None
        )
        return f"Splits({counts})"


def split(
    x: Any,
    y: Any,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    key: jax.Array | int = 0,
    stratify: bool = False,
) -> Splits:
    """Shuffle examples once and cut them into train, validation and test, each a tuple ``(x, y)``.

    The parts are copies in memory; of memory maps make `Splits` of slices, which stay on disk.

    ``x`` and ``y`` share their leading axis; ``validation`` and ``test`` are fractions of the examples in [0, 1);
    ``key`` is a JAX key or an int. With ``stratify`` each value of ``y`` is cut in the same proportions.

    >>> import numpy as np
    >>> split(np.zeros((10, 3)), np.arange(10), validation=0.2, test=0.2)
    Splits(train=6, validation=2, test=2)

    Raises ConfigError if lengths differ, a value is NaN or infinite, or a split would be empty.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ConfigError(
            f"x has {len(x) if x.ndim else 'no'} examples and y has {len(y) if y.ndim else 'no'}: "
            "give arrays of the same length."
        )
    for name, array in (("x", x), ("y", y)):
        check_finite(name, array)
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0 <= fraction < 1:
            raise ConfigError(
                f"{name}={fraction!r} is not a fraction of the examples: give a number from 0 to below 1."
            )
    if validation == 0:
        raise ConfigError("validation=0 leaves nothing to choose by: give a fraction above 0, such as 0.2.")
    rng = np.random.Generator(np.random.Philox(key=philox_key(key)))
    groups = [np.flatnonzero(y == value) for value in np.unique(y)] if stratify else [np.arange(len(x))]
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for group in groups:
        shuffled = rng.permutation(group)
        n_test, n_validation = round(len(group) * test), round(len(group) * validation)
        parts["test"].append(shuffled[:n_test])
        parts["validation"].append(shuffled[n_test : n_test + n_validation])
        parts["train"].append(shuffled[n_test + n_validation :])
    rows = {name: np.concatenate(chunks) for name, chunks in parts.items()}
    for name in ("train", "validation", *(["test"] if test > 0 else [])):
        if len(rows[name]) == 0:
            raise ConfigError(
                f"validation={validation!r} and test={test!r} of {len(x)} examples leave none for {name}: "
                "lower the fractions or give more examples."
            )
    cut = {name: (x[index], y[index]) for name, index in rows.items()}
    return Splits(cut["train"], cut["validation"], cut["test"] if test > 0 else None)


def train_like(splits: Splits) -> Arrays:
    """Arrays of the training examples' shapes: themselves, or the first batch of those that come as batches."""
    return splits.train.first if isinstance(splits.train, Batches) else splits.train


def epoch_examples(splits: Splits) -> int | None:
    """The training examples of an epoch; None where they come as batches that do not say."""
    return splits.train.examples if isinstance(splits.train, Batches) else count_examples(splits.train)


def check_data(splits: Splits) -> None:
    """Raise ConfigError where train or validation holds NaN or infinity."""
    for name in ("train", "validation"):
        arrays = train_like(splits) if name == "train" else splits.validation
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
            check_finite(name + jax.tree_util.keystr(path), np.asarray(leaf))
