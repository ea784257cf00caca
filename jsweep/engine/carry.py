"""A carry: all that the training of a tile goes on from, and how its lanes are taken apart and put together."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32, PyTree

from jsweep.storage.arrays import named_arrays, restore
from jsweep.storage.records import Position


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("state", "sums", "first_nonfinite_step"),
    meta_fields=("step", "since", "width"),  # the same for all lanes
)
@dataclass(frozen=True)
class Carry:
    """Where the training of a tile stands after ``step`` steps; every array has the lanes on its leading axis.

    Attributes:
        step: the steps trained so far, the same in every lane.
        since: the step after which ``sums`` began.
        width: the lanes of the tile that trained it, however many of them it has: only tiles of that width go on from it.
        state: the task's state.
        sums: of every training metric, the sum over the steps from ``since`` to ``step``.
        first_nonfinite_step: the first step with a training metric that was infinite or NaN, counted from 0; -1 for none.
    """

    step: int
    since: int
    width: int
    state: PyTree
    sums: Mapping[str, Float[ArrayLike, "*lanes"]]
    first_nonfinite_step: Int32[ArrayLike, "*lanes"]

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.step, self.since, self.width)

    @property
    def lanes(self) -> int:
        """How many lanes it has."""
        return int(np.shape(self.first_nonfinite_step)[0])


def take(carry: Carry, lane: int) -> Carry:
    """One lane's carry, whose arrays have no lane axis."""
    return jax.tree.map(lambda array: array[lane, ...], carry)  # with NumPy, "..." gives an array and not a scalar


def split(carry: Carry) -> list[Carry]:
    """One carry for each lane; see `take`."""
    return [take(carry, lane) for lane in range(carry.lanes)]


def stack(carries: Sequence[Carry]) -> Carry:
    """Single lanes, as `take` returns them, as one carry; ValueError where their positions differ."""
    _check_alike(carries)
    return jax.tree.map(lambda *leaves: _numpy_or_jax(leaves).stack(leaves), *carries)


def merge(carries: Sequence[Carry]) -> Carry:
    """Carries one behind the other along their lanes; ValueError as of `stack`."""
    _check_alike(carries)
    return jax.tree.map(lambda *leaves: _numpy_or_jax(leaves).concatenate(leaves), *carries)


def clone(carry: Carry, lanes: Sequence[int]) -> Carry:
    """A carry whose lane i is a copy of the lane ``lanes[i]``; a lane may be taken several times or not at all."""
    chosen = np.asarray(lanes, np.int32)
    return jax.tree.map(lambda array: array[chosen], carry)


def gather(lanes: Sequence[tuple[Carry, int]]) -> Carry:
    """A carry on the host whose lane i is a lane of another carry, given as (carry, its lane).

    ValueError as of `stack`.
    """
    places: dict[int, list[int]] = {}
    for place, (carry, _) in enumerate(lanes):
        places.setdefault(id(carry), []).append(place)
    sources = [lanes[own[0]][0] for own in places.values()]
    _check_alike(sources)
    into = [(own, [lanes[place][1] for place in own]) for own in places.values()]
    return jax.tree.map(lambda *arrays: _gathered(arrays, into), *sources)


def _gathered(arrays: Sequence[Array | np.ndarray], into: Sequence[tuple[list[int], list[int]]]) -> Array | np.ndarray:
    """Rows of several arrays in one: from each array its rows ``lanes``, at ``places``."""
    if jax.dtypes.issubdtype(arrays[0].dtype, jax.dtypes.prng_key):
        data = _gathered([jax.random.key_data(array) for array in arrays], into)
        return jax.random.wrap_key_data(jnp.asarray(data), impl=str(jax.random.key_impl(arrays[0])))
    found = np.empty((sum(len(places) for places, _ in into), *arrays[0].shape[1:]), arrays[0].dtype)
    for array, (places, lanes) in zip(arrays, into, strict=True):
        found[places] = np.asarray(array)[lanes]
    return found


def to_arrays(carry: Carry) -> dict[str, np.ndarray]:
    """A carry's arrays by name, on the host: what is written to a checkpoint or sent to another process."""
    sums = {f"sums.{name}": value for name, value in carry.sums.items()}
    return jax.device_get({**named_arrays(carry.state), **sums, "first_nonfinite_step": carry.first_nonfinite_step})


def from_arrays(
    arrays: Mapping[str, np.ndarray], position: Position, state: PyTree, metrics: Sequence[str]
) -> Carry | None:
    """The carry of which `to_arrays` gave ``arrays``; None if they are not those of the program.

    Args:
        arrays: the arrays by name.
        position: where the carry stands.
        state: the shapes of one lane's state.
        metrics: the program's training metrics.
    """
    restored = restore(state, arrays)
    sums = {name: arrays.get(f"sums.{name}") for name in metrics}
    known = {name: value for name, value in sums.items() if value is not None}
    first = arrays.get("first_nonfinite_step")
    if restored is None or first is None or len(known) < len(sums) or first.dtype != np.int32:
        return None
    if (
        any(value.dtype not in (np.float32, np.float64) or value.shape != first.shape for value in known.values())
        or first.ndim != 1
    ):
        return None
    if any(len(leaf) != len(first) for leaf in jax.tree.leaves(restored)):
        return None
    return Carry(*position, restored, known, first)


def _check_alike(carries: Sequence[Carry]) -> None:
    positions = {carry.position for carry in carries}
    if len(positions) != 1:
        raise ValueError(
            f"lanes at {len(positions)} different positions cannot share a carry: {sorted(map(tuple, positions))}."
        )


def _numpy_or_jax(leaves: Sequence[Array | np.ndarray]) -> ModuleType:
    """The library that joins ``leaves``: NumPy keeps arrays that were read from a file on the host."""
    return jnp if isinstance(leaves[0], jax.Array) else np
