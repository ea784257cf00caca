"""Any recorded trial trains again to the same bits, alone or beside others; a changed record is found out."""

import contextlib
import sqlite3
from dataclasses import replace

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
        for found in replay_many(result, result.prepared, ids, neighbours=neighbours):
            assert found.difference is None, found
            assert found.compared == 3 * len(result.curves("train/loss")[found.trial])
            assert found.environment == {}
    assert js.replay(sweep, ids[9], batch_with="copies").difference is None
    solo = js.replay(sweep, result.trials()[0].id, batch_with="none")
    assert solo.width == 1
    assert solo.furthest < 1e-4  # rounding of another program


def test_a_trial_of_a_sweep_in_memory_is_replayed_by_its_session(data):
    sweep = js.Sweep(make_task(data), [{"learning_rate": 0.1}], seeds=2, steps=4)
    session = js.run(sweep)
    for trial in session.trials():
        assert session.replay(trial.id).difference is None
    with pytest.raises(js.ConfigError, match="a record in memory is that of the session of its run alone"):
        js.replay(sweep, session.trials()[0].id)


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
    with pytest.raises(js.JsweepError, match="matches 0 trials"):
        js.replay(sweep, "nothing")


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
