"""Data: one `Splits` of train, validation and test, checked at the door; the order of examples, drawn from the seed.

The training examples are arrays, in memory or mapped from disk, or `Batches` that come from the user's own loader.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jsweep.errors import UserError
from jsweep.fingerprint import code_hash

Arrays = Any  # a pytree of NumPy or JAX arrays that share their leading axis, the examples


@dataclass(frozen=True)
class Batches:
    """Training examples that come as batches, from a data loader or any other iterable.

    ``make(seed, epoch)`` gives an iterable of one epoch's batches, each a pytree of arrays of the same shapes with the
    examples on the leading axis; a last batch of fewer examples is left out. ``seed`` is a whole number of 64 bits drawn
    from the trial's seed, ``epoch`` counts from 0: the same two must give the same batches, or nothing can be had again.
    Trials of one seed draw the same batches, which are made once for each tile; several threads may draw at once.
    ``examples`` is the number of examples an epoch, for budgets in epochs; without it trials are told their steps.

    Raises UserError where ``make`` is no function, and where the first batch of ``make(0, 0)`` is missing, no pytree of
    arrays, or another when it is drawn again.
    """

    make: Callable[[int, int], Iterable[Arrays]]
    examples: int | None = None
    first: Arrays = field(init=False, repr=False, compare=False)
    """The first batch of ``make(0, 0)``, for its shapes."""

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise UserError(
                f"make is a {type(self.make).__name__}: give a function (seed, epoch) -> iterable of batches."
            )
        first, again = (jax.tree.map(np.asarray, next(iter(self.make(0, 0)), None)) for _ in range(2))
        if first is None:
            raise UserError("make(0, 0) of Batches gives no batch: give an iterable of at least one.")
        object.__setattr__(self, "first", first)
        count_examples(self.first, "the first batch")
        if not _equal(first, again):
            raise UserError(
                "make(0, 0) of Batches gives another first batch when it is called again, so no result could be had again: draw "
                "all that is random in it from seed and epoch, as by numpy.random.default_rng([seed, epoch])."
            )

    @property
    def size(self) -> int:
        """Examples a batch."""
        return count_examples(self.first)

    def draw(self, seed: int, start: int = 0) -> Iterator[Arrays]:
        """Batch after batch from step ``start`` on, epoch by epoch without end."""
        epoch = 0
        while True:
            found, short = 0, None
            for batch in self.make(seed, epoch):
                if short is not None:
                    raise UserError(
                        f"batch {found} of make({seed}, {epoch}) has {short} examples, not {self.size}, and more follow: only "
                        "the last of an epoch may be short."
                    )
                arrays = jax.tree.map(np.asarray, batch)
                if not self._is_whole(arrays):
                    short = count_examples(arrays)
                    continue
                found += 1
                if start > 0:
                    start -= 1
                else:
                    yield arrays
            if not found:
                raise UserError(
                    f"make({seed}, {epoch}) of Batches gives no whole batch: give an iterable of at least one."
                )
            epoch += 1

    def _is_whole(self, batch: Arrays) -> bool:
        """Whether a batch has as many rows as the first; UserError where it has more, or other shapes."""
        told = lambda arrays: jax.tree.map(lambda a: (a.shape[1:], a.dtype), arrays)
        rows = count_examples(batch, "a batch")
        if told(batch) != told(self.first) or rows > self.size:
            shapes = [f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(batch)]
            wanted = [f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(self.first)]
            raise UserError(
                f"a batch has arrays {', '.join(shapes)} and the first had {', '.join(wanted)}: make them alike."
            )
        return rows == self.size


def _equal(one: Arrays, two: Arrays) -> bool:
    """Whether two pytrees of NumPy arrays are alike in structure and in every number, NaN included."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    same = lambda a, b: np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")
    return all(map(same, jax.tree.leaves(one), jax.tree.leaves(two)))


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
                raise UserError(f"{name} is Batches, and only train may be: give arrays.")

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

    Raises UserError if lengths differ, a value is NaN or infinite, or a split would be empty.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise UserError(
            f"x has {len(x) if x.ndim else 'no'} examples and y has {len(y) if y.ndim else 'no'}: "
            "give arrays of the same length."
        )
    for name, array in (("x", x), ("y", y)):
        _check_finite(name, array)
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0 <= fraction < 1:
            raise UserError(f"{name}={fraction!r} is not a fraction of the examples: give a number from 0 to below 1.")
    if validation == 0:
        raise UserError("validation=0 leaves nothing to choose by: give a fraction above 0, such as 0.2.")
    rng = np.random.Generator(np.random.Philox(key=key_words(key)))
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
            raise UserError(
                f"validation={validation!r} and test={test!r} of {len(x)} examples leave none for {name}: "
                "lower the fractions or give more examples."
            )
    cut = {name: (x[index], y[index]) for name, index in rows.items()}
    return Splits(cut["train"], cut["validation"], cut["test"] if test > 0 else None)


