"""Everything a practitioner tunes at once: ten hyperparameters, 500 random configs x 2 seeds, on handwritten digits.

    python experiments/table.py       # plans, trains, and says whether the plan held

Learning rate, batch size, epochs; hidden width, layers, activation; L2, dropout; optimizer, momentum. The number of layers
makes a program each; widths are padded because the space asks for it, batch sizes because that is proven to change nothing;
names are selected, and all else rides in lanes.
"""

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js
from jsweep import schedules

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "gelu": jax.nn.gelu}


def init(config, key):
    return js.models.init_mlp(key, [64, *[config["width"]] * config["layers"], 10])


def apply(config, params, x, key):
    activation, widths = js.select(config["activation"], ACTIVATIONS), [config["width"]] * config["layers"]
    return js.models.apply_mlp(params, x, activation, config["dropout"], key, widths)


def optimizer(config):
    rate = schedules.cosine_decay(config["learning_rate"], config["steps"])
    options = {"sgd": optax.sgd(rate, momentum=config["momentum"]), "adam": optax.adam(rate, b1=config["momentum"])}
    return js.select_optimizer(config["optimizer"], options)


def sweep():
    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype(np.float32), y.astype(np.int32), validation=0.2, test=0.2, key=0, stratify=True)
    loss, metrics = js.losses.softmax_cross_entropy, {"accuracy": js.metrics.accuracy}
    task = js.supervised(init, apply, loss=loss, optimizer=optimizer, data=data, metrics=metrics, name="table")
    space = {
        "learning_rate": js.log_uniform(1e-4, 1.0),
        "batch_size": [16, 32, 64],
        "epochs": js.int_uniform(2, 15),
        "width": js.lane([16, 32, 64]),
        "layers": [1, 2],
        "activation": list(ACTIVATIONS),
        "l2": js.log_uniform(1e-6, 1e-2),
        "dropout": js.uniform(0.0, 0.5),
        "optimizer": ["sgd", "adam"],
        "momentum": js.uniform(0.5, 0.99),
    }
    objective = "validation/accuracy"
    return js.Sweep(
        task, js.random(space, 500, key=0), objective=objective, seeds=2, evaluate_every=200, store="table.db"
    )


if __name__ == "__main__":
    import time

    plan = js.plan(sweep())
    print(plan)
    begun = time.perf_counter()
    result = js.run(sweep())
    seconds = time.perf_counter() - begun
    programs = len({trial.program for trial in result.trials()})
    print("the ten best of 500 configs:", *result.ranking()[:10], sep="\n")
    print(f"programs compiled: {programs}, planned: {plan.programs}; {seconds:.0f} s, planned: {plan.seconds:.0f} s")
    print("test:", result.test())
