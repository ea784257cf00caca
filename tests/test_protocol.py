"""The record's protocol (docs/record.md): two processes, two sweeps, more steps, drops, a ledger; and its explorer."""

import contextlib
import os
import sqlite3
import threading
from dataclasses import replace

import jax
import pytest
from small import init, make_task, rows_of
from test_faults import ROOT, python

import jsweep as js
from jsweep.errors import StoreError
from jsweep.runner.checkpointing import tidy
from jsweep.runner.claims import Claims
from jsweep.storage import Checkpoint, Score, Store, Trial, open_store
from jsweep.storage.checkpoints import file_name, folder_of
from jsweep.storage.locks import is_alive, owner
from jsweep.storage.standing import Wanted

RATES = [{"learning_rate": rate} for rate in (0.03, 0.1)]


def sweep_of(data, store, steps=20, configs=RATES, **options):
    return js.Sweep(make_task(data), configs, steps=steps, store=store, **{"evaluate_every": 10, "tile": 2} | options)


def meanwhile(monkeypatch, owner, name, action, at=1):
    """Call ``action`` in the middle of the call number ``at`` of a method, as another process would."""
    real, calls = getattr(owner, name), []

    def interrupted(self, *arguments, **options):
        calls.append(name)
        if len(calls) == at:
            action()
        return real(self, *arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.fixture(scope="module")
def longer(data, tmp_path_factory):
    """The rows of a sweep of 45 steps that nothing disturbed."""
    with js.run(sweep_of(data, tmp_path_factory.mktemp("longer") / "s.db", steps=45)) as result:
        return rows_of(result)


# -- one sweep, several processes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["running", "all"])
def test_more_steps_asked_for_while_another_process_trains_are_trained(data, tmp_path, monkeypatch, longer, policy):
    others = []

    def asks_for_more():
        other = threading.Thread(target=lambda: others.append(js.run(sweep_of(data, tmp_path / "s.db", steps=45))))
        other.start()
        threads.append(other)

    threads = []
    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "record_segment", asks_for_more)
        js.run(sweep_of(data, tmp_path / "s.db", checkpoints=policy)).close()
    threads[0].join()
    with others[0] as result:
        assert {(trial.status, trial.done, trial.steps) for trial in result.trials()} == {("finished", 45, 45)}
        assert rows_of(result).items() >= longer.items()
        result.best()
    assert js.verify(tmp_path / "s.db").faults == ()


def test_more_steps_are_a_wish_until_they_are_trained(data, tmp_path, monkeypatch):
    with js.run(sweep_of(data, tmp_path / "s.db")) as result:
        before, best = rows_of(result), str(result.best())

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "record_segment", interrupt, at=4)  # beyond the old end
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep_of(data, tmp_path / "s.db", steps=10**9))
    with js.open(tmp_path / "s.db") as result:
        assert str(result.best()) == best
        assert rows_of(result) == before
    assert js.verify(tmp_path / "s.db").faults == ()
    steps = []
    meanwhile(monkeypatch, Store, "record_segment", lambda: steps.append(1))
    with js.run(sweep_of(data, tmp_path / "s.db")) as result:  # the old command is valid, and has nothing to do
        assert (rows_of(result), steps) == (before, [])


def test_a_trial_interrupted_on_its_way_to_more_steps_goes_on(data, tmp_path, monkeypatch, longer):
    js.run(sweep_of(data, tmp_path / "s.db", checkpoints="all")).close()

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "record_segment", interrupt, at=2)
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep_of(data, tmp_path / "s.db", steps=45, checkpoints="all"))
    segments = []
    meanwhile(monkeypatch, Store, "record_segment", lambda: segments.append(1), at=1)
    with js.run(sweep_of(data, tmp_path / "s.db", steps=45, checkpoints="all")) as result:
        assert rows_of(result) == longer
        assert [trial.steps for trial in result.trials()] == [45, 45]


def test_an_unfinished_trial_may_be_asked_for_fewer_steps(data, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "record_segment", interrupt, at=4)
        with pytest.raises(KeyboardInterrupt):
            js.run(sweep_of(data, tmp_path / "s.db", steps=10**6))
    with (
        js.run(sweep_of(data, tmp_path / "s.db")) as result,
        js.run(sweep_of(data, tmp_path / "undisturbed.db")) as undisturbed,
    ):
        assert rows_of(result) == rows_of(undisturbed)


class Away(Exception):
    """A file that a task reads is not there."""


