"""A sweep resumes after a stop, a crash or a failure, with more steps or more seeds, and in several processes."""

import contextlib
import sqlite3
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import make_task, optimizer, rows_of

import jsweep as js
from jsweep.storage import open_store
from jsweep.storage.checkpoints import folder_of


@pytest.fixture(autouse=True)
def saved_at_every_segment(monkeypatch):
    """However short the segments are."""
    monkeypatch.setattr("jsweep.runner.checkpointing.LEAST_SECONDS", 0.0)


SPACE = {"learning_rate": [0.03, 0.1, 0.3], "width": [8, 16], "dropout": [0.1, 0.3]}


def sweep_of(data, store, steps=60, **options):
    options = {"tile": 4, "evaluate_every": 20, "seeds": 2} | options
    return js.Sweep(make_task(data), js.grid(SPACE), steps=steps, store=store, **options)


def stop_after(monkeypatch, segments):
    """Interrupt a sweep, as a second Ctrl-C does, after ``segments`` recorded segments."""
    from jsweep.storage import Store

    count, record = [0], Store.record_segment

    def counted(self, *arguments):
        count[0] += 1
        if count[0] > segments:
            raise KeyboardInterrupt
        return record(self, *arguments)

    monkeypatch.setattr(Store, "record_segment", counted)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return js.run(sweep_of(data, tmp_path_factory.mktemp("undisturbed") / "s.db", checkpoints="all"))


@pytest.mark.parametrize("segments", [1, 5, 11])
def test_an_interrupted_sweep_ends_bit_for_bit_as_an_undisturbed_one(
    data, tmp_path, monkeypatch, undisturbed, segments
):
    sweep = sweep_of(data, tmp_path / "s.db", checkpoints="all")
    with monkeypatch.context() as patch:
        stop_after(patch, segments)
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep)
    result = js.run(sweep)
    assert rows_of(result) == rows_of(undisturbed)
    for trial in result.trial_ids:
        same = jax.tree.map(np.array_equal, result.params(trial), undisturbed.params(trial))
        assert all(jax.tree.leaves(same))


def test_a_sweep_resumes_from_its_last_segment_and_not_from_the_start(data, tmp_path, monkeypatch):
    sweep = sweep_of(data, tmp_path / "s.db")
    with monkeypatch.context() as patch:
        stop_after(patch, 8)  # two tiles, and two segments of the third
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep, workers=jax.devices()[:1])
    steps = resumed_at(monkeypatch)
    js.run(sweep)
    assert any(step > 0 for step in steps)
    assert not folder_of(str(sweep.store)).exists()  # there is nothing left to resume from


def test_a_tile_that_trains_for_less_than_a_second_is_saved_only_where_it_is_stopped(data, tmp_path, monkeypatch):
    monkeypatch.setattr("jsweep.runner.checkpointing.LEAST_SECONDS", 3600.0)
    sweep = sweep_of(data, tmp_path / "s.db", steps=2000)  # far more segments than pass before a worker hears of it
    saved = []

    class Stop(js.Callback):
        def on_segment(self, event):
            saved.append([row.step for row in event.saved])
            if len(saved) == 2:
                raise RuntimeError("stopped after the second segment")

    with pytest.raises(RuntimeError):
        js.run(sweep, callbacks=[Stop()], workers=jax.devices()[:1])
    assert saved == [[], []]
    left = open_store(sweep.store, write=False)
    with left:
        (row,) = left.checkpoints(1)  # of the segment that was trained when it was stopped
        assert 40 <= row.step < 2000
        assert js.verify(sweep.store).faults == ()
    steps = resumed_at(monkeypatch)
    js.run(sweep).close()
    assert max(steps) == row.step


