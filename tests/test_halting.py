"""What ends a run early: time that is counted over resumes, a target, a request from elsewhere; the rest is trained later."""

import threading

import pytest
from click.testing import CliRunner
from small import make_task, rows_of

import jsweep as js
from jsweep._runtime.durations import seconds_of
from jsweep.cli import cli
from jsweep.engine.events import Callback
from jsweep.runner import halting
from jsweep.storage import open_store

CONFIGS = [{"learning_rate": rate} for rate in (0.01, 0.03, 0.1, 0.3)]
MANY = [{"learning_rate": 0.01 * number} for number in range(1, 17)]


def make_sweep(data, tmp_path, name="halting.db", configs=CONFIGS, **changes):
    given = {"steps": 2000, "evaluate_every": 20, "tile": 1, "store": tmp_path / name} | changes
    return js.Sweep(make_task(data), configs, **given)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(halting, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(halting, "MOST_SHARE", 1.0)  # a loaded machine looks as often, as the runs here are short


class Third(Callback):
    """Something happens at the third segment."""

    def __init__(self, happens):
        self.segments, self.happens = 0, happens

    def on_segment(self, event):
        self.segments += 1
        if self.segments == 3:
            self.happens()


def one_worker():
    import jax

    return jax.devices()[:1]


def ended(session):
    return sum(trial.status == "finished" for trial in session.trials())


@pytest.fixture
def whole(data, tmp_path):
    with js.run(make_sweep(data, tmp_path, "whole.db")) as session:
        return rows_of(session)


def test_a_run_ends_when_its_time_is_over_and_the_next_trains_the_rest(data, tmp_path, whole):
    sweep = make_sweep(data, tmp_path)
    with pytest.warns(UserWarning, match=r"ended early, as it has been trained for .* wall_time is"):
        session = js.run(sweep, wall_time=0.001)
    assert ended(session) == 0
    session.close()
    with js.run(sweep) as session:
        assert rows_of(session) == whole


def test_time_is_counted_over_resumes(data, tmp_path):
    js.run(make_sweep(data, tmp_path, seeds=1)).close()
    with open_store(tmp_path / "halting.db") as store:
        used = store.sweep("small").settings["seconds"]
    with pytest.warns(UserWarning, match="ended early"):
        session = js.run(make_sweep(data, tmp_path, seeds=2), wall_time=used)
    assert ended(session) == len(CONFIGS)
    session.close()


def test_a_run_ends_when_somebody_asks_for_it(data, tmp_path, whole):
    sweep = make_sweep(data, tmp_path)
    asked = Third(lambda: js.stop(tmp_path / "halting.db", "small"))
    with pytest.warns(UserWarning, match="ended early, as it was asked to stop"):
        session = js.run(sweep, callbacks=[asked], workers=one_worker())
    assert ended(session) < len(CONFIGS)
    session.close()
    with js.run(sweep) as session:  # the request was to runs of then
        assert rows_of(session) == whole


def test_a_run_ends_when_a_config_is_good_enough(data, tmp_path):
    sweep = make_sweep(data, tmp_path, configs=MANY)
    with pytest.warns(UserWarning, match=r"ended early, as validation/loss is .* and target is"):
        session = js.run(sweep, target=100, workers=one_worker())
    assert 0 < ended(session) < len(MANY)
    best = session.best().mean
    session.close()
    with pytest.warns(UserWarning, match="ended early"):  # reached already: nothing more is trained
        again = js.run(sweep, target=best)
    assert again.best().mean == best
    again.close()


def test_a_target_of_an_objective_that_grows(data, tmp_path):
    accuracy = js.maximize("validation/accuracy")
    with js.run(make_sweep(data, tmp_path, objective=accuracy), target=1.1) as session:
        assert ended(session) == len(CONFIGS)
    with pytest.warns(UserWarning, match=r"validation/accuracy is .* and target is 0"):
        js.run(make_sweep(data, tmp_path, "other.db", objective=accuracy, configs=MANY), target=0.0).close()


def test_a_run_ends_when_nothing_has_improved_for_so_many_configs(data, tmp_path):
    worse = [{"learning_rate": 0.1}, *({"learning_rate": 1e-6 * number} for number in range(1, 16))]
    sweep = make_sweep(data, tmp_path, configs=worse)
    with pytest.warns(UserWarning, match=r"ended early, as \d+ configs have not improved on"):
        session = js.run(sweep, no_improvement=4, workers=one_worker())
    assert 5 <= ended(session) < len(worse)
    assert session.best().config == worse[0]
    session.close()
    better = [{"learning_rate": 1e-4 * number} for number in range(1, 9)]  # each improves
    with js.run(make_sweep(data, tmp_path, "b.db", configs=better), no_improvement=8, workers=one_worker()) as session:
        assert ended(session) == len(better)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "ten"])
