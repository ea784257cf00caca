"""Acting on a recorded sweep: configs that the user stops, and clones of configs with other values."""

import pytest
import stub
from click.testing import CliRunner
from small import rows_of
from stub import outcome

import jsweep as js
from jsweep import rules
from jsweep.cli import cli
from jsweep.errors import ConfigError, StoreError
from jsweep.storage.integrity import verify

remembered_programs = stub.remembered_programs
TASK = stub.stub_task()
SPACE = {"rate": js.uniform(0.0, 0.9), "kind": ["plain"], "small": js.constraint(lambda c: c["rate"] != 0.5)}


def sweep_of(path, rule=None, configs=None, **options):
    given = {"seeds": 2, "steps": 27, "evaluate_every": 3, "tile": 4, "rule": rule, "name": "it"} | options
    return js.Sweep(TASK, configs or js.random(SPACE, 6, key=3), store=path, **given)


class At(js.Callback):
    """Something happens at one segment."""

    def __init__(self, number, happens):
        self.left, self.happens = number, happens

    def on_segment(self, event):
        self.left -= 1
        if self.left == 0:
            self.happens()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return rows_of(js.run(sweep_of(tmp_path_factory.mktemp("whole") / "sweeps.db")))


@pytest.mark.parametrize("rule", [None, rules.successive_halving(3), rules.population_based_training(6)], ids=str)
def test_a_config_that_the_user_stops_in_a_live_run_stops_there(rule, whole, tmp_path):
    path, config = tmp_path / "sweeps.db", js.random(SPACE, 6, key=3).ids[1]
    asked = At(5, lambda: js.stop(path, "it", [config[:6]]))
    session = js.run(sweep_of(path, rule), callbacks=[asked])
    stopped = [trial for trial in session.trials() if trial.config_id == config]
    assert all(t.status == "stopped" and t.reason == f"stopped by the user at step {t.done}" for t in stopped)
    assert all(t.done < 27 for t in stopped)
    assert {str(t.status) for t in session.trials() if t.config_id != config} <= {"stopped", "finished"}
    assert all(len(session.curves("validation/loss")[t.id]) == t.done // 3 for t in stopped)
    if rule is None:
        assert rows_of(session).items() <= whole.items()
    assert session.best().config_id != config
    found = outcome(session)
    assert outcome(js.run(sweep_of(path, rule))) == found  # it is not trained on
    assert js.replay(session, next(t.id for t in session.trials() if t.status == "finished")).difference is None
    assert not verify(path).faults
    if rule is None:
        longer = js.run(sweep_of(path, steps=30))
        assert {t.done for t in longer.trials() if t.config_id == config} == {t.done for t in stopped}
        assert sum(t.done == 30 for t in longer.trials()) == 10


def test_decisions_after_a_stop_are_those_of_a_resumed_run(tmp_path):
    """The rule is told of the same scores, whether it was at work when the user stopped a config or began afterwards."""
    rule, config, found = rules.successive_halving(3), js.random(SPACE, 6, key=3).ids[1], []
    for name in ("live", "resumed"):
        path = tmp_path / f"{name}.db"

        def happens():
            js.stop(path, "it", [config])  # noqa: B023
            if name == "resumed":  # noqa: B023
                raise InterruptedError

        try:
            session = js.run(sweep_of(path, rule), callbacks=[At(1, happens)], workers=js_devices())
        except InterruptedError:
            session = js.run(sweep_of(path, rule), workers=js_devices())
        found.append({(t.id, str(t.status), t.done) for t in session.trials() if t.config_id != config})
    assert found[0] == found[1]


def js_devices():
    import jax

    return jax.devices()[:1]


def test_what_cannot_be_stopped_is_said_in_a_sentence(tmp_path):
    path = tmp_path / "sweeps.db"
    session = js.run(sweep_of(path, seeds=1))
    with pytest.raises(StoreError, match="has ended"):
        js.stop(path, "it", [session.best().config_id])
    with pytest.raises(StoreError, match="'zz' matches 0 configs"):
        js.stop(path, "it", ["zz"])
    with pytest.raises(ConfigError, match="pass a list of config ids"):
        js.stop(path, "it", "zz")


def test_a_clone_is_trained_by_the_next_run_and_stays(whole, tmp_path):
    path = tmp_path / "sweeps.db"
    session = js.run(sweep_of(path))
    source = session.trials()[3]
    new = js.clone(sweep_of(path), source.id[:8], {"rate": 0.3})
    assert js.attach(sweep_of(path)).ranking()[-1].config_id == new  # asked for, and not trained
    grown = js.resume(sweep_of(path))
    assert len(grown.trials()) == 14
    assert {**source.config, "rate": 0.3} == grown.config(new).best().config
    assert whole.items() <= rows_of(grown).items()
    alone = js.run(sweep_of(":memory:", configs=[{"kind": "plain", "rate": 0.3}]))
    assert rows_of(alone).items() <= rows_of(grown).items()
    again = js.clone(sweep_of(path), new, {"rate": 0.35})  # a clone of a clone
    assert len(js.run(sweep_of(path)).config(again).trials()) == 2


@pytest.mark.parametrize("segment", [1, 12, 27])  # the first, one between, the last
def test_a_clone_of_a_live_run_is_taken_up_after_its_segments(whole, segment, tmp_path, monkeypatch):
    monkeypatch.setattr("jsweep.runner.halting.POLL_SECONDS", 0.01)
    path, made = tmp_path / "sweeps.db", []
    source = js.random(SPACE, 6, key=3).ids[1]
    begun, ended = [], []

    class Cloning(At):
        def on_start(self, plan):
            begun.append(plan)

        def on_end(self, error):
            ended.append(error)

    session = js.run(
        sweep_of(path),
        callbacks=[Cloning(segment, lambda: made.append(js.clone(sweep_of(path), source, {"rate": 0.3})))],
    )
    assert (len(begun), ended) == (1, [None])
    assert {str(trial.status) for trial in session.trials()} == {"finished"}
    assert len(session.config(made[0]).trials()) == 2
    assert whole.items() <= rows_of(session).items()  # what was under way goes on to the same bits
    assert not verify(path).faults


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.5}, "rate=1.5 is not in the space, which says uniform"),
        ({"rate": "fast"}, "pass a float"),
        ({"mass": 1.0}, "has no 'mass' to change: it has"),
        ({"kind": "tanh"}, "kind=tanh is not in the space"),
        ({"rate": 0.5}, "the constraint 'small' does not hold"),
        ({"rate": js.random(SPACE, 6, key=3)[1]["rate"]}, "has this config already"),
        ({}, "values is empty"),
    ],
)
def test_a_clone_must_be_in_the_space(recorded, values, message):
    with pytest.raises(ConfigError, match=message):
        js.clone(recorded, js.random(SPACE, 6, key=3).ids[0], values)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    sweep = sweep_of(tmp_path_factory.mktemp("recorded") / "sweeps.db", seeds=1)
    js.run(sweep).close()
    return sweep


