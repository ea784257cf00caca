"""Training examples that come as batches, from a data loader or any other iterable."""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import jax
import numpy as np
from jaxtyping import PyTree

from jsweep.data.arrays import Arrays, arrays_equal, as_arrays, count_examples
from jsweep.errors import ConfigError


@dataclass(frozen=True)
class Batches:
    """Training examples that come as batches, from a data loader or any other iterable.

    Trials of one seed get the same batches, which are made once for each tile. Several threads may call ``make`` at once.

    Args:
        make: ``make(seed, epoch)`` returns an iterable over the batches of one epoch, each a pytree of arrays of the same
            shapes and types with the examples on the first axis; a last batch of fewer examples is left out. ``seed`` is a
            whole number of 64 bits drawn from the trial's seed, ``epoch`` counts from 0. The same seed and epoch must give
            the same batches, or trials could not be reproduced. A trial that is resumed reads the batches that it has trained
            on again, unless the iterable has a length and can be indexed, as a Grain ``MapDataset`` can.
        examples: the number of examples in an epoch, needed for budgets in epochs.

    Raises:
        ConfigError: if ``make`` is not such a function, or the first batch of ``make(0, 0)`` is missing, is not a pytree of
            arrays, or differs when it is drawn again.
    """

    make: Callable[[int, int], Iterable[PyTree]]
    examples: int | None = None
    first: Arrays = field(init=False, repr=False, compare=False)
    """The first batch of ``make(0, 0)``, for its shapes."""

    def __post_init__(self) -> None:
        _check_make(self.make)
        if self.examples is not None:
            object.__setattr__(self, "examples", _examples(self.examples))
        first, again = self._first_batch(), self._first_batch()
        if first is None:
            raise ConfigError("make(0, 0) of Batches gives no batch: return an iterable of at least one.")
        object.__setattr__(self, "first", first)
        count_examples(first, "the first batch")
        if again is None or not arrays_equal(first, again):
            raise ConfigError(
                "make(0, 0) of Batches gives another first batch when it is called again, so that trials could not be "
                "reproduced: return a new iterable from every call, and draw all that is random in it from seed and epoch, "
                "such as by numpy.random.default_rng([seed, epoch])."
            )

    @property
    def size(self) -> int:
        """Examples per batch."""
        return count_examples(self.first)

    def draw(self, seed: int, start: int = 0) -> Iterator[Arrays]:
        """Batch after batch from step ``start`` on, epoch by epoch without end.

        Raises ConfigError for a batch of other shapes or types than the first, for a short batch that is not the last of
        its epoch, and for an epoch without a whole batch.
        """
        epoch = 0
        while True:
            (found, batches), short = self._epoch(seed, epoch, start), None
            start -= found
            for batch in batches:
                if short is not None:
                    raise ConfigError(
                        f"batch {found} of make({seed}, {epoch}) has {short} examples, not {self.size}, and more follow: only "
                        "the last batch of an epoch may be short."
                    )
                arrays = _numpy("a batch", batch)
                if not self._is_whole(arrays):
                    short = count_examples(arrays)
                    continue
                found += 1
                if start > 0:
                    start -= 1
                else:
                    yield arrays
            if not found:
                raise ConfigError(
                    f"make({seed}, {epoch}) of Batches gives no whole batch: return an iterable of at least one."
                )
            epoch += 1

    def _epoch(self, seed: int, epoch: int, start: int = 0) -> tuple[int, Iterator[PyTree]]:
        """The batches of an epoch, from the first on or from a later one, and how many whole ones were passed over.

        What can be indexed is read by index always, so that a resumed trial sees what a fresh one does.
        """
        batches = self.make(seed, epoch)
        if hasattr(batches, "__len__") and hasattr(batches, "__getitem__"):
            indexed, passed = cast(Sequence[PyTree], batches), 0
            if start > 0 and len(indexed):
                last = _numpy("a batch", indexed[len(indexed) - 1])
                passed = min(start, len(indexed) - (not self._is_whole(last)))
            return passed, (indexed[index] for index in range(passed, len(indexed)))
        if not isinstance(batches, Iterable):
            raise ConfigError(
                f"make({seed}, {epoch}) of Batches returned a {type(batches).__name__}: return an iterable of batches."
            )
        return 0, iter(batches)

    def _first_batch(self) -> Arrays | None:
        for batch in self._epoch(0, 0)[1]:
            return _numpy("the first batch", batch)
        return None

    def _is_whole(self, batch: Arrays) -> bool:
        """Whether a batch has as many rows as the first; ConfigError if it has more, or other shapes or types."""
        rows, kinds = (
            count_examples(batch, "a batch"),
            lambda arrays: jax.tree.map(lambda a: (a.shape[1:], a.dtype), arrays),
        )
        if kinds(batch) != kinds(self.first) or rows > self.size:
            raise ConfigError(
                f"a batch has arrays {_shapes(batch)} and the first had {_shapes(self.first)}: return batches of the same "
                "shapes and types."
            )
        return rows == self.size


def _check_make(make: Callable[[int, int], Iterable[PyTree]]) -> None:
    if not callable(make):
        raise ConfigError(
            f"make is a {type(make).__name__}: pass a function (seed, epoch) -> iterable of batches, which shuffles by both."
        )
    try:
        signature = inspect.signature(make)
    except ValueError:  # of some built-in callables
        return
    try:
        signature.bind(0, 0)
    except TypeError:
        raise ConfigError(
            f"make takes {signature}: pass a function that can be called with two arguments, seed and epoch."
        ) from None


def _examples(examples: int) -> int:
    if isinstance(examples, bool) or not hasattr(examples, "__index__") or operator.index(examples) < 1:
        raise ConfigError(f"examples={examples!r} is not valid: pass a whole number of at least 1, or leave it out.")
    return operator.index(examples)


def _numpy(name: str, batch: PyTree) -> Arrays:
    return jax.tree.map(np.asarray, as_arrays(name, batch))


def _shapes(arrays: Arrays) -> str:
    return ", ".join(f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(arrays))
