"""Shards: fixed shares of a sweep in records of their own, which merge into the record of the whole."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess

import pytest
from click.testing import CliRunner
from small import make_task, rows_of
from test_cli import EXPERIMENT

import jsweep as js
from jsweep.cli import cli
from jsweep.storage import open_store

SPACE = {"learning_rate": [0.01, 0.02, 0.05, 0.1], "width": [4, 8]}
OPTIONS = {"steps": 6, "evaluate_every": 3, "seeds": 2, "tile": 2, "name": "shared", "checkpoints": "all"}


@pytest.fixture(scope="module")
def task(data):
    return make_task(data)


def sweep(task, store=None, **changes):
    return js.Sweep(task, js.grid(SPACE), store=store, **{**OPTIONS, **changes})


def scores_in(store):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT COUNT(*) FROM scores").fetchone()


@pytest.fixture(scope="module")
def whole(task):
    return rows_of(js.run(sweep(task)))


@pytest.fixture(scope="module")
def parts(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for number in (1, 2, 3):
        js.run(sweep(task, folder / f"{number}.db"), shard=(number, 3)).close()  # so that its file has all of it
    return [folder / f"{number}.db" for number in (1, 2, 3)]


def test_merged_shards_are_the_record_of_one_run_to_the_bit(task, whole, parts, tmp_path):
    shares = [{trial.id for trial in js.open(part, "shared").trials()} for part in parts]
    assert sum(map(len, shares)) == len(set().union(*shares)) == 16
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    found = js.merge(tmp_path / "all.db", parts)
    assert (found.sweeps, found.trials, found.known) == (1, 16, 0)
    merged = js.open(tmp_path / "all.db", "shared")
    assert rows_of(merged) == whole
    assert found.scores == len(whole)
    assert not js.verify(tmp_path / "all.db").faults
    session = js.run(sweep(task, tmp_path / "all.db"))  # nothing is left to train, and states are there
    assert rows_of(session) == whole
    assert session.best().params().keys() == {"w1", "b1", "w2", "b2"}


def test_a_merge_that_is_repeated_or_interrupted_doubles_nothing(whole, parts, tmp_path, monkeypatch):
    store = tmp_path / "all.db"
    js.merge(store, parts[:2])
    from jsweep.storage import merging

    with monkeypatch.context() as patched:
        patched.setattr(merging, "_take_checkpoints", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            js.merge(store, parts[2:])
    assert len(js.open(store, "shared").trials()) == 10
    again = js.merge(store, parts)
    assert (again.sweeps, again.trials, again.known) == (0, 6, 10)
    assert rows_of(js.open(store, "shared")) == whole
    assert js.merge(store, parts).trials == 0
    seconds = [open_store(part).sweep("shared").settings["seconds"] for part in parts]
    assert open_store(store).sweep("shared").settings["seconds"] == pytest.approx(sum(seconds))


def test_an_unfinished_share_goes_on_from_its_checkpoints(task, whole, parts, tmp_path):
    class Stop(js.Callback):
        def on_segment(self, event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        js.run(sweep(task, tmp_path / "1.db"), shard="1/3", callbacks=[Stop()])
    begun = js.merge(tmp_path / "all.db", [tmp_path / "1.db", *parts[1:]])
    assert begun.checkpoints
    partly = [trial for trial in js.open(tmp_path / "all.db", "shared").trials() if trial.done == 3]
    assert partly
    js.merge(tmp_path / "ended.db", [tmp_path / "all.db", parts[0]])  # the second has more of the same trials
    assert rows_of(js.open(tmp_path / "ended.db", "shared")) == whole
    js.merge(tmp_path / "ended.db", [tmp_path / "1.db"])  # which has less
    for store in ("ended.db", "all.db"):
        assert rows_of(js.run(sweep(task, tmp_path / store))) == whole
        assert not js.verify(tmp_path / store).faults


def test_what_is_not_the_same_is_refused_and_nothing_is_taken_over(task, parts, tmp_path):
    store, other = tmp_path / "all.db", tmp_path / "other.db"
    js.merge(store, parts[:1])
    before = scores_in(store)
    js.run(js.Sweep(task, js.grid({"learning_rate": [0.3]}), store=other, **{**OPTIONS, "key": 1}))
    with pytest.raises(js.StoreError, match="has another sweep 'shared'"):
        js.merge(store, [other])
    changed = shutil.copy(parts[0], tmp_path / "changed.db")
    with open_store(changed) as opened:
        (row,) = opened.sweeps()
        first = opened.trials(row.key)[0]
        opened._db.execute("UPDATE scores SET value = value + 1e-9 WHERE trial = ?", (first.key,))
    with pytest.raises(js.StoreError, match="is not what was recorded when it ended"):
        js.merge(store, [changed])
    with open_store(changed) as opened:
        opened._db.execute(
            "UPDATE trials SET digest = ? WHERE key = ?", (opened._digests([first.key])[first.key], first.key)
        )
    with pytest.raises(js.StoreError, match="has other scores in"):
        js.merge(store, [changed])
    assert scores_in(store) == before


def test_a_trial_that_was_trained_further_in_one_record_is_taken_where_it_has_all_of_the_other(task, parts, tmp_path):
    longer = shutil.copy(parts[0], tmp_path / "longer.db")
    shutil.copytree(f"{parts[0]}.checkpoints", f"{longer}.checkpoints")
    session = js.run(sweep(task, longer, steps=12), shard=(1, 3))
    expected = rows_of(session)
    session.close()  # so that its file has all of it
    assert {step for _, _, step in expected} == {3, 6, 9, 12}
    found = js.merge(tmp_path / "all.db", [*parts, longer])
    assert (found.trials, found.known) == (16, len(js.open(parts[0], "shared").trials()))
    merged = js.open(tmp_path / "all.db", "shared")
    assert rows_of(merged) == expected | rows_of(js.open(parts[1], "shared")) | rows_of(js.open(parts[2], "shared"))
    assert js.merge(tmp_path / "all.db", parts).trials == 0  # the shorter ones into it
    assert not js.verify(tmp_path / "all.db").faults
    js.run(sweep(task, tmp_path / "all.db", steps=12))
    assert rows_of(js.open(tmp_path / "all.db", "shared")) == rows_of(js.run(sweep(task, steps=12)))
    for change in ("UPDATE scores SET value = value + 1e-9", "DELETE FROM scores"):
        with open_store(longer) as opened:
            first = opened.trials(opened.sweeps()[0].key)[0]
            opened._db.execute(f"{change} WHERE trial = ? AND step = 3", (first.key,))
            digest = opened._digests([first.key])[first.key]
            opened._db.execute("UPDATE trials SET digest = ? WHERE key = ?", (digest, first.key))
        for into, part in ((parts[0], longer), (longer, parts[0])):
            shutil.copy(into, tmp_path / "into.db")
            with pytest.raises(js.StoreError, match=f"trial {first.id} .* has other scores in"):
                js.merge(tmp_path / "into.db", [part])


def test_looks_at_the_test_split_are_joined(task, parts, tmp_path):
    copy = shutil.copy(parts[0], tmp_path / "1.db")
    js.run(sweep(task, copy), shard="1/3").test()
    js.merge(tmp_path / "all.db", [copy, *parts[1:]])
    js.merge(tmp_path / "all.db", [copy])
    assert len(js.open(tmp_path / "all.db", "shared").ledger()) == 1


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", (1, 2, 3), ("a", 2), 5])
def test_a_shard_that_makes_no_sense_is_named(task, shard):
    with pytest.raises(js.ConfigError, match=r"shard=.* is not valid"):
        js.run(sweep(task), shard=shard)


def test_what_looks_at_all_trials_takes_no_shards(task):
    with pytest.raises(js.ConfigError, match="does not go with rule="):
        js.run(sweep(task, rule=js.rules.median_stopping()), shard="1/2")


@pytest.mark.parametrize("parts", [[], ["all.db"], [None]])
def test_records_that_cannot_be_merged_are_named(tmp_path, monkeypatch, parts):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(js.ConfigError, match="cannot be merged into"):
        js.merge("all.db", parts)


def test_the_script_of_an_array_job_is_valid(tmp_path):
    file = tmp_path / "it's.py"
    file.write_text(EXPERIMENT)
    script = CliRunner().invoke(cli, ["slurm", str(file), "--shards", "8"]).output
    assert "#SBATCH --array=1-8" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    runs = 'jsweep() { printf "%s\\n" "$@"; }; SLURM_ARRAY_TASK_ID=3\n' + script
    given = subprocess.run(["bash"], input=runs, text=True, capture_output=True, check=True).stdout.splitlines()
    assert given[:6] == ["run", str(file), "--store", "it-s-3.db", "--shard", "3/8"]


def test_a_run_that_is_terminated_records_its_segments_and_resumes(task, whole, tmp_path):
    """Schedulers end a job by SIGTERM; 143 tells them to queue it again."""

    class Terminate(js.Callback):
        def on_segment(self, event):
            os.kill(os.getpid(), signal.SIGTERM)

    store = tmp_path / "s.db"
    with pytest.raises(SystemExit) as end:
        js.run(sweep(task, store), callbacks=[Terminate()])
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    done = {trial.done for trial in js.open(store, "shared").trials()}
    assert 0 in done
    assert done != {0}
    assert rows_of(js.run(sweep(task, store))) == whole
