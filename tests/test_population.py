"""Population-based training: what is copied, that it is the same however a run went, and that results say what was trained."""

import threading
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
import stub
from small import apply, make_task, plain_loop, rows_of
from stub import Interrupting, outcome

import jsweep as js
from jsweep import rules, schedules
from jsweep.engine.events import Compiled
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.results.plots import plot_lineage
from jsweep.results.report.content import content_of
from jsweep.search.rules.population import Explored, explore
from jsweep.storage.integrity import verify

remembered_programs = stub.remembered_programs
TASK = stub.stub_task()
SPACE = {"rate": js.log_uniform(1e-3, 0.9), "kind": ["plain"]}
RULE = rules.population_based_training(6, quantile=0.3)
STEPS = 27
KEY = np.array([0, 7], np.uint32)


def sweep_of(rule=RULE, configs=None, **options):
    space = SPACE | {"rate": js.log_uniform(1e-3, 1.0)}
    given = {"seeds": 2, "steps": STEPS, "evaluate_every": 3, "tile": 4, "rule": rule} | options
    return js.Sweep(TASK, configs or js.random(space, 8, key=3), **given)


def everything(session):
    return outcome(session), session.lineage().copies


@pytest.fixture(scope="module")
def ruled():
    return js.run(sweep_of())


def columns(values):
    """Scores of configs that were all evaluated once, after 6 steps of 12."""
    scores = np.full((len(values), 2, 1), np.nan)
    scores[:, 0, 0] = values
    return scores, np.tile(np.array([6, 12]), (len(values), 1)), KEY


def test_the_worst_copy_the_best():
    values = np.random.default_rng(0).permutation(20).astype(float)
    sources = rules.population_based_training(6).copying.sources(*columns(values))
    replaced = np.flatnonzero(sources != np.arange(20))
    assert sorted(values[replaced]) == [16, 17, 18, 19]  # a fifth of 20
    assert set(values[sources[replaced]]) <= {0, 1, 2, 3}
    assert (rules.population_based_training(6)(*columns(values)) == rules.GO).all()


@pytest.mark.parametrize(
    ("values", "replaced"),
    [([1.0], []), ([1.0, 1.0, 1.0, 1.0], []), ([np.inf] * 4, []), ([1, np.inf, 2, np.inf], [3]), ([2.0, 1.0], [0])],
)
def test_ties_one_config_and_nan(values, replaced):
    sources = rules.population_based_training(6, quantile=0.3).copying.sources(*columns(values))
    assert np.flatnonzero(sources != np.arange(len(values))).tolist() == replaced
    assert np.isfinite(np.asarray(values)[sources[replaced]]).all()


def test_new_values_stay_whole_within_bounds_and_constraints():
    space = js.Space(
        {
            "rate": js.log_uniform(0.1, 0.5),
            "layers": js.int_uniform(1, 9),
            "fits": js.constraint(lambda c: c["rate"] * c["layers"] < 2),
        }
    )
    explored, config = Explored(space, ("rate", "layers")), {"rate": 0.45, "layers": 4}
    found = [explore(RULE.copying, explored, config, [i]) for i in range(200)]
    assert all(0.1 <= f["rate"] <= 0.5 and 1 <= f["layers"] <= 9 and type(f["layers"]) is int for f in found)
    assert all(f["rate"] * f["layers"] < 2 for f in found)
    scaled = [f for f in found if f["layers"] in (3, 5)]  # 4 * 0.8 and 4 * 1.2, rounded
    assert len(scaled) > 100  # three quarters, and a quarter is drawn anew
    assert {round(f["rate"], 12) for f in scaled} & {0.36, 0.5} == {0.36, 0.5}  # 0.45 * 0.8, and 0.45 * 1.2 cut
    assert explore(RULE.copying, explored, config, [7]) == found[7]


