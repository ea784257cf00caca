"""Convolutions, written in the one layout that XLA's CPU backend has a fast kernel for.

That is (examples, positions, channels) for the images and (positions, input channels, output channels) for the kernel.
Gradients have others as JAX writes them: with respect to a kernel the examples are contracted like channels, with respect to
an image the kernel's channels change places. XLA was measured to take 10 to 50 times as long with these.

XLA's kernel for volumes takes 3 to 10 times as long as one for images that has the slices under the kernel side by side among its
channels.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jsweep.engine.layout.ir import Op
from jsweep.engine.layout.values import Layout, Stored, default_layout


def emit_convolution(op: Op, images: Array, kernel: Array) -> Stored:
    """The convolution of two arrays in default layout."""
    (examples, channels, *positions) = op.params["dimension_numbers"].lhs_spec
    (outputs, inputs, *kernel_positions) = op.params["dimension_numbers"].rhs_spec
    (result_examples, result_channels, *result_positions) = op.params["dimension_numbers"].out_spec
    rank = images.ndim
    fast = lax.ConvDimensionNumbers(
        (0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2)), (0, rank - 1, *range(1, rank - 1))
    )
    first = _transposed(images, (examples, *positions, channels))
    second = _transposed(kernel, (*kernel_positions, inputs, outputs))
    if rank == 5 and op.params["batch_group_count"] == 1:
        array = _of_slices(op, first, second)
    else:
        array = op.primitive.bind(first, second, **{**op.params, "dimension_numbers": fast})
    layout = (result_examples, *result_positions, result_channels)
    if layout == default_layout(rank):
        return Stored(array, layout)
    return Stored(Stored(lax.optimization_barrier(array), layout).in_default_layout(), default_layout(rank))


def _of_slices(op: Op, volumes: Array, kernel: Array) -> Array:
    """A convolution of (examples, depth, height, width, channels) as one of images, whose examples are those at each depth."""
    params, groups = op.params, op.params["feature_group_count"]
    (before, after), *padding = params["padding"]
    depth, *inner = kernel.shape
    spacing, stride = params["rhs_dilation"][0], params["window_strides"][0]
    edges = [(0, 0, 0), (int(before), int(after), params["lhs_dilation"][0] - 1), *[(0, 0, 0)] * 3]
    padded = lax.pad(volumes, jnp.zeros((), volumes.dtype), edges)
    examples, length, *image = padded.shape
    results = (length - spacing * (depth - 1) - 1) // stride + 1
    of_group = (examples, results, *image[:2], groups, 1, image[2] // groups)
    slices = [
        lax.slice_in_dim(padded, start, start + (results - 1) * stride + 1, stride, axis=1).reshape(of_group)
        for start in range(0, spacing * depth, spacing)
    ]
    beside = jnp.concatenate(slices, axis=-2).reshape(examples * results, *image[:2], depth * image[2])
    own = jnp.moveaxis(kernel, 0, 2).reshape(*inner[:2], depth * inner[2], inner[3])
    array = op.primitive.bind(
        lax.optimization_barrier(beside),
        lax.optimization_barrier(own),
        **{
            **params,
            "dimension_numbers": lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)),
            "padding": tuple(padding),
            **{name: tuple(params[name][1:]) for name in ("window_strides", "lhs_dilation", "rhs_dilation")},
        },
    )
    return array.reshape(examples, results, *array.shape[1:])


def _transposed(array: Array, layout: Layout) -> Array:
    # Without the barrier XLA merges the transpose into the convolution again.
    return array if layout == default_layout(array.ndim) else lax.optimization_barrier(lax.transpose(array, layout))