@pytest.mark.parametrize("policy", ["running", "all"])
def test_a_failure_to_trace_leaves_finished_trials_finished(data, tmp_path, longer, policy):
    away = []

    def reading(config, key):
        if "width" not in config and away:
            raise Away("pretrained.npy")
        return init(config, key)

    def run(steps, *more):
        sweep = sweep_of(data, tmp_path / "s.db", steps, [*RATES, *more], checkpoints=policy, name="small")
        return js.run(replace(sweep, task=make_task(data, init=reading)))

    with run(20) as result:
        before = rows_of(result)
    away.append("pretrained.npy")
    narrow = {"learning_rate": 0.1, "width": 8}
    with pytest.warns(UserWarning, match="2 of 3 trials could not be trained further and stay.*pretrained.npy"):
        result = run(45, narrow)
    with result:
        assert [(t.status, t.steps) for t in result.trials()] == [("finished", 20), ("finished", 20), ("finished", 45)]
        assert rows_of(result).items() >= before.items()
    away.clear()
    with run(45, narrow) as result:
        assert {(t.status, t.steps, t.reason) for t in result.trials()} == {("finished", 45, None)}
        assert rows_of(result).items() >= longer.items()


def test_a_checkpoint_at_the_last_step_of_its_trial_yields_its_end(data, tmp_path, monkeypatch):
    sweep = sweep_of(data, tmp_path / "s.db", checkpoints="all")
    with js.run(sweep) as result:
        before = rows_of(result)
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as db, db:  # as an older fault left it
        db.execute("UPDATE trials SET status = 'failed', reason = 'KeyError: 1'")
        db.execute("DELETE FROM scores WHERE step = 20")
    from jsweep.engine import tile

    monkeypatch.setattr(tile, "_train_to", None)  # nothing is to be trained
    with js.run(sweep) as result:
        assert {(trial.status, trial.done) for trial in result.trials()} == {("finished", 20)}
        assert rows_of(result) == before


def test_two_that_grow_a_sweep_at_once_give_what_one_after_the_other_gives(data, tmp_path, monkeypatch):
    def grow(store, *sizes):
        configs = [{"learning_rate": 0.1, "batch_size": size} for size in sizes]
        return js.run(sweep_of(data, tmp_path / store, 10, configs))

    def settings_of(result):
        return {name: value for name, value in result.row.settings.items() if name != "seconds"}

    for sizes in ((8,), (8, 12, 16, 24), (8, 20)):
        with grow("after.db", *sizes) as after:
            pass
    with js.open(tmp_path / "after.db") as after:
        wanted, rows = settings_of(after), rows_of(after)
    grow("once.db", 8).close()
    real = js.runner.run.prepare
    others = [lambda: grow("once.db", 8, 12, 16, 24).close()]

    def prepare_while_another_grows(*arguments, **named):
        prepared = real(*arguments, **named)
        if others:
            others.pop()()
        return prepared

    monkeypatch.setattr("jsweep.runner.run.prepare", prepare_while_another_grows)
    grow("once.db", 8, 20).close()
    with js.open(tmp_path / "once.db") as once:
        assert settings_of(once) == wanted
        assert rows_of(once) == rows


def test_trials_dropped_while_a_sweep_runs_are_not_trained(data, tmp_path, monkeypatch):
    store, waiting = tmp_path / "s.db", []

    def drop():
        with open_store(store, write=False) as opened:
            waiting.extend(trial.id for trial in opened.trials(1)[2:])
        js.drop(store, "small", waiting)

    configs = [{"learning_rate": 0.01 * i} for i in range(1, 5)]
    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "claim", drop)  # of the first tile, the two trials before these
        with pytest.warns(UserWarning, match="2 trials, the first .* were dropped from .* and were not trained"):
            result = js.run(sweep_of(data, store, configs=configs), workers=jax.devices()[:1])
    with result:
        assert len(waiting) == 2
        assert [trial.status for trial in result.trials()] == ["finished", "finished"]
        assert not {trial.id for trial in result.trials()} & set(waiting)


