"""Convolutions, written in the one order of axes that XLA's CPU backend has a fast kernel for.

That is (examples, places, channels) for the images and (places, channels in, channels out) for the kernel. Gradients have others
as JAX writes them: with respect to a kernel the examples are summed over like channels, with respect to an image the kernel's
channels change sides; XLA's way with these was measured to take 10 to 50 times as long.
"""

from typing import Any

from jax import lax

from jsweep.engine.layout.assignment import Order, plain
from jsweep.engine.layout.ir import Op
from jsweep.engine.layout.values import Laid


def write_convolution(op: Op, images: Any, kernel: Any) -> Laid:
    """The convolution of two arrays as they were written, in plain order."""
    (examples, channels, *places) = op.params["dimension_numbers"].lhs_spec
    (to, of, *kernel_places) = op.params["dimension_numbers"].rhs_spec
    (result_examples, result_channels, *result_places) = op.params["dimension_numbers"].out_spec
    rank = images.ndim
    fast = lax.ConvDimensionNumbers(
        (0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2)), (0, rank - 1, *range(1, rank - 1))
    )
    array = op.primitive.bind(
        _moved(images, (examples, *places, channels)),
        _moved(kernel, (*kernel_places, of, to)),
        **{**op.params, "dimension_numbers": fast},
    )
    order = (result_examples, *result_places, result_channels)
    if order == plain(rank):
        return Laid(array, order)
    return Laid(Laid(lax.optimization_barrier(array), order).plainly(), plain(rank))


def _moved(array: Any, order: Order) -> Any:
    # Without the barrier XLA takes the transpose back into the convolution.
    return array if order == plain(array.ndim) else lax.optimization_barrier(lax.transpose(array, order))
