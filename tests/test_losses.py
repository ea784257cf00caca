"""Losses against optax's and NumPy's, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jsweep as js

LOGITS = np.random.default_rng(0).normal(0.0, 5.0, (7, 10)).astype(np.float32)
CLASSES = np.array([0, 9, 3, 3, 5, 1, 0], np.int32)


def test_cross_entropy_and_its_gradient_are_optaxs():
    theirs = lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, CLASSES)
    ours = lambda logits: js.losses.softmax_cross_entropy(logits, jnp.asarray(CLASSES))
    np.testing.assert_allclose(ours(LOGITS), theirs(LOGITS), rtol=1e-6, atol=1e-6)
    gradient = lambda loss: jax.grad(lambda logits: loss(logits).sum())(LOGITS)
    np.testing.assert_allclose(gradient(ours), gradient(theirs), rtol=1e-5, atol=1e-7)


def test_cross_entropy_holds_for_logits_of_any_size():
    logits = jnp.array([[1e4, 0.0], [-1e4, 0.0], [1e4, 0.0]])
    np.testing.assert_allclose(js.losses.softmax_cross_entropy(logits, jnp.array([0, 0, 1])), [0.0, 1e4, 1e4])


@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_that_is_no_class_makes_nan(target):
    values = js.losses.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(CLASSES).at[2].set(target))
    assert np.flatnonzero(np.isnan(values)).tolist() == [2]


def test_targets_that_are_not_integers_are_refused():
    with pytest.raises(js.JsweepError, match="targets are float32: give the classes as integers"):
        js.losses.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(CLASSES, jnp.float32))


def test_smoothing_is_optaxs_of_smoothed_labels():
    labels = optax.smooth_labels(jax.nn.one_hot(CLASSES, 10), 0.2)
    expected = optax.softmax_cross_entropy(LOGITS, labels)
    found = js.losses.smoothed_softmax_cross_entropy(0.2)(jnp.asarray(LOGITS), jnp.asarray(CLASSES))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
