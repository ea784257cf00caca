"""Tiles of hundreds and thousands of lanes: a trial's scores to the bit whatever its company, its place and how its run went."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import make_task, rows_of
from test_faults import ROOT, python

import jsweep as js
from jsweep.engine.program import lower_train
from jsweep.runner.prepare import prepare

sys.path.insert(0, str(ROOT / "experiments" / "faults"))
import wide

pytestmark = pytest.mark.filterwarnings("ignore:some hyperparameters")
WIDTH = 4096


@pytest.fixture(autouse=True)
def saved_at_every_segment(monkeypatch):
    """However short the segments are."""
    monkeypatch.setattr("jsweep.runner.checkpointing.LEAST_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("kind", "width", "ways"),
    [
        ("mixed", 256, ["shuffled, one worker", "shorter segments"]),
        ("folds", 512, ["a fifth"]),
        ("perceptron", 1024, ["under a rule", "resumed"]),
    ],
)
def test_a_trial_in_a_wide_tile_has_the_bits_that_it_has_in_any_company(kind, width, ways):
    differing, compared = wide.faults_of(kind, width, ways)
    assert differing == []
    assert compared > width


@pytest.mark.parametrize("rows", [8, 24, 40])
def test_products_of_shared_examples_do_not_depend_on_the_place_of_a_lane(rows):
    """As one product they would: 300 columns are enough for it."""
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(2 * rows, 300)).astype(np.float32), draws.integers(0, 10, 2 * rows)
    splits = js.Splits((x[:rows], y[:rows]), (x[rows:], y[rows:]))

    def init(config, key):
        return js.models.init_mlp(key, [300, 5, 10])

    def apply(config, params, x, key):
        return js.models.apply_mlp(params, x, jax.nn.relu)

    task = make_task(splits, rows, init=init, apply=apply)
    configs = [{"learning_rate": 0.001 * (1 + number)} for number in range(100)]
    options = {"steps": 2, "evaluate_every": 1, "tile": 128}
    assert rows_of(js.sweep(task, configs, **options)) == rows_of(js.sweep(task, configs[::-1], **options))


def test_what_a_step_holds_itself_does_not_make_the_place_of_a_lane_matter():
    """A product of 32 fixed examples and the weights of all lanes would, as one product."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(32, 300)).astype(np.float32)

    def init(config, key):
        first, second = jax.random.split(key)
        return {"w": jax.random.normal(first, (300, 5)) / 17, "v": jax.random.normal(second, (5,))}

    def loss(params):
        hidden, _ = jax.lax.scan(lambda h, _: (jnp.tanh(x @ params["w"] + h), None), jnp.zeros((32, 5)), length=2)
        return jnp.mean((hidden @ params["v"] + jnp.tanh(x @ params["w"]) @ params["v"] - x[:, 0]) ** 2)

    def step(config, state, batch, key):
        value, gradients = jax.value_and_grad(loss)(state)
        return jax.tree.map(lambda p, g: p - config["learning_rate"] * g, state, gradients), {"loss": value}

    nothing = np.zeros((8, 1), np.float32)
    data = js.Splits((nothing, nothing), (nothing, nothing))
    task = js.Task(
        init, step, lambda config, state, split: {"loss": loss(state)}, data=data, batch_size=4, name="fixed"
    )
    configs = [{"learning_rate": 0.001 * (1 + number)} for number in range(128)]
    options = {"steps": 10, "evaluate_every": 2, "tile": 128}
    assert rows_of(js.sweep(task, configs, **options)) == rows_of(js.sweep(task, configs[::-1], **options))


def test_one_lane_of_thousands_that_is_nan_stays_alone(data, tmp_path):
    task = make_task(data, batch_size=4)
    configs = [{"learning_rate": rate, "width": 2} for rate in np.geomspace(1e-3, 1e-1, WIDTH).tolist()]
    options = {"steps": 4, "evaluate_every": 2, "tile": WIDTH}
    configs[77] = {"learning_rate": 1e30, "width": 2}
    session = js.sweep(task, configs, store=tmp_path / "s.db", **options)
    assert [trial.config["learning_rate"] for trial in session.trials() if trial.nonfinite is not None] == [1e30]
    assert rows_of(js.sweep(task, configs[70:90:2], **options)).items() <= rows_of(session).items()
    assert {trial.width for trial in session.trials()} == {WIDTH}
    assert js.verify(tmp_path / "s.db").faults == ()


def test_another_width_is_another_program_of_the_same_identity(data):
    task, device = make_task(data), jax.devices()[0]
    group = prepare(js.Sweep(task, [{"learning_rate": 0.1}], steps=1)).groups[0]
    one, other = (lower_train(task, group, width, device).as_text() for width in (256, 1024))
    assert one != other
    sweep = js.Sweep(task, [{"learning_rate": rate} for rate in (0.01, 0.1)], steps=2, tile=256)
    session = js.run(sweep)
    assert session.trials()[0].program == js.run(replace(sweep, tile=64)).trials()[0].program
    assert js.replay(session, session.trials()[0].id).width == 256


def test_a_wide_sweep_killed_at_random_times_ends_as_an_undisturbed_one():
    options = ["--kills", 2, "--trials", 160, "--steps", 60, "--tile", 64, "--longest", 3]
    found = python("kill.py", *options, cwd=ROOT / "experiments" / "faults")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith("2 kills")
