"""Cross-validation: folds of the examples, each of which validates models that the others train."""

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from jaxtyping import Shaped

from jsweep._runtime.prng import Key, philox_key
from jsweep.data.arrays import Arrays, count_examples
from jsweep.data.pairs import Examples, Labels, check_pairs, labels_of, take
from jsweep.data.splits import Folds, Splits, check_fraction
from jsweep.data.stratify import class_rows
from jsweep.data.targets import TargetTransform, transform_targets_by_fold
from jsweep.data.transform import Rows, Transform, apply, apply_by_fold, concatenate, fit, training_rows
from jsweep.errors import ConfigError


def folds(
    x: Examples,
    y: Examples,
    *,
    k: SupportsIndex = 5,
    repeats: SupportsIndex = 1,
    test: float = 0.2,
    stratify: bool | Labels = False,
    groups: Labels | None = None,
    transform: Transform | None = None,
    target_transform: TargetTransform | None = None,
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
        stratify: whether each fold has the classes of ``y``, shape (examples,) of whole numbers, in the same proportions; or
            other labels that it has so, of the same shape.
        groups: one label per example, shape (examples,); examples of one group are never apart. Folds then are as equal in
            size as groups allow.
        transform: ``transform(x, y)`` is called with the examples that train in a fold and returns a function that maps inputs,
            such as ``lambda x, y: StandardScaler().fit(x).transform``. It is fitted for each fold, is kept as
            ``transforms[fold]``, and maps what is tested with the fold's models. The splits then hold the examples once a fold.
        target_transform: the same of targets, for the loss, as for `split`; kept as ``target_transforms[fold]``.
        key: a JAX key or a whole number.

    Returns:
        Splits whose training and validation examples are the same, with the folds. Folds of unequal size are compiled
        apart, so that each is evaluated exactly.

    Raises:
        ConfigError: if lengths differ, a value is not a number, NaN or infinite, there are fewer examples, examples of a
            class or groups than folds, both ``stratify`` and ``groups`` are given, or a function that ``transform`` or
            ``target_transform`` returns is not as described.
    """
    inputs, targets = check_pairs(x, y)
    count, times = _whole("k", k, 2), _whole("repeats", repeats, 1)
    check_fraction("test", test)
    units = _units(targets, stratify, count + (test > 0), groups)
    rng = np.random.Generator(np.random.Philox(key=philox_key(key)))
    out = _test_units(units, test, rng)
    rest = [[unit for place, unit in enumerate(part) if place not in taken] for part, taken in zip(units, out)]
    kept, held_out = _held_out(rest, count, times, rng)
    return folded((inputs, targets), kept, held_out, transform, target_transform)


def nested_folds(
    x: Examples,
    y: Examples,
    *,
    k: SupportsIndex = 5,
    outer: SupportsIndex = 5,
    stratify: bool | Labels = False,
    groups: Labels | None = None,
    transform: Transform | None = None,
    target_transform: TargetTransform | None = None,
    key: Key = 0,
) -> tuple[Splits, ...]:
    """Cut examples into ``outer`` folds, each the test split of ``k`` folds of all other examples.

    A sweep of each chooses a config without its test split, so that the mean of their test scores estimates how well the
    whole procedure does, the choice among them.

    Args:
        x: inputs, one per example on the first axis.
        y: targets, of the same length.
        k: the folds within each outer fold, at least 2.
        outer: the outer folds, at least 2.
        stratify: as for `folds`.
        groups: as for `folds`.
        transform: as for `folds`.
        target_transform: as for `folds`.
        key: a JAX key or a whole number.

    Returns:
        As many splits as outer folds, as of `folds`; every example is in one of their test splits.

    Raises:
        ConfigError: as for `folds`.
    """
    inputs, targets = check_pairs(x, y)
    count, times = _whole("k", k, 2), _whole("outer", outer, 2)
    units = _units(targets, stratify, max(count + 1, times), groups)
    found = sum(map(len, units))
    if found < times:
        raise ConfigError(
            f"outer={times} is more than the {found} {'examples' if groups is None else 'groups'}: pass a smaller outer."
        )
    rng = np.random.Generator(np.random.Philox(key=philox_key(key)))
    made = []
    for tested in _cut(units, times, rng):
        out = set(tested.tolist())
        rest = [[unit for unit in part if int(unit[0]) not in out] for part in units]
        made.append(folded((inputs, targets), *_held_out(rest, count, 1, rng), transform, target_transform))
    return tuple(made)


def folded(
    pairs: tuple[Arrays, Arrays],
    kept: Rows,
    held_out: Sequence[Rows],
    transform: Transform | None = None,
    target_transform: TargetTransform | None = None,
) -> Splits:
    """Splits of folds that are cut already.

    Args:
        pairs: inputs and targets.
        kept: the rows of the examples that are in folds; all others are for test.
        held_out: of each fold, the places in ``kept`` of the examples that validate.
        transform: as for `folds`.
        target_transform: as for `folds`.
    """
    tested = np.setdiff1d(np.arange(count_examples(pairs[1])), kept)
    (x, y), raw = ((take(pairs[0], rows), take(pairs[1], rows)) for rows in (kept, tested))
    cut = Folds(tuple(held_out), len(kept), transformed=transform is not None or target_transform is not None)
    (test_x, test_y), fits, target_fits = raw, (), ()
    if transform is not None:
        rests = [training_rows(y, rows) for rows in held_out]
        fits = tuple(fit(transform, take(x, rest), take(y, rest)) for rest in rests)
        x = apply_by_fold(fits, x, held_out)
        test_x = concatenate([apply(one, test_x) for one in fits]) if len(tested) else test_x
    elif cut.transformed:
        x, test_x = (concatenate([part] * cut.count) for part in (x, test_x))
    if target_transform is not None:
        target_fits, y, test_y = transform_targets_by_fold(target_transform, y, test_y, held_out)
    elif cut.transformed:
        y, test_y = (concatenate([part] * cut.count) for part in (y, test_y))
    test = (test_x, test_y) if len(tested) else None
    return Splits((x, y), (x, y), test, cut, fits, target_fits, raw if len(tested) and cut.transformed else None)


def _held_out(
    rest: Sequence[Sequence[Rows]], k: int, repeats: int, rng: np.random.Generator
) -> tuple[Rows, tuple[Rows, ...]]:
    """The rows of the units in ``rest``, and of each fold the places among them of those that validate."""
    left = sum(map(len, rest))
    if left < k:
        what = "examples" if all(len(unit) == 1 for part in rest for unit in part) else "groups"
        raise ConfigError(f"k={k!r} is more than the {left} {what} that are not for test: pass a smaller k or test.")
    kept = np.sort(np.concatenate([unit for part in rest for unit in part]))
    return kept, tuple(np.searchsorted(kept, np.sort(fold)) for _ in range(repeats) for fold in _cut(rest, k, rng))


def _units(y: Arrays, stratify: bool | Labels, parts: int, groups: object) -> list[list[Rows]]:
    """What stays together, as rows, in parts of which each is cut in the same proportions: classes, or all as one."""
    labels, count = labels_of(y, stratify), count_examples(y)
    if groups is not None and labels is not None:
        raise ConfigError("stratify does not go with groups: whole groups rarely have all classes; leave one out.")
    if groups is not None:
        _, numbers = np.unique(_labels(groups, count), return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        return [np.split(order, np.cumsum(np.bincount(numbers))[:-1])]
    rows = [np.arange(count)] if labels is None else class_rows(labels, parts)
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
