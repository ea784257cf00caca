"""Small convolutional nets: 16 learning rates x 2 numbers of channels under 3 seeds, on scikit-learn's handwritten digits.

python experiments/convolutions.py        # or: jsweep run experiments/convolutions.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js


def init(config, key):
    one, two, three = jax.random.split(key, 3)
    channels = config["channels"]
    return {
        "one": jax.random.normal(one, (3, 3, 1, channels)) * (2 / 9) ** 0.5,
        "two": jax.random.normal(two, (3, 3, channels, 2 * channels)) * (2 / (9 * channels)) ** 0.5,
        "out": jax.random.normal(three, (4 * 2 * channels, 10)) * (1 / (8 * channels)) ** 0.5,
        "bias": jnp.zeros(10),
    }


def apply(config, params, x, key):
    for name in ("one", "two"):
        x = jax.lax.conv_general_dilated(x, params[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(len(x), -1) @ params["out"] + params["bias"]


def sweep():
    x, y = load_digits(return_X_y=True)
    images = (x / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    data = js.split(images, y.astype(np.int32), validation=0.2, test=0.2, key=0, stratify=True)
    task = js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.adam(config["learning_rate"]),
        data=data,
        metrics={"accuracy": js.metrics.accuracy},
        name="convolutions",
    )
    space = {"learning_rate": js.logspace(1e-4, 1e-1, 16), "channels": [8, 16]}
    return js.Sweep(task, js.grid(space), seeds=3, steps=500, evaluate_every=100, store="sweeps.db")


if __name__ == "__main__":
    print(js.plan(sweep()))
    result = js.run(sweep())
    print("the ten best of 32 configs:", *result.ranking()[:10], sep="\n")
    print("test:", result.test())
