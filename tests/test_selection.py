"""Selection: which config a metric, an evaluation and a rule choose, against NumPy; and what is never chosen."""

import math

import numpy as np
import pytest
from records import ACCURACY, LOSS, SETTINGS, curves, last_scores, record

import jsweep as js
from jsweep.results.result import Result
from jsweep.storage.rows import dump

STEPS = (10, 20, 30, 40)


@pytest.fixture
def table():
    """Losses and accuracies of 20 configs under 5 seeds, and the result that has them."""
    rng = np.random.default_rng(0)
    loss, accuracy = rng.normal(1.0, 0.3, size=(20, 5)), rng.uniform(size=(20, 5))
    cells = {(i, s): (loss[i, s], accuracy[i, s]) for i in range(20) for s in range(5)}
    return loss, accuracy, record(last_scores(cells))[1]


@pytest.fixture
def evaluated():
    """Losses of shape (12 configs, 3 seeds, 4 evaluations), and the result that has them."""
    values = np.random.default_rng(1).normal(1.0, 0.3, size=(12, 3, 4))
    return values, record(curves(values, STEPS))[1]


# -- the mean over seeds ------------------------------------------------------------------------------------------------


def test_ranking_orders_configs_as_numpy_orders_their_means(table):
    loss, accuracy, result = table
    for metric, values, order in (
        (LOSS, loss, np.argsort(loss.mean(axis=1))),
        (ACCURACY, accuracy, np.argsort(-accuracy.mean(axis=1))),
    ):
        ranking = result.ranking(metric)
        assert [score.config["rate"] for score in ranking] == order.tolist()
        np.testing.assert_allclose([score.mean for score in ranking], values.mean(axis=1)[order])
        np.testing.assert_allclose([score.std for score in ranking], values.std(axis=1, ddof=1)[order])
        np.testing.assert_allclose(
            [score.standard_error for score in ranking], values.std(axis=1, ddof=1)[order] / math.sqrt(5)
        )
        assert ranking[0].values == tuple(values[order[0]])
        assert result.best(metric) == ranking[0]


def test_ties_keep_the_order_of_the_store():
    _, result = record(last_scores({(rate, seed): (0.5, 0.5) for rate in (3, 1, 2) for seed in (0, 1)}))
    for metric in (LOSS, ACCURACY):
        assert [score.config["rate"] for score in result.ranking(metric)] == [3, 1, 2]


def test_seeds_in_another_order_are_the_same_mean():
    values = np.random.default_rng(3).normal(size=7)
    cells = {(0, s): (values[s], 0.0) for s in range(7)} | {(1, s): (values[6 - s], 0.0) for s in range(7)}
    scores = record(last_scores(cells))[1].ranking()
    assert scores[0].mean == scores[1].mean
    assert scores[0].config == {"rate": 0}


# -- selection over steps -----------------------------------------------------------------------------------------------


def test_at_a_step_selects_what_numpy_selects_there(evaluated):
    values, result = evaluated
    for place, step in enumerate(STEPS):
        best = result.best(at=np.int64(step))
        assert best.config["rate"] == values[:, :, place].mean(axis=1).argmin()
        assert best.step == step
        assert best.values == tuple(values[best.config["rate"], :, place])
    assert result.best(at=40) == result.best(at="last")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_at_best_takes_one_step_for_a_config_never_one_for_a_seed(evaluated, mode):
    values, result = evaluated
    means = values.mean(axis=1)
    choose, over = (np.argmin, np.min) if mode == "min" else (np.argmax, np.max)
    best = result.best(js.Objective(LOSS, mode), at="best")
    assert best.config["rate"] == choose(over(means, axis=1))
    assert best.step == STEPS[choose(means[best.config["rate"]])]
    assert best.mean == pytest.approx(over(means))
    for score in result.ranking(js.Objective(LOSS, mode), at="best"):
        assert score.mean == pytest.approx(over(means[score.config["rate"]]))


def test_at_best_passes_over_steps_at_which_a_seed_diverged():
    values = np.array([[[0.1, 0.5, 0.4], [math.nan, 0.5, 0.6]], [[0.9, 0.9, 0.9], [0.9, 0.9, 0.9]]])
    best = record(curves(values, (10, 20, 30)))[1].best(at="best")
    assert (best.config["rate"], best.step, best.mean) == (0, 20, 0.5)


