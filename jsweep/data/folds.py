"""Cross-validation: folds of the examples, each of which validates models that the others train."""

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from jaxtyping import Array, Int, Shaped

from jsweep._runtime.prng import Key, philox_key
from jsweep.data.arrays import SupportsArray
from jsweep.data.splits import Folds, Splits, check_fraction, check_pairs
from jsweep.data.stratify import class_rows
from jsweep.errors import ConfigError

Rows = Int[np.ndarray, " _"]


def folds(
    x: Array | np.ndarray | SupportsArray | Sequence,
    y: Array | np.ndarray | SupportsArray | Sequence,
    *,
    k: SupportsIndex = 5,
    repeats: SupportsIndex = 1,
    test: float = 0.2,
    stratify: bool = False,
    groups: Array | np.ndarray | SupportsArray | Sequence | None = None,
    key: Key = 0,
) -> Splits:
    """Shuffle examples once and cut them into a test split and ``k`` folds, for cross-validation.

    Every config is trained ``k`` times a seed, each time without one fold, by which it is validated; folds are lanes, as
    seeds are. A config's score is the mean over seeds and folds. Under a sweep's seed s, fold f is recorded as seed
    ``s * folds + f``, where ``folds`` is ``repeats * k``; its key is that of seed s, so that folds differ in their examples
    alone.

    Args:
        x: inputs, one per example on the first axis.
        y: targets, of the same length.
        k: the number of folds, at least 2.
        repeats: how often the examples are cut into folds anew; each config is then trained ``repeats * k`` times a seed.
        test: the fraction of the examples for test, from 0 (no test split) to below 1; they are in no fold.
        stratify: whether each fold has the classes of ``y``, shape (examples,) of whole numbers, in the same proportions.
        groups: one label per example, shape (examples,); examples of one group are never apart. Folds then are as equal in
            size as groups allow.
        key: a JAX key or a whole number.

    Returns:
        Splits whose training and validation examples are the same, with the folds. Folds of unequal size are compiled
        apart, so that each is evaluated exactly.

    Raises:
        ConfigError: if lengths differ, a value is not a number, NaN or infinite, there are fewer examples, examples of a
            class or groups than folds, or both ``stratify`` and ``groups`` are given.
    """
    inputs, targets = check_pairs(x, y)
    count, times = _whole("k", k, 2), _whole("repeats", repeats, 1)
    check_fraction("test", test)
    if groups is not None and stratify:
        raise ConfigError("stratify=True does not go with groups: whole groups rarely have all classes; leave one out.")
    units = _units(targets, stratify, count + (test > 0), None if groups is None else _labels(groups, len(inputs)))
    rng = np.random.Generator(np.random.Philox(key=philox_key(key)))
    held_out = _test_units(units, test, rng)
    rest = [[unit for place, unit in enumerate(part) if place not in out] for part, out in zip(units, held_out)]
    left = sum(map(len, rest))
    if left < count:
        what = "examples" if groups is None else "groups"
        raise ConfigError(
            f"k={count!r} is more than the {left} {what} that are not for test: pass a smaller k or test."
        )
    kept = np.sort(np.concatenate([unit for part in rest for unit in part]))
    place = np.zeros(len(inputs), np.int64)
    place[kept] = np.arange(len(kept))
    made = [np.sort(place[fold]) for _ in range(times) for fold in _cut(rest, count, rng)]
    tested = np.setdiff1d(np.arange(len(inputs)), kept)
    examples = (inputs[kept], targets[kept])
    return Splits(examples, examples, (inputs[tested], targets[tested]) if len(tested) else None, Folds(tuple(made)))


def _units(y: np.ndarray, stratify: bool, parts: int, groups: np.ndarray | None) -> list[list[Rows]]:
    """What stays together, as rows, in parts of which each is cut in the same proportions: classes, or all as one."""
    if groups is not None:
        _, numbers = np.unique(groups, return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        return [np.split(order, np.cumsum(np.bincount(numbers))[:-1])]
    rows = class_rows(y, parts) if stratify else [np.arange(len(y))]
    return [list(part[:, None]) for part in rows]


def _test_units(units: Sequence[Sequence[Rows]], test: float, rng: np.random.Generator) -> list[set[int]]:
    """The units of each part, by their places, whose rows come nearest to the fraction for test."""
    found = []
    for part in units:
        wanted, taken, chosen = test * sum(map(len, part)), 0, set()
        for place in rng.permutation(len(part)):
            if abs(taken + len(part[place]) - wanted) < abs(taken - wanted):
                chosen.add(int(place))
                taken += len(part[place])
        found.append(chosen)
    return found


def _cut(units: Sequence[Sequence[Rows]], k: int, rng: np.random.Generator) -> list[Rows]:
    """Folds: the units in random order, the largest first, each to the fold that has the fewest rows, then of its part."""
    made: list[list[Rows]] = [[] for _ in range(k)]
    sizes = np.zeros(k, np.int64)
    for part in units:
        own = np.zeros(k, np.int64)
        for place in sorted(rng.permutation(len(part)), key=lambda place: -len(part[place])):
            fold = int(np.lexsort((sizes, own))[0]) if len(units) > 1 else int(sizes.argmin())
            made[fold].append(part[place])
            own[fold] += len(part[place])
            sizes[fold] += len(part[place])
    return [np.concatenate(fold) for fold in made]


def _whole(name: str, value: SupportsIndex, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise ConfigError(f"{name}={value!r} is not valid: pass a whole number of at least {least}.")
    return value.__index__()


def _labels(groups: object, examples: int) -> Shaped[np.ndarray, " examples"]:
    labels = np.asarray(groups)
    if labels.shape != (examples,):
        raise ConfigError(f"groups has shape {labels.shape}: pass one label per example, shape ({examples},).")
    return labels
