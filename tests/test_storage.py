"""Stores: which paths are stores, what is refused, and that nothing recorded is lost or left open."""

import contextlib
import gc
import hashlib
import json
import math
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from small import make_task
from test_cli import jsweep
from test_faults import without_privileges

import jsweep as js
from jsweep.errors import JsweepError
from jsweep.space import config_id, config_ids, encode_config, json_encoder, json_of
from jsweep.storage import Checkpoint, Score, Status, Trial, open_store, records
from jsweep.storage.checkpoints import file_name, folder_of, from_bytes, read_checkpoint, to_bytes
from jsweep.storage.paths import pin, resolve
from jsweep.storage.rows import dump_config
from jsweep.storage.standing import Wanted

RATES = [{"learning_rate": rate} for rate in (0.01, 0.1)]


def trials(count=3, steps=10):
    return [Trial(f"{i:016x}", f"{i:016x}", {"rate": 0.1 * i}, 0, steps) for i in range(count)]


@pytest.fixture
def filled(tmp_path):
    """A store with one sweep of three trials, two finished and one waiting; its path."""
    with open_store(tmp_path / "s.db") as store:
        row = store.add_sweep("made", "task", {}, {"metrics": ["validation/loss"]})
        store.add_trials(row.key, trials())
        for trial in trials()[:2]:
            store.record_segment(row.key, "p", 1, [Score(trial.id, 10, {"validation/loss": 0.5}, None, True)])
    return tmp_path / "s.db"


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (None, None),
        (":memory:", None),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("s.db", "/here/s.db"),
        ("../s.db", "/s.db"),
        (Path("a/s.db"), "/here/a/s.db"),
        ("sqlite:///s.db", "/here/s.db"),
        ("sqlite:////abs/s.db", "/abs/s.db"),
        ("~/s.db", "/home/me/s.db"),
        ("/abs/a b?.db", "/abs/a b?.db"),
    ],
)
def test_a_path_means_the_same_everywhere(monkeypatch, store, expected):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    found = resolve(store)
    assert found == (None if expected is None else Path(expected))


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("sqlite:///", "is empty"),
        ("postgresql://host/db", "is not a file that jsweep can open"),
        ("sqlite+pysqlite:///s.db", "is not a file that jsweep can open"),
        ("sqlite:///s.db?timeout=3", "is not a file that jsweep can open"),
        ("file:s.db", "is not a file that jsweep can open"),
        ("a\0b.db", "is not a valid path"),
        ("\ud800.db", "is not a valid path"),
        ("a" * 10_000, "is not a valid path"),
        (5, "is not a path"),
        (b"s.db", "is not a path"),
        ("/", "is a folder"),
    ],
)
def test_anything_that_is_not_a_file_is_refused_in_one_sentence(data, store, sentence):
    for use in (
        open_store,
        js.verify,
        lambda store: js.drop(store, "made"),
        lambda store: js.Sweep(make_task(data), RATES, steps=5, store=store),
    ):
        with pytest.raises(JsweepError, match=sentence) as caught:
            use(store)
        assert "\n" not in str(caught.value)


def test_verify_and_drop_need_a_file():
    for use in (js.verify, lambda store: js.drop(store, "made")):
        with pytest.raises(js.ConfigError, match="is in memory"):
            use(":memory:")


def test_a_sweep_keeps_its_store_when_the_working_folder_changes(data, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    sweep = js.Sweep(make_task(data), RATES, steps=5, store="s.db", checkpoints="all")
    monkeypatch.chdir(tmp_path / "other")
    with js.run(sweep) as result:
        assert result.path == "s.db"
        result.params(result.trials()[0].id)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "s.db", "s.db.checkpoints"]
    assert list((tmp_path / "other").iterdir()) == []


