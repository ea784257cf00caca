"""Which learning rate, and which schedule? 64 x 3 configs under 5 seeds, on scikit-learn's handwritten digits.

jsweep run experiments/digits.py        # or: python experiments/digits.py, which draws the picture as well
"""

import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js
from jsweep import schedules

STEPS, HIDDEN = 1000, 64


def init(config, key):
    return js.models.init_mlp(key, [64, HIDDEN, HIDDEN, 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x)


def optimizer(config):
    rate = config["learning_rate"]
    schedule = schedules.select(
        config["schedule"],
        {
            "constant": schedules.constant(rate),
            "cosine": schedules.cosine_decay(rate, decay_steps=STEPS),
            "exponential": schedules.exponential_decay(rate, transition_steps=STEPS, decay_rate=0.01),
        },
    )
    return optax.sgd(schedule, momentum=0.9)


def sweep():
    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype(np.float32), y.astype(np.int32), validation=0.2, test=0.2, key=0, stratify=True)
    task = js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=optimizer,
        data=data,
        metrics={"accuracy": js.metrics.accuracy},
        name="digits",
    )
    space = {"learning_rate": js.logspace(1e-4, 1.0, 64), "schedule": ["constant", "cosine", "exponential"]}
    return js.Sweep(task, js.grid(space), seeds=5, steps=STEPS, evaluate_every=100, store="sweeps.db")


if __name__ == "__main__":
    from jsweep.results.plots import plot_score

    result = js.run(sweep())
    print("digits: the ten best of 192 configs", *result.ranking()[:10], sep="\n")
    print("best:", result.best())
    print("drawn:", plot_score(result, "learning_rate", "digits.png", by="schedule"))
    print("test:", result.test())
