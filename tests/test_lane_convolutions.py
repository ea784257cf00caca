"""Convolutions of a GPU's lanes as products, beside JAX's own convolutions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jsweep.engine.lane_convolutions import MOST_SLICES, with_products

LANES = 3
AXES = {
    "1d": ("NCW", "OIW", "NCW"),
    "2d": ("NHWC", "HWIO", "NHWC"),
    "channels first": ("NCHW", "OIHW", "NCHW"),
    "mixed": ("NHWC", "OIHW", "NCHW"),
    "3d": ("NDHWC", "DHWIO", "NDHWC"),
}
FORMS = [(1, 1, 1, 1, (1, 2)), (2, 2, 1, 1, (0, 0)), (6, 1, 2, 1, (-1, 1)), (1, 2, 2, 2, (1, 2))]
IMAGE, KERNEL = {"D": 6, "H": 8, "W": 7, "N": 2, "C": 6}, {"D": 2, "H": 2, "W": 3, "O": 12}


@pytest.fixture(autouse=True)
def doubles():
    with jax.enable_x64(True):
        yield


def operands(axes, groups):
    draws = np.random.default_rng(0)
    drawn = lambda sizes, names: draws.normal(size=(LANES, *(sizes[name] for name in names)))
    return drawn(IMAGE, axes[0]), drawn(KERNEL | {"I": IMAGE["C"] // groups}, axes[1])


def gradients_of(convolution):
    return jax.value_and_grad(lambda images, kernel: jnp.sin(convolution(images, kernel)).sum(), (0, 1))


def as_products(function, *lanes):
    """The same under `jax.vmap`, and whether a convolution is left in it."""
    mapped = jax.vmap(with_products(jax.make_jaxpr(function)(*(array[0] for array in lanes))))
    return jax.jit(mapped)(*lanes), "conv_general_dilated" in str(jax.make_jaxpr(mapped)(*lanes))


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize(("groups", "stride", "spacing", "dilation", "padding"), FORMS)
def test_values_and_gradients_are_those_of_the_convolution(name, groups, stride, spacing, dilation, padding):
    rank = len(AXES[name][0]) - 2

    def convolution(images, kernel):
        every = ([stride] * rank, [padding] * rank, [dilation] * rank, [spacing] * rank)
        return lax.conv_general_dilated(images, kernel, *every, AXES[name], groups)

    function, lanes = gradients_of(convolution), operands(AXES[name], groups)
    ours, has_convolution = as_products(function, *lanes)
    assert not has_convolution
    for one, other in zip(ours, jax.tree.leaves(jax.vmap(function)(*lanes)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_those_in_loops_branches_and_checkpoints_are_products_as_well():
    @jax.checkpoint
    def layer(images, kernel):
        return lax.conv(images, kernel, (1, 1), "SAME")

    def function(images, kernel):
        looped = lax.scan(lambda x, _: (layer(x, kernel), ()), images, None, 2)[0]
        return lax.cond(looped.sum() > 0, lambda x: layer(x, kernel), lambda x: x, looped)

    draws = np.random.default_rng(1)
    lanes = draws.normal(size=(LANES, 2, 4, 5, 5)), draws.normal(size=(LANES, 4, 4, 3, 3))
    (ours,), has_convolution = as_products(function, *lanes)
    assert not has_convolution
    np.testing.assert_allclose(ours, jax.vmap(function)(*lanes), rtol=1e-10)


@pytest.mark.parametrize("shared", [0, 1])
def test_one_with_an_array_that_lanes_share_stays(shared):
    lanes, function = (
        operands(AXES["2d"], 1),
        lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=AXES["2d"]),
    )
    closed = jax.make_jaxpr(function)(*(array[0] for array in lanes))
    given, axes = [*lanes], [0, 0]
    given[shared], axes[shared] = lanes[shared][0], None
    text = str(jax.make_jaxpr(jax.vmap(with_products(closed), axes))(*given))
    assert "conv_general_dilated" in text
    assert f"feature_group_count={LANES}" not in text


def test_one_of_very_many_slices_stays():
    side = int(MOST_SLICES**0.5) + 1
    lanes = np.ones((LANES, 1, 1, 2 * side, 2 * side)), np.ones((LANES, 1, 1, side, side))
    (ours,), has_convolution = as_products(lambda x, k: lax.conv(x, k, (1, 1), "VALID"), *lanes)
    assert has_convolution
    np.testing.assert_array_equal(ours, side**2)


def test_one_in_four_dimensions_stays():
    axes = ("NWXYZC", "WXYZIO", "NWXYZC")
    lanes = np.ones((LANES, 1, 3, 3, 3, 3, 2)), np.ones((LANES, 2, 2, 2, 2, 2, 2))
    function = lambda x, k: lax.conv_general_dilated(x, k, (1,) * 4, "VALID", dimension_numbers=axes)
    (ours,), has_convolution = as_products(function, *lanes)
    assert has_convolution
    np.testing.assert_array_equal(ours, 2**5)