def test_a_store_in_memory_leaves_nothing_behind(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with js.sweep(make_task(data), RATES, steps=5, store=":memory:", checkpoints="all") as result:
        assert result.path == ":memory:"
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_and_its_target_are_one_store(filled, tmp_path):
    link = tmp_path / "links" / "link.db"
    link.parent.mkdir()
    link.symlink_to(filled)
    with open_store(link) as store:
        assert store.folder == folder_of(filled)
        assert store.path == str(link)
    assert pin(link).file == filled


VERSION_2 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sweeps (id INTEGER PRIMARY KEY, name TEXT, task TEXT, identity TEXT, settings TEXT, created TEXT);
CREATE TABLE trials (key INTEGER PRIMARY KEY, sweep INTEGER, id TEXT, config TEXT, seed INTEGER, steps INTEGER);
CREATE TABLE scores (trial INTEGER, metric INTEGER, step INTEGER, value REAL);
CREATE TABLE tests (id INTEGER PRIMARY KEY, sweep INTEGER, config_id TEXT, chosen_by TEXT);
INSERT INTO meta VALUES ('jsweep', 'store'), ('version', '2');
INSERT INTO sweeps VALUES (1, 'line', 'line', '{}', '{}', '2025-01-01T00:00:00+00:00');
"""


def test_every_command_refuses_a_store_of_format_2_and_leaves_it_as_it_was(capsys, tmp_path, monkeypatch):
    from test_cli import EXPERIMENT

    monkeypatch.chdir(tmp_path)
    Path("line.py").write_text(EXPERIMENT)
    with contextlib.closing(sqlite3.connect("old.db")) as db:
        db.executescript(VERSION_2)
    before = Path("old.db").read_bytes()
    commands = [
        *(["list"], ["show"], ["best"], ["compare"], ["run", "line.py"], ["resume", "line.py"], ["test", "line.py"]),
        *(["replay", "0", "line.py"], ["params", "0", "line.py", "--out", "p.safetensors"], ["drop", "line", "--yes"]),
    ]
    for words in [*([*words, "--store", "old.db"] for words in commands), ["verify", "old.db"]]:
        code, _, err = jsweep(capsys, *words)
        assert code == 2, words
        assert "has format 2, and this jsweep reads format 6: open it with the version of jsweep that wrote it" in err
        assert err.count("\n") == 1
    assert Path("old.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db") == ["old.db"]
    assert not folder_of("old.db").exists()


def test_a_store_that_nobody_closes_closes_itself(filled):
    store = open_store(filled)
    connection = store._db
    del store
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_closed_store_says_so_and_may_be_closed_again(filled):
    with open_store(filled) as store:
        pass
    store.close()
    with pytest.raises(js.StoreError, match="was closed: open it again"):
        store.sweeps()


def test_a_refused_file_is_closed(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be mistaken for one" * 20)
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.db")) as db, db:
        db.execute("CREATE TABLE mine (x)")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for name in ("notes.txt", "foreign.db"):
        for write in (True, False):
            with pytest.raises(js.StoreError):
                open_store(tmp_path / name, write=write)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.db", "notes.txt"]


def test_a_result_closes_its_store(data, tmp_path):
    with js.sweep(make_task(data), RATES, steps=5, store=tmp_path / "s.db") as result:
        assert len(result.trials()) == 2
    with pytest.raises(js.StoreError, match="was closed"):
        result.trials()


def test_any_thread_may_read_a_store(filled):
    with open_store(filled, write=False) as store:
        found = []
        thread = threading.Thread(target=lambda: found.extend(store.sweeps()))
        thread.start()
        thread.join()
    assert [row.name for row in found] == ["made"]


def test_a_failed_trial_keeps_its_traceback_until_it_is_trained(filled):
    waiting = trials()[2].id
    with open_store(filled) as store:
        (row,) = store.sweeps()
        store.record_failure(row.key, [waiting], "KeyError: 'b1'", "Traceback (most recent call last): ...")
        failed = store.trials(row.key)[2]
        assert (failed.status, failed.reason) == (Status.FAILED, "KeyError: 'b1'")
        assert failed.traceback == "Traceback (most recent call last): ..."
        store.record_segment(row.key, "p", 1, [Score(waiting, 10, {"validation/loss": 0.5}, None, True)])
        trained = store.trials(row.key)[2]
        assert (trained.status, trained.reason, trained.traceback) == (Status.FINISHED, None, None)


def test_a_finished_trial_never_becomes_a_failed_one(filled):
    with open_store(filled) as store:
        (row,) = store.sweeps()
        before = store.trials(row.key)
        store.record_failure(row.key, [trials()[0].id], "FileNotFoundError: gone", "Traceback")
        assert store.trials(row.key) == before


def test_a_sweep_records_where_a_trial_failed(data, tmp_path):
    def helper(rate):
        raise KeyError(f"no rate {rate}")

    def failing(config, key):
        return helper(config["learning_rate"]) if config["width"] == 24 else {"w": jax.random.normal(key, (64, 10))}

    task = make_task(data, init=failing, apply=lambda config, params, x, key: x @ params["w"])
    configs = [{"learning_rate": 0.1, "width": width} for width in (8, 24)]
    with (
        pytest.warns(UserWarning, match="no rate"),
        js.sweep(task, configs, steps=5, store=tmp_path / "s.db") as result,
    ):
        (failed,) = [trial for trial in result.trials() if trial.status == "failed"]
    assert "in helper" in failed.traceback
    assert "KeyError: 'no rate" in failed.traceback


def opening(**changes):
    """A look at a test split by the sweep "made"."""
    given = {
        "data": "d" * 16,
        "look": "1" * 16,
        "sweep": "made",
        "config_id": "c",
        "config": {"rate": 0.1, "layers": (64, 32)},
        "metric": "validation/accuracy",
        "mode": "max",
        "rule": "one-standard-error",
        "at": "best",
        "step": 40,
        "seeds": [0, 7],
    }
    return records.TestOpening(**given | changes)


def test_the_ledger_gives_back_what_was_entered(filled):
    scores = {"test/loss": [math.inf, 0.1], "test/accuracy": [0.25, 1 / 3]}
    with open_store(filled) as store:
        made = store.reserve_look(opening(), "me", False, lambda _: True).entry
        assert store.tests("d" * 16) == []  # nothing has been looked at
        store.open_look(made.key, "me")
        store.complete_look(made.key, "me", scores, [0, 7])
    with open_store(filled, write=False) as store:
        (found,) = store.tests("d" * 16)
        assert store.tests("e" * 16) == []
    known = {"key": found.key, "opened": found.opened, "scores": scores, "complete": True}
    assert found == opening(**known)


def test_settings_may_hold_any_json_object(filled):
    settings = {"objective": {"metric": "validation/loss", "mode": "min"}, "modes": {"loss": "min"}, "other": [1, None]}
    with open_store(filled) as store:
        (row,) = store.sweeps()
        store.merge_settings(row, lambda _: settings)
        assert store.sweeps()[0].settings == settings


def test_a_value_that_sqlite_cannot_hold_is_refused_in_one_sentence(tmp_path):
    with open_store(tmp_path / "s.db") as store:
        with pytest.raises(js.StoreError, match="cannot hold a value"):
            store.add_sweep("\ud800", "task", {}, {})
        row = store.add_sweep("made", "task", {}, {})
        with pytest.raises(js.StoreError, match="cannot hold a value"):
            store.add_trials(row.key, [Trial("a", "a", {}, 10**400, 5)])
        assert store.trials(row.key) == []


@contextlib.contextmanager
def read_only_folder():
    """A folder that another user may read and, once the block writes ``lock()``, nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def lock():
            for path in folder.iterdir():
                path.chmod(0o444)
            folder.chmod(0o555)

        try:
            yield folder, lock
        finally:
            folder.chmod(0o755)


def test_reading_in_a_read_only_folder_creates_no_file(filled):
    with read_only_folder() as (folder, lock):
        shutil.copy(filled, folder / "s.db")
        lock()
        with without_privileges(), open_store(folder / "s.db", write=False) as store:
            assert [row.name for row in store.sweeps()] == ["made"]
            assert [path.name for path in folder.iterdir()] == ["s.db"]


def test_changes_that_cannot_be_read_in_a_read_only_folder_are_not_ignored(filled):
    with read_only_folder() as (folder, lock):
        with open_store(filled) as store:
            store.add_sweep("newer", "task", {}, {})
            for name in ("s.db", "s.db-wal"):  # as a killed process leaves them
                shutil.copy(filled.with_name(name), folder / name)
        lock()
        with (
            without_privileges(),
            pytest.raises(js.StoreError, match="copy both files to a folder that can be written"),
        ):
            js.verify(folder / "s.db")
    with open_store(filled, write=False) as store:
        assert [row.name for row in store.sweeps()] == ["made", "newer"]


def test_a_changed_bit_in_an_index_is_found_before_anything_is_written(filled):
    with contextlib.closing(sqlite3.connect(filled)) as db:
        select = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_trials_1'"
        ((page,), (size,)) = db.execute(select).fetchone(), db.execute("PRAGMA page_size").fetchone()
    content = bytearray(filled.read_bytes())
    at = content.index(trials()[1].id.encode(), (page - 1) * size, page * size)
    content[at + 3] ^= 1
    filled.write_bytes(content)
    with pytest.raises(js.StoreError, match="is damaged"):
        open_store(filled)
    assert filled.read_bytes() == content


def safetensors(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 4


ONE = {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text, and not a safetensors file",
        struct.pack("<Q", 2**60) + b"{}",
        safetensors({**ONE, "__metadata__": {"dtype of a": "no_such_type 4"}}),
        safetensors({**ONE, "__metadata__": {"dtype of a": "bfloat16 999999"}}),
        safetensors({**ONE, "__metadata__": {"dtype of b": "bfloat16 1"}}),
        safetensors({**ONE, "__metadata__": {"dtype of a": "object 1"}}),
        safetensors({**ONE, "__metadata__": {"dtype of a": "finfo 1"}}),
        safetensors({**ONE, "__metadata__": {"dtype of a": ""}}),
    ],
)
def test_a_hostile_checkpoint_counts_as_damaged(capsys, filled, content):
    name = file_name("a" * 32, 1)
    folder_of(filled).mkdir()
    (folder_of(filled) / name).write_bytes(content)
    with contextlib.closing(sqlite3.connect(filled)) as db, db:
        row = (1, "x", 1, name, hashlib.sha256(content).hexdigest(), "[]", 1)
        db.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    code, out, err = jsweep(capsys, "verify", filled)
    assert (code, err) == (1, "")
    assert f"the checkpoint {name} is missing or damaged" in out


def test_a_store_cannot_name_a_file_elsewhere(tmp_path):
    (tmp_path / "secret.safetensors").write_bytes(to_bytes({"a": np.zeros(2)}, {}))
    (tmp_path / "folder").mkdir()
    digest = hashlib.sha256((tmp_path / "secret.safetensors").read_bytes()).hexdigest()
    row = Checkpoint("tile", 1, "../secret.safetensors", digest, [], False)
    assert read_checkpoint(tmp_path / "folder", row) is None


def test_checkpoints_hold_every_dtype_exactly():
    kinds = [np.float32, np.int8, np.bool_, np.complex64, np.complex128, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
    arrays = {np.dtype(kind).name: np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays |= {"scalar": np.asarray(ml_dtypes.bfloat16(1.5)), "empty": np.zeros((0, 3), ml_dtypes.bfloat16)}
    found, texts = from_bytes(to_bytes(arrays, {"step": "3"}))
    assert texts == {"step": "3"}
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_two_sweeps_of_the_same_trials_keep_their_own_checkpoints(data, tmp_path):
    store = tmp_path / "s.db"
    for name, key in (("a", 0), ("b", 1)):
        js.sweep(make_task(data), RATES, steps=5, store=store, name=name, key=key, checkpoints="all").close()
    assert js.verify(store).checkpoints == 4
    assert js.verify(store).faults == ()
    js.drop(store, "a")
    assert js.verify(store).checkpoints == 2
    assert js.verify(store).faults == ()


def test_reading_a_store_does_not_load_jax():
    code = "import sys, jsweep.storage.integrity; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_digest_does_not_depend_on_the_order_in_which_a_record_met_its_metrics(tmp_path):
    found = []
    for names in (["train/loss", "validation/loss", "a"], ["validation/loss", "a", "train/loss"]):
        with open_store(tmp_path / f"{names[0][:5]}.db") as store:
            row = store.add_sweep("made", "task", {}, {"metrics": names})
            store.add_trials(row.key, trials(2))
            for step, finished in ((5, False), (10, True)):
                scores = {name: float(len(name) + step) for name in names} | {"a": math.nan}
                store.record_segment(row.key, "p", 4, [Score(t.id, step, scores, None, finished) for t in trials(2)])
            found.append(dict(store._db.execute("SELECT id, digest FROM trials")))
            assert store.damaged(row.key) == []
            store._db.execute("UPDATE scores SET value = value + 4e-15 WHERE step = 5 AND metric = 1")
            assert store.damaged(row.key) == [trial.id for trial in trials(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("apart", [1, 3, 5000])
def test_what_a_trial_ended_with_at_once_has_the_digest_of_what_is_read_again(tmp_path, apart):
    values = (0.0, -0.0, 3.0, -(2.0**60), 0.1, 5e-324, 1e308, math.nan, -math.nan, math.inf)
    with open_store(tmp_path / "s.db") as store:
        row = store.add_sweep("made", "task", {}, {"metrics": ["validation/loss", "train/loss"]})
        store.add_trials(row.key, trials(len(values)))
        store._db.execute("UPDATE trials SET key = -key").connection.execute(
            "UPDATE trials SET key = -? * key", (apart,)
        )
        scores = [
            Score(t.id, 10, {"validation/loss": v, "train/loss": -v}, 3 if place == 4 else None, True)
            for place, (t, v) in enumerate(zip(trials(len(values)), values, strict=True))
        ]
        store.record_segment(row.key, "p", 4, scores)
        assert {trial.status for trial in store.trials(row.key)} == {Status.FINISHED}
        assert [trial.nonfinite for trial in store.trials(row.key)] == [None] * 4 + [3] + [None] * 2 + [10] * 3
        assert store.damaged(row.key) == []


def test_a_claim_of_trials_seen_untouched_asks_again_what_became_of_them(tmp_path):
    me, other, alive = "a" * 32, "b" * 32, lambda _: True
    wanted = {trial.id: Wanted(10) for trial in trials(5)}
    with open_store(tmp_path / "s.db") as store, open_store(tmp_path / "s.db") as beside:
        row = store.add_sweep("made", "task", {}, {"metrics": ["validation/loss"]})
        store.add_trials(row.key, trials(5))
        seen = store.untouched(row.key)
        assert (list(seen), store.touched_states(row.key)) == (list(wanted), {})
        ids = list(seen)
        assert beside.claim(row.key, {ids[0]: Wanted(10)}, other, {}, alive) == [ids[0]]
        beside.record_segment(row.key, "p", 1, [Score(ids[1], 10, {"validation/loss": 0.5}, None, True)])
        beside.drop("made", [ids[2]], alive)
        assert beside.claim(row.key, {ids[3]: Wanted(10)}, me, {}, alive) == [ids[3]]
        assert list(store.touched_states(row.key)) == [ids[0], ids[1], ids[3]]
        assert store.claim(row.key, wanted, me, {}, alive, seen) == [ids[3], ids[4]]
        states = store.states(row.key)
        assert [states[trial].open.owner for trial in ids if trial in states] == [other, None, me, me]
        assert store.claim(row.key + 1, wanted, me, {}, alive, seen) == []


def test_a_score_that_is_not_finite_is_noted_of_its_trial(tmp_path):
    with open_store(tmp_path / "s.db") as store:
        row = store.add_sweep("made", "task", {}, {"metrics": ["validation/loss"]})
        store.add_trials(row.key, trials())
        values = (0.5, math.nan, -math.inf)
        for step, finished in ((5, False), (10, True)):
            scores = [
                Score(t.id, step, {"validation/loss": v}, None, finished) for t, v in zip(trials(), values, strict=True)
            ]
            store.record_segment(row.key, "p", 1, scores)
        assert [trial.nonfinite for trial in store.trials(row.key)] == [None, 5, 5]


def test_a_program_is_one_with_its_tiles_width(tmp_path):
    with open_store(tmp_path / "s.db") as store:
        row = store.add_sweep("made", "task", {}, {"metrics": ["validation/loss"]})
        store.add_trials(row.key, trials())
        for trial, width in zip(trials(), (8, 16, 8), strict=True):
            store.record_segment(row.key, "p", width, [Score(trial.id, 10, {"validation/loss": 0.5}, None, True)])
        assert [(trial.program, trial.width) for trial in store.trials(row.key)] == [("p", 8), ("p", 16), ("p", 8)]
        assert [state.width for state in store.states(row.key).values()] == [8, 16, 8]


@pytest.mark.parametrize(
    "config", [{"b": 0.1, "a": -0.0}, {"é\n": '"\u2028'}, {"x": (1, [2.5, None], {"k": True})}, {}]
)
def test_configs_are_written_as_json_writes_them(config):
    together = [config, {"a": 1, "b": "},\n{"}, {}, {"b": True, "a": None}, config]
    assert json_of(together, sort_keys=False) == [dump_config(each) for each in together]
    assert config_ids(together) == [config_id(each) for each in together]
    encoded = encode_config(config)
    assert dump_config(config) == json.dumps(encoded, separators=(",", ":"))
    text = json.dumps(encoded, separators=(",", ":"), sort_keys=True)
    assert config_id(config) == hashlib.sha256(text.encode()).hexdigest()[:16]
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_encoder(sort_keys=False)({"x": math.nan})
