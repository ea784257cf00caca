"""Sweeps under a rule: survivors keep their bits, decisions hold through every interruption, results know who was stopped."""

import threading
from dataclasses import replace

import jax
import numpy as np
import pytest
import stub
from small import rows_of
from stub import Interrupting, outcome

import jsweep as js
from jsweep import rules
from jsweep.engine.carry import Carry, gather
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.storage.integrity import verify

STEPS = 27
RULES = [
    rules.successive_halving(3),
    rules.hyperband(3),
    rules.asynchronous_halving(3, wave=5),
    rules.median_stopping(startup=3),
    rules.any_of(rules.percentile(30, startup=3), rules.divergence()),
    rules.per_trial(rules.successive_halving(3)),
]


remembered_programs = stub.remembered_programs
TASK = stub.stub_task()
SPACE = {"rate": [0.001, 0.004, 0.016, 0.06, 0.12, 0.25, 0.5, 0.99], "kind": ["plain", "tanh"]}


def sweep_of(rule, configs=None, **options):
    given = {"seeds": 2, "steps": STEPS, "evaluate_every": 3, "tile": 4, "rule": rule} | options
    return js.Sweep(TASK, configs or js.grid(SPACE), **given)


@pytest.fixture(scope="module")
def whole():
    """The whole grid, without a rule."""
    return js.run(sweep_of(None))


