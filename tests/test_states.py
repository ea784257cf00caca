"""States as model libraries make them, with transformations in the static part of their tree, and steps that take them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import engine_stream

import jsweep as js
from jsweep.planning.lane_types import lane_type_of
from jsweep.planning.traced import trace

X = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5]) + 0.1).astype(np.float32)
DATA = js.Splits((X[:32], Y[:32]), (X[32:], Y[32:]))
STEPS, RATES = 12, [0.3, 0.05, 0.01]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("params", "opt_state"), meta_fields=("tx", "apply_fn")
)
@dataclass
class TrainState:
    """Flax's, in short: what is not an array is in the static part of the tree."""

    params: Any
    opt_state: Any
    tx: optax.GradientTransformation
    apply_fn: Callable[..., Any]


def init_state(config, key):
    tx = optax.adam(config["learning_rate"])
    params = {"w": jax.random.normal(key, (3,))}
    return TrainState(params, tx.init(params), tx, lambda params, x: x @ params["w"])


def mean_loss(state, params, batch):
    return jnp.mean((state.apply_fn(params, batch[0]) - batch[1]) ** 2)


def train_step(state, batch):
    loss, gradients = jax.value_and_grad(lambda params: mean_loss(state, params, batch))(state.params)
    updates, opt_state = state.tx.update(gradients, state.opt_state, state.params)
    return replace(state, params=optax.apply_updates(state.params, updates), opt_state=opt_state), {"loss": loss}


def eval_step(state, split):
    return {"loss": mean_loss(state, state.params, split)}


def task_of(init=init_state, step=train_step, evaluate=eval_step, **changes):
    return js.from_train_step(init, step, evaluate, data=DATA, batch_size=8, **changes)


def plain_losses(rates):
    """The losses of plain optax loops on the batches of the engine."""
    key, stream = engine_stream(DATA, 0, 8, STEPS)
    batches = jax.tree.map(lambda *rows: jnp.stack(rows), *(batch for batch, _ in stream))

    @jax.jit
    def train(rate):
        tx = optax.adam(rate)
        params = {"w": jax.random.normal(key, (3,))}

        def step(carry, batch):
            gradients = jax.grad(lambda p: jnp.mean((batch[0] @ p["w"] - batch[1]) ** 2))(carry[0])
            updates, state = tx.update(gradients, carry[1])
            return (optax.apply_updates(carry[0], updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), batches)
        return jnp.mean((X[32:] @ params["w"] - Y[32:]) ** 2)

    return {rate: float(train(rate)) for rate in rates}


@pytest.mark.parametrize("step", [train_step, jax.jit(train_step, donate_argnums=0)], ids=["plain", "jitted-donating"])
def test_a_learning_rate_in_the_tx_of_a_train_state_is_a_lane(step):
    sweep = js.Sweep(task_of(step=step), js.grid({"learning_rate": RATES}), steps=STEPS, evaluate_every=STEPS)
    assert "1 compiled program," in str(js.plan(sweep))
    session = js.run(sweep)
    found = {row.config["learning_rate"]: row.mean for row in session.ranking("validation/loss")}
    assert found == pytest.approx(plain_losses(RATES), rel=1e-5)

    best = session.best("validation/loss")
    state = best.state()  # whose tx and apply_fn are of its own config, and can be used
    again, _ = train_step(state, DATA.validation)
    tx = optax.adam(best.config["learning_rate"])
    gradients = jax.grad(lambda params: mean_loss(state, params, DATA.validation))(state.params)
    updates, _ = tx.update(gradients, state.opt_state, state.params)
    np.testing.assert_allclose(again.params["w"], state.params["w"] + updates["w"], rtol=1e-6)


def test_a_random_number_in_the_static_part_is_refused():
    def init(config, key):
        tx = optax.sgd(config["learning_rate"] * jax.random.uniform(key))
        return replace(init_state(config, key), tx=tx, opt_state=tx.init({"w": jnp.zeros(3)}))

    with pytest.raises(js.ConfigError, match=r"step depends on a random number that init keeps in a part of the state"):
        js.plan(js.Sweep(task_of(init), [{"learning_rate": 0.1}], steps=STEPS))


def test_a_traced_value_that_is_kept_outside_the_state_is_refused():
    kept = []

    def init(config, key):
        kept.append(config["scale"] * jax.random.uniform(key))
        return jnp.zeros(3)

    task = task_of(
        init, lambda state, batch: (state + kept[0], {"loss": state.sum()}), lambda state, split: {"loss": 0.0}
    )
    with pytest.raises(js.ConfigError, match="uses a traced value that a call before it has kept"):
        js.plan(js.Sweep(task, [{"scale": 0.1}], steps=STEPS))


def test_an_init_that_prints_is_not_repeated_in_every_step():
    def init(config, key):
        jax.debug.print("starting")
        return init_state(config, key)

    lanes = {"learning_rate": lane_type_of([0.1])}
    with pytest.raises(js.ConfigError, match="init calls a function on the host, or prints, and keeps traced values"):
        trace(task_of(init), {"steps": STEPS}, lanes, 8)


def test_a_static_part_that_a_step_makes_anew_is_refused():
    remake = lambda state, batch: (replace(state, tx=optax.adam(0.1)), {"loss": jnp.float32(0.0)})
    with pytest.raises(js.ConfigError, match="static part .* is not the one it was given: make it in init alone"):
        js.plan(js.Sweep(task_of(step=remake), [{"learning_rate": 0.1}], steps=STEPS))


def test_a_step_starts_with_no_initialisation():
    lanes = {"learning_rate": lane_type_of([0.1])}
    traced = trace(task_of(), {"steps": STEPS}, lanes, 8)
    assert traced.template.remade
    assert "random" not in str(traced.step)


def test_a_step_with_three_arguments_gets_a_key_each_step():
    def step(state, batch, key):
        return state + jax.random.normal(key, (3,)), {"loss": state.sum()}

    task = task_of(lambda config, key: config["start"] * jnp.ones(3), step, lambda state, split: {"loss": state.sum()})
    session = js.run(js.Sweep(task, js.grid({"start": [0.0, 2.0]}), steps=3, evaluate_every=3))
    noise = sum(jax.random.normal(key, (3,)).sum() for _, key in engine_stream(DATA, 0, 8, 3)[1])
    found = {row.config["start"]: row.mean for row in session.ranking("validation/loss")}
    assert found == pytest.approx({0.0: float(noise), 2.0: float(noise) + 6.0}, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": lambda config, state, batch, key: None}, "train_step requires 4 arguments: pass a function of"),
        ({"evaluate": lambda state: {}}, "eval_step requires 1 arguments"),
        ({"step": 3}, "train_step is of type int: pass a function"),
        (
            {"step": lambda state, batch, key=None: None},
            "third argument with a default, key=None: leave the default out",
        ),
        ({"step": lambda state, batch: state}, r"train_step returned TrainState: return the pair"),
    ],
)
def test_steps_of_another_form_are_refused(changes, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.plan(js.Sweep(task_of(**changes), [{"learning_rate": 0.1}], steps=STEPS))
