"""Tuning in one call: what it does fits the time, is reported, and goes on where it was."""

import math
from dataclasses import replace

import pytest
from click.testing import CliRunner
from small import make_task

import jsweep as js
from jsweep.cli import cli
from jsweep.runner import tune as module

SPACE = {"learning_rate": js.log_uniform(0.01, 1.0)}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "TRIED", 8)
    monkeypatch.setattr(module, "MOST", 90)
    monkeypatch.setattr(module, "CONFIRMED", ((2, 3), (1, 2)))


def test_it_searches_under_a_rule_and_confirms_what_it_chooses(data):
    found = js.tune(make_task(data), SPACE, wall_time="10min", steps=54)
    assert len(found.session.ranking()) == 90
    assert 0 < sum(score.complete for score in found.session.ranking()) < 90
    assert found.confirmation is not None
    assert len(found.best.seeds) == 3
    assert not {*found.best.seeds} & {0}  # fresh ones
    assert found.best.config_id == found.confirmation.fresh[0].config_id
    text = str(found)
    for said in (
        "up to 90 configs under asynchronous_halving(first=2",
        "90 of 90 configs",
        "the best 2 under 3 fresh seeds",
    ):
        assert said in text
    assert found.test().config == found.best.config


def test_a_small_space_is_trained_as_a_whole(data):
    found = js.tune(make_task(data), {"learning_rate": [0.03, 0.1, 0.3]}, wall_time="10min", epochs=1)
    assert all(score.complete for score in found.session.ranking())
    assert "search: 3 configs, for which the plan says" in str(found)
    assert found.session.prepared.trials[0].steps == 8  # of 240 examples in batches of 32


def test_a_second_call_goes_on_where_the_first_was(data, tmp_path, monkeypatch):
    given = {"steps": 54, "store": tmp_path / "tuned.db"}
    first = js.tune(make_task(data), SPACE, wall_time="10min", **given)
    monkeypatch.setattr(module, "MOST", 120)  # as on a machine that has become faster
    again = js.tune(make_task(data), SPACE, wall_time="10min", **given)
    assert [score.values for score in again.session.ranking()] == [score.values for score in first.session.ranking()]
    assert again.best.values == first.best.values
    for found in (first, again):
        found.session.close()
        found.confirmation.session.close()


def test_where_there_is_no_time_for_fresh_seeds_it_is_said(data, monkeypatch):
    confirming = module.confirming
    monkeypatch.setattr(module, "confirming", lambda *given: replace(confirming(*given), steps=10**12))  # for ever
    found = js.tune(make_task(data), {"learning_rate": [0.03, 0.1]}, wall_time="10min", steps=5)
    assert found.confirmation is None
    assert "not confirmed: there was no time to train 1 configs under 2 fresh seeds" in str(found)


def test_a_time_in_which_no_config_comes_to_its_end_still_gives_one(data, tmp_path, monkeypatch):
    def stopped(sweep, **options):
        class Stop(js.Callback):
            def on_segment(self, event):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            js.run(sweep, callbacks=[Stop()])
        monkeypatch.setattr(module, "run", js.run)
        return js.attach(sweep)

    monkeypatch.setattr(module, "run", stopped)
    found = js.tune(make_task(data), SPACE, wall_time="10min", steps=54, store=tmp_path / "tuned.db")
    assert not any(score.complete for score in found.session.ranking())
    assert found.best.step == 54
    assert "the best 1 at step 2 then were, under a fresh seed" in str(found)
    first = min((s for s in found.session.ranking(at=2) if math.isfinite(s.mean)), key=lambda score: score.mean)
    assert found.best.config == first.config


def test_a_time_in_which_nothing_is_trained_is_said_and_what_was_recorded_stays(data, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run", lambda sweep, **_: js.run(sweep, wall_time=1e-9))
    with pytest.raises(js.errors.ConfigError, match="was evaluated in .* pass a longer one"):
        js.tune(make_task(data), SPACE, wall_time=0.1, steps=1_000_000, store=tmp_path / "tuned.db")
    assert js.list(tmp_path / "tuned.db")[0].name == "small"


def test_the_command_takes_the_space_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "line.py").write_text(
        "import jsweep as js, jax.numpy as jnp, numpy as np, optax\n"
        "x = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]\n"
        "data = js.split(x, 3 * x[:, 0], validation=0.25, test=0.25, key=0)\n"
        "task = js.supervised(lambda config, key: {'w': jnp.zeros(1)}, lambda config, params, x, key: x @ params['w'],\n"
        "    loss=js.losses.squared_error, optimizer=lambda config: optax.sgd(config['learning_rate']), data=data, name='line')\n"
        "def sweep(configs=js.random({'learning_rate': js.log_uniform(0.001, 0.5)}, 3, key=0)):\n"
        "    return js.Sweep(task, configs, steps=30)\n"
    )
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(cli, ["tune", "line.py", "--wall-time", "10min"], catch_exceptions=False)
    assert "search: up to 90 configs" in said.output
    assert "confirmed: the best 2 under 3 fresh seeds" in said.output
    assert [row.name for row in js.list(tmp_path / "sweeps.db")] == ["line-tuned", "line-tuned-confirm"]
    (tmp_path / "line.py").write_text(
        (tmp_path / "line.py").read_text() + "\nfirst = sweep\ndef sweep(): return first([{'learning_rate': 0.1}])\n"
    )
    with pytest.raises(js.errors.ConfigError, match="not from one space"):
        CliRunner().invoke(cli, ["tune", "line.py", "--wall-time", "10min"], catch_exceptions=False)
