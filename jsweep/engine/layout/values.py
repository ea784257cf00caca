"""Values of a step, with the layout that their axes have in memory."""

from dataclasses import dataclass

import numpy as np
from jax import lax
from jaxtyping import Array

NARROW = 32  # features; as many fill two vector registers of a CPU, and wider products are as fast in either layout

Layout = tuple[int, ...]


def default_layout(rank: int) -> Layout:
    """The layout of an array that is not transposed."""
    return tuple(range(rank))


@dataclass(frozen=True)
class Stored:
    """A value of which ``array`` holds, along axis i, the axis ``layout[i]``."""

    array: Array
    layout: Layout

    @property
    def rank(self) -> int:
        return len(self.layout)

    def in_layout(self, layout: Layout) -> Array:
        """The array transposed to another layout."""
        if layout == self.layout:
            return self.array
        return lax.transpose(self.array, tuple(self.layout.index(axis) for axis in layout))

    def in_default_layout(self) -> Array:
        return self.in_layout(default_layout(self.rank))

    def stored(self) -> "Stored":
        return self

    def transposed(self, permutation: Layout) -> "Stored":
        """The transpose as a value; nothing moves in memory."""
        return Stored(self.array, tuple(permutation.index(axis) for axis in self.layout))


@dataclass(frozen=True)
class Broadcast:
    """``array`` repeated: its axis i is the axis ``axes[i]`` of a value of ``shape``. Every layout of it costs nothing."""

    array: Array
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    def in_layout(self, layout: Layout) -> Array:
        places = [layout.index(axis) for axis in self.axes]
        ascending = np.argsort(places)
        array = self.array if sorted(places) == places else lax.transpose(self.array, tuple(int(i) for i in ascending))
        return lax.broadcast_in_dim(array, tuple(self.shape[axis] for axis in layout), sorted(places))

    def in_default_layout(self) -> Array:
        return self.in_layout(default_layout(self.rank))

    def stored(self) -> Stored:
        return Stored(self.in_default_layout(), default_layout(self.rank))
