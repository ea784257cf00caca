"""A search whose configs a rule stops: what is judged beside what, the same however a run went, and told as it was scored."""

import jax
import numpy as np
import pytest
import stub
from small import rows_of
from stub import Interrupting, outcome

import jsweep as js
from jsweep import rules
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.search.rules import Rule

remembered_programs = stub.remembered_programs
TASK = stub.stub_task()
SPACE = {"rate": js.log_uniform(1e-3, 1.0), "kind": ["plain", "tanh"]}
STEPS = 27
RULES = {
    "halving": rules.successive_halving(3),
    "hyperband": rules.hyperband(3),
    "asynchronous": rules.asynchronous_halving(3, wave=4),
    "median": rules.median_stopping(startup=4),
    "both": rules.any_of(rules.percentile(30, startup=4), rules.divergence()),
}


def sweep_of(rule: Rule | None, search=None, **options):
    given = {"seeds": 2, "steps": STEPS, "evaluate_every": 3, "tile": 4, "rule": rule} | options
    return js.Sweep(TASK, search or js.tpe(SPACE, 27, key=1, batch=9), **given)


def batches_of(session):
    return session._store.batches(session.row.key)[1:]


@pytest.fixture(scope="module")
def ruled():
    return {name: js.run(sweep_of(rule)) for name, rule in RULES.items()}


@pytest.mark.parametrize("name", RULES)
def test_what_goes_on_is_trained_as_without_the_rule_and_told_as_it_was_scored(ruled, name):
    session = ruled[name]
    batches = batches_of(session)
    configs = js.configs([config for batch in batches for config in batch.configs])
    assert len(configs) == 27
    free = rows_of(js.run(sweep_of(None, configs)))
    assert rows_of(session).items() <= free.items()  # to the bit
    trials = session.trials()
    assert 0 < sum(trial.done for trial in trials) < len(trials) * STEPS
    done = {trial.config_id: trial.done for trial in trials}
    curves = session.curves("validation/loss")
    for config, told in zip(configs.ids, (each for batch in batches for each in batch.told)):
        assert told.stopped == (None if done[config] == STEPS else done[config])
        last = [dict(curves[trial.id])[trial.done] for trial in trials if trial.config_id == config]
        assert str(told.values[0]) == str(np.mean(last) if np.isfinite(last).all() else np.nan)


@pytest.mark.parametrize("name", ["halving", "hyperband"])
def test_halving_judges_each_batch_by_itself(ruled, name):
    for batch in batches_of(ruled[name]):
        alone = js.run(sweep_of(RULES[name], js.configs(batch.configs)))
        assert rows_of(alone).items() <= rows_of(ruled[name]).items()
        assert {t.id: t.done for t in alone.trials()}.items() <= {t.id: t.done for t in ruled[name].trials()}.items()


def check_medians(session, before, last):
    """By the definition, from the recorded curves alone."""
    steps = np.arange(3, STEPS + 1, 3)
    curves, means = session.curves("validation/loss"), {}
    for trial in session.trials():
        means.setdefault(trial.config_id, []).append([value for _, value in curves[trial.id]])
    means = {config: np.mean(both, axis=0) for config, both in means.items()}
    completed = [means[config] for config in before if len(means[config]) == len(steps)]
    averages = np.cumsum(completed, axis=1) / np.arange(1, len(steps) + 1)
    assert len(completed) > 4
    stopped = 0
    for config in last:
        best = np.minimum.accumulate(means[config])
        worse = best > np.median(averages[:, : len(best)], axis=0)
        assert not worse[:-1].any()
        assert worse[-1] == (len(best) < len(steps)) or len(best) == len(steps)
        stopped += len(best) < len(steps)
    assert stopped > 0


def test_the_median_is_that_of_all_configs_that_came_to_their_end_before(ruled):
    *before, last = [js.configs(batch.configs).ids for batch in batches_of(ruled["median"])]
    check_medians(ruled["median"], [config for ids in before for config in ids], last)


def test_asynchronous_halving_promotes_among_all_that_a_rung_has_seen(ruled):
    """A batch of 9 takes none of its own 3 times in turn to the end; beside those before, some get there."""
    by_batch = {
        config: n for n, b in enumerate(batches_of(ruled["asynchronous"])) for config in js.configs(b.configs).ids
    }
    ended = {by_batch[trial.config_id] for trial in ruled["asynchronous"].trials() if trial.done == STEPS}
    assert max(ended) > 0


@pytest.mark.parametrize("name", ["halving", "asynchronous"])
def test_neither_tiles_nor_workers_nor_the_order_of_seeds_change_anything(ruled, name):
    session = js.run(sweep_of(RULES[name], tile=2, seeds=[1, 0]), workers=jax.local_devices()[:1])
    assert outcome(session)[1] == outcome(ruled[name])[1]
    assert [js.configs(b.configs).ids for b in batches_of(session)] == [
        js.configs(b.configs).ids for b in batches_of(ruled[name])
    ]


@pytest.mark.parametrize("name", ["halving", "median"])
def test_a_run_may_end_at_any_segment_and_be_resumed(ruled, name, tmp_path):
    sweep = sweep_of(RULES[name], store=tmp_path / "record.db", tile=16)
    ends = 0
    while True:
        try:
            again = js.run(sweep, callbacks=[Interrupting(3)])
            break
        except InterruptedError:
            ends += 1
    assert ends > 5
    assert outcome(again) == outcome(ruled[name])
    assert outcome(js.run(sweep)) == outcome(ruled[name])


