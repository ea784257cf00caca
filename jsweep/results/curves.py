"""A metric over the steps of every trial, as arrays."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True, eq=False)
class Curves:
    """One metric's recorded values: a row a trial, a column an evaluation.

    ``trials`` are the trials' ids; ``steps`` the steps at which any of them was evaluated, increasing; ``values`` is
    NaN where nothing was recorded, and ``recorded`` tells that apart from a NaN that was. ``curves[trial]`` is one
    trial's list of (step, value) pairs, and ``dict(curves)`` all of them: the mapping by trial id has every method of a
    dict that reads but ``values()``, as ``values`` is the array.
    """

    metric: str
    trials: tuple[str, ...]
    steps: Int64[np.ndarray, " evaluations"]
    values: Float64[np.ndarray, "trials evaluations"]
    recorded: Bool[np.ndarray, "trials evaluations"]
    _pairs: Mapping[str, list[tuple[int, float]]] = field(repr=False)

    def __getitem__(self, trial: str) -> list[tuple[int, float]]:
        return list(self._pairs[trial])

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, trial: object) -> bool:
        return trial in self._pairs

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same pairs for the same trials; NaN equals NaN."""
        if not isinstance(other, Curves):
            return NotImplemented
        return (
            (self.metric, self.trials) == (other.metric, other.trials)
            and np.array_equal(self.steps, other.steps)
            and np.array_equal(self.recorded, other.recorded)
            and np.array_equal(self.values, other.values, equal_nan=True)
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType] (arrays are not hashable)

    def keys(self) -> KeysView[str]:
        """The trials' ids."""
        return self._pairs.keys()

    def items(self) -> ItemsView[str, list[tuple[int, float]]]:
        """Each trial's id with its (step, value) pairs."""
        return self._pairs.items()


def curves_of(metric: str, pairs: Mapping[str, Sequence[tuple[int, float]]]) -> Curves:
    """The curves of (step, value) pairs by trial id."""
    own = {trial: list(curve) for trial, curve in pairs.items()}
    steps = np.array(sorted({step for curve in own.values() for step, _ in curve}), np.int64)
    column = {int(step): index for index, step in enumerate(steps)}
    values = np.full((len(own), len(steps)), np.nan)
    recorded = np.zeros(values.shape, bool)
    for row, curve in enumerate(own.values()):
        places = [column[step] for step, _ in curve]
        values[row, places] = [value for _, value in curve]
        recorded[row, places] = True
    for array in (steps, values, recorded):
        array.flags.writeable = False
    return Curves(metric, tuple(own), steps, values, recorded, own)
