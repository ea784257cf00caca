"""The sweep of the fault experiments: two widths (compile groups); optimizers, batch sizes, dropout, rates (lanes)."""

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js


def init(config, key):
    return js.models.init_mlp(key, [64, config["width"], 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x, jax.nn.relu, config["dropout"], key)


def optimizer(config):
    rate = config["learning_rate"]
    return js.select_optimizer(config["optimizer"], {"sgd": optax.sgd(rate, momentum=0.9), "adam": optax.adam(rate)})


def mixed(store, trials, steps, every, name="mixed", tile=4, seeds=2, **options):
    """A sweep of ``trials`` trials with ``seeds`` seeds."""
    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype(np.float32), y.astype(np.int32), key=0)
    loss, metrics = js.losses.softmax_cross_entropy, {"accuracy": js.metrics.accuracy}
    task = js.supervised(init, apply, loss=loss, optimizer=optimizer, data=data, metrics=metrics, name=name)
    space = {
        "learning_rate": js.log_uniform(1e-3, 1e-1),
        "width": [16, 48],
        "optimizer": ["sgd", "adam"],
        "batch_size": [16, 32],
        "dropout": js.uniform(0.0, 0.5),
        "l2": js.log_uniform(1e-6, 1e-3),
    }
    configs = js.random(space, trials // seeds, key=1)
    return js.Sweep(
        task, configs, seeds=seeds, steps=steps, evaluate_every=every, store=store, tile=tile, name=name, **options
    )
