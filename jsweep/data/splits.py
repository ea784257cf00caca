"""Splits of train, validation and test examples, checked when they are made.

Training examples are arrays, in memory or mapped from disk, or `Batches` that come from the user's own loader.
"""

import numbers
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Int, PyTree, Shaped

from jsweep._runtime.prng import Key, philox_key
from jsweep.data.arrays import Arrays, as_arrays, check_values, columns_lost, count_examples
from jsweep.data.loader import Batches
from jsweep.data.pairs import Examples, Labels, check_pairs, labels_of, take
from jsweep.data.stratify import class_rows, part_sizes
from jsweep.data.targets import FittedTargets, TargetTransform, has_given, transform_targets
from jsweep.data.transform import Fitted, Transform, apply, fit
from jsweep.errors import ConfigError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Folds:
    """The examples that validate in each fold; all others train in it.

    Trials of a sweep's seed s and fold f are recorded under the seed ``s * count + f``.

    Args:
        held_out: the examples of each fold that validate.
        examples: the number of examples in all folds together.
        transformed: whether inputs or targets are transformed by each fold in its own way. The arrays of every split then
            hold the examples once a fold, one fold after another.
    """

    held_out: tuple[Int[np.ndarray, " _"], ...]
    examples: int
    transformed: bool = False

    @property
    def count(self) -> int:
        """The number of folds, all repeats together."""
        return len(self.held_out)

    @property
    def copies(self) -> int:
        """How often the arrays of a split hold an example."""
        return self.count if self.transformed else 1

    @cached_property
    def validation(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The rows of the arrays that validate in each fold."""
        return tuple((self._first(fold) + rows).astype(np.int32) for fold, rows in enumerate(self.held_out))

    @cached_property
    def training(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The rows of the arrays that train in each fold."""
        every = np.arange(self.examples)
        return tuple(
            (self._first(fold) + np.setdiff1d(every, rows)).astype(np.int32) for fold, rows in enumerate(self.held_out)
        )

    def of(self, seed: int) -> int:
        """The fold of a recorded seed."""
        return seed % self.count

    def test_rows(self, seed: int, rows: int) -> Int[np.ndarray, " _"]:
        """The rows, of as many of the test split's arrays, that a recorded seed is tested on."""
        own = rows // self.copies
        return ((self.of(seed) * own if self.transformed else 0) + np.arange(own)).astype(np.int32)

    def _first(self, fold: int) -> int:
        return fold * self.examples if self.transformed else 0


@dataclass(frozen=True, eq=False)
class Splits:
    """Train, validation and test examples: each a pytree of arrays with the examples on the first axis.

    pandas, polars and PyTorch data become NumPy arrays. The engine reads ``train`` and ``validation`` only; ``test`` is read
    by `Session.test` alone, apart from a check for values that are not finite.

    Args:
        train: the training examples, or `Batches` of them.
        validation: the examples that select hyperparameters.
        test: the examples that the selected config is tested on, or None.
        folds: for cross-validation, made by `folds`: ``train`` and ``validation`` then are the same examples.
        transforms: the functions that inputs were transformed by, one, or one a fold: what they make of new inputs is what a
            trained model takes.
        target_transforms: the same of targets: each has ``forward`` and ``inverse``, which maps a trained model's outputs.
            Where there is an inverse, the targets of every split are the triple (transformed, given, fold).
        raw_test: the test examples as they were before they were transformed, by which the ledger knows them again; those of
            ``test`` unless given.

    Raises:
        ConfigError: for what is not a pytree of arrays, such as a list or a data loader, and for arrays of a split whose
            first axes differ.
    """

    train: PyTree | Batches
    validation: PyTree
    test: PyTree | None = None
    folds: Folds | None = None
    transforms: tuple[Fitted, ...] = ()
    target_transforms: tuple[FittedTargets, ...] = ()
    raw_test: PyTree | None = None

    def __post_init__(self) -> None:
        if self.train is None:
            raise ConfigError("train is None: pass arrays, such as a tuple (x, y), or jsweep.Batches.")
        if self.validation is None:
            raise ConfigError(
                "validation is None: pass the examples that select hyperparameters, such as a tuple (x, y)."
            )
        for name in PARTS:
            value = getattr(self, name)
            if isinstance(value, Batches):
                if name != "train":
                    raise ConfigError(f"{name} is Batches, and only train may be: pass arrays.")
            elif value is not None:
                arrays = as_arrays(name, value)
                count_examples(arrays, name)
                object.__setattr__(self, name, arrays)
        if not self.target_transforms and any(map(has_given, (train_like(self), self.validation, self.test))):
            raise ConfigError(
                "the targets were transformed by a target_transform, whose inverse is not there: pass "
                "target_transforms=data.target_transforms of the splits that they are from."
            )
        if self.folds is not None:
            leaves = jax.tree.leaves(self.train) if not isinstance(self.train, Batches) else []
            if not leaves or any(a is not b for a, b in zip(leaves, jax.tree.leaves(self.validation))):
                raise ConfigError("folds are of one set of examples: make such splits with jsweep.folds.")

    def __repr__(self) -> str:
        copies = 1 if self.folds is None else self.folds.copies
        counts = ", ".join(
            f"{name}={'batches' if isinstance(value, Batches) else count_examples(value, name) // copies}"
            for name, value in ((name, getattr(self, name)) for name in PARTS)
            if value is not None
        )
        return f"Splits({counts})" if self.folds is None else f"Splits({counts}, {self.folds.count} folds)"


def split(
    x: Examples,
    y: Examples,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    key: Key = 0,
    stratify: bool | Labels = False,
    transform: Transform | None = None,
    target_transform: TargetTransform | None = None,
) -> Splits:
    """Shuffle examples once and cut them into train, validation and test, each a tuple ``(x, y)``.

    The parts are copies in memory; of memory maps make `Splits` of slices, which stay on disk.

    With ``stratify`` every part has the classes of ``y`` in the same proportions, each within one example of its share, and
    the sizes of scikit-learn's `train_test_split`, which rounds test and validation up. Every class keeps at least one
    training example; one whose share of validation or test is less than one example may be missing there. A class of fewer
    examples than there are parts is refused.

    Args:
        x: inputs, one per example on the first axis: an array, nested lists, pandas, polars or PyTorch data, or a dict of
            those.
        y: targets, of the same length.
        validation: the fraction of the examples for validation, above 0 and below 1.
        test: the fraction of the examples for test, from 0 (no test split) to below 1.
        key: a JAX key or a whole number.
        stratify: whether to split each class of ``y``, shape (examples,) of whole numbers, in the same proportions; or other
            labels to do so by, of the same shape.
        transform: ``transform(x, y)`` is called with the training part and returns a function that maps the inputs of all
            parts, such as ``lambda x, y: StandardScaler().fit(x).transform``; it is kept as ``transforms[0]``.
        target_transform: ``target_transform(y)`` is called with the training targets and returns a function that maps the targets
            of all parts, for the loss, and may return its inverse with it, as in ``lambda y: (numpy.log, jax.numpy.exp)``.
            Then the metrics of `supervised` are computed of targets as they were given, and of ``inverse(outputs)``, traced by
            JAX; without an inverse they see what the loss sees. Kept as ``target_transforms[0]``.

    Returns:
        Splits of NumPy arrays.

    Raises:
        ConfigError: if lengths differ, a value is not a number, NaN or infinite, a part would be empty, ``y`` cannot be
            stratified, a function that ``transform`` or ``target_transform`` returns does not map each example by itself, or
            the inverse does not take targets back to what they were.

    >>> import numpy as np
    >>> split(np.zeros((10, 3)), np.arange(10), validation=0.2, test=0.2)
    Splits(train=6, validation=2, test=2)
    """
    x, y = check_pairs(x, y)
    _check_fractions(validation, test)
    rng = np.random.Generator(np.random.Philox(key=philox_key(key)))
    labels, count = labels_of(y, stratify), count_examples(x)
    rows = (
        _shuffled_rows(count, validation, test, rng)
        if labels is None
        else _stratified_rows(labels, validation, test, rng)
    )
    for name, index in zip(PARTS[: 3 if test > 0 else 2], rows, strict=False):
        if len(index) == 0:
            raise ConfigError(
                f"validation={validation!r} and test={test!r} of {count} examples leave none for {name}: "
                "lower the fractions or pass more examples."
            )
    inputs, targets = ([take(arrays, index) for index in rows] for arrays in (x, y))
    raw = (inputs[2], targets[2]) if test > 0 and (transform or target_transform) is not None else None
    fitted, fitted_targets = (), ()
    if transform is not None:
        fitted = (fit(transform, inputs[0], targets[0]),)
        inputs = [apply(fitted[0], part) if len(index) else part for part, index in zip(inputs, rows, strict=True)]
    if target_transform is not None:
        fitted_targets, targets = transform_targets(target_transform, targets)
    train, validation_part, test_part = zip(inputs, targets, strict=True)
    return Splits(train, validation_part, test_part if test > 0 else None, None, fitted, fitted_targets, raw)


Rows = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " validation"], Int[np.ndarray, " test"]]