def test_a_sweep_dropped_while_it_is_run_says_so(data, tmp_path, monkeypatch):
    meanwhile(monkeypatch, Claims, "retry_failed", lambda: js.drop(tmp_path / "s.db", "small"))
    with pytest.raises(js.StoreError, match="the sweep 'small' was dropped from .* while it was run"):
        js.run(sweep_of(data, tmp_path / "s.db"))


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_record_that_is_not_at_its_path_any_more_is_not_written(data, tmp_path, monkeypatch, how):
    store, other = tmp_path / "s.db", tmp_path / "other.db"
    open_store(other).close()
    content = other.read_bytes()

    def lose():
        if how == "removed":
            store.unlink()
        else:
            os.rename(store, tmp_path / "moved.db")
        if how == "replaced":
            os.rename(other, store)

    meanwhile(monkeypatch, Store, "record_segment", lose, at=2)
    said = "was replaced by another file" if how == "replaced" else "was moved or removed"
    with pytest.raises(js.StoreError, match=f"{said} while it was open, so nothing more is written"):
        js.run(sweep_of(data, store))
    assert store.exists() == (how == "replaced")
    assert how != "replaced" or store.read_bytes() == content


def test_a_file_with_two_names_is_not_written(tmp_path):
    open_store(tmp_path / "s.db").close()
    os.link(tmp_path / "s.db", tmp_path / "t.db")
    with pytest.raises(js.StoreError, match="has 2 names .hard links.*pass the path of a copy"):
        open_store(tmp_path / "t.db")
    open_store(tmp_path / "t.db", write=False).close()


def test_a_pass_that_gives_nothing_ends_with_a_sentence():
    with open_store(None) as store:
        row, trial = store.add_sweep("made", "task", {}, {}), Trial("t", "t", {}, 0, 10)
        store.add_trials(row.key, [trial])
        claims = Claims(store, row.key, "me", lambda _: True, {}, {"t": Wanted(10)})
        passes = claims.passes()
        next(passes)
        claims.claim((trial,))
        with pytest.raises(js.StoreError, match="1 trials, the first t, were trained and gave nothing to record"):
            next(passes)


def test_what_a_process_has_lost_it_does_not_record():
    trial = Trial("t", "t", {}, 0, 20)
    score = Score("t", 10, {"validation/loss": 1.0}, None, False)
    with open_store(None) as store:
        row = store.add_sweep("made", "task", {}, {})
        store.add_trials(row.key, [trial])
        dead = set()
        one, two = (
            Claims(store, row.key, name, lambda name: name not in dead, {}, {"t": Wanted(20)})
            for name in ("one", "two")
        )
        assert one.claim((trial,)) == (trial,)
        dead.add("one")
        assert two.claim((trial,)) == (trial,)
        dead.clear()
        assert (one.record("p", 1, [score]), one.lost([trial])) == (["t"], True)
        assert store.trials(row.key)[0].done == 0
        assert (two.record("p", 1, [score]), two.lost([trial])) == ([], False)
        assert one.claim((trial,)) == ()


def test_a_process_whose_lock_file_was_removed_names_no_files(data, tmp_path, monkeypatch):
    """Another process takes it for dead, and may have removed the files that it has just written."""

    def remove_locks_and_tidy():
        folder = folder_of(tmp_path / "s.db")
        for path in [*folder.glob("*.owner")]:
            path.unlink()
        with open_store(tmp_path / "s.db") as store, owner(folder) as name:
            tidy(store, 1, lambda who: is_alive(folder, who), name)

    with monkeypatch.context() as patch:
        meanwhile(patch, Store, "record_segment", remove_locks_and_tidy)
        with pytest.raises(js.StoreError, match=r"\.owner of this process was removed .* run the sweep again"):
            js.run(sweep_of(data, tmp_path / "s.db", checkpoints="all"))
    assert js.verify(tmp_path / "s.db").faults == ()
    with js.run(sweep_of(data, tmp_path / "s.db", checkpoints="all")) as result:
        assert {trial.status for trial in result.trials()} == {"finished"}


def test_files_are_tidied_of_the_dead_and_not_of_the_living(tmp_path):
    """Also where another process starts, writes or ends meanwhile, as a name says whose a file is and is never used again."""
    folder = folder_of(tmp_path / "s.db")
    with open_store(tmp_path / "s.db") as store, owner(folder) as name, owner(folder) as other:
        row = store.add_sweep("made", "task", {}, {})
        named = Checkpoint("tile", 10, file_name("d" * 32, 0), "", ["t"], False)
        store.record_segment(row.key, "p", 1, [], [named])
        kept = [named.file, file_name(other, 0), file_name(other, 1), "notes.safetensors"]
        gone = [file_name("d" * 32, 1), file_name(name, 0)]
        for file in [*kept[:2], kept[3], *gone]:
            (folder / file).write_bytes(b"")

        def alive(who):
            (folder / kept[2]).write_bytes(b"written while the first one looks")
            return is_alive(folder, who)

        tidy(store, row.key, alive, name)
        assert sorted(os.listdir(folder)) == sorted([*kept, f"{name}.owner", f"{other}.owner"])


