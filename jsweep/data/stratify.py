"""How many examples of each class go into each part of a stratified split."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from jsweep.errors import ConfigError

Sizes = Int[np.ndarray, "classes parts"]


def class_rows(y: Shaped[np.ndarray, " examples"], parts: int) -> list[Int[np.ndarray, " rows"]]:
    """The rows of each class, in the order of the classes.

    Args:
        y: one class per example, whole numbers.
        parts: how many parts a split has; every class needs as many examples.

    Raises:
        ConfigError: if ``y`` has another shape, is not whole, or has a class of fewer examples than parts.
    """
    if y.ndim != 1:
        one_hot = y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())
        fix = "y.argmax(axis=1) for one-hot classes" if one_hot else "stratify=False, or one class per example"
        fix = "y[:, 0]" if y.shape[1:] == (1,) else fix
        raise ConfigError(f"y has shape {y.shape}, and stratify=True needs classes of shape ({len(y)},): pass {fix}.")
    if y.dtype.kind not in "biu" and not (y.dtype.kind == "f" and (y == np.floor(y)).all()):
        raise ConfigError(
            f"y is continuous ({y.dtype} values that are not whole), and stratify=True needs classes: pass stratify=False, or "
            "bin y."
        )
    values, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < parts:
        small = values[counts < parts]
        raise ConfigError(
            f"class {small[0]} of y has {counts[counts < parts][0]} examples, fewer than the {parts} parts of the split "
            f"({len(small)} such classes of {len(values)}): merge or drop classes of fewer than {parts}, or pass "
            "stratify=False."
        )
    return np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])


def part_sizes(
    counts: Sequence[int], validation: float, test: float, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """The examples of each class in train, validation and test.

    The parts have the sizes that scikit-learn's `train_test_split` gives them: ``ceil(fraction * examples)`` for test and
    validation. As with two calls of it, test is split off first, then validation, and the classes with the largest
    remainders are rounded up, ties at random; where that leaves a class a whole example or more from its share of a part,
    examples of two classes are exchanged.

    Args:
        counts: the examples of each class.
        validation: the fraction of all examples.
        test: the fraction of all examples.
        rng: breaks ties.

    Returns:
        Three numbers per class, each less than one example from its share wherever the exchanges reach it.

    Raises:
        ConfigError: if the fractions leave nothing for train, or no training example of some class.
    """
    total = sum(counts)
    n_test, n_validation = math.ceil(test * total), math.ceil(validation * total)
    n_train = total - n_test - n_validation
    if n_train < 1:
        raise ConfigError(
            f"validation={validation!r} and test={test!r} of {total} examples leave none for train: lower the fractions or "
            "pass more examples."
        )
    whole = np.asarray(counts)
    rest = _largest_remainders(whole, total - n_test, rng)
    train = _largest_remainders(rest, n_train, rng)
    sizes = np.stack([train, rest - train, whole - rest], axis=1)
    share = whole[:, None] * np.array([n_train, n_validation, n_test]) / total
    _exchange(sizes, share)
    if sizes[:, 0].min() < 1:
        raise ConfigError(
            f"validation={validation!r} and test={test!r} leave no training example of some classes, the smallest of "
            f"{min(counts)} examples: lower the fractions, or merge or drop small classes."
        )
    return [(int(a), int(b), int(c)) for a, b, c in sizes]


def _largest_remainders(
    counts: Int[np.ndarray, " classes"], draws: int, rng: np.random.Generator
) -> Int[np.ndarray, " classes"]:
    """``draws`` in the proportions of ``counts``, rounded so that they add up."""
    exact = counts / counts.sum() * draws
    taken = np.floor(exact).astype(int)
    order = np.lexsort((rng.random(len(counts)), -(exact - taken).round(9)))
    taken[order[: draws - taken.sum()]] += 1
    return taken


def _exchange(sizes: Sizes, share: Float[np.ndarray, "classes parts"]) -> None:
    """Exchange examples of two classes between two parts, in place, while a class is a whole example from its share.

    Each exchange lowers the sum of the eighth powers of the differences, which the largest one dominates, so there is an end.
    """
    while True:
        off = sizes - share
        row = int(np.abs(off).max(axis=1).argmax())
        if np.abs(off[row]).max() < 1 - 1e-9:
            return
        best, exchange = 0.0, None
        for a, b in itertools.permutations(range(3), 2):
            change = _change(sizes, off, b, a)
            change[row] = np.inf
            other = int(change.argmin())
            total = float(change[other] + _change(sizes, off, a, b)[row])
            if total < best - 1e-9:
                best, exchange = total, (other, a, b)
        if exchange is None:
            return
        other, a, b = exchange
        sizes[[row, other], [a, b]] -= 1
        sizes[[row, other], [b, a]] += 1


def _change(
    sizes: Sizes, off: Float[np.ndarray, "classes parts"], start: int, end: int
) -> Float[np.ndarray, " classes"]:
    """What one example of each class, moved from one part to another, adds to the sum of the eighth powers."""
    moved = (off[:, start] - 1) ** 8 + (off[:, end] + 1) ** 8
    return np.where(sizes[:, start] > 0, moved - off[:, start] ** 8 - off[:, end] ** 8, np.inf)
