"""End to end, compile included: 3 batch sizes x 3 widths x 2 activations x 2 optimizers x 16 learning rates, 576 trials.

    python experiments/benchmarks/joined.py --rounds 3

Each way runs in a fresh process with an empty compilation cache, rounds interleaved: jsweep (what shares a program as it
chooses, and then every size and option a compile group of its own); one vmapped program per static combination; one jitted
call per trial. The last two are as a JAX user writes them, with JAX's defaults. Every way trains the same steps on the same
digits and evaluates at the end.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCHES, WIDTHS, STEPS = (16, 32, 64), (16, 32, 64), 300
WAYS = ("jsweep", "jsweep, all in groups", "vmap per static combination", "jit per trial")


def digits():
    """The same split for every way."""
    import numpy as np
    from sklearn.datasets import load_digits

    import jsweep as js

    x, y = load_digits(return_X_y=True)
    return js.split((x / 16).astype(np.float32), y.astype(np.int32), validation=0.2, test=0.0, key=0)


def ours(join):
    import jax
    import optax

    import jsweep as js

    activations = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh}

    def init(config, key):
        return js.models.init_mlp(key, [64, config["width"], config["width"], 10])

    def apply(config, params, x, key):
        activation = js.select(config["activation"], activations)
        return js.models.apply_mlp(params, x, activation, widths=[config["width"]] * 2)

    def optimizer(config):
        rate = config["learning_rate"]
        return js.select_optimizer(
            config["optimizer"], {"sgd": optax.sgd(rate, momentum=0.9), "adam": optax.adam(rate)}
        )

    data = digits()
    loss, metrics = js.losses.softmax_cross_entropy, {"accuracy": js.metrics.accuracy}
    task = js.supervised(init, apply, loss=loss, optimizer=optimizer, data=data, metrics=metrics, name="joined")
    space = {
        "batch_size": list(BATCHES),
        "width": js.lane(list(WIDTHS)),
        "activation": list(activations),
        "optimizer": ["sgd", "adam"],
    }
    if not join:
        space = {name: js.static(values) for name, values in space.items()}
    space["learning_rate"] = js.logspace(1e-3, 1e-1, 16)
    result = js.run(js.Sweep(task, js.grid(space), steps=STEPS, evaluate_every=STEPS), progress="off")
    return result.best("validation/loss").mean, len(result.trials())


def plain(vmapped):
    """A loop over static combinations, each a jitted function of the learning rate: vmapped over 16, or called 16 times."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    data = digits()
    (train_x, train_y), (val_x, val_y) = jax.tree.map(jnp.asarray, (data.train, data.validation))
    cut = len(train_y)
    rates = jnp.geomspace(1e-3, 1e-1, 16)
    losses = []

    def trainer(batch, width, activation, make):
        def forward(params, x):
            for w, b in params[:-1]:
                x = activation(x @ w + b)
            return x @ params[-1][0] + params[-1][1]

        def loss(params, x, y):
            return optax.softmax_cross_entropy_with_integer_labels(forward(params, x), y).mean()

        def train(rate, key):
            sizes, keys = [64, width, width, 10], jax.random.split(key, 4)
            params = [
                (jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), jnp.zeros(m))
                for k, n, m in zip(keys, sizes, sizes[1:])
            ]
            transform = make(rate)

            def step(carry, key):
                params, state = carry
                rows = jax.random.randint(key, (batch,), 0, cut)
                gradients = jax.grad(loss)(params, train_x[rows], train_y[rows])
                updates, state = transform.update(gradients, state, params)
                return (optax.apply_updates(params, updates), state), None

            (params, _), _ = jax.lax.scan(step, (params, transform.init(params)), jax.random.split(keys[3], STEPS))
            outputs = forward(params, val_x)
            return loss(params, val_x, val_y), (outputs.argmax(-1) == val_y).mean()

        return train

    makers = (lambda rate: optax.sgd(rate, momentum=0.9)), optax.adam
    for combination in itertools.product(BATCHES, WIDTHS, (jax.nn.relu, jnp.tanh), makers):
        train = trainer(*combination)
        key = jax.random.key(0)
        if vmapped:
            losses += list(np.asarray(jax.jit(jax.vmap(train, in_axes=(0, None)))(rates, key)[0]))
        else:
            jitted = jax.jit(train)
            losses += [float(jitted(rate, key)[0]) for rate in rates]
    return float(np.nanmin(losses)), len(losses)


def one(way):
    """One way in this process; seconds after imports, the best loss, trials."""
    import jax  # noqa: F401 (imports are not counted, for anyone)
    import optax  # noqa: F401

    import jsweep  # noqa: F401

    begun = time.perf_counter()
    best, trials = ours(way == "jsweep") if way.startswith("jsweep") else plain(way.startswith("vmap"))
    print(json.dumps({"seconds": time.perf_counter() - begun, "best": best, "trials": trials}))


def measured(way):
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JSWEEP_CACHE": cache}
        command = [sys.executable, str(Path(__file__)), "--way", way]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--json", help="write the figures to this file")
    given = parser.parse_args()
    if given.way:
        one(given.way)
        return
    rounds = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way in WAYS:
            rounds[way].append(measured(way))
    medians = {way: statistics.median(r["seconds"] for r in found) for way, found in rounds.items()}
    best = min(medians[way] for way in WAYS[2:])
    for way, found in rounds.items():
        seconds = [r["seconds"] for r in found]
        print(
            f"{way:28} {medians[way]:6.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), {best / medians[way]:.2f}x the "
            f"better of the plain two; {found[0]['trials']} trials, best validation loss {found[0]['best']:.3f}"
        )
    if given.json:
        Path(given.json).write_text(json.dumps(rounds))


if __name__ == "__main__":
    main()
