"""Training examples that come as batches, from a data loader or any other iterable."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import jax
import numpy as np

from jsweep.data.arrays import Arrays, arrays_equal, count_examples
from jsweep.errors import ConfigError


@dataclass(frozen=True)
class Batches:
    """Training examples that come as batches, from a data loader or any other iterable.

    ``make(seed, epoch)`` gives an iterable of one epoch's batches, each a pytree of arrays of the same shapes with the
    examples on the leading axis; a last batch of fewer examples is left out. ``seed`` is a whole number of 64 bits drawn
    from the trial's seed, ``epoch`` counts from 0: the same two must give the same batches, or nothing can be had again.
    Trials of one seed draw the same batches, which are made once for each tile; several threads may draw at once.
    ``examples`` is the number of examples an epoch, for budgets in epochs; without it trials are told their steps.

    Raises ConfigError where ``make`` is no function, and where the first batch of ``make(0, 0)`` is missing, no pytree of
    arrays, or another when it is drawn again.
    """

    make: Callable[[int, int], Iterable[Arrays]]
    examples: int | None = None
    first: Arrays = field(init=False, repr=False, compare=False)
    """The first batch of ``make(0, 0)``, for its shapes."""

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise ConfigError(
                f"make is a {type(self.make).__name__}: give a function (seed, epoch) -> iterable of batches."
            )
        first, again = (jax.tree.map(np.asarray, next(iter(self.make(0, 0)), None)) for _ in range(2))
        if first is None:
            raise ConfigError("make(0, 0) of Batches gives no batch: give an iterable of at least one.")
        object.__setattr__(self, "first", first)
        count_examples(self.first, "the first batch")
        if not arrays_equal(first, again):
            raise ConfigError(
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
                    raise ConfigError(
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
                raise ConfigError(
                    f"make({seed}, {epoch}) of Batches gives no whole batch: give an iterable of at least one."
                )
            epoch += 1

    def _is_whole(self, batch: Arrays) -> bool:
        """Whether a batch has as many rows as the first; ConfigError where it has more, or other shapes."""
        told = lambda arrays: jax.tree.map(lambda a: (a.shape[1:], a.dtype), arrays)
        rows = count_examples(batch, "a batch")
        if told(batch) != told(self.first) or rows > self.size:
            shapes = [f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(batch)]
            wanted = [f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(self.first)]
            raise ConfigError(
                f"a batch has arrays {', '.join(shapes)} and the first had {', '.join(wanted)}: make them alike."
            )
        return rows == self.size