def test_a_number_of_configs_that_is_none_is_refused(data, tmp_path, value):
    with pytest.raises(js.errors.ConfigError, match="no_improvement="):
        js.run(make_sweep(data, tmp_path), no_improvement=value)


def test_a_search_that_ends_early_is_not_told_of_half_a_batch(data, tmp_path):
    pytest.importorskip("optuna")
    space = {"learning_rate": js.log_uniform(0.01, 0.3)}
    search = js.tpe(space, 6, key=0, batch=3)
    with js.run(make_sweep(data, tmp_path, "whole.db", configs=search)) as session:
        whole = rows_of(session)
    stop = Third(lambda: js.stop(tmp_path / "halting.db", "small"))
    sweep = make_sweep(data, tmp_path, configs=search)
    with pytest.warns(UserWarning, match="ended early"):
        js.run(sweep, callbacks=[stop], workers=one_worker()).close()
    with js.run(sweep) as session:
        assert rows_of(session) == whole


def test_a_stop_that_nobody_would_hear_is_refused(data, tmp_path):
    js.run(make_sweep(data, tmp_path)).close()
    file = tmp_path / "halting.db"
    with pytest.raises(js.errors.StoreError, match="no process trains the sweep 'small'"):
        js.stop(file, "small")
    with pytest.raises(js.errors.StoreError, match="there is no sweep 'large'"):
        js.stop(file, "large")
    with pytest.raises(js.errors.StoreError, match="does not exist"):
        js.stop(tmp_path / "none.db", "small")
    with pytest.raises(js.errors.ConfigError, match="in memory"):
        js.stop(":memory:", "small")


def test_the_command_asks_a_run_to_stop(data, tmp_path):
    sweep, said = make_sweep(data, tmp_path), []

    def ask():
        said.append(CliRunner().invoke(cli, ["stop", "small", "--store", str(tmp_path / "halting.db")]))

    def ask_elsewhere():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    with pytest.warns(UserWarning, match="asked to stop"):
        js.run(sweep, callbacks=[Third(ask_elsewhere)], workers=one_worker()).close()
    assert said[0].output == "asked 1 process to stop training small\n"


@pytest.mark.parametrize("value", [0, -1, True, float("nan"), float("inf"), "", "10", "10 minutes", "min", "0s"])
def test_a_time_that_is_none_is_refused_before_anything_is_compiled(data, tmp_path, value):
    with pytest.raises(js.errors.ConfigError, match="wall_time="):
        js.run(make_sweep(data, tmp_path), wall_time=value)


@pytest.mark.parametrize("value", [True, float("nan"), float("inf")])
def test_a_target_that_is_none_is_refused(data, tmp_path, value):
    with pytest.raises(js.errors.ConfigError, match="target="):
        js.run(make_sweep(data, tmp_path), target=value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("1h 30min", 5400), ("1h30m", 5400), ("0.5h", 1800), (12, 12.0)]
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert seconds_of("wall_time", text) == seconds
