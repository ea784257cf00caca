"""What a task reads beside its arguments, and hyperparameters that would be trained, are said before training."""

import itertools
import random
import time
import uuid
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, init, make_task

import jsweep as js

CONFIGS = [{"learning_rate": 0.1, "kind": kind} for kind in ("a", "b")]
ONE = [{"learning_rate": 0.1}]


def planned(data, configs=ONE, **changes):
    return js.plan(js.Sweep(make_task(data, **changes), configs, steps=5))


@jax.jit
def jitted(x):
    return x * np.random.rand()


def alternating(config, key):
    scale = next(switches)
    return jax.tree.map(lambda leaf: leaf * scale, init(config, key))


def after_init(counts, config, params, x, key):
    return apply(config, params, x, key) * len(counts)


def scaled_init(scale):
    return lambda config, key: jax.tree.map(lambda leaf: leaf * scale(), init(config, key))


def scaled(scale):
    return lambda config, params, x, key: apply(config, params, x, key) * scale()


counts: list[int] = []
numbers, switches, kept = itertools.count(1), itertools.cycle([1.0, 2.0]), []
CHANGING = {
    "numpy in init": ({"init": scaled_init(np.random.rand)}, "init"),
    "an array in init": ({"init": lambda c, k: jax.tree.map(lambda a: np.random.rand(*a.shape), init(c, k))}, "init"),
    "a key from a uuid": ({"init": lambda c, k: init(c, jax.random.key(uuid.uuid4().int % 2**31))}, "init"),
    "a counter in init": ({"init": scaled_init(lambda: next(numbers))}, "init"),
    "what alternates": ({"init": alternating}, "init"),
    "what init has changed": (
        {
            "init": lambda c, k: [counts.append(1), init(c, k)][1],
            "apply": lambda *args: after_init(counts, *args),
        },
        "step",
    ),
    "numpy in apply": ({"apply": scaled(np.random.rand)}, "step"),
    "random in apply": ({"apply": scaled(random.random)}, "step"),
    "a mask from numpy": ({"apply": lambda c, p, x, k: apply(c, p, x * (np.random.rand(64) > 0.5), k)}, "step"),
    "under jit": ({"apply": lambda c, p, x, k: jitted(apply(c, p, x, k))}, "step"),
    "in evaluation": (
        {"apply": lambda c, p, x, k: apply(c, p, x, k) * (1.0 if k is not None else np.random.rand())},
        "evaluate",
    ),
    "in one group": (
        {"apply": lambda c, p, x, k: apply(c, p, x, k) * (np.random.rand() if c["kind"] == "b" else 1)},
        "step",
    ),
    "the time": ({"optimizer": lambda c: optax.sgd(time.perf_counter() * c["learning_rate"])}, "init"),
    "the loss": ({"loss": lambda o, y: js.losses.softmax_cross_entropy(o, y) * random.random()}, "step"),
    "an address": ({"apply": scaled(lambda: id(kept.append([]) or kept[-1]) % 99991)}, "step"),
}


@pytest.mark.parametrize("kind", CHANGING)
def test_what_changes_from_trace_to_trace_is_refused(data, kind):
    changes, where = CHANGING[kind]
    with pytest.raises(js.ConfigError, match=rf"^{where} \(.*\) is not the same when it is traced again"):
        planned(data, CONFIGS if kind == "in one group" else ONE, **changes)


def test_the_place_of_a_hidden_input_is_named(data):
    where = r"step \(operation \d+, mul, .* again, at jitted \(test_hidden_inputs.py:\d+\): it depends on .* np.random"
    with pytest.raises(js.ConfigError, match=where):
        planned(data, apply=lambda c, p, x, k: jitted(apply(c, p, x, k)))


def test_a_task_that_cannot_be_traced_twice_is_refused(data):
    once = iter([None])
    with pytest.raises(js.ConfigError, match="raises StopIteration when it is traced again: it depends on something"):
        planned(data, ONE, init=lambda config, key: [next(once), init(config, key)][1])


class Doubled:
    """A callable of another identity in every trace."""

    def __init__(self):
        self.name = uuid.uuid4()

    def __call__(self, x):
        return 2.0 * np.asarray(x)


