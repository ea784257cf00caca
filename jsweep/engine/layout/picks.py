"""One number of each row, such as the logit of a label, picked by comparing places instead of by a gather.

`jax.numpy.take_along_axis` is a gather, and its gradient a scatter, which XLA's CPU backend runs one number at a time and in
the default layout alone. Among a few numbers a comparison finds the same one, and is elementwise.
"""

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p
from jax.lax import GatherScatterMode
from jaxtyping import Array, Bool, Int

from jsweep.engine.layout.ir import Op
from jsweep.engine.layout.values import NARROW, Layout, Stored


def is_pick(op: Op) -> bool:
    """Whether an operation takes one number of each row of a few."""
    if op.primitive is not p.gather_p:
        return False
    numbers = op.params["dimension_numbers"]
    return not numbers.offset_dims and _one_of_each_row(
        op, numbers.start_index_map, numbers.operand_batching_dims, numbers.start_indices_batching_dims
    )


def is_put(op: Op) -> bool:
    """Whether an operation adds to one number of each row of a few: the gradient of a pick."""
    if op.primitive is not p.scatter_add_p:
        return False
    numbers = op.params["dimension_numbers"]
    return not numbers.update_window_dims and _one_of_each_row(
        op,
        numbers.scatter_dims_to_operand_dims,
        numbers.operand_batching_dims,
        numbers.scatter_indices_batching_dims,
    )


def _one_of_each_row(op: Op, indexed: Layout, rows: Layout, rows_of_indices: Layout) -> bool:
    array, indices, *_ = op.input_shapes
    before_last = tuple(range(len(array) - 1))
    return (
        op.has_float32
        and 1 < array[-1] < NARROW
        and tuple(indexed) == (len(array) - 1,)
        and tuple(rows) == tuple(rows_of_indices) == before_last
        and indices == (*array[:-1], 1, 1)
    )


def emit_pick(op: Op, values: Stored, indices: Int[Array, "*rows 1 1"]) -> Array:
    """The picked numbers, (rows..., 1); the fill value for places out of range, where they are not clipped."""
    last, clipped = values.rank - 1, _is_clipped(op)
    places = _in_range(indices, op.input_shapes[0][-1]) if clipped else indices
    zeros = jnp.zeros((), values.array.dtype)
    own = jnp.where(_is_place(values, places), values.array, zeros)
    left = [axis for axis in values.layout if axis != last]
    picked = Stored(own.sum(values.layout.index(last)), tuple(left)).in_default_layout()[..., None]
    if clipped:
        return picked
    fill, places = op.params["fill_value"], indices[..., 0]
    return jnp.where((places >= 0) & (places < op.input_shapes[0][-1]), picked, jnp.nan if fill is None else fill)


def emit_put(op: Op, values: Stored, indices: Int[Array, "*rows 1 1"], added: Array) -> Stored:
    """``values`` with a number added to one of each row; places out of range are left out, where they are not clipped."""
    places = _in_range(indices, op.input_shapes[0][-1]) if _is_clipped(op) else indices
    own = Stored(added, tuple(range(values.rank))).in_layout(values.layout)
    zeros = jnp.zeros((), values.array.dtype)
    return Stored(values.array + jnp.where(_is_place(values, places), own, zeros), values.layout)


def _is_clipped(op: Op) -> bool:
    return op.params["mode"] != GatherScatterMode.FILL_OR_DROP


def _in_range(indices: Array, size: int) -> Array:
    return jnp.clip(indices, 0, size - 1)


def _is_place(values: Stored, indices: Int[Array, "*rows 1 1"]) -> Bool[Array, "..."]:
    """Which numbers are at the places of their rows, in the layout of the values."""
    axis = values.layout.index(values.rank - 1)
    places = Stored(indices[..., 0], tuple(range(values.rank))).in_layout(values.layout)
    return lax.broadcasted_iota(indices.dtype, values.array.shape, axis) == places