def test_the_winners_schedule_trains_the_winner(data):
    """In a plain loop with optax, and in a sweep of one config: momentum does not hold the learning rate."""
    task, space = make_task(data), {"learning_rate": js.log_uniform(1e-3, 0.3)}
    rule = rules.population_based_training(3, quantile=0.5, resample=0.5)
    options = {"seeds": 2, "steps": 12, "evaluate_every": 3, "tile": 4, "objective": "validation/loss"}
    session = js.run(js.Sweep(task, js.random(space, 6, key=1), rule=rule, **options))
    best = next(score for score in session.ranking() if len(session.lineage().path(score.config_id, 12)) > 2)
    rates = session.schedule(best)["learning_rate"]
    assert len(rates) == 12
    assert len(set(rates)) > 2
    table = schedules.table(rates.tolist())
    scheduled = make_task(data, optimizer=lambda config: optax.sgd(table, momentum=config["momentum"]))
    again = js.run(js.Sweep(scheduled, [{"momentum": 0.9}], **options))
    for seed, value in zip(best.seeds, best.values, strict=True):
        curve = dict(again.curves("validation/loss")[again.trials()[seed].id])
        assert curve[12] == pytest.approx(value, rel=1e-6)
    assert plain_loop(data, {"learning_rate": table}, best.seeds[0], 12) == pytest.approx(best.values[0], rel=1e-5)


def test_without_a_copy_yet_trials_are_those_of_the_sweep_without_the_rule(ruled):
    plain = rows_of(js.run(sweep_of(None)))
    first = min(copy.step for copies in ruled.lineage().copies.values() for copy in copies)
    rows = rows_of(ruled)
    assert {row: value for row, value in plain.items() if row[2] <= first}.items() <= rows.items()
    assert plain != rows
    alone = sweep_of(configs=js.random({**SPACE}, 1, key=0))
    assert rows_of(js.run(alone)) == rows_of(js.run(sweep_of(None, configs=js.random({**SPACE}, 1, key=0))))


def test_nothing_depends_on_order_workers_or_the_width_of_tiles(ruled):
    copies = ruled.lineage().copies
    assert len(copies) > 2
    configs = ruled.prepared.sweep.configs
    turned = replace(configs, rows=configs.rows[::-1])
    assert everything(js.run(sweep_of(configs=turned), workers=jax.devices()[:1])) == everything(ruled)
    for tile in (2, 16):
        assert js.run(sweep_of(tile=tile)).lineage().copies == copies


@pytest.mark.parametrize("checkpoints", ["on", "off"])
def test_a_run_may_end_at_any_segment_and_be_resumed(checkpoints, ruled, tmp_path):
    options = {} if checkpoints == "on" else {"checkpoints": "off"}
    sweep = sweep_of(store=tmp_path / "sweeps.db", name="it", **options)
    interruptions = 0
    while True:
        try:
            session = js.run(sweep, callbacks=[Interrupting(after=(1 if checkpoints == "on" else 9) + interruptions)])
            break
        except InterruptedError:
            interruptions += 1
    assert interruptions >= 3
    assert everything(session) == everything(ruled)
    assert everything(js.run(sweep)) == everything(ruled)
    assert not verify(tmp_path / "sweeps.db").faults


