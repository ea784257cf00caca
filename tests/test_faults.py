"""Faults of disks, memory, files and the user's own functions: one sentence, and nothing recorded is lost."""

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import init, make_task, optimizer, rows_of
from test_cli import EXPERIMENT

import jsweep as js
from jsweep.engine.program import TileProgram
from jsweep.storage.checkpoints import folder_of

ROOT = Path(__file__).parent.parent
RATES = [{"learning_rate": rate} for rate in (0.01, 0.03, 0.1, 0.3)]


def python(*arguments, **options):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300, **options
    )


def test_a_sweep_killed_at_random_times_ends_as_an_undisturbed_one(tmp_path):
    found = python("kill.py", "--kills", 3, "--trials", 48, "--longest", 5, cwd=ROOT / "experiments" / "faults")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith("3 kills")


KILLED_AT_THE_END = """
import os, signal, sys
from jsweep.runner import checkpointing, claims
checkpointing.LEAST_SECONDS = 0.0
claims.Claims.release = lambda self: os.kill(os.getpid(), signal.SIGKILL)
from jsweep.cli import main
main(["run", "line.py", "--store", "s.db", "--progress", "off"])
"""


def test_what_a_process_left_that_was_killed_after_the_last_segment_is_removed_by_the_next(tmp_path):
    (tmp_path / "line.py").write_text(EXPERIMENT)
    killed = python("-c", KILLED_AT_THE_END, cwd=tmp_path)
    folder = folder_of(str(tmp_path / "s.db"))
    assert killed.returncode < 0
    assert any(folder.glob("*.owner"))
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT count(*) FROM trials WHERE status != 'finished'").fetchone() == (0,)
    again = python("-m", "jsweep", "run", "line.py", "--store", "s.db", "--progress", "off", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert not folder.exists() or list(folder.iterdir()) == []
    assert js.verify(tmp_path / "s.db").faults == ()


def test_processes_that_share_a_store_lose_no_trial_and_repeat_none():
    found = python("hammer.py", "--processes", 2, "--seconds", 4, cwd=ROOT / "experiments" / "faults")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 lost, 0 trained twice" in found.stdout


def test_bad_input_gives_one_sentence_and_does_not_change_the_store():
    found = python("fuzz.py", "--inputs", 1500, "--seed", 7, cwd=ROOT / "experiments" / "faults")
    assert found.returncode == 0, found.stdout + found.stderr


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from jsweep.cli import main
main(["run", "line.py", "--store", "s.db", "--progress", "off"])
"""


@pytest.mark.parametrize("limit", [100_000, 115_000, 140_000])
def test_a_full_disk_is_one_sentence_and_the_sweep_resumes_once_there_is_space(tmp_path, limit):
    long = EXPERIMENT.replace("steps=50", "steps=400, evaluate_every=2, checkpoints='all'")
    (tmp_path / "line.py").write_text(long)
    (tmp_path / "limited.py").write_text(LIMITED)
    full = python("limited.py", limit, cwd=tmp_path)
    assert full.returncode == 2, full.stdout + full.stderr
    assert "Traceback" not in full.stderr
    assert full.stderr.count("jsweep: ") == 1
    assert "free some space" in full.stderr
    before = scores_of(tmp_path / "s.db")
    done = python("-m", "jsweep", "run", "line.py", "--store", "s.db", "--progress", "off", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = scores_of(tmp_path / "s.db")
    assert before.items() <= after.items()
    assert len(after) == 8 * 200 * 2


def scores_of(store):
    with contextlib.closing(sqlite3.connect(store)) as db:
        return {row[:3]: row[3] for row in db.execute("SELECT trial, metric, step, value FROM scores")}


@contextlib.contextmanager
def without_privileges():
    """Run as a user to whom permissions apply; they do not apply to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_store_can_be_read_and_not_written(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = js.Sweep(make_task(data), RATES, steps=10, store=folder / "s.db")
        rows = rows_of(js.run(sweep))
        os.chmod(folder / "s.db", 0o444)
        os.chmod(folder, 0o555)
        try:
            with without_privileges():
                with pytest.raises(js.JsweepError, match="cannot be written.*permissions"):
                    js.run(js.Sweep(make_task(data), RATES, steps=20, store=folder / "s.db"))
                assert len(js.verify(folder / "s.db").faults) == 0
        finally:
            os.chmod(folder, 0o755)
        assert rows_of(js.run(sweep)) == rows


def test_a_changed_score_is_found_and_its_trial_named(data, tmp_path):
    store = tmp_path / "s.db"
    result = js.run(js.Sweep(make_task(data), RATES, steps=10, store=store))
    assert js.verify(store).faults == ()
    trial = result.trials()[2]
    with contextlib.closing(sqlite3.connect(store)) as db:
        db.execute("UPDATE scores SET value = value * (1 + 1e-7) WHERE trial = ? AND step = 10", (trial.key,))
        db.commit()
    assert [trial.id in fault for fault in js.verify(store).faults] == [True]
    with contextlib.closing(sqlite3.connect(store)) as db:
        db.execute("DELETE FROM scores WHERE trial = ? AND step = 10", (trial.key,))
        db.commit()
    assert any("has no validation/loss at step 10" in fault for fault in js.verify(store).faults)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_store_is_refused(data, tmp_path, share):
    store = tmp_path / "s.db"
    js.run(js.Sweep(make_task(data), RATES, steps=50, evaluate_every=1, store=store))
    with contextlib.closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = store.read_bytes()
    store.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(js.JsweepError, match="restore it from a copy"):
        js.run(js.Sweep(make_task(data), RATES, steps=60, evaluate_every=1, store=store))


def test_a_clock_set_back_changes_nothing(data, tmp_path, monkeypatch):
    import time

    js.run(js.Sweep(make_task(data), RATES[:2], steps=10, store=tmp_path / "s.db"))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr("jsweep.storage.sqlite.now", lambda: "1970-01-01T00:00:00+00:00")
    result = js.run(js.Sweep(make_task(data), RATES, steps=10, store=tmp_path / "s.db"))
    assert rows_of(result) == rows_of(js.sweep(make_task(data), RATES, steps=10))


def exhausted_above(monkeypatch, width, after=0):
    """Let programs wider than ``width`` run out of memory when they train, ``after`` so many calls."""
    from jsweep.engine import program
    from jsweep.engine.executors import programs

    def assembled(*arguments):
        (made, fingerprint), calls = program.assembled(*arguments), itertools.count()

        def train(*arguments):
            if next(calls) >= after:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123456 bytes.")
            return made.train(*arguments)

        fits = made.width <= width
        return made if fits else TileProgram(made.init, train, made.evaluate, made.width), fingerprint

    monkeypatch.setattr(programs, "assembled", assembled)


def test_a_tile_that_does_not_fit_in_memory_is_halved(data, monkeypatch):
    expected = js.sweep(make_task(data), RATES, seeds=2, steps=10, tile=2)
    exhausted_above(monkeypatch, 2)
    with pytest.warns(UserWarning, match=r"\[all\] did not fit the memory: its trials train [24] at a time"):
        result = js.sweep(make_task(data), RATES, seeds=2, steps=10, tile=8)
    assert {trial.width for trial in result.trials()} == {2}
    assert rows_of(result) == rows_of(expected)


@pytest.mark.parametrize("rule", [None, js.rules.successive_halving(10)], ids=["all", "rule"])
def test_a_tile_halved_while_it_trains_is_that_of_half_the_width_from_its_first_step(data, tmp_path, monkeypatch, rule):
    """No trial goes on in one width from what another has trained: no program would give its curve again."""
    monkeypatch.setattr("jsweep.runner.checkpointing.LEAST_SECONDS", 0.0)
    configs = [{"learning_rate": 0.01 * 1.4**number, "width": 4} for number in range(16)]
    options = {"steps": 30, "evaluate_every": 10, "objective": "validation/loss", "checkpoints": "all"}
    expected = rows_of(js.sweep(make_task(data), configs, tile=8, **options))
    exhausted_above(monkeypatch, 8, after=2)
    with pytest.warns(UserWarning, match="did not fit the memory: its trials train 8 at a time"):
        session = js.sweep(make_task(data), configs, tile=16, rule=rule, store=tmp_path / "s.db", **options)
    monkeypatch.undo()
    assert any(trial.width == 8 and trial.done == 30 for trial in session.trials())
    for trial in session.trials():
        assert js.replay(session, trial.id).difference is None
    halved = {trial.id for trial in session.trials() if trial.width == 8}
    assert all(expected[row] == value for row, value in rows_of(session).items() if row[0] in halved)


def test_a_lane_that_does_not_fit_in_memory_fails_with_the_reason(data, monkeypatch):
    exhausted_above(monkeypatch, 0)
    with (
        pytest.warns(UserWarning, match="RESOURCE_EXHAUSTED: Out of memory allocating 123456 bytes"),
        pytest.warns(UserWarning, match="did not fit the memory: its trials train 1 at a time"),
    ):
        result = js.sweep(make_task(data), RATES[:2], steps=10, tile=2)
    assert {trial.status for trial in result.trials()} == {"failed"}


def raising_for(rate):
    def check(value):
        if abs(float(value) - rate) < 1e-6:
            raise ValueError(f"no such rate as {rate}")
        return np.float32(0.0)

    def raising(config):
        inner = optimizer(config)
        zero = lambda r: jax.pure_callback(check, jax.ShapeDtypeStruct((), jnp.float32), r, vmap_method="sequential")

        def update(updates, state, params=None, **extra):
            updates, state = inner.update(updates, state, params)
            return jax.tree.map(lambda u: u + zero(config["learning_rate"]), updates), state

        return type(inner)(inner.init, update)

    return raising


def test_only_the_trial_that_raises_while_it_trains_fails(data, tmp_path):
    sweep = js.Sweep(
        make_task(data, optimizer=raising_for(0.1)), RATES, seeds=2, steps=10, tile=8, store=tmp_path / "s.db"
    )
    with pytest.warns(UserWarning, match="2 of 8 trials failed, the first .* no such rate as 0.1"):
        result = js.run(sweep)
    failed = [trial for trial in result.trials() if trial.status == "failed"]
    assert {trial.config["learning_rate"] for trial in failed} == {0.1}
    assert sum(trial.status == "finished" for trial in result.trials()) == 6
    undisturbed = js.sweep(make_task(data, optimizer=raising_for(9.0)), RATES, seeds=2, steps=10, tile=8)
    assert rows_of(result).items() <= rows_of(undisturbed).items()


def init_of_another_structure(config, key):
    params = init(config, key)
    return {"w1": params["w1"]} if config["width"] == 24 else params


def metric_that_raises(config, outputs, y):
    if config["width"] == 24:
        raise ZeroDivisionError("the metric divides by zero")
    return js.losses.softmax_cross_entropy(outputs, y)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"init": init_of_another_structure}, "KeyError: 'b1'"), ({"loss": metric_that_raises}, "divides by zero")],
)
def test_only_the_configs_that_cannot_be_traced_fail(data, tmp_path, changes, reason):
    configs = [{"learning_rate": 0.1, "width": width} for width in (8, 24, 16)]
    sweep = js.Sweep(make_task(data, **changes), configs, seeds=2, steps=10, store=tmp_path / "s.db")
    with pytest.warns(UserWarning, match="2 of 6 trials failed"):
        result = js.run(sweep)
    failed = [trial for trial in result.trials() if trial.status == "failed"]
    assert {trial.config["width"] for trial in failed} == {24}
    assert all(reason in (trial.reason or "") for trial in failed)
    assert sum(trial.status == "finished" for trial in result.trials()) == 4
    assert result.best("validation/loss").config["width"] != 24