def resumed_at(monkeypatch):
    """The steps from which tiles resume from now on; 0 for tiles that start from their seeds."""
    from jsweep.runner.checkpointing import Checkpointing

    steps, resume = [], Checkpointing.resume

    def noted(self, group, tile):
        carry = resume(self, group, tile)
        steps.append(carry.step if carry else 0)
        return carry

    monkeypatch.setattr(Checkpointing, "resume", noted)
    return steps


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_reported_and_not_used(data, tmp_path, monkeypatch, undisturbed, damage):
    sweep = sweep_of(data, tmp_path / "s.db")
    with monkeypatch.context() as patch:
        stop_after(patch, 8)  # two tiles, and two segments of the third
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep, workers=jax.devices()[:1])
    files = list(folder_of(str(sweep.store)).glob("*.safetensors"))
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes({"cut": content[: len(content) // 2], "flip": content, "remove": b""}[damage])
        if damage == "remove":
            file.unlink()
    with pytest.warns(
        UserWarning, match="missing or damaged"
    ):  # one worker: what JAX does in others can hide a warning
        result = js.run(sweep, workers=jax.devices()[:1])
    assert rows_of(result) == rows_of(undisturbed)


def test_finished_trials_are_extended_from_their_last_step(data, tmp_path, monkeypatch):
    undisturbed = js.run(sweep_of(data, tmp_path / "undisturbed.db", steps=100))
    js.run(sweep_of(data, tmp_path / "s.db", steps=60, checkpoints="all"))
    steps = resumed_at(monkeypatch)
    longer = js.run(sweep_of(data, tmp_path / "s.db", steps=100, checkpoints="all"))
    assert set(steps) == {60}
    assert rows_of(longer) == rows_of(undisturbed)
    with pytest.raises(js.JsweepError, match="at 100 steps, and 60 are asked for"):
        js.run(sweep_of(data, tmp_path / "s.db", steps=60))


def test_trials_are_found_by_their_ids_when_a_sweep_is_extended(data, tmp_path, monkeypatch):
    """And not by comparing each with each: a sweep of many trials would take minutes."""
    sweep = lambda steps: js.Sweep(
        make_task(data), js.grid({"learning_rate": js.linspace(0.01, 0.1, 20)}), steps=steps, store=tmp_path / "s.db"
    )
    js.run(sweep(1))
    monkeypatch.setattr("jsweep.storage.Trial.__eq__", lambda self, other: pytest.fail("compared"))
    assert all(trial.done == 2 for trial in js.run(sweep(2)).trials())


def test_a_task_that_reads_its_steps_is_not_extended(data, tmp_path):
    def decaying(config):
        return optimizer({**config, "learning_rate": config["learning_rate"] / config["steps"]})

    task = make_task(data, optimizer=decaying)
    js.sweep(task, [{"learning_rate": 0.1}], steps=10, store=tmp_path / "s.db")
    with pytest.raises(js.JsweepError, match=r"its task reads config\['steps'\].*name of its own"):
        js.sweep(task, [{"learning_rate": 0.1}], steps=20, store=tmp_path / "s.db")


def test_only_new_trials_are_trained_and_dropped_ones_are_gone(data, tmp_path, monkeypatch):
    sweep = sweep_of(data, tmp_path / "s.db", seeds=1, steps=20)
    first = js.run(sweep)
    before = rows_of(first)
    steps = resumed_at(monkeypatch)
    more = js.run(sweep_of(data, tmp_path / "s.db", seeds=3, steps=20))
    assert len(steps) == 2 * 3  # 24 new trials of 2 groups in tiles of 4
    assert {key: value for key, value in rows_of(more).items() if key in before} == before
    dropped = sorted(first.trial_ids)[:5]
    js.drop(tmp_path / "s.db", "small", dropped)
    assert not set(dropped) & {trial.id for trial in more.trials()}
    assert rows_of(js.run(sweep)) == before
    js.drop(tmp_path / "s.db", "small")
    with pytest.raises(js.JsweepError, match="there is no sweep 'small'"):
        js.drop(tmp_path / "s.db", "small")


def test_params_are_those_at_the_end_of_training(data, tmp_path):
    for policy in ("running", "all"):  # trained again; read from the checkpoint
        result = js.run(sweep_of(data, tmp_path / f"{policy}.db", checkpoints=policy))
        trial = result.best("validation/loss").trials[0]
        params = result.params(trial)
        x, y = data.validation
        config = next(t.config for t in result.trials() if t.id == trial)
        outputs = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        loss = float(js.losses.softmax_cross_entropy(jnp.asarray(outputs), y).mean())
        assert params["w1"].shape == (64, config["width"])
        assert loss == pytest.approx(result.curves("validation/loss")[trial][-1][1], rel=1e-5)


def test_other_versions_are_refused_with_the_option_that_allows_them(data, tmp_path):
    sweep = sweep_of(data, tmp_path / "s.db", seeds=1, steps=20)
    js.run(sweep)
    with contextlib.closing(sqlite3.connect(sweep.store)) as db:
        db.execute('UPDATE environments SET described = replace(described, \'"jax": "\', \'"jax": "9\')')
        db.commit()
    more = sweep_of(data, tmp_path / "s.db", seeds=2, steps=20)
    with pytest.raises(js.JsweepError, match=r"trained elsewhere \(jax 9.*--any-environment.*--name"):
        js.run(more)
    assert len(js.run(sweep).trials()) == 12  # reading is allowed
    result = js.run(more, any_environment=True)
    assert {trial.status for trial in result.trials()} == {"finished"}
    assert len(result.environments()) == 2


def test_concurrent_runs_of_a_sweep_share_its_trials(data, tmp_path, undisturbed):
    sweep = sweep_of(data, tmp_path / "s.db")
    results, trained = [], []
    from jsweep.storage import Store

    record = Store.record_segment

    def noted(self, sweep, program, width, scores, *rest):
        trained.extend(score.trial for score in scores if score.finished)
        return record(self, sweep, program, width, scores, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "record_segment", noted)
        threads = [threading.Thread(target=lambda: results.append(js.run(sweep))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(trained) == sorted(undisturbed.trial_ids)
    assert all(rows_of(result) == rows_of(undisturbed) for result in results)