def _shuffled_rows(examples: int, validation: float, test: float, rng: np.random.Generator) -> Rows:
    n_test, n_validation = round(examples * test), round(examples * validation)
    return _cut(rng.permutation(np.arange(examples)), n_validation, n_test)


def _stratified_rows(y: Shaped[np.ndarray, "..."], validation: float, test: float, rng: np.random.Generator) -> Rows:
    shuffled = [rng.permutation(rows) for rows in class_rows(y, parts=3 if test > 0 else 2)]
    sizes = part_sizes([len(rows) for rows in shuffled], validation, test, rng)
    cut = [_cut(rows, n_validation, n_test) for rows, (_, n_validation, n_test) in zip(shuffled, sizes, strict=True)]
    train, validation_rows, test_rows = (np.concatenate(part) for part in zip(*cut, strict=True))
    return train, validation_rows, test_rows


def _cut(rows: Int[np.ndarray, " rows"], n_validation: int, n_test: int) -> Rows:
    test, validation, train = np.split(rows, [n_test, n_test + n_validation])
    return train, validation, test


def _check_fractions(validation: float, test: float) -> None:
    check_fraction("validation", validation)
    check_fraction("test", test)
    if validation == 0:
        raise ConfigError("validation=0 leaves no examples to select by: pass a fraction above 0, such as 0.2.")


