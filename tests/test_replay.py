"""Any recorded trial trains again to the same bits, alone or beside others; a changed record is found out."""

import contextlib
import sqlite3
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from small import make_task

import jsweep as js
from jsweep.runner.replay import replay_many


@pytest.fixture(scope="module")
def sweep(data, tmp_path_factory):
    space = {
        "learning_rate": [0.03, 0.3],
        "width": [8, 24],
        "dropout": [0.1, 0.4],
        "batch_size": [16, 32],
        "steps": [20, 35],
    }
    store = tmp_path_factory.mktemp("record") / "s.db"
    return js.Sweep(make_task(data), js.grid(space), seeds=2, evaluate_every=10, store=store, tile=4)


def test_trials_of_a_mixed_sweep_replay_bit_equal_beside_others_and_alone(sweep):
    result = js.run(sweep)
    ids = [trial.id for trial in result.trials()]
    for neighbours in (True, False):
        for found in replay_many(result, ids, neighbours=neighbours):
            assert found.difference is None, found
            assert found.compared == 3 * len(result.curves("train/loss")[found.trial])
            assert found.environment == {}
    assert js.replay(sweep, ids[9], batch_with="copies").difference is None
    solo = js.replay(sweep, result.trials()[0].id, batch_with="none")
    assert solo.width == 1
    assert solo.furthest < 1e-4  # rounding of another program


def test_a_session_in_memory_replays_its_trials(data):
    session = js.sweep(make_task(data), [{"learning_rate": 0.1}], steps=10, tile=1)
    assert js.replay(session, session.trials()[0].id).difference is None


def test_a_changed_record_is_told_with_its_place(sweep):
    result = js.run(sweep)
    trial = result.trials()[3]
    with contextlib.closing(sqlite3.connect(sweep.store)) as db, db:
        db.execute("UPDATE scores SET value = value + 1e-3 WHERE trial = ? AND step = 20 AND metric = 1", (trial.key,))
    found = js.replay(sweep, trial.id)
    assert found.difference is not None
    _, step, before, now = found.difference
    assert step == 20
    assert before == pytest.approx(now + 1e-3)
    with pytest.raises(js.IncompatibleSweepError, match=rf"trial {trial.id} trained again gives .* at step 20"):
        js.params(sweep, trial.id)
    js.params(sweep, trial.id, step=10)  # up to there nothing was changed
    with pytest.raises(js.JsweepError, match="matches 0 trials"):
        js.replay(sweep, "nothing")


@pytest.mark.parametrize("checkpoints", ["all", "running"])
def test_a_trial_that_was_given_more_steps_is_trained_again_through_its_former_end(data, tmp_path, checkpoints):
    sweep = js.Sweep(
        make_task(data), [{"learning_rate": 0.1}], seeds=2, steps=15, evaluate_every=10, store=tmp_path / "s.db"
    )
    sweep = replace(sweep, checkpoints=checkpoints, tile=1)
    before = js.run(sweep).best().params()
    js.run(replace(sweep, steps=25)).close()
    with js.attach(sweep) as session:  # the record's steps count, whatever the sweep asks for now
        trial = session.trials()[0].id
        assert session.curves("validation/loss").steps.tolist() == [10, 15, 20, 25]
        assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(session.params(trial, step=15))))
        assert [found.difference for found in replay_many(session, [t.id for t in session.trials()])] == [None, None]
        assert session.test().step == 25
        with pytest.raises(js.ConfigError, match="step=12 is not an evaluation"):
            session.params(trial, step=12)


def test_params_of_a_padded_width_beside_a_selected_optimizer_have_their_own_shape(data, tmp_path):
    def init(config, key):
        return js.models.init_mlp(key, [64, config["width"], 10])

    def apply(config, params, x, key):
        return js.models.apply_mlp(params, x, widths=[config["width"]])

    def optimizer(config):
        return js.select_optimizer(config["optimizer"], {"sgd": optax.sgd(0.1), "adam": optax.adam(0.01)})

    task = make_task(data, init=init, apply=apply, optimizer=optimizer)
    space = {"width": js.lane([4, 8]), "optimizer": js.lane(["sgd", "adam"])}
    sweep = js.Sweep(task, js.grid(space), steps=5, store=tmp_path / "s.db", checkpoints="all", tile=4)
    with js.run(sweep) as session, js.run(replace(sweep, store=None, checkpoints="off")) as other:
        assert len(session.prepared.groups) == 1
        for trial in session.trials():
            kept, again = session.params(trial.id), other.params(trial.id)  # from the checkpoint, and trained again
            assert kept[0]["w"].shape == (64, trial.config["width"])
            assert all(map(np.array_equal, jax.tree.leaves(kept), jax.tree.leaves(again)))


def test_the_plan_is_what_is_run(sweep):
    plan = js.plan(replace(sweep, store=None))
    result = js.run(sweep)
    assert js.plan(sweep).groups == ()  # all has finished
    assert plan.programs == len({trial.program for trial in result.trials()})
    assert sum(group.trials for group in plan.groups) == len(result.trials())
    assert {role.name: role.kind for role in plan.roles.values()}["width"] == "static"
    assert "batch_size: lane" in str(plan)
    assert all(group.flops > 0 for group in plan.groups)


def test_the_operations_of_a_step_are_counted_right(data):
    """A dense model's step is about three forward passes of 2 * rows * weights operations."""
    plan = js.plan(js.Sweep(make_task(data), [{"learning_rate": 0.1, "width": 64}], steps=1))
    forward = 2 * 32 * (64 * 64 + 64 * 10)
    assert plan.groups[0].flops == pytest.approx(3 * forward - 2 * 32 * 64 * 64, rel=0.25)  # no gradient to the input


def test_a_lane_too_big_for_the_device_is_told_with_the_figures(data, monkeypatch):
    sweep = js.Sweep(make_task(data), [{"learning_rate": 0.1, "width": 512}], steps=1)
    whole = js.plan(sweep)
    monkeypatch.setattr(
        "jsweep.runner.plan.device_memory", lambda device: int(whole.groups[0].bytes / whole.groups[0].width) // 2
    )
    with pytest.raises(
        js.JsweepError, match=r"one lane of \[width=512\] needs 0\.0 GB .* and the device has 0\.0 GB: make the"
    ):
        js.plan(sweep)


def test_the_plan_tells_waves_and_what_makes_many_small_programs(data):
    configs = [{"learning_rate": rate, "width": width} for rate in (0.1, 0.2) for width in (4, 5, 6, 7)]
    plan = js.plan(js.Sweep(make_task(data), configs, steps=3, tile=1))
    assert all(group.waves * group.in_flight >= group.trials for group in plan.groups)
    assert any(warning.startswith("width makes 4 programs of 2 lanes") for warning in plan.warnings)
    assert "in flight, " in str(plan)