def count_examples(arrays: Arrays, name: str = "data") -> int:
    """The shared length of the leading axis of a pytree of arrays; UserError if there is none or they differ."""
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1 or None in lengths:
        shown = sorted(str(length) for length in lengths) or ["no arrays"]
        raise UserError(
            f"the arrays of {name} have lengths {', '.join(shown)}: give arrays that share their first axis."
        )
    count = lengths.pop()
    if not count:
        raise UserError(f"{name} has no examples: give at least one.")
    return int(count)


def train_like(splits: Splits) -> Arrays:
    """Arrays of the training examples' shapes: themselves, or the first batch of those that come as batches."""
    return splits.train.first if isinstance(splits.train, Batches) else splits.train


def epoch_examples(splits: Splits) -> int | None:
    """The training examples of an epoch; None where they come as batches that do not say."""
    return splits.train.examples if isinstance(splits.train, Batches) else count_examples(splits.train)


def check_data(splits: Splits) -> None:
    """Raise UserError where train or validation holds NaN or infinity."""
    for name in ("train", "validation"):
        arrays = train_like(splits) if name == "train" else splits.validation
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
            _check_finite(name + jax.tree_util.keystr(path), np.asarray(leaf))


def data_hash(splits: Splits) -> str:
    """A hash of train and validation: 16 hex digits over structure, types, shapes and bytes.

    Of batches it is over the first one and the code that makes them.
    """
    digest = hashlib.sha256()
    if isinstance(splits.train, Batches):
        digest.update(code_hash(splits.train.make).encode())
    for arrays in (train_like(splits), splits.validation):
        digest.update(str(jax.tree.structure(arrays)).encode())
        for leaf in jax.tree.leaves(arrays):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape};".encode())
            for start in range(0, len(array), 65536):  # a memmap is hashed without being loaded whole
                digest.update(np.ascontiguousarray(array[start : start + 65536]).tobytes())
    return digest.hexdigest()[:16]


def batch_indices(words: tuple[int, int], examples: int, batch_size: int, start: int, steps: int) -> np.ndarray:
    """The examples of steps ``start`` to ``start + steps``: int32, shape (steps, batch_size).

    Batches are cut one after another from an endless stream of epochs, each a fresh permutation drawn from ``words``
    (a trial's order key) and the epoch's number, so every example is seen exactly once an epoch whatever the batch
    size; a batch may end one epoch and begin the next.
    """
    first, last = start * batch_size, (start + steps) * batch_size
    epochs = range(first // examples, -(-last // examples))
    stream = np.concatenate([_epoch(words, epoch, examples) for epoch in epochs])
    offset = first - epochs.start * examples
    return stream[offset : offset + last - first].reshape(steps, batch_size)


@functools.lru_cache(maxsize=256)
def _epoch(words: tuple[int, int], epoch: int, examples: int) -> np.ndarray:
    bits = np.random.Philox(key=np.array([(words[0] << 32) | words[1], epoch], np.uint64))
    order = np.random.Generator(bits).permutation(examples).astype(np.int32)
    order.flags.writeable = False
    return order


def key_words(key: jax.Array | int) -> int:
    """A JAX key (typed, or raw uint32 words) or an int as one unsigned integer, for NumPy's Philox."""
    if isinstance(key, int | np.integer):
        if key < 0:
            raise UserError(f"key={key} is negative: give a JAX key or a whole number from 0.")
        return int(key) % 2**64
    data = jax.random.key_data(key) if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    number = 0
    for word in np.asarray(data).ravel().tolist():
        number = (number << 32) | int(word)
    return number % 2**128


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.issubdtype(array.dtype, np.inexact):
        return
    for start in range(0, len(array), 65536):
        finite = np.isfinite(array[start : start + 65536])
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            where = (where[0] + start, *where[1:])
            raise UserError(
                f"{name} holds {array[where]} at index {list(where)}: fill or remove values that are not finite."
            )


def chunks(examples: int, size: int) -> Iterator[slice]:
    """Slices that cover ``examples`` in pieces of at most ``size``."""
    for start in range(0, examples, size):
        yield slice(start, min(start + size, examples))
