"""Tiles of hundreds and thousands of lanes: a trial's scores, to the bit, whatever its company and however its run went.

    python experiments/faults/wide.py --widths 256,1024,4096

Each kind of model trains as many trials as fill a tile and a half, and then in other ways: shuffled by one worker, a fifth of
them, among copies of itself, cut into shorter segments, interrupted and resumed, and under a rule that stops three quarters
of them, whose survivors are gathered into full tiles. Every score of every way is compared with the first run's.
"""

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jsweep as js
from jsweep.runner import checkpointing
from jsweep.runner.replay import replay_many

FEATURES, CLASSES, STEPS, EVERY = 12, 3, 12, 4
SPACE = {"learning_rate": js.log_uniform(1e-3, 0.5), "l2": js.log_uniform(1e-6, 1e-2)}


def examples(seed: int = 0, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Random examples of ``CLASSES`` classes."""
    draws = np.random.default_rng(seed)
    return draws.normal(size=(rows, FEATURES)).astype(np.float32), draws.integers(0, CLASSES, rows).astype(np.int32)


def supervised(init, apply, optimizer=None, data=None, batch_size=8) -> js.Task:
    """A task of these parts, by SGD with momentum where no optimizer is given."""
    data = js.split(*examples(), validation=0.2, test=0.2, key=0) if data is None else data
    by_sgd = lambda config: optax.sgd(config["learning_rate"], momentum=0.9)
    loss, metrics = js.losses.softmax_cross_entropy, {"accuracy": js.metrics.accuracy}
    return js.supervised(
        init, apply, loss=loss, optimizer=optimizer or by_sgd, data=data, metrics=metrics, batch_size=batch_size
    )


def mlp_init(config, key):
    return js.models.init_mlp(key, [FEATURES, 5, CLASSES])


def mlp_apply(config, params, x, key):
    return js.models.apply_mlp(params, x, jax.nn.relu, config.get("dropout", 0.0), key)


def mlp(**options) -> js.Task:
    return supervised(mlp_init, mlp_apply, **options)


def selected(config):
    """One of three optimizers, chosen in the lane, under a schedule whose numbers are lanes."""
    rate = js.schedules.exponential_decay(config["learning_rate"], config["half_life"], decay_rate=0.5)
    options = {"sgd": optax.sgd(rate), "adam": optax.adam(rate), "lion": optax.lion(rate)}
    return js.select_optimizer(config["optimizer"], options)


def convolution() -> js.Task:
    def init(config, key):
        one, two = jax.random.split(key)
        return {"k": jax.random.normal(one, (3, 1, 4)) / 2, "w": jax.random.normal(two, (4, CLASSES)) / 2}

    def apply(config, params, x, key):
        dims = ("NWC", "WIO", "NWC")
        hidden = jax.lax.conv_general_dilated(x[..., None], params["k"], (1,), "SAME", dimension_numbers=dims)
        return jax.nn.relu(hidden).mean(1) @ params["w"]

    return supervised(init, apply)


def normalised() -> js.Task:
    def init(config, key):
        return [*js.models.init_mlp(key, [FEATURES, 7, CLASSES]), {"scale": jnp.ones(FEATURES)}]

    def apply(config, params, x, key):
        x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * params[-1]["scale"]
        return js.models.apply_mlp(params[:-1], x, jnp.tanh)

    return supervised(init, apply, lambda config: optax.lamb(config["learning_rate"]))


def recurrent() -> js.Task:
    def init(config, key):
        one, two = jax.random.split(key)
        return {"w": jax.random.normal(one, (6, 5)) / 2, "out": jax.random.normal(two, (5, CLASSES)) / 2}

    def apply(config, params, x, key):
        def one_step(h, now):
            return jnp.tanh(jnp.concatenate([now[:, None], h], 1) @ params["w"]), None

        return jax.lax.scan(one_step, jnp.zeros((len(x), 5)), x.T)[0] @ params["out"]

    return supervised(init, apply, lambda config: optax.adam(config["learning_rate"]))


def attention() -> js.Task:
    def init(config, key):
        keys = jax.random.split(key, 4)
        return {name: jax.random.normal(k, (4, 4)) / 2 for name, k in zip("qkv", keys)} | {
            "out": jax.random.normal(keys[3], (4, CLASSES)) / 2
        }

    def apply(config, params, x, key):
        tokens = x.reshape(len(x), -1, 4)
        q, k, v = (tokens @ params[name] for name in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k) / 2)
        return jnp.einsum("bqk,bkd->bqd", weights, v).mean(1) @ params["out"]

    return supervised(init, apply)


def narrow() -> js.Task:
    def init(config, key):
        return jax.tree.map(lambda a: a.astype(jnp.bfloat16), mlp_init(config, key))

    def apply(config, params, x, key):
        return mlp_apply(config, params, x.astype(jnp.bfloat16), key).astype(jnp.float32)

    return supervised(init, apply)


def diverging() -> js.Task:
    """Half of the lanes become NaN, at different steps."""

    def optimizer(config):
        return optax.sgd(lambda count: jnp.where(count >= config["from"], jnp.nan, config["learning_rate"]))

    return mlp(optimizer=optimizer)


def streamed(folder: Path) -> js.Task:
    """Training examples in files, sent in windows."""
    whole, mapped = js.split(*examples(), validation=0.2, test=0.2, key=0), []
    for name, array in (("x", whole.train[0]), ("y", whole.train[1])):
        on_disk = np.memmap(folder / name, array.dtype, "w+", shape=array.shape)
        on_disk[:] = array
        mapped.append(on_disk)
    return mlp(data=js.Splits(tuple(mapped), whole.validation, whole.test))


MIXED = SPACE | {
    "dropout": js.uniform(0.0, 0.5),
    "batch_size": [4, 8],
    "optimizer": ["sgd", "adam", "lion"],
    "half_life": js.uniform(1.0, 6.0),
}

KINDS: Mapping[str, Callable[[Path], tuple[js.Task, Mapping[str, Any], Mapping[str, Any]]]] = {
    "perceptron": lambda _: (mlp(), SPACE, {}),
    "mixed": lambda _: (mlp(optimizer=selected), MIXED, {"pairing": "independent"}),
    "lengths": lambda _: (mlp(), SPACE | {"steps": [3, 7, 10, STEPS]}, {"steps": None}),
    "folds": lambda _: (mlp(data=js.folds(*examples(), k=4, test=0.2)), SPACE, {"seeds": 4}),
    "streamed": lambda folder: (streamed(folder), SPACE | {"dropout": js.uniform(0.0, 0.5)}, {"seeds": 3}),
    "diverging": lambda _: (diverging(), SPACE | {"from": [2, 5, 1000, 1001]}, {}),
    "convolution": lambda _: (convolution(), SPACE, {}),
    "layer norm": lambda _: (normalised(), SPACE, {}),
    "recurrent": lambda _: (recurrent(), SPACE, {}),
    "attention": lambda _: (attention(), SPACE, {}),
    "bfloat16": lambda _: (narrow(), SPACE, {}),
}


class Interrupted(Exception):
    """The run was interrupted on purpose."""


class Interrupting(js.Callback):
    """Ends a run at its ``after``-th segment."""

    def __init__(self, after: int):
        self.left = after

    def on_segment(self, event):
        self.left -= 1
        if self.left < 0:
            raise Interrupted


def scores(session: js.Session) -> dict[tuple[str, str, int], bytes]:
    """Every score to the bit."""
    return {
        (trial, metric, step): np.float64(value).tobytes()
        for metric in session.metrics()
        for trial, curve in session.curves(metric).items()
        for step, value in curve
    }


def ways(sweep: js.Sweep, folder: Path) -> dict[str, Callable[[], tuple[js.Session, bool]]]:
    """Other runs of a sweep; of each the session, and whether its training metrics are over the same steps."""
    configs, one = list(sweep.configs), jax.devices()[:1]
    shuffled = random.Random(0).sample(configs, len(configs))

    def resumed() -> tuple[js.Session, bool]:
        again = replace(sweep, store=folder / "resumed.db", name="resumed")
        try:
            js.run(again, callbacks=[Interrupting(2)])
        except Interrupted:
            return js.run(again), True
        raise AssertionError("the run was not interrupted")

    found = {
        "shuffled, one worker": lambda: (js.run(replace(sweep, configs=shuffled), workers=one), True),
        "a fifth": lambda: (js.run(replace(sweep, configs=shuffled[: len(shuffled) // 5])), True),
        "shorter segments": lambda: (js.run(replace(sweep, evaluate_every=EVERY // 2)), False),
        "resumed": resumed,
    }
    if sweep.steps is not None:  # a rule needs trials of one length
        rule = js.rules.successive_halving(EVERY, factor=4)
        found["under a rule"] = lambda: (js.run(replace(sweep, rule=rule, objective="validation/loss")), True)
    return found


def faults_of(kind: str, width: int, chosen: Collection[str] | None = None) -> tuple[list[str], int]:
    """What differs of a kind of model at a width in the ``chosen`` ways (None: all), and how many scores were compared."""
    said, compared = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task, space, options = KINDS[kind](folder)
        given = {"seeds": 1, "steps": STEPS, "evaluate_every": EVERY, "tile": width} | options
        configs = js.random(space, 3 * width // 2 // given["seeds"], key=0)
        sweep = js.Sweep(task, list(configs), **given)
        session = js.run(sweep)
        first = scores(session)
        for way, run in ways(sweep, folder).items():
            if chosen is not None and way not in chosen:
                continue
            other, same_steps = run()
            for place, value in scores(other).items():
                if place in first and (same_steps or place[1].startswith("validation/")):
                    compared += 1
                    if first[place] != value:
                        said.append(f"{way}: {place}")
        ids = [trial.id for trial in session.trials()]
        copied = ids[:: len(ids) // 3] if chosen is None or "among copies" in chosen else []
        for found in replay_many(session, copied, neighbours=False):
            compared += found.compared
            if found.difference is not None:
                said.append(f"among copies: {found.trial} {found.difference}")
        if {trial.width for trial in session.trials()} != {width}:
            said.append("other widths")
    return said, compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="256,1024,4096")
    parser.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    given = parser.parse_args()
    if unknown := [kind for kind in given.kinds.split(",") if kind not in KINDS]:
        parser.error(f"--kinds has {unknown[0]!r}, which is none of {', '.join(KINDS)}")
    warnings.simplefilter("ignore")
    checkpointing.LEAST_SECONDS = 0.0  # a checkpoint at every segment, however short
    different = 0
    for width in map(int, given.widths.split(",")):
        for kind in given.kinds.split(","):
            begun = time.perf_counter()
            said, compared = faults_of(kind, width)
            different += len(said)
            seconds = time.perf_counter() - begun
            print(f"{width:5} {kind:20} {compared} scores, {len(said)} differ ({seconds:.0f} s)", flush=True)
            for way, count in Counter(one.split(":")[0] for one in said).items():
                print(f"      {count} {way}, as {next(one for one in said if one.startswith(way))}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
