"""Convolutions, written in the one layout that XLA's CPU backend has a fast kernel for.

That is (examples, positions, channels) for the images and (positions, input channels, output channels) for the kernel.
Gradients have others as JAX writes them: with respect to a kernel the examples are contracted like channels, with respect to
an image the kernel's channels change places. XLA was measured to take 10 to 50 times as long with these.
"""

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
    array = op.primitive.bind(
        _transposed(images, (examples, *positions, channels)),
        _transposed(kernel, (*kernel_positions, inputs, outputs)),
        **{**op.params, "dimension_numbers": fast},
    )
    layout = (result_examples, *result_positions, result_channels)
    if layout == default_layout(rank):
        return Stored(array, layout)
    return Stored(Stored(lax.optimization_barrier(array), layout).in_default_layout(), default_layout(rank))


def _transposed(array: Array, layout: Layout) -> Array:
    # Without the barrier XLA merges the transpose into the convolution again.
    return array if layout == default_layout(array.ndim) else lax.optimization_barrier(lax.transpose(array, layout))
