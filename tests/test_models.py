"""The perceptron against NumPy, its dropout by its keep rate, and what each hyperparameter does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jsweep as js
from jsweep import models


def test_outputs_are_those_of_numpy_in_float64():
    params = models.init_mlp(jax.random.key(1), [5, 7, 6, 3])
    x = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    expected = x.astype(np.float64)
    for number, layer in enumerate(params):
        expected = expected @ np.asarray(layer["w"], np.float64) + np.asarray(layer["b"], np.float64)
        expected = np.tanh(expected) if number < 2 else expected
    np.testing.assert_allclose(models.apply_mlp(params, jnp.asarray(x), jnp.tanh), expected, rtol=1e-5, atol=1e-6)


def test_weights_have_the_variance_they_should():
    (layer,) = models.init_mlp(jax.random.key(0), [400, 500])
    assert float(layer["w"].std()) == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert not layer["b"].any()


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout_keeps_the_share_it_says_and_the_mean(dropout):
    one = [{"w": jnp.eye(200), "b": jnp.zeros(200)}] * 2
    x = jnp.ones((500, 200))
    kept = np.asarray(models.apply_mlp(one, x, jax.nn.relu, dropout, jax.random.key(3)))
    share = (kept > 0).mean()
    assert share == pytest.approx(1 - dropout, abs=4 * (dropout * (1 - dropout) / kept.size) ** 0.5)
    assert set(np.unique(kept).round(5)) == {0.0, np.float32(1 / (1 - dropout)).round(5)}
    assert np.array_equal(models.apply_mlp(one, x, jax.nn.relu, dropout, None), x)


@pytest.mark.parametrize("sizes", [[], [4], [4, 0, 2]])
def test_sizes_that_make_no_network_are_refused(sizes):
    with pytest.raises(
        js.ConfigError, match="sizes=.* is not valid: pass the inputs, the hidden layers and the outputs"
    ):
        models.init_mlp(jax.random.key(0), sizes)