# -- the test ledger ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(data, tmp_path):
    with js.run(sweep_of(data, tmp_path / "s.db", name="first")) as session:
        yield session


def test_of_two_looks_at_once_one_wins(data, trained, monkeypatch):
    other = js.attach(sweep_of(data, trained.path, name="first"))
    worst = js.maximize("validation/loss")

    def another_asks():
        with pytest.raises(js.ConfigError, match="is being opened by another process for another choice"):
            other.test(worst)

    meanwhile(monkeypatch, Store, "open_look", another_asks)
    seen = trained.test()
    with other, pytest.raises(js.ConfigError, match="was opened on .* for another choice"):
        other.test(worst)
    assert [(entry.again, entry.config) for entry in trained.ledger()] == [(False, seen.config)]


def test_a_look_that_another_process_makes_is_waited_for(data, trained, monkeypatch):
    answers = []

    def another_asks():
        thread = threading.Thread(
            target=lambda: answers.append(js.attach(sweep_of(data, trained.path, name="first")).test())
        )
        thread.start()
        threads.append(thread)

    threads = []
    meanwhile(monkeypatch, Store, "open_look", another_asks)
    seen = trained.test()
    threads[0].join()
    assert (answers[0].scores, answers[0].from_ledger) == (seen.scores, True)
    assert len(trained.ledger()) == 1


def test_a_look_is_entered_before_it_happens(trained, monkeypatch):
    evaluated = []
    real = js.runner.session.evaluate_on_test
    monkeypatch.setattr("jsweep.runner.session.evaluate_on_test", lambda *a: evaluated.append(1) or real(*a))

    def full(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "complete_look", full)
        with pytest.raises(js.StoreError, match="the disk is full"):
            trained.test()
    (entry,) = trained.ledger()
    assert (len(evaluated), entry.complete, entry.again) == (1, False, False)
    with pytest.raises(js.ConfigError, match="was opened on"):
        trained.test(js.maximize("validation/loss"))
    seen = trained.test()  # the same look may be completed
    (entry,) = trained.ledger()
    assert (entry.complete, entry.again, entry.scores["test/loss"]) == (True, False, list(seen.scores["test/loss"]))


def test_a_look_that_did_not_happen_is_not_entered(trained, monkeypatch):
    def fail(*_):
        raise js.IncompatibleSweepError("it comes out otherwise")

    with monkeypatch.context() as patch:
        patch.setattr("jsweep.runner.session.train_selected", fail)
        with pytest.raises(js.IncompatibleSweepError):
            trained.test()
    assert trained.ledger() == []
    trained.test(js.maximize("validation/loss"))


def test_the_ledger_outlives_its_sweep_and_sees_the_others(data, trained):
    store = trained.path
    trained.test()
    with js.run(sweep_of(data, store, configs=RATES[:1], name="second")) as second:
        with pytest.raises(js.ConfigError, match=r"'second' was opened on .* of the sweep 'first'"):
            second.test()
        second.test(again=True)
        assert [(entry.sweep, entry.again) for entry in second.ledger()] == [("first", False), ("second", True)]
    js.drop(store, "first")
    anew = js.run(sweep_of(data, store, configs=RATES[:1], key=1, name="first"))
    with anew, pytest.raises(js.ConfigError, match="was opened on"):
        anew.test()
    with js.run(sweep_of(data, store, name="first third")) as third:
        assert len(third.ledger()) == 2


def test_the_ledger_does_not_answer_for_a_longer_trial(data, tmp_path):
    with js.run(sweep_of(data, tmp_path / "s.db")) as short:
        first = short.test()
    with js.run(sweep_of(data, tmp_path / "s.db", steps=45)) as long:
        with pytest.raises(js.ConfigError, match="for another choice .* at step 20"):
            long.test()
        assert long.test(again=True).step == 45
        answer = long.test(at=20) if long.best(at=20).config == first.config else None
        assert answer is None or answer.scores == first.scores


# -- the protocol as a whole ----------------------------------------------------------------------------------------------


def explorer(*arguments):
    return python("protocol.py", *arguments, cwd=ROOT / "experiments" / "faults")


def test_the_invariants_of_the_record_hold_on_every_path():
    found = explorer("--paths", 100)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "every invariant held" in found.stdout


def test_a_fault_that_is_put_back_is_found():
    found = explorer("--paths", 100, "--put-back-faults", "more steps", "failures touch")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("found: ") == 2