@pytest.fixture(scope="module")
def ruled():
    """The grid under each rule, by its name."""
    return {rule.name: js.run(sweep_of(rule)) for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_survivors_are_bit_equal_to_the_sweep_without_the_rule(rule, whole, ruled):
    session = ruled[rule.name]
    everything, kept = rows_of(whole), rows_of(session)
    assert {row: everything[row] for row in kept} == kept
    trials = session.trials()
    assert {str(trial.status) for trial in trials} == {"stopped", "finished"}
    for trial in trials:
        assert len(session.curves("validation/loss")[trial.id]) == trial.done // 3
        assert (trial.done < STEPS) == (trial.status == "stopped") == (trial.reason is not None)
    if rule.per == "config":  # seeds stop together
        assert len({(trial.config_id, trial.done) for trial in trials}) == 16
    if rule in (RULES[0], RULES[4]):  # elsewhere some configs are never judged
        assert all(trial.done < STEPS for trial in trials if trial.config["rate"] == 0.99)  # NaN


@pytest.mark.parametrize("rule", RULES[:3], ids=str)
def test_nothing_depends_on_order_workers_or_the_width_of_tiles(rule, ruled):
    expected = outcome(ruled[rule.name])
    configs = list(js.grid(SPACE))
    shuffled = [configs[i] for i in np.random.default_rng(0).permutation(len(configs))]
    assert outcome(js.run(sweep_of(rule, shuffled), workers=jax.devices()[:1])) == expected
    assert outcome(js.run(sweep_of(rule, tile=2)))[1] == expected[1]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_run_may_end_at_any_segment_and_be_resumed(rule, ruled, tmp_path):
    expected = outcome(ruled[rule.name])
    sweep = sweep_of(rule, store=tmp_path / "sweeps.db", name="it")
    interruptions = 0
    while True:  # every run gets a little further than the one before
        try:
            session = js.run(sweep, callbacks=[Interrupting(after=2 + 3 * interruptions)])
            break
        except InterruptedError:
            interruptions += 1
    assert interruptions >= 2
    assert outcome(session) == expected
    assert outcome(js.run(sweep)) == expected  # nothing is trained on
    found = verify(tmp_path / "sweeps.db")
    assert not found.faults
    assert not list((tmp_path / "sweeps.db.checkpoints").glob("*.safetensors"))


def test_without_checkpoints_the_wave_is_trained_again(ruled, tmp_path):
    rule = RULES[0]
    sweep = sweep_of(rule, store=tmp_path / "sweeps.db", name="it", checkpoints="off")
    with pytest.raises(InterruptedError):
        js.run(sweep, callbacks=[Interrupting(after=14)])
    assert outcome(js.run(sweep)) == outcome(ruled[rule.name])


def test_another_width_asked_for_later_is_not_that_of_lanes_that_have_begun(ruled, tmp_path):
    rule = RULES[0]
    sweep = sweep_of(rule, store=tmp_path / "sweeps.db", name="it")
    with pytest.raises(InterruptedError):
        js.run(sweep, callbacks=[Interrupting(after=14)])
    session = js.run(replace(sweep, tile=2))
    assert outcome(session) == outcome(ruled[rule.name])
    assert {trial.width for trial in session.trials()} == {4}


def test_two_processes_share_a_sweep(ruled, tmp_path):
    """Threads with connections and locks of their own, as processes have."""
    rule = RULES[2]
    sweep = sweep_of(rule, store=tmp_path / "sweeps.db", name="it")
    threads = [threading.Thread(target=js.run, args=(sweep,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcome(js.attach(sweep)) == outcome(ruled[rule.name])


def test_a_program_is_compiled_once_whatever_a_rule_decides():
    compiled, halted = [], []

    class Counting(js.Callback):
        def on_compiled(self, event):
            compiled.append((event.group, event.width))

        def on_stopped(self, event):
            halted.extend(stop.trial for stop in event.stops)

    session = js.run(sweep_of(RULES[0]), callbacks=[Counting()])
    assert sorted(compiled) == [(0, 4), (1, 4)]
    assert sorted(halted) == sorted(trial.id for trial in session.trials() if trial.status == "stopped")


def test_the_last_step_selects_only_what_reached_it(whole, ruled):
    session = ruled[RULES[0].name]
    best = session.best()
    assert best.step == STEPS
    assert not best.stopped
    ranking = session.ranking()
    assert [score.complete for score in ranking] == [not score.stopped for score in ranking]
    assert ranking[0].complete
    stopped = [score for score in ranking if score.stopped and np.isfinite(score.mean)]
    assert stopped == sorted(stopped, key=lambda score: (-score.step, score.mean))
    at_first = session.ranking(at=3)  # at equal steps all compare
    assert [s.config_id for s in at_first if s.complete] == [s.config_id for s in whole.ranking(at=3) if s.complete]
    anywhere = session.best(at="best")
    assert anywhere.mean <= best.mean
    assert "stopped" in str(session)


def test_where_every_config_was_stopped_the_message_says_how_to_select():
    session = js.run(sweep_of(rules.any_of(rules.patience(1, least=100.0)), configs=js.grid(SPACE)[:4]))
    with pytest.raises(ConfigError, match="stopped by the sweep's rule or the user .at='best'"):
        session.best()
    assert session.best(at="best").step <= 6


def test_stopped_trials_are_replayed_and_read_out(ruled):
    session = ruled[RULES[0].name]
    trial = next(t for t in session.trials() if t.status == "stopped" and t.nonfinite is None)
    assert js.replay(session, trial.id).difference is None
    state = session.state(trial.id)
    value = np.abs(np.asarray(state["w"]) - TASK.data.validation[0].mean(0)).sum()
    assert value == pytest.approx(session.curves("validation/loss")[trial.id][-1][1], rel=1e-5)


def test_another_rule_or_other_configs_are_another_sweep(tmp_path):
    options = {"store": tmp_path / "sweeps.db", "name": "it", "seeds": 1}
    configs = list(js.grid(SPACE))
    js.run(sweep_of(RULES[0], configs[:6], **options))
    with pytest.raises(IncompatibleSweepError, match="rule"):
        js.run(sweep_of(None, configs[:6], **options))
    with pytest.raises(IncompatibleSweepError, match="configs, seeds or steps"):
        js.run(sweep_of(RULES[0], configs[1:7], **options))
    report = js.show(tmp_path / "sweeps.db").text()
    assert "5 stopped" in report
    assert js.list(tmp_path / "sweeps.db")[0].stopped == 5


def test_plan_says_what_a_rule_leaves_to_train(capfd):
    plan = js.plan(sweep_of(rules.successive_halving(3)))
    assert "after 3, 9 steps: about 22.2% of the steps are trained" in str(plan)  # (16*3 + 5*6 + 1*18) / (16*27)
    js.run(sweep_of(rules.successive_halving(3), seeds=1), progress="plain")
    assert "16/16 trials (15 stopped)" in capfd.readouterr().err


def test_evaluations_fall_on_the_rungs():
    session = js.run(sweep_of(rules.successive_halving(9), evaluate_every=None, configs=js.grid(SPACE)[:3], seeds=1))
    assert session.curves("validation/loss").steps.tolist() == [9, 18, 27]
    with pytest.raises(ConfigError, match="misses the rung"):
        js.plan(sweep_of(rules.successive_halving(4)))
    with pytest.raises(ConfigError, match="seeds=4 or more"):
        js.plan(sweep_of(rules.wilcoxon()))


def test_gather_takes_lanes_from_several_carries():
    def carry(start):
        state = {"w": np.arange(start, start + 6.0).reshape(3, 2), "key": jax.random.split(jax.random.key(start), 3)}
        return Carry(4, 0, 3, state, {"loss": np.arange(3, dtype=np.float32) + start}, np.full(3, -1, np.int32))

    first, second = carry(0), carry(10)
    made = gather([(second, 2), (first, 0), (second, 0), (first, 0)])
    assert made.state["w"].tolist() == [[14, 15], [0, 1], [10, 11], [0, 1]]
    assert made.sums["loss"].tolist() == [12, 0, 10, 0]
    expected = jax.random.key_data(second.state["key"])[2]
    assert (jax.random.key_data(made.state["key"])[0] == expected).all()
