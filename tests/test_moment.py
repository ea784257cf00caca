"""Reading a record that is being written: every answer is of one moment, and costs what it shows."""

import contextlib
import sqlite3

import numpy as np
import pytest
from records import LOSS, SETTINGS, curves, record

import jsweep as js
from jsweep.storage import Checkpoint, open_store
from jsweep.storage.checkpoints import file_name, folder_of, remove_checkpoint, write_checkpoint
from jsweep.storage.reader import StoreReader
from jsweep.storage.records import Position, Score


@pytest.fixture
def path(tmp_path):
    """A record of four finished trials and one of which the last score is missing."""
    trials = curves(np.arange(8.0).reshape(2, 2, 2), (10, 20))
    store, result = record(
        [*trials, ({"rate": 5}, 0, None)], settings=SETTINGS | {"metrics": [LOSS]}, path=tmp_path / "s.db"
    )
    (waiting,) = [trial for trial in result.trials() if trial.status == "waiting"]
    store.record_segment(1, "program", 1, [Score(waiting.id, 10, {LOSS: 0.5}, None, False)])
    store.close()
    return tmp_path / "s.db"


def finish(path):
    """What another process does meanwhile: it finishes the trial that has not."""
    with open_store(path) as other:
        for trial in other.trials(1):
            if trial.status == "running":
                other.record_segment(1, "program", 1, [Score(trial.id, 20, {LOSS: 0.25}, None, True)])


@pytest.mark.parametrize("at", ["last", "best", 10])
def test_a_trial_that_finishes_while_it_is_looked_at_is_seen_before_or_after(path, monkeypatch, at):
    read, met = StoreReader.trials, []

    def finished_meanwhile(self, sweep):
        found = read(self, sweep)
        if not met:
            met.append(True)
            finish(path)
        return found

    monkeypatch.setattr(StoreReader, "trials", finished_meanwhile)
    before, after = js.show(path, at=at), js.show(path, at=at)
    for report, ended in ((before, 4), (after, 5)):
        assert sum(trial.status == "finished" for trial in report.trials) == ended
        assert sum(len(score.values) for score in report.ranking if score.complete) == ended


def test_a_block_of_answers_is_of_one_moment(path):
    with js.open(path) as result, result.snapshot():
        before = result.table()["done"].tolist()
        finish(path)
        assert result.table()["done"].tolist() == before
        assert not result.ranking()[-1].complete
    with js.open(path) as result:
        assert max(result.table()["done"].tolist()) == 20
        assert result.ranking()[-1].complete


def test_a_checkpoint_that_is_outdated_while_it_is_verified_is_no_fault(path, monkeypatch):
    arrays = {"a": np.zeros(2)}
    folder = folder_of(path)
    rows = []
    with open_store(path) as store:
        for step in (10, 20):
            name = file_name("a" * 32, step)
            digest = write_checkpoint(folder, name, arrays, Position(step, 0, 2), ["x"])
            rows.append(Checkpoint("tile", step, name, digest, ["x"], False))
        store.record_segment(1, "program", 1, [], rows)
    assert js.verify(path).faults == ()

    def outdated_meanwhile(*arguments):
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM checkpoints WHERE step = 10")
        remove_checkpoint(folder, rows[0].file)
        return read(*arguments)

    from jsweep.storage import integrity

    read = integrity.read_checkpoint
    monkeypatch.setattr(integrity, "read_checkpoint", outdated_meanwhile)
    assert js.verify(path).faults == ()
    remove_checkpoint(folder, rows[1].file)  # which its row still names
    assert len(js.verify(path).faults) == 1


class _Counted(sqlite3.Connection):
    """A connection that counts the operations of SQLite's machine, in hundreds."""

    operations = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.set_progress_handler(self._count, 100)

    def _count(self):
        _Counted.operations += 1


@pytest.fixture
def operations(monkeypatch):
    """The operations of SQLite's machine that a call takes, in hundreds."""
    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *a, **k: connect(*a, **k, factory=_Counted))

    def count(function, *args, **kwargs):
        _Counted.operations = 0
        function(*args, **kwargs)
        return _Counted.operations

    return count


def test_a_tile_reads_its_own_checkpoints_alone(tmp_path, operations):
    def cost(count):
        with record(curves(np.zeros((count, 1, 1)), (1,)), path=tmp_path / f"{count}.db")[0] as store:
            ids = [trial.id for trial in store.trials(1)]
            rows = [Checkpoint(trial, 1, f"{trial}.safetensors", "", [trial], True) for trial in ids]
            store.record_segment(1, "p", 1, [], rows)
            return operations(store.checkpoints_of, 1, ids[:1]), operations(store.states, 1, ids[:1])

    assert cost(400) == cost(40)


def test_opening_and_selecting_do_not_depend_on_what_they_do_not_show(tmp_path, operations):
    few, many = tmp_path / "few.db", tmp_path / "many.db"
    values = np.random.default_rng(0).uniform(size=(20, 2, 200))
    record(curves(values[..., :5], range(1, 6)), name="a", path=few)[0].close()
    record(curves(values, range(1, 201)), name="a", path=many)[0].close()
    assert operations(js.best, many, "a") <= operations(js.best, few, "a") + 2  # however long the curves are
    with contextlib.closing(sqlite3.connect(few)) as db:
        trial = db.execute("SELECT id FROM trials").fetchone()[0]
    assert operations(js.show, few, "a", trial) < operations(js.best, few, "a")  # of one trial
    assert operations(lambda: js.open(few).close()) <= 20  # no trial
    big = record(curves(np.zeros((400, 1, 1)), (1,)), name="b", path=few)[0]
    big.close()
    assert operations(lambda: js.open(few, "a").close()) <= 20
