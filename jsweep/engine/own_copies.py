"""Arrays that all lanes of a tile share, given to each lane as a copy where a product of them would depend on its place.

Under `jax.vmap` the product of an array that all lanes share and one of each lane's own is a single product, with the lanes
side by side in its columns. XLA's CPU backend cuts these into pieces and adds in another order in the last one, which is
shorter, where the shared array has few rows. As copies, the lanes are computed alike.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.extend import core
from jax.extend.core import primitives as p
from jax.typing import ArrayLike
from jaxtyping import Array

from jsweep._runtime.jax_internals import bind_equation
from jsweep.engine.layout.ir import FlatJaxpr, Op
from jsweep.planning.traced import inner_jaxprs, mentions

FEW_ROWS = 64  # places were seen to matter with up to 48 rows, on jaxlib 0.10 and 0.12


def with_own_copies(closed: core.ClosedJaxpr) -> Callable[..., Sequence[Any]]:
    """A traced function of one lane, for `jax.vmap`: as it was traced, but for copies where places would matter."""
    flat = FlatJaxpr(closed)
    copied = _copied(flat)
    if not any(places for places, _ in copied):
        return core.jaxpr_as_fun(closed)

    def run(*arrays: Array) -> list[Any]:
        values: dict[int, Any] = {**flat.constants, **dict(zip(flat.inputs, arrays, strict=True))}
        for op, (places, lane) in zip(flat.ops, copied, strict=True):
            operands = [values[v] if isinstance(v, int) else v.val for v in op.inputs]
            given = [_own(each, operands[lane]) if i in places else each for i, each in enumerate(operands)]
            values.update(zip(op.outputs, bind_equation(op.equation, given, op.params), strict=True))
        return [values[v] if isinstance(v, int) else v.val for v in flat.outputs]

    return run


def _copied(flat: FlatJaxpr) -> list[tuple[frozenset[int], int]]:
    """Of each operation the places of the operands that each lane is given a copy of, and of one that is a lane's own."""
    own, found = set(flat.inputs), []
    for op in flat.ops:
        is_own = [isinstance(v, int) and v in own for v in op.inputs]
        if not any(is_own):
            found.append((frozenset(), 0))
            continue
        places = (i for i, mine in enumerate(is_own) if not mine and _matters(op, i))
        found.append((frozenset(places), is_own.index(True)))
        own.update(op.outputs)
    return found


def _matters(op: Op, place: int) -> bool:
    """Whether the lanes' places could matter, where one operand is shared and another is not."""
    if op.primitive is p.dot_general_p:
        contracted, batch = op.params["dimension_numbers"]
        free = set(range(len(op.input_shapes[place]))) - {*contracted[place], *batch[place]}
        return math.prod(op.input_shapes[place][axis] for axis in free) < FEW_ROWS
    has_products = any(mentions(inner, "dot_general") for inner in inner_jaxprs(op.equation))
    return has_products and len(op.input_shapes[place]) > 1 and min(op.input_shapes[place]) < FEW_ROWS


@custom_vmap
def _own(shared: ArrayLike, lane: ArrayLike) -> ArrayLike:
    """``shared``, for each lane of ``lane`` a copy."""
    return shared


@_own.def_vmap
def _own_of_lanes(lanes: int, batched: Sequence[bool], shared: ArrayLike, lane: ArrayLike) -> tuple[ArrayLike, bool]:
    if batched[0] or not batched[1]:
        return shared, batched[0]
    copies = jnp.broadcast_to(shared, (lanes, *jnp.shape(shared)))
    return jax.lax.optimization_barrier(copies), True  # without it XLA makes one product of them again