def test_two_processes_share_a_sweep(ruled, tmp_path):
    """Threads with connections and locks of their own, as processes have."""
    sweep = sweep_of(store=tmp_path / "sweeps.db", name="it")
    threads = [threading.Thread(target=js.run, args=(sweep,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert everything(js.attach(sweep)) == everything(ruled)


def test_copies_compile_nothing():
    compiled = []

    class Counting(js.Callback):
        def on_compiled(self, event: Compiled):
            compiled.append(event.width)

    js.run(sweep_of(), callbacks=[Counting()])
    assert compiled == [4]


def test_trials_are_replayed_and_read_out_along_their_lineage(ruled):
    for trial in ruled.trials():
        found = js.replay(ruled, trial.id, batch_with="copies")
        assert found.difference is None
        assert found.compared == 2 * STEPS // 3
        value = np.abs(np.asarray(ruled.state(trial.id)["w"]) - TASK.data.validation[0].mean(0)).sum()
        assert value == pytest.approx(dict(ruled.curves("validation/loss")[trial.id])[STEPS], rel=1e-5)


def test_results_say_what_a_config_was_trained_with(ruled, tmp_path):
    lineage = ruled.lineage()
    for score in ruled.ranking():
        copies = lineage.copies.get(score.config_id, [])
        assert score.copies == len(copies)
        assert score.config["rate"] == (copies[-1].values if copies else lineage.configs[score.config_id])["rate"]
        assert ruled.schedule(score)["rate"][-1] == score.config["rate"]
    began = {score.config_id: score.config for score in ruled.ranking(at=3)}
    assert began == lineage.configs
    assert "copy" in str(next(score for score in ruled.ranking() if score.copies))
    changed = {t.id: t.config["rate"] for t in ruled.trials()}
    assert dict(zip(ruled.table()["trial"], ruled.table()["rate"], strict=True)) == changed
    with pytest.raises(ConfigError, match="fresh seeds"):
        js.confirm(ruled, top=8, seeds=2)
    assert plot_lineage(ruled, "rate", tmp_path / "lineage.png").stat().st_size > 10_000


def test_examples_are_scored_with_the_numbers_that_a_config_was_trained_with(data):
    def scaled(config, params, x, key):
        return config["scale"] * apply(config, params, x, key)

    task, space = make_task(data, apply=scaled), {"learning_rate": [0.1], "scale": js.log_uniform(0.1, 3.0)}
    rule = rules.population_based_training(3, quantile=0.5)
    session = js.run(js.Sweep(task, js.random(space, 4, key=1), rule=rule, seeds=2, steps=9, evaluate_every=3))
    changed = next(score for score in session.ranking("validation/loss") if score.copies)
    values = session.examples("validation/loss", config=changed.config_id)
    assert values.mean(axis=1) == pytest.approx(changed.values, rel=1e-5)


def test_the_page_draws_what_the_population_trained_with(ruled):
    found, best = content_of(ruled, None)["lineage"], ruled.ranking()[0]
    assert found["copies"] == sum(map(len, ruled.lineage().copies.values())) > 0
    for name, (steps, values), (every, _) in zip(found["names"], found["best"], found["all"], strict=True):
        schedule = ruled.schedule(best.config_id)[name]
        assert steps[0] == 0
        assert steps[-1] == len(schedule) == best.step
        for begin, end, value in zip(steps[::2], steps[1::2], values[::2], strict=True):
            np.testing.assert_allclose(schedule[begin:end], value, rtol=1e-4)
        assert every.count(None) == len(ruled.ranking())


def test_another_space_is_another_sweep(tmp_path):
    """New values are drawn from it."""
    options = {"store": tmp_path / "sweeps.db", "name": "it", "seeds": 1}
    configs = js.random(SPACE, 4, key=0)
    js.run(sweep_of(configs=configs, **options))
    wider = js.random(SPACE | {"rate": js.log_uniform(1e-3, 0.9001)}, 4, key=0)
    with pytest.raises(IncompatibleSweepError):
        js.run(sweep_of(configs=wider, **options))


@pytest.mark.parametrize(
    ("rule", "space", "message"),
    [
        (RULE, {"kind": ["plain", "tanh"]}, "2 programs as static hyperparameters differ .kind."),
        (RULE, {"rate": [0.1, 0.2, 0.3]}, "has nothing to change"),
        (rules.population_based_training(6, hyperparameters=["kind"]), {}, "cannot change 'kind' between segments"),
        (rules.population_based_training(6, hyperparameters=["mass"]), {}, "'mass', which the space does not have"),
        (rules.population_based_training(30), {}, "pass a smaller every="),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_is_compiled(rule, space, message):
    with pytest.raises(ConfigError, match=message):
        js.plan(sweep_of(rule, js.random(SPACE | space, 3, key=0)))


def test_what_only_the_initial_state_holds_is_not_changed(data):
    task = make_task(data, optimizer=lambda c: optax.inject_hyperparams(optax.sgd)(learning_rate=c["learning_rate"]))
    configs = js.random({"learning_rate": js.log_uniform(1e-3, 0.3)}, 4, key=0)
    for names in (None, ["learning_rate"]):
        rule = rules.population_based_training(5, hyperparameters=names)
        with pytest.raises(ConfigError, match="which init alone reads|that each step reads"):
            js.plan(js.Sweep(task, configs, rule=rule, steps=10, evaluate_every=5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.population_based_training(0), "every=0"),
        (lambda: rules.population_based_training(6, quantile=0.6), "quantile=0.6"),
        (lambda: rules.population_based_training(6, factors=[]), "factors="),
        (lambda: rules.population_based_training(6, factors=(0.8, -1)), "factors="),
        (lambda: rules.population_based_training(6, resample=2), "resample=2"),
        (lambda: rules.population_based_training(6, hyperparameters="rate"), "pass a list of names"),
        (lambda: rules.any_of(RULE, rules.divergence()), "pass it as the only rule"),
        (lambda: rules.per_trial(RULE), "pass it without per_trial"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
