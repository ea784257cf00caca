"""Bad input is refused in one sentence before anything compiles; the record outlives mistakes."""

import contextlib
import sqlite3

import jax
import numpy as np
import pytest
from small import make_task, plain_loop, rows_of

import jsweep as js
from jsweep.storage import open_store

GOOD = [{"learning_rate": 0.1}]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"configs": []}, "configs is empty"),
        ({"configs": {"learning_rate": [0.1]}}, "configs is a space, not configs: wrap it"),
        ({"configs": [*GOOD, *GOOD]}, r"configs\[1\] equals configs\[0\]"),
        ({"seeds": 0}, "seeds=0 is not valid"),
        ({"seeds": [1, 1]}, "repeats a seed"),
        ({"seeds": "3"}, "seeds='3' is neither a count nor a list"),
        ({"seeds": [-1]}, "seeds holds -1"),
        ({"steps": None}, "steps and epochs are both missing"),
        ({"steps": 0}, "steps=0 is not valid: pass a whole number of at least 1"),
        ({"steps": None, "epochs": -1}, "epochs=-1 is not a number above 0"),
        (
            {"configs": [{"learning_rate": 0.1, "batch_size": 500}], "steps": None, "epochs": 1},
            "more than the 240 training",
        ),
        ({"configs": [{"learning_rate": 0.1, "steps": 5, "epochs": 1}]}, "both steps and epochs"),
        ({"epochs": 1}, "steps=10 and epochs=1 exclude each other: pass one of them"),
        (
            {"configs": [{"learning_rate": 0.1, "epochs": 1}]},
            "steps is given to the sweep and the config .* has epochs",
        ),
        ({"evaluate_every": 0}, "evaluate_every=0"),
        (
            {"objective": "validation/acuracy"},
            r"objective='validation/acuracy' \(did you mean 'validation/accuracy'\?\) has no",
        ),
        ({"objective": "accuracy"}, r"objective='accuracy' \(did you mean 'validation/accuracy'\?\)"),
        ({"objective": "validation/f1"}, "objective='validation/f1' has no known direction; the task's metrics that"),
        ({"tile": 0}, "tile=0"),
        ({"pairing": "random"}, "pairing='random' is not valid"),
        ({"key": "seed"}, "key='seed' is not a key"),
        ({"key": -4}, "key=-4 is not a seed"),
        ({"key": 2**64}, "key=18446744073709551616 is not a seed"),
        ({"key": True}, "key=True is not a key"),
        ({"name": "\ud800"}, "cannot hold a value"),
        ({"store": "/no/such/folder/s.db"}, "the folder '/no/such/folder' does not exist"),
        ({"store": "/"}, "store='/' is a folder"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_compiles(data, monkeypatch, arguments, sentence):
    monkeypatch.setattr("jsweep.engine.compiling.compile_program", lambda *_: pytest.fail("compiled"))
    with pytest.raises(js.JsweepError, match=sentence) as caught:
        js.sweep(make_task(data), **{"configs": GOOD, "seeds": 1, "steps": 10, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("epochs", "steps"), [(1.1, 11), (0.7, 7), (2.3, 23), (1.01, 11), (1, 10)])
def test_epochs_are_rounded_up_from_the_number_as_it_is_written(data, epochs, steps):
    few = js.Splits((data.train[0][:100], data.train[1][:100]), data.validation)
    assert js.sweep(make_task(few, batch_size=10), GOOD, epochs=epochs).trials()[0].steps == steps


def test_seeds_that_can_be_read_once_are_read_once(data):
    sweep = js.Sweep(make_task(data), [{"learning_rate": rate} for rate in (0.1, 0.2)], seeds=iter([0, 1]), steps=5)
    js.plan(sweep)
    assert [trial.seed for trial in js.run(sweep).trials()] == [0, 1, 0, 1]


@pytest.mark.parametrize("rates", [[10**400, 1], [10**400, 1.5]])
def test_a_number_beyond_all_floats_fails_alone(data, tmp_path, rates):
    run = lambda rates: js.sweep(make_task(data), js.grid({"learning_rate": rates}), steps=5, store=tmp_path / "s.db")
    run([0.1]).close()
    with pytest.warns(UserWarning, match="1 of 2 trials failed, the first .* OverflowError"):
        assert [trial.status for trial in run(rates).trials()] == ["failed", "finished"]


@pytest.mark.filterwarnings("ignore::signatures.WrongType")  # type checkers want Python's
def test_whole_numbers_of_numpy_are_whole_numbers(data):
    configs = [{"learning_rate": 0.1, "layers": [64, np.int64(64)]}]
    numbers = {"seeds": np.arange(2), "steps": np.int64(5), "evaluate_every": np.int64(5)}
    with pytest.warns(UserWarning, match="'layers': never read by the task"):
        session = js.sweep(make_task(data), configs, **numbers)
    assert [(trial.seed, trial.steps, trial.status) for trial in session.trials()] == [
        (n, 5, "finished") for n in (0, 1)
    ]


def test_a_batch_larger_than_the_data_is_refused_with_steps_too(data):
    with pytest.raises(js.JsweepError, match="batch_size=500 is more than the 240 training examples"):
        js.sweep(make_task(data, batch_size=500), GOOD, steps=5)


def test_data_that_is_not_finite_is_refused(data):
    x = data.train[0].copy()
    x[3, 2] = float("inf")
    with pytest.raises(js.JsweepError, match=r"train\[0\] holds inf at index \[3, 2\]"):
        js.sweep(make_task(js.Splits((x, data.train[1]), data.validation)), GOOD, steps=5)


def test_keys_of_a_generator_that_mixes_lanes_are_refused(data):
    with pytest.raises(js.JsweepError, match="uses the generator rbg"):
        js.sweep(make_task(data), GOOD, steps=5, key=jax.random.key(0, impl="rbg"))


def test_other_data_under_the_same_name_is_refused_and_the_record_kept(data, digits, tmp_path):
    store = tmp_path / "s.db"
    first = js.sweep(make_task(data), GOOD, steps=10, store=store)
    rows = rows_of(first)
    other = js.split(*digits, key=99)
    with pytest.raises(
        js.JsweepError, match="the sweep 'small' in .* was made with other data: to keep both, give this sweep a name"
    ):
        js.sweep(make_task(other), GOOD, steps=10, store=store)
    changed = make_task(data, loss=lambda outputs, y: 2 * js.losses.softmax_cross_entropy(outputs, y))
    with pytest.raises(js.JsweepError, match="was trained by another task"):
        js.sweep(changed, GOOD, steps=10, store=store)
    js.sweep(make_task(other), GOOD, steps=10, store=store, name="other")
    with open_store(store, write=False) as opened:
        assert [row.name for row in opened.sweeps()] == ["small", "other"]
    assert rows_of(js.sweep(make_task(data), GOOD, steps=10, store=store)) == rows


def test_a_file_that_is_no_record_is_left_alone(data, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, but long enough to be taken for one" * 20)
    with pytest.raises(js.JsweepError, match="cannot be read"):
        js.sweep(make_task(data), GOOD, steps=5, store=text)
    assert text.read_text().startswith("not a database")
    foreign = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(foreign)) as db, db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(js.JsweepError, match="is not a jsweep store"):
        js.sweep(make_task(data), GOOD, steps=5, store=foreign)


def test_a_store_of_a_future_format_is_refused(data, tmp_path):
    store = tmp_path / "s.db"
    js.sweep(make_task(data), GOOD, steps=5, store=store)
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(js.JsweepError, match="has format 99, and this jsweep reads format 6"):
        js.sweep(make_task(data), GOOD, steps=5, store=store)


@pytest.mark.parametrize("vary", [("init",), ("order",), "order", ("order", "init")])
def test_seeds_decide_what_varies_alone(data, vary, tmp_path):
    """The other keys are those of seed 0, as a plain loop has them; a sweep that varies something else is another one."""
    options = {"seeds": [0, 5], "steps": 6, "store": tmp_path / "s.db", "name": "varied"}
    session = js.sweep(make_task(data), [{"learning_rate": 0.1}], vary=vary, **options)
    curves = session.curves("validation/loss")
    for trial in session.trials():
        own = [trial.seed if source in vary else 0 for source in ("init", "order", "noise")]
        expected = plain_loop(data, {"learning_rate": 0.1}, own, 6)
        assert curves[trial.id][-1][1] == pytest.approx(expected, rel=1e-5)
    assert js.replay(session, session.trials()[1].id).difference is None
    with pytest.raises(js.IncompatibleSweepError, match="other vary"):
        js.sweep(make_task(data), [{"learning_rate": 0.1}], **options)


@pytest.mark.parametrize("vary", [(), ("weights",), ("init", "init")])
def test_what_seeds_cannot_vary_is_named(data, vary):
    with pytest.raises(js.ConfigError, match="pass some of 'init', 'order', 'noise'"):
        js.Sweep(make_task(data), [{"learning_rate": 0.1}], steps=2, vary=vary)