def test_a_trial_that_diverges_late_can_be_selected_at_the_step_before():
    values = np.array([[[0.2, math.nan], [0.3, math.nan]], [[0.9, 0.9], [0.9, 0.9]]])
    _, result = record(curves(values, (10, 20)))
    assert result.best().config == {"rate": 1}
    assert result.best(at="best").config == {"rate": 0}
    assert result.best(at="best").step == 10


def test_at_last_is_each_trials_own_end():
    _, result = record([({"n": 1}, 0, {10: {LOSS: 0.4}}), ({"n": 2}, 0, {10: {LOSS: 0.9}, 20: {LOSS: 0.1}})])
    assert [(s.config["n"], s.step, s.mean) for s in result.ranking()] == [(2, 20, 0.1), (1, 10, 0.4)]
    assert [(s.config["n"], s.complete) for s in result.ranking(at=20)] == [(2, True), (1, False)]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (15, "at=15 is not a step of an evaluation of 'made': pass one of 10, 20, 30, 40"),
        ("first", "at='first' is not valid: pass 'last', 'best' or a number of steps"),
        (2.5, "at=2.5 is not valid"),
        (True, "at=True is not valid"),
        (-1, "at=-1 is not valid"),
    ],
)
def test_an_evaluation_that_is_not_there_is_refused(evaluated, at, message):
    with pytest.raises(js.ConfigError, match=message):
        evaluated[1].best(at=at)


# -- one standard error -------------------------------------------------------------------------------------------------


def test_one_standard_error_selects_the_simplest_config_that_numpy_finds_near_the_best():
    rng = np.random.default_rng(5)
    for _ in range(20):
        loss = rng.normal(1.0, 0.05, size=(15, 4)) + rng.normal(0, 0.02, size=(15, 1))
        _, result = record(last_scores({(i, s): (loss[i, s], 0.0) for i in range(15) for s in range(4)}))
        means, top = loss.mean(axis=1), loss.mean(axis=1).argmin()
        near = np.flatnonzero(means <= means[top] + loss[top].std(ddof=1) / 2)
        by_name = result.best(rule="one-standard-error", simplest=["rate"])
        assert by_name.config["rate"] == near.min()
        assert by_name == result.best(rule="one-standard-error", simplest=lambda config: config["rate"])
        largest = result.best(rule="one-standard-error", simplest=lambda config: -config["rate"])
        assert largest.config["rate"] == near.max()