def test_nothing_is_pickled(data, tmp_path):
    sweep = js.Sweep(make_task(data), RATES, steps=10, store=tmp_path / "s.db", checkpoints="all")
    js.run(sweep)
    files = list(folder_of(str(sweep.store)).iterdir())
    assert {file.suffix for file in files} == {".safetensors"}
    executors = (
        "engine/executors/",
        "integrations/ray.py",
        "runner/remote.py",
        "cli/run.py",
    )  # to workers, by whoever runs them
    paths = [path for path in (ROOT / "jsweep").rglob("*.py") if not any(part in str(path) for part in executors)]
    assert len(paths) > 100
    sources = [path.read_text() for path in paths]
    assert not any("pickle" in text and "import pickle" in text for text in sources)


def test_plots_accept_hostile_names(data, tmp_path):
    from jsweep.results.plots import plot_best, plot_score

    names = ["$\\frac{", "\x1b[31m", "<script>", "a" * 5000, "_", "\u202e"]
    configs = [
        {"learning_rate": rate, name: value}
        for rate in (0.1, 1e30, 10**12)
        for name, value in zip(names, ["x$y^", "\n\n", 1e30, "b" * 5000, True, "c"])
    ]
    with pytest.warns(UserWarning, match="never read by the task"):
        result = js.sweep(make_task(data), configs, steps=2)
    for number, name in enumerate(names):
        plot_score(result, "learning_rate", tmp_path / f"{number}.png", by=name)
    assert plot_best(result, names[0], tmp_path / "best.png").stat().st_size > 1000


def test_a_number_that_no_lane_can_hold_is_refused(data):
    with pytest.raises(js.JsweepError, match="learning_rate=1e\\+300 does not fit float32"):
        js.sweep(make_task(data), [{"learning_rate": 1e300}, {"learning_rate": 0.1}], steps=2)
