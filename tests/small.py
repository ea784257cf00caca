"""A small task for tests: a one-hidden-layer perceptron whose every optimizer number may be swept."""

import jax
import jax.numpy as jnp
import optax

import jsweep as js


def init(config, key):
    width = config.get("width", 16)
    one, two = jax.random.split(key)
    return {
        "w1": jax.random.normal(one, (64, width)) * 0.125,
        "b1": jnp.zeros(width),
        "w2": jax.random.normal(two, (width, 10)) * 0.25,
        "b2": jnp.zeros(10),
    }


def apply(config, params, x, key):
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    if key is not None and "dropout" in config:
        keep = jax.random.bernoulli(key, 1 - config["dropout"], hidden.shape)
        hidden = jnp.where(keep, hidden / (1 - config["dropout"]), 0.0)
    return hidden @ params["w2"] + params["b2"]


def optimizer(config):
    return optax.sgd(config["learning_rate"], momentum=config.get("momentum", 0.9))


def make_task(data, batch_size=32, **changes):
    parts = {
        "init": init,
        "apply": apply,
        "loss": js.losses.softmax_cross_entropy,
        "optimizer": optimizer,
    } | changes
    return js.supervised(
        **parts, data=data, metrics={"accuracy": js.metrics.accuracy}, batch_size=batch_size, name="small"
    )


def rows_of(result, metrics=None):
    """The whole record of a result as comparable rows: (trial, metric, step, value), NaN as text."""
    return {
        (trial, metric, step): repr(value)
        for metric in (metrics or result.metrics())
        for trial, curve in result.curves(metric).items()
        for step, value in curve
    }