def check_fraction(name: str, fraction: float) -> None:
    """Raise ConfigError for what is no number from 0 to below 1."""
    if not isinstance(fraction, numbers.Real) or not 0 <= fraction < 1:
        raise ConfigError(f"{name}={fraction!r} is not a fraction of the examples: pass a number from 0 to below 1.")


def train_like(splits: Splits) -> Arrays:
    """Arrays of the training examples' shapes: themselves, or the first batch of those that come as batches."""
    return splits.train.first if isinstance(splits.train, Batches) else splits.train


def epoch_examples(splits: Splits) -> int | None:
    """The training examples of an epoch, of the fold that has most; None for batches that do not say."""
    if splits.folds is not None:
        return max(splits.folds.examples - len(rows) for rows in splits.folds.held_out)
    return splits.train.examples if isinstance(splits.train, Batches) else count_examples(splits.train)


def check_data(splits: Splits) -> None:
    """Raise ConfigError where train, validation or test holds a value that is NaN, infinite, or too large for JAX's type.

    This is all that is read of the test split before it is opened. Of batches the first one is checked.
    """
    for name in PARTS:
        arrays = train_like(splits) if name == "train" else getattr(splits, name)
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
            check_values(name + jax.tree_util.keystr(path), leaf)


def lost_in_float32(splits: Splits) -> str | None:
    """A sentence about the first column of the training examples that JAX's 32 bits leave few values of; None without."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(train_like(splits)):
        if found := columns_lost(leaf):
            index, low, high, levels = found
            where = f"train{jax.tree_util.keystr(path)}[{', '.join(map(str, (':', *index)))}]"
            return (
                f"{where} runs from {low:.10g} to {high:.10g}, where float32, in which JAX holds it, has {levels} values: "
                "subtract its mean, or enable 64 bits by jax.config.update('jax_enable_x64', True)."
            )
    return None


def rounds(splits: Splits) -> bool:
    """Whether training examples are float64 and JAX, without 64 bits, will hold them as float32."""
    leaves = jax.tree.leaves(train_like(splits))
    return any(leaf.dtype == np.float64 and jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype for leaf in leaves)
