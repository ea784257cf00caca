"""Values of a step with the order that their axes have in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import lax

from jsweep.engine.layout.assignment import Order, plain


@dataclass(frozen=True)
class Laid:
    """A value of which ``array`` holds, along axis i, the axis ``order[i]``."""

    array: Any
    order: Order

    @property
    def rank(self) -> int:
        return len(self.order)

    def to(self, order: Order) -> Any:
        """The array in another order."""
        if order == self.order:
            return self.array
        return lax.transpose(self.array, tuple(self.order.index(axis) for axis in order))

    def plainly(self) -> Any:
        """The array as it was written."""
        return self.to(plain(self.rank))

    def laid(self) -> "Laid":
        return self

    def transposed(self, permutation: Order) -> "Laid":
        """The transpose as a value; nothing moves."""
        return Laid(self.array, tuple(permutation.index(axis) for axis in self.order))


@dataclass(frozen=True)
class Spread:
    """``array`` repeated: its axis i is the axis ``axes[i]`` of a value of ``shape``. It has any order at no cost."""

    array: Any
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    def to(self, order: Order) -> Any:
        places = [order.index(axis) for axis in self.axes]
        ascending = np.argsort(places)
        array = self.array if sorted(places) == places else lax.transpose(self.array, tuple(int(i) for i in ascending))
        return lax.broadcast_in_dim(array, tuple(self.shape[axis] for axis in order), sorted(places))

    def plainly(self) -> Any:
        return self.to(plain(self.rank))

    def laid(self) -> Laid:
        return Laid(self.plainly(), plain(self.rank))