def test_configs_without_a_hyperparameter_are_simpler_and_equally_simple_ones_go_by_score():
    configs = [{"width": 8, "dropout": 0.5}, {"width": 8}, {"width": 16}, {"width": 8, "dropout": 0.1}]
    means = [0.5, 0.51, 0.505, 0.49]
    trials = [(c, s, {5: {LOSS: m + (0.1 if s else -0.1)}}) for c, m in zip(configs, means) for s in (0, 1)]
    _, result = record(trials)
    choose = lambda *names: dict(result.best(rule="one-standard-error", simplest=names).config)
    assert choose("dropout") == {"width": 16}
    assert choose("dropout", "width") == {"width": 8}
    assert choose("width") == {"width": 8, "dropout": 0.1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "median"}, "rule='median' is not valid: pass 'mean' or 'one-standard-error'"),
        ({"rule": "one-standard-error"}, "simplest=None does not order configs"),
        ({"rule": "one-standard-error", "simplest": "rate"}, "simplest='rate' does not order configs"),
        ({"simplest": ["rate"]}, "simplest= is only used by rule='one-standard-error'"),
        ({"rule": "one-standard-error", "simplest": ["ratte"]}, "simplest names 'ratte', which no config has: it is one of rate"),
        ({"rule": "one-standard-error", "simplest": lambda config: config}, "gives values that cannot be compared"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_followed_is_refused(arguments, message):
    _, result = record(last_scores({(r, s): (0.5 + s, 0.5) for r in (1, 2) for s in (0, 1)}))
    with pytest.raises(js.ConfigError, match=message):
        result.best(**arguments)


def test_one_seed_has_no_standard_error():
    _, result = record(last_scores({(1, 0): (0.5, 0.5)}))
    assert math.isnan(result.best().standard_error)
    with pytest.raises(js.ConfigError, match="needs the spread over seeds, and the best config has one seed"):
        result.best(rule="one-standard-error", simplest=["rate"])


def test_text_has_no_order_of_simplicity():
    trials = [({"kind": kind}, s, {5: {LOSS: 0.5 + s}}) for kind in ("a", "b") for s in (0, 1)]
    with pytest.raises(
        js.ConfigError, match="simplest names 'kind', whose values are text such as 'a': pass a function"
    ):
        record(trials)[1].best(rule="one-standard-error", simplest=["kind"])


# -- what is never chosen -----------------------------------------------------------------------------------------------


def test_a_config_with_one_diverged_seed_is_never_chosen():
    _, result = record(
        last_scores(
            {
                (1, 0): (0.1, 0.9), (1, 1): (math.nan, 0.9),
                (2, 0): (-math.inf, 0.9), (2, 1): (0.1, 0.9),
                (3, 0): (0.5, 0.5), (3, 1): (0.6, 0.5),
            }
        )
    )  # fmt: skip
    assert result.best(LOSS).config == {"rate": 3}
    assert result.best(ACCURACY).config == {"rate": 3}  # accuracy does not show that the state is NaN; the loss does


def test_a_training_loss_that_is_nan_bars_a_config_whatever_the_metric():
    nan = {"train/loss": math.nan, LOSS: 0.1, ACCURACY: 1.0}
    good = {"train/loss": 0.5, LOSS: 0.5, ACCURACY: 0.5}
    _, result = record([({"rate": 1}, 0, {5: nan}), ({"rate": 2}, 0, {5: good})])
    for metric in (LOSS, ACCURACY):
        assert result.best(metric).config == {"rate": 2}


def test_a_metric_that_is_not_finite_does_not_bar_a_config_from_being_ranked_by_another():
    settings = SETTINGS | {"metrics": [LOSS, "validation/log_error"], "modes": {"loss": "min", "log_error": "min"}}
    _, result = record([({"rate": 1}, 0, {5: {LOSS: 0.1, "validation/log_error": -math.inf}})], settings=settings)
    assert result.best().mean == 0.1
    with pytest.raises(js.ConfigError, match="1 trial became NaN or infinite, the first at step 5"):
        result.best("validation/log_error")


def test_a_score_that_was_infinite_in_mid_training_does_not_bar_a_config_that_ended_finite():
    _, result = record([({"rate": 1}, 0, {10: {LOSS: math.inf}, 20: {LOSS: 0.3}})])
    assert result.best().complete
    assert result.curves(LOSS).values.tolist() == [[math.inf, 0.3]]


def test_a_config_with_a_failed_or_unfinished_seed_is_never_chosen():
    good, better = {10: {LOSS: 0.5}}, {10: {LOSS: 0.1}}
    for missing in (ValueError("no"), None):
        _, result = record([({"rate": 1}, 0, better), ({"rate": 1}, 1, missing), ({"rate": 2}, 0, good)])
        for at in ("last", "best", 10):
            assert result.best(at=at).config == {"rate": 2}
            assert [score.complete for score in result.ranking(at=at)] == [True, False]


# -- the sentence that says why -----------------------------------------------------------------------------------------


def test_trials_that_failed_are_told_apart_from_diverged_ones():
    trials = [({"rate": 0}, s, OSError("disk vanished")) for s in range(3)]
    _, result = record(trials)
    with pytest.raises(js.ConfigError) as failed:
        result.best()
    identifier = result.trials()[0].id
    assert (
        f"3 trials failed, the first with OSError: disk vanished; see jsweep show made {identifier} --traceback"
        in str(failed.value)
    )
    assert "learning rate" not in str(failed.value)
    values = np.full((4, 3, 2), math.nan)
    values[:, :, 0] = 1.0
    with pytest.raises(js.ConfigError) as diverged:
        record(curves(values, (20, 40)))[1].best()
    assert "12 trials became NaN or infinite, the first at step 40" in str(diverged.value)
    assert "learning rate" in str(diverged.value)
    assert "failed" not in str(diverged.value)


def test_unfinished_and_missing_trials_are_named():
    with pytest.raises(js.ConfigError, match="2 trials have not finished \\(run the sweep again to resume it\\)"):
        record([({"rate": 0}, s, None) for s in range(2)])[1].best()
    with pytest.raises(js.ConfigError, match="it has no trials"):
        record([])[1].best()
    _, result = record([({"n": n}, s, {10 * n + 10 * s: {LOSS: 0.5}}) for n in (1, 3) for s in (0, 1)])
    with pytest.raises(
        js.ConfigError, match="finite validation/loss at step 10 under all its seeds: some of each config's"
    ):
        result.best(at=10)


# -- directions ---------------------------------------------------------------------------------------------------------


def test_the_sweeps_objective_is_the_default():
    cells = last_scores({(1, 0): (0.1, 0.2), (2, 0): (0.9, 0.9)})
    assert record(cells)[1].best().config == {"rate": 1}
    settings = SETTINGS | {"objective": {"metric": ACCURACY, "mode": None}}
    _, result = record(cells, settings=settings)
    assert result.best().config == {"rate": 2}
    assert result.objective == js.maximize(ACCURACY)
    assert result.best(js.minimize(ACCURACY)).config == {"rate": 1}


def test_a_metric_of_unknown_direction_is_never_ranked():
    settings = {"metrics": [LOSS, "validation/f1"], "modes": {"loss": "min"}}
    trials = [({"rate": r}, 0, {5: {LOSS: 0.5, "validation/f1": f}}) for r, f in ((1, 0.1), (2, 0.9))]
    _, result = record(trials, settings=settings)
    for verb in (result.best, result.ranking):
        with pytest.raises(js.ConfigError, match="the direction of 'validation/f1' is not known: pass js.maximize"):
            verb("validation/f1")
    assert result.best(js.maximize("validation/f1")).config == {"rate": 2}
    assert result.best(js.minimize("validation/f1")).config == {"rate": 1}
    _, result = record(trials, settings=settings | {"objective": {"metric": "validation/f1", "mode": "max"}})
    assert result.best().config == {"rate": 2}
    assert result.best("validation/f1").config == {"rate": 2}


@pytest.mark.parametrize(
    ("metric", "closest"),
    [
        ("validation/acuracy", ACCURACY), ("accuracy", ACCURACY), ("Accuracy", ACCURACY), ("acc", ACCURACY),
        ("loss", LOSS), ("train/los", "train/loss"), ("validation/f1", None),
    ],
)  # fmt: skip
def test_misspelt_metrics_are_refused_with_those_there_are_and_the_closest(table, metric, closest):
    with pytest.raises(js.UnknownNameError) as refused:
        table[2].best(metric)
    assert f"metric={metric!r} is not recorded for 'made': it has train/loss, {LOSS}, {ACCURACY}" in str(refused.value)
    assert (f"(the closest is {closest!r})" in str(refused.value)) == (closest is not None)
    assert closest is not None or "closest" not in str(refused.value)


def test_training_metrics_cannot_select():
    _, result = record([({"rate": 1}, 0, {5: {"train/loss": 0.1, LOSS: 0.2, ACCURACY: 0.3}})])
    with pytest.raises(js.ConfigError, match=f"measured on the training examples: select by one of {LOSS}, {ACCURACY}"):
        result.best("train/loss")
    assert result.ranking("train/loss")[0].mean == 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"modes": {"loss": "down"}},
        {"modes": [1]},
        {"objective": "validation/loss"},
        {"objective": {"mode": "min"}},
        {"objective": {"metric": 3}},
        {"objective": {"metric": LOSS, "mode": "up"}},
        {"metrics": "loss"},
        {"roles": {"a": 5}},
        {"buckets": {"a": [[1, "x"]]}},
        {"seconds": "long"},
    ],
)
def test_nonsense_in_the_settings_is_refused_in_a_sentence(settings):
    store, _ = record(last_scores({(1, 0): (0.1, 0.2)}))
    base = {"metrics": [LOSS, ACCURACY]}
    store._db.execute("UPDATE sweeps SET settings = ?", (dump(base | settings),))
    with pytest.raises(js.StoreError, match="the setting '[a-z]+' is not what jsweep writes"):
        Result(store, "made").best()


def test_objectives_are_checked():
    assert js.maximize("a") == js.Objective("a", "max")
    assert js.minimize("a") == js.Objective("a", "min")
    with pytest.raises(js.ConfigError, match="mode='up' is not valid: pass 'min' or 'max'"):
        js.Objective("a", "up")  # pyright: ignore[reportArgumentType]
    with pytest.raises(js.ConfigError, match="metric=3 is not valid"):
        js.maximize(3)  # pyright: ignore[reportArgumentType]
