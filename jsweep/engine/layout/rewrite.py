"""Rewriting a traced step with its values in the layouts chosen for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend import core
from jaxtyping import Array, PyTree

from jsweep._runtime.jax_internals import bind_equation
from jsweep.engine.layout.assignment import choose_layouts
from jsweep.engine.layout.convolutions import emit_convolution
from jsweep.engine.layout.ir import FlatJaxpr, Op
from jsweep.engine.layout.picks import emit_pick, emit_put, is_pick, is_put
from jsweep.engine.layout.pooling import emit_pool_gradient, is_disjoint_pooling
from jsweep.engine.layout.products import emit_product
from jsweep.engine.layout.values import Broadcast, Layout, Stored, default_layout

# The parameter with the functions that an operation repeats, chooses from, or computes again.
_INNER = {"scan": "jaxpr", "while": "body_jaxpr", "cond": "branches", "remat2": "jaxpr"}


def optimize_layout(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """``function``, from pytrees of arrays to a pytree of arrays, with its intermediate values in layouts that suit a CPU."""

    def optimized(*args: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(args)
        flat_function = lambda *xs: function(*jax.tree.unflatten(structure, xs))
        traced, shapes = jax.make_jaxpr(flat_function, return_shape=True)(*leaves)
        flat = FlatJaxpr(traced)
        results = _run(flat, choose_layouts(flat), [Stored(a, default_layout(np.ndim(a))) for a in leaves])
        return jax.tree.unflatten(jax.tree.structure(shapes), [result.in_default_layout() for result in results])

    return optimized


@dataclass(frozen=True)
class LoopBody:
    """A step of a loop whose state stays, from one step to the next, in the layouts that it is computed in.

    ``step(stored, *args) -> stored, results`` for the ``function(state, *args) -> state, results`` that it was made of.
    """

    flat: FlatJaxpr
    layouts: Sequence[Layout | None]
    of_state: Sequence[Layout]
    structure: PyTree

    def stored(self, state: PyTree) -> list[Array]:
        """The leaves of a state in their layouts."""
        leaves = jax.tree.leaves(state)
        return [
            Stored(a, default_layout(len(own))).in_layout(own) for a, own in zip(leaves, self.of_state, strict=True)
        ]

    def step(self, stored: Sequence[Array], *args: PyTree) -> tuple[list[Array], PyTree]:
        """One step of the loop."""
        others = [Stored(a, default_layout(np.ndim(a))) for a in jax.tree.leaves(args)]
        results = _run(self.flat, self.layouts, [*map(Stored, stored, self.of_state), *others])
        count = len(self.of_state)
        state = [result.in_layout(own) for result, own in zip(results[:count], self.of_state, strict=True)]
        return state, jax.tree.unflatten(self.structure[1], [result.in_default_layout() for result in results[count:]])

    def restored(self, stored: Sequence[Array]) -> PyTree:
        """The state from its leaves."""
        leaves = [Stored(a, own).in_default_layout() for a, own in zip(stored, self.of_state, strict=True)]
        return jax.tree.unflatten(self.structure[0], leaves)


def loop_body(function: Callable[..., tuple[PyTree, PyTree]], state: PyTree, *args: PyTree) -> LoopBody:
    """``function(state, *args) -> state, results`` for a loop over it; the arguments are shapes, or arrays of them."""
    leaves, structure = jax.tree.flatten((state, *args))
    flat_function = lambda *xs: function(*jax.tree.unflatten(structure, xs))
    traced, shapes = jax.make_jaxpr(flat_function, return_shape=True)(*leaves)
    flat, count = FlatJaxpr(traced), len(jax.tree.leaves(state))
    layouts = choose_layouts(flat, carried=count)
    of_state = [layouts[v] or default_layout(len(flat.shapes[v])) for v in flat.inputs[:count]]
    return LoopBody(flat, layouts, of_state, tuple(map(jax.tree.structure, shapes)))


def _run(flat: FlatJaxpr, layouts: Sequence[Layout | None], inputs: Sequence[Stored]) -> list[Stored | Broadcast]:
    values: dict[int, Stored | Broadcast] = {
        v: Stored(array, default_layout(np.ndim(array))) for v, array in flat.constants.items()
    }
    values.update(zip(flat.inputs, inputs, strict=True))
    for op in flat.ops:
        operands = [values[v] if isinstance(v, int) else Stored(v.val, ()) for v in op.inputs]
        results = _emit(op, operands, layouts[op.outputs[0]] if op.outputs else None)
        values.update(zip(op.outputs, results, strict=True))
    return [values[v] if isinstance(v, int) else Stored(v.val, ()) for v in flat.outputs]


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
    if is_pick(op):
        array = emit_pick(op, operands[0].stored(), operands[1].in_default_layout())
        return [Stored(array, default_layout(array.ndim))]
    if is_put(op):
        layout = wanted or default_layout(operands[0].rank)
        values = Stored(operands[0].in_layout(layout), layout)
        return [emit_put(op, values, *(x.in_default_layout() for x in operands[1:]))]
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
    return [Stored(array, default_layout(np.ndim(array))) for array in bind_with_inner(op, arrays, _run_inner)]


def _run_inner(flat: FlatJaxpr, *arrays: Array) -> list[Array]:
    results = _run(flat, choose_layouts(flat), [Stored(a, default_layout(a.ndim)) for a in arrays])
    return [result.in_default_layout() for result in results]


def bind_with_inner(op: Op, arrays: Sequence[Any], run: Callable[..., list[Any]]) -> Sequence[Any]:
    """The results of an operation, in whose loops and branches ``run(flat, *arrays)`` computes what each function does."""
    params = op.params
    if (name := _INNER.get(op.primitive.name)) is not None:
        rewritten = partial(_rewritten, run=run)
        params = {**params, name: jax.tree.map(rewritten, params[name], is_leaf=_is_jaxpr)}
    return bind_equation(op.equation, arrays, params)


def _rewritten(jaxpr: core.ClosedJaxpr, run: Callable[..., list[Any]]) -> core.ClosedJaxpr | core.Jaxpr:
    if isinstance(jaxpr, core.Jaxpr) and not hasattr(jaxpr, "consts"):
        # Of `jax.checkpoint` before JAX 0.11, with no place for constants.
        rewritten = _rewritten_closed(core.ClosedJaxpr(jaxpr, ()), run)
        return jaxpr if rewritten.consts else rewritten.jaxpr
    return _rewritten_closed(jaxpr, run)


def _rewritten_closed(jaxpr: core.ClosedJaxpr, run: Callable[..., list[Any]]) -> core.ClosedJaxpr:
    avals = [aval for aval in jaxpr.in_avals if isinstance(aval, ShapedArray)]
    if len(avals) < len(jaxpr.in_avals):
        return jaxpr  # it takes references to arrays that it writes to
    inputs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
    return jax.make_jaxpr(partial(run, FlatJaxpr(jaxpr)))(*inputs)


def _is_jaxpr(value: object) -> bool:
    return hasattr(value, "eqns")
