"""What `plan(on=)` predicts for accelerators that are not at hand."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jsweep as js
from jsweep.engine.accelerators import ACCELERATORS, Accelerator, lane_cost
from jsweep.runner.prepare import prepare

BATCH, INPUTS, WIDTH = 32, 64, 128


def make_sweep(lanes=8, **options):
    draws = np.random.default_rng(0)
    data = js.Splits(
        (draws.normal(size=(256, INPUTS)).astype(np.float32), draws.normal(size=(256, 1)).astype(np.float32)),
        (np.ones((64, INPUTS), np.float32), np.ones((64, 1), np.float32)),
    )
    task = js.supervised(
        lambda config, key: (jax.random.normal(key, (INPUTS, WIDTH)) / 8, jnp.zeros((WIDTH, 1))),
        lambda config, params, x, key: jnp.tanh(x @ params[0]) @ params[1],
        loss=js.losses.squared_error,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=data,
        batch_size=BATCH,
        name="predicted",
    )
    configs = js.grid({"learning_rate": js.logspace(1e-3, 1e-1, lanes)})
    return js.Sweep(task, configs, **{"steps": 100, "evaluate_every": 50, **options})


@pytest.fixture(scope="module")
def cost():
    sweep = make_sweep()
    return lane_cost(sweep.task, prepare(sweep).groups[0])


def test_what_a_lane_costs_is_what_its_products_and_arrays_are(cost):
    products = 2 * BATCH * (2 * INPUTS * WIDTH + 3 * WIDTH)  # forwards, and backwards but for the inputs
    assert products <= cost.step.flops < 1.2 * products
    params = 4 * (INPUTS * WIDTH + WIDTH)
    batch = 4 * BATCH * (INPUTS + 2 * WIDTH)
    assert 2 * params + batch <= cost.step.accessed < 6 * (2 * params + batch)
    assert params < cost.step.held < 10 * params


def test_seconds_follow_from_the_roofline_waves_and_evaluations(cost, monkeypatch):
    lane = cost.step.held * 1.5
    small = Accelerator("small", 1e9, 1e9, int((3.5 * lane + 4 * (256 + 64) * (INPUTS + 1)) / 0.8), 1.5)
    monkeypatch.setitem(ACCELERATORS, "h100", small)
    found = js.plan(make_sweep(8), on="h100")
    (group,) = found.groups
    assert (group.fit, group.lanes, group.waves) == (3, 3, 3)
    a_step, an_evaluation = (max(c.flops, c.accessed) * 3 / 1e9 for c in (cost.step, cost.evaluation))
    assert group.step_seconds == pytest.approx(a_step)
    assert found.seconds == pytest.approx(3 * (100 * a_step + 2 * an_evaluation))
    assert "predicted for one small" in str(found)
    assert "8 trials in 1 compiled programs" in str(found)
    smaller = Accelerator("smaller", 1e9, 1e9, int(lane), 1.5)
    monkeypatch.setitem(ACCELERATORS, "v5e", smaller)
    with pytest.raises(js.ConfigError, match=r"one lane of \[all\] needs .* the smaller has"):
        js.plan(make_sweep(8), on="v5e")


def test_what_is_done_and_what_is_not_known_is_said(tmp_path):
    sweep = make_sweep(2, steps=2, evaluate_every=2, store=tmp_path / "record.db")
    js.run(sweep)
    assert str(js.plan(sweep, on="v6e")) == "nothing is left to do: all 2 trials have finished"
    with pytest.raises(
        js.ConfigError, match=r"on='a100' is not a known accelerator: pass one of 'h100', 'h200', 'v5e', 'v6e'\."
    ):
        js.plan(sweep, on="a100")


def test_no_code_of_the_library_asks_for_the_default_backend():
    asking = re.compile(r"default_backend|jax\.devices\(\)\[0\]\.platform|\.local_devices\(\)\[0\]\.platform")
    found = {
        str(path): line
        for path in (Path(js.__file__).parent / part for part in ("engine", "planning", "task", "runner"))
        for path in path.rglob("*.py")
        for line in path.read_text().splitlines()
        if asking.search(line)
    }
    assert not found
