"""Writing a traced step again, its values in the orders chosen for them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from jsweep.engine.layout.assignment import Order, choose_orders, plain
from jsweep.engine.layout.convolutions import write_convolution
from jsweep.engine.layout.ir import Flat, Op
from jsweep.engine.layout.pooling import is_plain_pooling, write_pool_gradient
from jsweep.engine.layout.products import write_product
from jsweep.engine.layout.values import Laid, Spread

# The parameter that holds what an operation repeats, chooses from, or computes again.
_HELD = {"scan": "jaxpr", "while": "body_jaxpr", "cond": "branches", "remat2": "jaxpr"}


def laid_out(function: Callable) -> Callable:
    """``function``, of pytrees of arrays to a pytree of arrays, with what lies between them in an order that suits a CPU."""

    def written_again(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        flat_function = lambda *xs: function(*jax.tree.unflatten(structure, xs))
        traced, shapes = jax.make_jaxpr(flat_function, return_shape=True)(*leaves)
        return jax.tree.unflatten(jax.tree.structure(shapes), _run(Flat(traced), leaves))

    return written_again


def _run(flat: Flat, inputs: Sequence[Any]) -> list[Any]:
    orders = choose_orders(flat)
    given = {**flat.constants, **dict(zip(flat.inputs, inputs, strict=True))}
    values: dict[int, Laid | Spread] = {v: Laid(array, plain(np.ndim(array))) for v, array in given.items()}
    for op in flat.ops:
        operands = [values[v] if isinstance(v, int) else Laid(v.val, ()) for v in op.takes]
        results = _write(op, operands, orders[op.gives[0]] if op.gives else None)
        values.update(zip(op.gives, results, strict=True))
    return [values[v].plainly() if isinstance(v, int) else v.val for v in flat.outputs]


def _write(op: Op, operands: list[Laid | Spread], wanted: Order | None) -> Sequence[Laid | Spread]:
    if op.is_product:
        return [write_product(op, operands[0].laid(), operands[1].laid(), wanted)]
    if op.is_spread:
        axes = tuple(int(axis) for axis in op.params["broadcast_dimensions"])  # JAX gives some as NumPy's integers
        return [Spread(operands[0].plainly(), op.params["shape"], axes)]
    if op.is_of_elements:
        return [_of_elements(op, operands, wanted)]
    if op.is_reduction:
        return [_reduced(op, operands[0].laid())]
    if op.is_transpose:
        return [operands[0].laid().transposed(op.params["permutation"])]
    if op.is_convolution:
        return [write_convolution(op, operands[0].plainly(), operands[1].plainly())]
    if is_plain_pooling(op):
        array = write_pool_gradient(op, operands[0].plainly(), operands[1].plainly())
        return [Laid(array, plain(array.ndim))]
    return _as_traced(op, [x.plainly() for x in operands])


def _of_elements(op: Op, operands: Sequence[Laid | Spread], wanted: Order | None) -> Laid:
    rank = len(op.equation.outvars[0].aval.shape)
    laid = [x.order for x in operands if isinstance(x, Laid) and x.rank == rank]
    order = wanted or next(iter(laid), plain(rank))
    return Laid(op.primitive.bind(*[x.to(order) if x.rank else x.plainly() for x in operands], **op.params), order)


def _reduced(op: Op, operand: Laid) -> Laid:
    axes = op.params["axes"]
    where = tuple(i for i, axis in enumerate(operand.order) if axis in axes)
    left = [axis for axis in operand.order if axis not in axes]
    return Laid(
        op.primitive.bind(operand.array, **{**op.params, "axes": where}), tuple(sorted(left).index(a) for a in left)
    )


def _as_traced(op: Op, arrays: Sequence[Any]) -> list[Laid]:
    """The results of an operation of any other kind; what loops and branches hold is written again."""
    params = op.params
    if (held := _HELD.get(op.primitive.name)) is not None:
        params = {**params, held: jax.tree.map(_inner, params[held], is_leaf=_is_traced)}
    with op.equation.ctx.manager:
        results = op.primitive.bind(*arrays, **op.primitive.get_bind_params(params))
    results = results if op.primitive.multiple_results else [results]
    return [Laid(array, plain(np.ndim(array))) for array in results]


def _inner(traced: Any) -> Any:
    if not hasattr(traced, "consts"):  # of `jax.checkpoint` before JAX 0.11, with no place for constants
        again = _inner(core.ClosedJaxpr(traced, ()))
        return traced if again.consts else again.jaxpr
    given = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=getattr(a, "weak_type", False)) for a in traced.in_avals]
    return jax.make_jaxpr(lambda *inputs: _run(Flat(traced), inputs))(*given)


def _is_traced(value: Any) -> bool:
    return hasattr(value, "eqns")