def test_trials_that_were_dropped_are_trained_as_they_were(ruled, tmp_path):
    store = tmp_path / "record.db"
    session = js.run(sweep_of(RULES["median"], store=store))
    stopped = [trial.id for trial in session.trials() if trial.done < STEPS]
    js.drop(store, "stub", [stopped[0], stopped[-1]])
    assert outcome(js.run(sweep_of(RULES["median"], store=store))) == outcome(ruled["median"])


def test_a_search_that_is_asked_for_more_goes_on_and_one_of_other_lengths_is_refused(ruled, tmp_path):
    store = tmp_path / "record.db"
    js.run(sweep_of(RULES["median"], js.tpe(SPACE, 18, key=1, batch=9), store=store))
    assert outcome(js.run(sweep_of(RULES["median"], store=store))) == outcome(ruled["median"])
    for changed in ({"steps": 2 * STEPS}, {"seeds": 3}, {"rule": None}):
        with pytest.raises(IncompatibleSweepError, match="rule"):
            js.run(sweep_of(**{"rule": RULES["median"], "store": store} | changed))


@pytest.mark.parametrize("name", ["halving", "asynchronous", "median"])
def test_configs_that_are_added_leave_what_was_decided_and_are_judged_as_the_next_batch(name, tmp_path):
    store, some, more = tmp_path / "record.db", js.random(SPACE, 18, key=1), js.random(SPACE, 27, key=1)
    first = js.run(sweep_of(RULES[name], some, store=store, name="stub"))
    before, scores = trained(first), rows_of(first)
    whole = sweep_of(RULES[name], more, store=store, name="stub")
    grown = js.run(whole)
    assert before.items() <= trained(grown).items()
    assert {row for row in rows_of(grown) if row[0] in before} == scores.keys()
    assert rows_of(grown).items() >= scores.items()
    assert len(trained(grown)) == 54
    new = more[18:]
    if name == "halving":
        alone = js.run(sweep_of(RULES[name], new))
        assert trained(alone).items() <= trained(grown).items()
        assert rows_of(alone).items() <= rows_of(grown).items()
    if name == "median":
        check_medians(grown, some.ids, new.ids)
    assert outcome(js.run(whole)) == outcome(grown)  # nothing is judged again
    assert trained(js.attach(whole)) == trained(grown)
    assert trained(js.run(sweep_of(RULES[name], some, store=store, name="stub"))) == before
    for other in (js.random(SPACE, 25, key=1), js.random(SPACE, 27, key=2), new + some):
        with pytest.raises(IncompatibleSweepError, match="new configs come after those that are recorded"):
            js.run(sweep_of(RULES[name], other, store=store, name="stub"))


def trained(session):
    return {trial.id: (trial.done, trial.status, trial.reason) for trial in session.trials()}


def test_added_configs_come_to_the_same_wherever_runs_end(tmp_path):
    some, more = js.random(SPACE, 6, key=1), js.random(SPACE, 12, key=1)
    rule, ends = rules.median_stopping(startup=3), 0
    js.run(sweep_of(rule, some, store=tmp_path / "at-once.db"))
    expected = outcome(js.run(sweep_of(rule, more, store=tmp_path / "at-once.db")))
    store = tmp_path / "record.db"
    with pytest.raises(InterruptedError):
        js.run(sweep_of(rule, some, store=store), callbacks=[Interrupting(2)])
    while True:
        try:
            again = js.run(sweep_of(rule, more, store=store), callbacks=[Interrupting(5)])
            break
        except InterruptedError:
            ends += 1
    assert ends > 1
    assert outcome(again) == expected


def test_configs_that_copy_one_another_take_no_more(tmp_path):
    rule, store = rules.population_based_training(9), tmp_path / "record.db"
    space = {"rate": js.log_uniform(1e-3, 1.0), "kind": ["plain"]}
    js.run(sweep_of(rule, js.random(space, 5, key=1), store=store))
    with pytest.raises(IncompatibleSweepError, match="configs that begin together copy one another"):
        js.run(sweep_of(rule, js.random(space, 6, key=1), store=store))


@pytest.mark.parametrize(
    ("rule", "search", "message"),
    [
        (RULES["halving"], js.cma_es({"rate": js.log_uniform(1e-3, 1.0)}, 8, key=0), "cma_es moves on only when all"),
        (RULES["median"], js.nsga2(SPACE, 8, key=0), "nsga2 moves on only when all"),
        (rules.population_based_training(6), js.tpe(SPACE, 8, key=0), "configs that begin together copy one another"),
    ],
)
def test_what_does_not_go_together_is_refused(rule, search, message):
    with pytest.raises(ConfigError, match=message):
        sweep_of(rule, search)


def test_it_is_planned_read_and_replayed(ruled, tmp_path):
    store = tmp_path / "record.db"
    js.run(sweep_of(RULES["median"], js.tpe(SPACE, 18, key=1, batch=9), store=store))
    planned = js.plan(sweep_of(RULES["median"], store=store))
    assert "median_stopping" in str(planned)
    assert sum(group.trials for group in planned.groups) == 18  # those to come
    session = js.attach(sweep_of(RULES["median"], js.tpe(SPACE, 18, key=1, batch=9), store=store))
    assert outcome(session)[1] <= outcome(ruled["median"])[1]
    stopped = next(trial for trial in session.trials() if trial.done < STEPS)
    assert js.replay(session, stopped.id).difference is None
