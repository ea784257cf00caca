"""How a hyperparameter's values travel in a lane: as a number, a flag, the code of a name, or a padded width."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jsweep._runtime.types import Value
from jsweep.task.lanes import Choice, Width, code_of

INT = np.dtype(np.int32)
_WHOLE = range(-(2**31), 2**31)


@dataclass(frozen=True)
class LaneType:
    """The dtype of a lane; for a choice among strings its ``names``; for a padded width the ``most`` units it has."""

    dtype: np.dtype
    names: tuple[str, ...] = ()
    most: int = 0

    def holds(self, value: Value) -> bool:
        """Whether this value can travel in the lane without changing.

        A float beyond the lane's largest number is held, and refused by `check_range`.
        """
        if self.names:
            return isinstance(value, str)
        if self.dtype == bool:
            return isinstance(value, bool)
        if isinstance(value, bool):
            return False
        if self.dtype == INT:
            return isinstance(value, int) and value in _WHOLE
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)

    def encode(self, value: Value) -> int | float | bool:
        """One config's value as the number that is put in the lane."""
        if self.names:
            return code_of(str(value))
        assert isinstance(value, bool | int | float)
        return value

    def wrap(self, value: jax.Array) -> jax.Array | Choice | Width:
        """What the task sees: the tracer, or a choice or width that holds it."""
        if self.most:
            return Width(value, self.most)
        return Choice(value, self.names) if self.names else value

    def shape(self, *dims: int, sharding: jax.sharding.Sharding | None = None) -> jax.ShapeDtypeStruct:
        """The lane's values, of shape ``dims``, as an abstract array.

        Numbers are weakly typed, as the Python numbers they stand for: a float times a bfloat16 array stays bfloat16.
        """
        weak = not (self.names or self.most) and self.dtype != bool
        return jax.ShapeDtypeStruct(dims, self.dtype, sharding=sharding, weak_type=weak)

    def __str__(self) -> str:
        return "choice" if self.names else f"width of {self.most}" if self.most else str(self.dtype)


def lane_type_of(values: Iterable[Value]) -> LaneType | None:
    """The type of a lane for all these values; None where they cannot share one (tuples, functions, None, mixtures)."""
    listed = list(values)
    kinds = {type(value) for value in listed}
    if kinds == {str}:
        return LaneType(np.dtype(np.uint32), tuple(sorted({str(value) for value in listed})))
    if kinds == {bool}:
        return LaneType(np.dtype(bool))
    if kinds == {int}:
        return LaneType(INT)
    return LaneType(np.dtype(jnp.result_type(float))) if kinds and kinds <= {int, float} else None


def lane_type_named(kind: str, values: Sequence[Value]) -> LaneType | None:
    """The lane type that a record or a space names: "bool", "int", "float" or "str"; None for any other."""
    if kind == "str":
        return LaneType(np.dtype(np.uint32), tuple(sorted({v for v in values if isinstance(v, str)})))
    dtypes = {"bool": np.dtype(bool), "int": INT, "float": np.dtype(jnp.result_type(float))}
    return LaneType(dtypes[kind]) if kind in dtypes else None


def kind_of_lane(lane: LaneType) -> str:
    """The name by which a record keeps a lane's type; see `lane_type_named`."""
    return "str" if lane.names else "bool" if lane.dtype == bool else "int" if lane.dtype == INT else "float"


def exceeds(lane: LaneType, value: Value) -> bool:
    """Whether a finite number would become infinite in the lane."""
    if lane.names or lane.dtype.kind != "f" or not isinstance(value, int | float):
        return False
    return float(np.finfo(lane.dtype).max) < abs(value) < math.inf