def made_anew(config, params, x, key):
    """Functions, classes, names and callbacks that every trace makes again."""

    @jax.custom_vjp
    def doubled(x):
        return 2.0 * x

    doubled.defvjp(lambda x: (2.0 * x, None), lambda _, g: (2.0 * g,))

    @jax.custom_jvp
    def same(x):
        return x

    same.defjvp(lambda primals, tangents: (same(*primals), tangents[0]))
    jax.debug.print("{}", x.sum())
    seen = []
    jax.debug.callback(lambda value: seen.append(value), x.sum())
    called = jax.pure_callback(Doubled(), jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")
    step = jax.jit(lambda x: doubled(same(x)))
    activations = {name: getattr(jax.nn, name) for name in {"relu", "tanh"}}
    hidden = jax.checkpoint(lambda x: activations["relu"](step(x)))(jax.lax.stop_gradient(called))
    return apply(config, dict(zip(sorted(init(config, jax.random.key(0))), jax.tree.leaves(params))), hidden, key)


def test_what_is_only_made_anew_in_each_trace_is_not_refused(data):
    traces = []

    def named(config, key):
        traces.append(1)
        prefix = f"{uuid.uuid4()}"
        return {f"{prefix}/{name}": leaf for name, leaf in init(config, key).items()}

    assert planned(data, ONE, init=named, apply=made_anew).programs == 1
    assert len(traces) > 2


def test_a_program_is_what_was_planned_whatever_changes_later(data):
    """A global changes between the plan and compiling, and again behind JAX's own cache of traces."""
    scale = [1.0]
    helper = jax.jit(lambda x: x * scale[0])
    task = make_task(data, apply=lambda c, p, x, k: helper(apply(c, p, x, k)))

    class Meddler(js.Callback):
        def on_start(self, plan):
            scale[0] = 5.0

    first, second = (js.run(js.Sweep(task, ONE, steps=5), callbacks=[Meddler()]) for _ in range(2))
    assert first.best().mean != second.best().mean


def test_a_recorded_program_is_not_traced_twice_again(data, tmp_path):
    traces = []
    counted = lambda config, key: [traces.append(1), init(config, key)][1]
    sweep = js.Sweep(make_task(data, init=counted), ONE, steps=5, store=tmp_path / "s.db")
    js.run(sweep)
    first = len(traces)
    js.run(sweep)
    assert len(traces) - first < first


class Module(NamedTuple):
    """A model that keeps a hyperparameter beside its weights."""

    weights: dict
    rate: float


def module(make_rate):
    return {
        "init": lambda config, key: Module(init(config, key), make_rate(config)),
        "apply": lambda config, params, x, key: params.rate * apply(config, params.weights, x, key),
    }


TRAINED = {
    "a lane": (lambda config: config["rate"], [0.1, 0.2], r"config\['rate'\]"),
    "a static value": (lambda config: config["rate"], js.static([0.1, 0.2]), r"config\['rate'\]"),
    "a lane as an array": (lambda config: jnp.asarray(config["rate"], jnp.float32), [0.1, 0.2], r"config\['rate'\]"),
    "a whole number": (lambda config: jnp.float32(config["rate"]), [1, 2], r"config\['rate'\]"),
    "a number": (lambda config: 0.5, [0.1], "the number 0.5"),
}


@pytest.mark.filterwarnings("ignore:some hyperparameters have no effect")
@pytest.mark.parametrize("kind", TRAINED)
def test_a_hyperparameter_among_the_trained_parameters_is_warned_of(data, kind):
    make_rate, values, start = TRAINED[kind]
    configs = js.grid({"learning_rate": [0.1], "rate": values})
    with pytest.warns(UserWarning, match=rf"are trained \(params.rate starts as {start}\)"):
        planned(data, configs, **module(make_rate))


def held(config, params, x, key):
    return jax.lax.stop_gradient(params.rate) * apply(config, params.weights, x, key)


FREE = {
    "learned from its logarithm": module(lambda config: jnp.log(config["rate"])),
    "an array filled with it": {
        "init": lambda c, k: {**init(c, k), "scale": jnp.full(10, c["rate"])},
        "apply": lambda c, p, x, k: p["scale"] * apply(c, p, x, k),
    },
    "a parameter without an array": {
        "init": lambda c, k: {**init(c, k), "scale": 1.0},
        "apply": lambda c, p, x, k: c["rate"] * p["scale"] * apply(c, p, x, k),
    },
    "one that no step changes": module(lambda config: config["rate"]) | {"apply": held},
    "one that is read in apply": module(lambda config: jnp.float32(0.5))
    | {"apply": lambda c, p, x, k: held(c, p._replace(rate=c["rate"]), x, k)},
}


@pytest.mark.parametrize("kind", FREE)
def test_parameters_that_are_to_be_trained_are_not_warned_of(data, kind):
    planned(data, js.grid({"learning_rate": [0.1], "rate": [0.1, 0.2]}), **FREE[kind])  # warnings are errors in tests


def test_weight_decay_of_a_hyperparameter_is_training_it(data):
    decayed = module(lambda config: config["rate"]) | {
        "apply": held,
        "optimizer": lambda c: optax.adamw(c["learning_rate"]),
    }
    with pytest.warns(UserWarning, match="some hyperparameters are trained"):
        planned(data, js.grid({"learning_rate": [0.1], "rate": [0.1, 0.2]}), **decayed)
