"""Convolutions of a GPU's lanes, each with a kernel of its own, written as products.

Under `jax.vmap` such a convolution is one of as many groups as there are lanes. On an H200 those took 4 to 7 times as long as
products of the slices that lie under the kernel, side by side (docs/accelerators.md).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.extend import core
from jax.extend.core import primitives as p
from jaxtyping import Array

from jsweep._runtime.jax_internals import bind_equation
from jsweep.engine.layout.ir import FlatJaxpr, Op
from jsweep.engine.layout.rewrite import bind_with_inner

MOST_SLICES = 128  # side by side: each is compiled
MOST_DIMENSIONS = 3  # of position


def with_products(closed: core.ClosedJaxpr) -> Callable[..., Sequence[Any]]:
    """A traced function of one lane, for `jax.vmap`: as it was traced, but for convolutions with nothing that lanes share."""
    return partial(_run, FlatJaxpr(closed))


def _run(flat: FlatJaxpr, *arrays: Array) -> list[Any]:
    values: dict[int, Any] = {**flat.constants, **dict(zip(flat.inputs, arrays, strict=True))}
    for op in flat.ops:
        operands = [values[v] if isinstance(v, int) else v.val for v in op.inputs]
        is_convolution = op.primitive is p.conv_general_dilated_p
        results = [_convolution(op)(*operands)] if is_convolution else bind_with_inner(op, operands, _run)
        values.update(zip(op.outputs, results, strict=True))
    return [values[v] if isinstance(v, int) else v.val for v in flat.outputs]


def _convolution(op: Op) -> Callable[[Array, Array], Array]:
    """A convolution of one lane or, under `jax.vmap`, of all."""
    as_written = lambda images, kernel: bind_equation(op.equation, (images, kernel), op.params)[0]
    in_kernel, in_result = _positions(op)
    fits = len(in_kernel) <= MOST_DIMENSIONS and 0 < min(math.prod(in_kernel), math.prod(in_result)) <= MOST_SLICES
    convolution = custom_vmap(as_written)

    @convolution.def_vmap
    def of_lanes(lanes: int, own: Sequence[bool], images: Array, kernel: Array) -> tuple[Array, bool]:
        function = partial(as_product, op) if all(own) and fits else as_written
        return jax.vmap(function, in_axes=tuple(0 if each else None for each in own))(images, kernel), True

    return convolution


def _positions(op: Op) -> tuple[list[int], list[int]]:
    """The sizes of the kernel and of the result, along the axes of position."""
    _, of_kernel, of_result = op.params["dimension_numbers"]
    return [op.input_shapes[1][axis] for axis in of_kernel[2:]], [op.output_shape[axis] for axis in of_result[2:]]


def as_product(op: Op, images: Array, kernel: Array) -> Array:
    """A convolution, in at most `MOST_DIMENSIONS` dimensions, as a product with slices of the images.

    A slice has what one position of the kernel meets, for all positions of the result. Where the result has fewer, as the
    gradient with respect to a kernel has, it has what one position of the result meets, for all positions of the kernel:
    the slices of a layer are the same both times, and are computed once.
    """
    of_images, of_kernel, of_result = op.params["dimension_numbers"]
    in_kernel, in_result = _positions(op)
    # Axes by letters: groups g and f, examples b, inputs i, outputs o, positions in the kernel u v w and in the result x y z.
    uvw, xyz = "uvw"[: len(in_kernel)], "xyz"[: len(in_result)]
    size = {"g": op.params["batch_group_count"], "f": op.params["feature_group_count"]}
    size |= {"b": images.shape[of_images[0]] // size["g"], "i": images.shape[of_images[1]] // size["f"]}
    size |= {"o": kernel.shape[of_kernel[0]] // (size["g"] * size["f"])}
    size |= dict(zip(uvw + xyz, in_kernel + in_result, strict=True))
    apart = dict(zip(uvw + xyz, (*op.params["rhs_dilation"], *op.params["window_strides"]), strict=True))
    if math.prod(in_kernel) <= math.prod(in_result):
        of_slices, beside, met, axis = _letters(of_images, "gb", uvw + "fi", xyz), uvw, xyz, of_images[1]
    else:
        of_slices, beside, met, axis = _letters(of_images, xyz + "gb", "fi", uvw), xyz, uvw, of_images[0]

    def slice_at(position: Sequence[int]) -> Array:
        starts, limits, steps = [0] * images.ndim, list(padded.shape), [1] * images.ndim
        for place, one, other, i in zip(of_images[2:], beside, met, position, strict=True):
            starts[place], steps[place] = i * apart[one], apart[other]
            limits[place] = starts[place] + (size[other] - 1) * apart[other] + 1
        return lax.slice(padded, starts, limits, steps)

    shaped = lambda array, letters: array.reshape([size[letter] for letter in letters])
    padded = _padded(op, images)
    slices = jnp.stack([slice_at(i) for i in itertools.product(*(range(size[one]) for one in beside))], axis)
    letters = _letters(of_kernel, "gfo", "i", uvw)
    product = jnp.einsum(
        f"{of_slices},{letters}->{_letters(of_result, 'b', 'gfo', xyz)}",
        shaped(slices, of_slices),
        shaped(kernel, letters),
        precision=op.params["precision"],
        preferred_element_type=op.params["preferred_element_type"],
    )
    return product.reshape(op.output_shape)


def _letters(spec: Sequence[int], first: str, second: str, positions: str) -> str:
    """The letters of an array's axes in their order, for those that ``spec`` lists."""
    return "".join(letters for _, letters in sorted(zip(spec, (first, second, *positions), strict=True)))


def _padded(op: Op, images: Array) -> Array:
    """The images with the zeros around and between their numbers."""
    edges = [(0, 0, 0)] * images.ndim
    around, between = op.params["padding"], op.params["lhs_dilation"]
    for axis, (before, after), dilation in zip(
        op.params["dimension_numbers"].lhs_spec[2:], around, between, strict=True
    ):
        edges[axis] = int(before), int(after), dilation - 1
    return lax.pad(images, jnp.zeros((), images.dtype), edges)
