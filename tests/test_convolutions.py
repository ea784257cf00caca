"""Convolutional trials, rewritten for the CPU or for GPUs, equal a plain loop and do not depend on other lanes."""

import jax
import jax.numpy as jnp
import pytest
from small import make_task, plain_loop, rows_of

import jsweep as js
from jsweep.engine import program

CONFIGS = [{"learning_rate": lr} for lr in (0.003, 0.01, 0.03, 0.1)]


def init(config, key):
    one, two, three = jax.random.split(key, 3)
    return {
        "one": jax.random.normal(one, (3, 3, 1, 6)) / 3,
        "two": jax.random.normal(two, (3, 3, 6, 8)) / 8,
        "out": jax.random.normal(three, (4 * 8, 10)) / 6,
        "bias": jnp.zeros(10),
    }


def apply(config, params, x, key):
    x = x.reshape(-1, 8, 8, 1)
    for name in ("one", "two"):
        x = jax.lax.conv_general_dilated(x, params[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(len(x), -1) @ params["out"] + params["bias"]


@pytest.fixture(scope="module")
def task(data):
    return make_task(data, init=init, apply=apply)


@pytest.mark.parametrize(("width", "form"), [(1, "cpu"), (4, "cpu"), (4, "gpu")])
def test_a_convolutional_lane_follows_a_plain_loop(data, task, width, form, monkeypatch):
    monkeypatch.setattr(program, "_form", lambda task, device: form)
    result = js.sweep(task, CONFIGS, seeds=2, steps=20, evaluate_every=20, tile=width)
    curves = result.curves("validation/loss")
    for trial in result.trials():
        expected = plain_loop(data, trial.config, trial.seed, 20, init=init, apply=apply)
        assert curves[trial.id][-1][1] == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("width", [1, 4])
def test_other_lanes_and_workers_do_not_change_a_convolutional_trial(task, width):
    options = {"steps": 20, "evaluate_every": 10, "tile": width}
    whole = rows_of(js.sweep(task, CONFIGS, seeds=2, **options))
    one = js.run(js.Sweep(task, CONFIGS[::-1], seeds=[1, 0], **options), workers=jax.devices()[:1])
    assert rows_of(one) == whole
    assert rows_of(js.sweep(task, CONFIGS[2:3], seeds=[1], **options)).items() <= whole.items()
