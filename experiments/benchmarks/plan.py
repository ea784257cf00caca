"""Planned against actual: programs, seconds and peak memory of three sweeps, each in a fresh process with an empty cache.

    python experiments/benchmarks/plan.py --rounds 3

`table` is ten hyperparameters at once on digits (500 configs x 2 seeds), `wide` perceptrons of width 1024 whose Adam state
fills the memory, `convolutions` small convolutional nets on images of 28 x 28. Seconds are meant to be within a factor of
2 of the plan's, memory within 25%.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEPS = ("table", "wide", "convolutions")


def wide():
    """24 perceptrons 784-1024-1024-10 by Adam (22 MB of state each) on 20,000 noisy digits."""
    import numpy as np
    import optax

    import jsweep as js

    x, y = enlarged(20_000, 28)
    task = js.supervised(
        lambda config, key: js.models.init_mlp(key, [784, 1024, 1024, 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.adam(config["learning_rate"]),
        data=js.split(x.reshape(len(x), -1), y, validation=0.2, test=0.0, key=0),
        name="wide",
    )
    rates = [float(rate) for rate in np.geomspace(1e-4, 1e-2, 24)]
    return js.Sweep(task, js.grid({"learning_rate": rates}), steps=60, evaluate_every=60)


def convolutions():
    """Two convolutions and a dense layer by SGD with momentum on 28 x 28 images: 8 rates, 2 numbers of channels."""
    import jax
    import numpy as np
    import optax

    import jsweep as js

    def init(config, key):
        one, two, three = jax.random.split(key, 3)
        c = config["channels"]
        return {
            "one": jax.random.normal(one, (3, 3, 1, c)) / 3,
            "two": jax.random.normal(two, (3, 3, c, 2 * c)) * (2 / (9 * c)) ** 0.5,
            "out": jax.random.normal(three, (7 * 7 * 2 * c, 10)) * 0.03,
        }

    def apply(config, params, x, key):
        for name in ("one", "two"):
            x = jax.lax.conv_general_dilated(
                x, params[name], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x)
        return x.reshape(x.shape[0], -1) @ params["out"]

    x, y = enlarged(10_000, 28)
    task = js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"], 0.9),
        data=js.split(x[..., None], y, validation=0.2, test=0.0, key=0),
        name="convolutions",
    )
    space = {"learning_rate": [float(rate) for rate in np.geomspace(1e-3, 1e-1, 8)], "channels": [4, 8]}
    return js.Sweep(task, js.grid(space), steps=60, evaluate_every=30)


def enlarged(count, side):
    """Handwritten digits drawn ``count`` times with noise, as images of ``side`` x ``side``."""
    import numpy as np
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    draws = np.random.default_rng(0)
    rows = draws.integers(0, len(y), count)
    images = np.kron((x[rows] / 16).reshape(-1, 8, 8).astype(np.float32), np.ones((1, 4, 4), np.float32))
    edge = (32 - side) // 2
    images = images[:, edge : edge + side, edge : edge + side]
    return images + 0.1 * draws.standard_normal(images.shape, np.float32), y[rows].astype(np.int32)


def table():
    import dataclasses

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import table as experiment

    return dataclasses.replace(experiment.sweep(), store=None)


def one(name):
    """In a process of its own: plan, run, and what it took."""
    import dataclasses

    import jsweep as js

    with tempfile.TemporaryDirectory() as folder:
        made = dataclasses.replace(globals()[name](), store=os.path.join(folder, "s.db"))
        plan = js.plan(made)
        begun = time.perf_counter()
        result = js.run(made, progress="off")
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        programs = len({trial.program for trial in result.trials()})
    found = {"planned": [plan.programs, plan.seconds, plan.peak_bytes], "actual": [programs, seconds, peak]}
    print(json.dumps(found | {"trials": len(result.trials())}))


def measured(name):
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, str(Path(__file__)), "--sweep", name]
        environment = os.environ | {"JSWEEP_CACHE": cache}
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweep", choices=SWEEPS)
    parser.add_argument("--json", help="write the figures to this file")
    given = parser.parse_args()
    if given.sweep:
        one(given.sweep)
        return
    rounds = {name: [] for name in SWEEPS}
    for _ in range(given.rounds):
        for name in SWEEPS:
            rounds[name].append(measured(name))
    for name, found in rounds.items():
        print(
            f"{name}: {found[0]['trials']} trials, programs planned {found[0]['planned'][0]}, compiled {found[0]['actual'][0]}"
        )
        for what, at, unit, scale in (("time", 1, "s", 1.0), ("memory at the peak", 2, "MB", 1e6)):
            planned = statistics.median(r["planned"][at] for r in found) / scale
            values = [r["actual"][at] / scale for r in found]
            actual = statistics.median(values)
            ratios = [r["actual"][at] / r["planned"][at] for r in found]
            print(
                f"  {what}: planned {planned:.1f} {unit}, took {actual:.1f} {unit} ({min(values):.1f} to {max(values):.1f}); "
                f"actual / planned {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    if given.json:
        Path(given.json).write_text(json.dumps(rounds))


if __name__ == "__main__":
    main()
