"""The recipes of docs/how-to/models.md: what is a lane, and that they compute what plain loops do."""

import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jsweep as js
from jsweep.planning import make_groups, make_trials

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "models.md"
RECIPES = {  # by the name of the optimizer or task on the page: the values, all lanes unless STATIC
    "accumulated": {"every": [2, 4]},
    "two_rates": {"bias_rate": [0.1, 0.2]},
    "masked_decay": {"decay": [0.01, 0.1]},
    "clipped": {"clip": [1.0, 2.0]},
    "injected": {"momentum": [0.5, 0.9]},
    "averaged_task": {"average": [0.9, 0.99]},
    "free_task": {},
    "lookahead_task": {"slow": [0.5, 0.8]},
    "scaled_task": {},
    "weighted_task": {"clip": [1.0, 2.0]},
    "balanced_task": {"clip": [1.0], "positive_weight": [1.0, 2.0]},
    "tagger_task": {},
    "both_task": {"clip": [1.0], "mix": [0.1, 1.0]},
    "normed_task": {"clip": [1.0, 2.0]},
}
STATIC = {"every"}


@pytest.fixture(scope="module")
def page():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


@pytest.mark.parametrize("name", RECIPES)
def test_what_the_page_calls_a_lane_is_one(page, name):
    task = page[name] if isinstance(page[name], js.Task) else page["task_of"](page[name])
    space = {"learning_rate": [0.1, 0.01]} | RECIPES[name]
    roles = make_groups(task, make_trials(task, js.grid(space), 1, 10, None, 160)).roles
    kinds = {each: str(roles[each].kind) for each in space}
    assert kinds == {each: "static" if each in STATIC else "lane" for each in space}


def batches(page, steps):
    x, y = page["x"], page["y"]
    return [(x[rows], y[rows]) for rows in np.random.default_rng(1).integers(0, 160, size=(steps, 16))]


def trained(task, config, stream):
    """The states after each step on given batches."""
    config = js.Config(config)
    step = jax.jit(lambda state, batch: task.step(config, state, batch, jax.random.key(0)))
    states = [jax.jit(lambda: task.init(config, jax.random.key(3)))()]
    for batch in stream:
        states.append(step(states[-1], batch)[0])
    return states


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, other)


def descended(page, params, batch):
    """Parameters after a step of plain gradient descent by 0.1."""
    loss = optax.softmax_cross_entropy_with_integer_labels
    mean = lambda p: loss(page["apply"]({}, p, batch[0], None), batch[1]).mean()
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(mean)(params))


def test_accumulated_batches_train_as_one_large_batch(page):
    stream = batches(page, 8)
    config = {"learning_rate": 0.1, "every": 4}
    accumulated = trained(page["task_of"](page["accumulated"]), config, stream)[-1]
    large = [tuple(np.concatenate(parts) for parts in zip(*stream[k : k + 4])) for k in (0, 4)]
    plain = page["task_of"](lambda config: optax.adam(config["learning_rate"]), batch_size=64)
    assert_close(accumulated["params"], trained(plain, config, large)[-1]["params"])


def test_the_average_that_is_evaluated_is_that_of_the_parameters(page):
    config = {"learning_rate": 0.05, "average": 0.7}
    states = trained(page["averaged_task"], config, batches(page, 5))
    states = jax.device_get(states)
    average = states[0]["params"]
    for state in states[1:]:
        average = jax.tree.map(lambda a, p: 0.7 * a + 0.3 * p, average, state["params"])
    split = page["data"].validation
    found = jax.jit(lambda state: page["averaged_task"].evaluate(js.Config(config), state, split)["loss"])(states[-1])
    assert float(found) == pytest.approx(float(jax.jit(page["mean_loss"])(average, split)), rel=1e-5)


def test_lookahead_moves_slow_parameters_by_its_rule(page):
    stream = batches(page, 10)
    descend = jax.jit(lambda params, batch: descended(page, params, batch))
    slow = fast = jax.device_get(jax.jit(lambda: page["init"]({}, jax.random.key(3)))())
    for number, batch in enumerate(stream, 1):
        fast = jax.device_get(descend(fast, batch))
        if number % 5 == 0:
            slow = fast = jax.tree.map(lambda s, f: s + 0.5 * (f - s), slow, fast)
    state = trained(page["lookahead_task"], {"learning_rate": 0.1, "slow": 0.5}, stream)[-1]
    assert_close(state["params"].slow, slow)


def test_a_loss_in_float16_is_scaled_and_an_overflow_leaves_the_update_out(page):
    stream = batches(page, 6)
    task, config = page["scaled_task"], {"learning_rate": 0.01}
    states = trained(task, config, stream)
    plain = trained(page["task_of"](lambda config: optax.adam(config["learning_rate"])), config, stream)
    states, plain = jax.device_get((states, plain))
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), states[-1]["params"], plain[-1]["params"])
    assert 0 < max(map(float, jax.tree.leaves(difference))) < 0.02

    overflowing = states[2] | {"scale": np.float32(1e30)}
    step = jax.jit(lambda state: task.step(js.Config(config), state, stream[2], jax.random.key(0)))
    after, metrics = step(overflowing)
    assert_close(after["params"], states[2]["params"])
    assert_close(after["optimizer"], states[2]["optimizer"])
    assert float(after["scale"]) == pytest.approx(0.5e30)
    assert np.isfinite(float(metrics["loss"]))