def test_a_sweep_whose_rule_has_judged_takes_no_clone(recorded, tmp_path):
    with pytest.raises(ConfigError, match="cannot take a clone, as rule=successive_halving"):
        js.clone(sweep_of(tmp_path / "sweeps.db", rules.successive_halving(3)), "a", {"rate": 0.3})
    with pytest.raises(ConfigError, match="has no sweep 'it'"):
        js.clone(sweep_of(tmp_path / "sweeps.db"), "a", {"rate": 0.3})
    with pytest.raises(ConfigError, match="matches 0 configs"):
        js.clone(recorded, "zz", {"rate": 0.3})


EXPERIMENT = """
import jsweep as js
from stub import stub_task

def sweep():
    return js.Sweep(stub_task(), [{"rate": 0.1, "kind": "plain"}], steps=6, evaluate_every=3, seeds=1, name="it")
"""


def test_the_commands_stop_and_clone(tmp_path):
    file, store = tmp_path / "steered_experiment.py", str(tmp_path / "sweeps.db")
    file.write_text(EXPERIMENT)
    run = lambda *arguments: CliRunner().invoke(cli, [*arguments, "--store", store, "--json"], catch_exceptions=False)
    assert run("run", str(file), "--steps", "3").exit_code == 0
    config = js.open(store, "it").trials()[0].config_id
    made = run("clone", config[:8], str(file), "--set", "rate=2e-1")
    assert made.exit_code == 0
    assert [str(trial.status) for trial in js.open(store, "it").trials()] == ["finished", "waiting"]
    assert run("resume", str(file)).exit_code == 0
    configs = {trial.config["rate"]: trial for trial in js.open(store, "it").trials()}
    assert configs[0.2].config_id in made.output
    assert configs[0.2].done == 6
    with pytest.raises(StoreError, match="has ended"):
        run("stop", "it", "--config", config)
