"""512 configs x 3 seeds on scikit-learn's handwritten digits, of which successive halving trains few to the end.

jsweep run experiments/halving.py        # or: python experiments/halving.py
"""

import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js
from jsweep import schedules

STEPS, FIRST = 810, 30  # rungs after 30, 90 and 270 steps
CONFIGS, SEEDS = 512, 3


def init(config, key):
    return js.models.init_mlp(key, [64, 32, 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x)


def optimizer(config):
    return optax.sgd(schedules.cosine_decay(config["learning_rate"], decay_steps=STEPS), momentum=config["momentum"])


def task():
    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype(np.float32), y.astype(np.int32), validation=0.2, test=0.2, key=0, stratify=True)
    return js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=optimizer,
        data=data,
        metrics={"accuracy": js.metrics.accuracy},
        name="digits-halving",
    )


def configs():
    space = {
        "learning_rate": js.log_uniform(1e-3, 3.0),
        "momentum": js.uniform(0.0, 0.99),
        "l2": js.log_uniform(1e-6, 1e-1),  # which supervised adds to the loss
    }
    return js.random(space, CONFIGS, key=0)


def sweep():
    rule = js.rules.successive_halving(FIRST)
    return js.Sweep(task(), configs(), seeds=SEEDS, steps=STEPS, evaluate_every=FIRST, rule=rule, store="sweeps.db")


if __name__ == "__main__":
    print(js.plan(sweep()))
    result = js.run(sweep())
    print(result)
    print("test:", result.test())
