"""Rewriting a traced step with its values in the layouts chosen for them."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend import core
from jaxtyping import Array, PyTree

from jsweep._runtime.jax_internals import bind_equation
from jsweep.engine.layout.assignment import Layout, choose_layouts, default_layout
from jsweep.engine.layout.convolutions import emit_convolution
from jsweep.engine.layout.ir import FlatJaxpr, Op
from jsweep.engine.layout.pooling import emit_pool_gradient, is_disjoint_pooling
from jsweep.engine.layout.products import emit_product
from jsweep.engine.layout.values import Broadcast, Stored

# The parameter with the functions that an operation repeats, chooses from, or computes again.
_INNER = {"scan": "jaxpr", "while": "body_jaxpr", "cond": "branches", "remat2": "jaxpr"}


def optimize_layout(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """``function``, from pytrees of arrays to a pytree of arrays, with its intermediate values in layouts that suit a CPU."""

    def optimized(*args: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(args)
        flat_function = lambda *xs: function(*jax.tree.unflatten(structure, xs))
        traced, shapes = jax.make_jaxpr(flat_function, return_shape=True)(*leaves)
        return jax.tree.unflatten(jax.tree.structure(shapes), _run(FlatJaxpr(traced), leaves))

    return optimized


def _run(flat: FlatJaxpr, inputs: Sequence[Array]) -> list[Array]:
    layouts = choose_layouts(flat)
    given = {**flat.constants, **dict(zip(flat.inputs, inputs, strict=True))}
    values: dict[int, Stored | Broadcast] = {
        v: Stored(array, default_layout(np.ndim(array))) for v, array in given.items()
    }
    for op in flat.ops:
        operands = [values[v] if isinstance(v, int) else Stored(v.val, ()) for v in op.inputs]
        results = _emit(op, operands, layouts[op.outputs[0]] if op.outputs else None)
        values.update(zip(op.outputs, results, strict=True))
    return [values[v].in_default_layout() if isinstance(v, int) else v.val for v in flat.outputs]


def _emit(op: Op, operands: list[Stored | Broadcast], wanted: Layout | None) -> Sequence[Stored | Broadcast]:
    if op.is_product:
        return [emit_product(op, operands[0].stored(), operands[1].stored(), wanted)]
    if op.is_broadcast:
        axes = tuple(int(axis) for axis in op.params["broadcast_dimensions"])  # JAX gives some as NumPy's integers
        return [Broadcast(operands[0].in_default_layout(), op.params["shape"], axes)]
    if op.is_elementwise:
        return [_emit_elementwise(op, operands, wanted)]
    if op.is_reduction:
        return [_emit_reduction(op, operands[0].stored())]
    if op.is_transpose:
        return [operands[0].stored().transposed(op.params["permutation"])]
    if op.is_convolution:
        return [emit_convolution(op, operands[0].in_default_layout(), operands[1].in_default_layout())]
    if is_disjoint_pooling(op):
        array = emit_pool_gradient(op, operands[0].in_default_layout(), operands[1].in_default_layout())
        return [Stored(array, default_layout(array.ndim))]
    return _emit_other(op, [x.in_default_layout() for x in operands])


def _emit_elementwise(op: Op, operands: Sequence[Stored | Broadcast], wanted: Layout | None) -> Stored:
    rank = len(op.output_shape)
    present = [x.layout for x in operands if isinstance(x, Stored) and x.rank == rank]
    layout = wanted or next(iter(present), default_layout(rank))
    arrays = [x.in_layout(layout) if x.rank else x.in_default_layout() for x in operands]
    return Stored(op.primitive.bind(*arrays, **op.params), layout)


def _emit_reduction(op: Op, operand: Stored) -> Stored:
    axes = op.params["axes"]
    reduced = tuple(i for i, axis in enumerate(operand.layout) if axis in axes)
    left = [axis for axis in operand.layout if axis not in axes]
    array = op.primitive.bind(operand.array, **{**op.params, "axes": reduced})
    return Stored(array, tuple(sorted(left).index(axis) for axis in left))


def _emit_other(op: Op, arrays: Sequence[Array]) -> list[Stored]:
    """The results of an operation of any other kind; the functions in loops and branches are rewritten too."""
    params = op.params
    if (name := _INNER.get(op.primitive.name)) is not None:
        params = {**params, name: jax.tree.map(_rewritten, params[name], is_leaf=_is_jaxpr)}
    return [Stored(array, default_layout(np.ndim(array))) for array in bind_equation(op.equation, arrays, params)]


def _rewritten(jaxpr: core.ClosedJaxpr) -> core.ClosedJaxpr | core.Jaxpr:
    if isinstance(jaxpr, core.Jaxpr) and not hasattr(jaxpr, "consts"):
        # Of `jax.checkpoint` before JAX 0.11, with no place for constants.
        rewritten = _rewritten_closed(core.ClosedJaxpr(jaxpr, ()))
        return jaxpr if rewritten.consts else rewritten.jaxpr
    return _rewritten_closed(jaxpr)


def _rewritten_closed(jaxpr: core.ClosedJaxpr) -> core.ClosedJaxpr:
    avals = [aval for aval in jaxpr.in_avals if isinstance(aval, ShapedArray)]
    if len(avals) < len(jaxpr.in_avals):
        return jaxpr  # it takes references to arrays that it writes to
    inputs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
    return jax.make_jaxpr(lambda *arrays: _run(FlatJaxpr(jaxpr), arrays))(*inputs)


def _is_jaxpr(value: object) -> bool:
    return hasattr(value, "eqns")
