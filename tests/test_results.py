"""Choosing by validation, and the sealed test split."""

import math
import statistics

import numpy as np
import pytest
from small import make_task

import jsweep as js
from jsweep.planning import make_trials
from jsweep.results.result import Result
from jsweep.storage import open_store

CONFIGS = [{"learning_rate": lr} for lr in (0.001, 0.03, 0.1, 0.3)]


@pytest.fixture(scope="module")
def sweep(data, tmp_path_factory):
    store = tmp_path_factory.mktemp("record") / "s.db"
    return js.Sweep(make_task(data), CONFIGS, seeds=3, steps=60, evaluate_every=20, store=store)


@pytest.fixture(scope="module")
def result(sweep):
    return js.run(sweep)


def recorded(scores):
    """A record whose last validation losses and accuracies are given: {(rate, seed): (loss, accuracy)}."""
    from jsweep.storage.records import Score

    store = open_store(None)
    row = store.add_sweep(
        "made",
        "made",
        {},
        {"metrics": ["validation/loss", "validation/accuracy"], "higher_is_better": ["accuracy"]},
    )
    task = type("T", (), {"name": "made", "batch_size": 1})
    configs = [{"rate": rate} for rate in dict.fromkeys(rate for rate, _ in scores)]
    seeds = sorted({seed for _, seed in scores})
    trials = make_trials(task, configs, seeds, 5, None, 10)
    store.add_trials(row.key, trials)
    for trial in trials:
        loss, accuracy = scores[trial.config["rate"], trial.seed]
        metrics = {"validation/loss": loss, "validation/accuracy": accuracy}
        score = Score(trial.id, 5, metrics, None if math.isfinite(loss) else 5, True)
        store.record_segment(row.key, "p", 1, [score])
    return store, Result(store, "made")


def test_best_is_what_a_brute_force_search_in_numpy_finds():
    rng = np.random.default_rng(0)
    table = rng.normal(1.0, 0.3, size=(20, 5)), rng.uniform(size=(20, 5))
    _, result = recorded({(i, s): (table[0][i, s], table[1][i, s]) for i in range(20) for s in range(5)})
    for metric, values, choose in (
        ("validation/loss", table[0], np.argmin),
        ("validation/accuracy", table[1], np.argmax),
    ):
        best = result.best(metric)
        expected = int(choose(values.mean(axis=1)))
        assert best.config == {"rate": expected}
        assert best.values == tuple(values[expected])
        assert best.mean == pytest.approx(values[expected].mean())
        assert best.std == pytest.approx(values[expected].std(ddof=1))
        ranking = [score.config["rate"] for score in result.ranking(metric)]
        order = np.argsort(values.mean(axis=1), kind="stable")
        assert ranking == (order if choose is np.argmin else np.argsort(-values.mean(axis=1), kind="stable")).tolist()


def test_a_config_with_one_bad_seed_is_never_chosen():
    _, result = recorded(
        {
            (1, 0): (0.1, 0.9), (1, 1): (math.nan, 0.9),
            (2, 0): (-math.inf, 0.9), (2, 1): (0.1, 0.9),
            (3, 0): (0.5, 0.5), (3, 1): (0.6, 0.5),
        }
    )  # fmt: skip
    assert result.best("validation/loss").config == {"rate": 3}
    assert result.best("validation/accuracy").config == {"rate": 3}
    _, result = recorded({(1, 0): (math.nan, 0.9)})
    with pytest.raises(js.JsweepError, match="no config of 'made' has finished with a finite validation/loss"):
        result.best("validation/loss")


def test_what_is_not_recorded_or_not_validation_cannot_choose(result):
    with pytest.raises(js.JsweepError, match="metric='validation/acuracy' is not recorded.*validation/accuracy"):
        result.best("validation/acuracy")
    with pytest.raises(js.JsweepError, match="measured on the training examples: choose by one of validation/loss"):
        result.best("train/loss")


def test_the_engine_is_never_handed_the_test_split(data):
    poisoned = js.Splits(data.train, data.validation, (np.full_like(data.test[0], np.nan), data.test[1]))
    result = js.sweep(make_task(poisoned), CONFIGS[1:2], steps=10)
    assert result.best().complete


def test_the_test_split_is_opened_once_and_the_ledger_answers_after(sweep, result, data):
    first = result.test("validation/loss")
    assert not first.from_ledger
    assert first.config == result.best("validation/loss").config
    assert len(first.scores["test/accuracy"]) == 3
    again = js.run(sweep).test("validation/loss")
    assert again.from_ledger
    assert again.scores == first.scores
    assert again.opened == first.opened
    assert [entry.again for entry in result.ledger()] == [False]
    # the scores are those of the chosen config on the test examples, not on validation
    best = result.best("validation/accuracy")
    examples = len(data.test[1])
    for value in first.scores["test/accuracy"]:
        assert value * examples == pytest.approx(round(value * examples), abs=1e-4)
    assert first.scores["test/loss"] != best.values


def test_another_config_of_the_sweep_is_refused_unless_overridden_on_record(data, tmp_path):
    def sweep(configs):
        return js.run(js.Sweep(make_task(data), configs, seeds=2, steps=40, store=tmp_path / "s.db"))

    sweep(CONFIGS[:1]).test()
    both = sweep(CONFIGS[:3])
    assert both.best().config != CONFIGS[0]
    with pytest.raises(js.JsweepError, match="opened on .* for another config .learning_rate=.*again=True"):
        both.test()
    assert len(both.ledger()) == 1
    second = both.test(again=True)
    assert [entry.again for entry in both.ledger()] == [False, True]
    assert both.test().scores == second.scores


def test_seeds_added_after_the_test_do_not_open_it_again(data, tmp_path):
    def result(seeds):
        return js.sweep(make_task(data), CONFIGS[2:3], seeds=seeds, steps=20, store=tmp_path / "s.db")

    first = result(1).test()
    second = result(3).test()
    assert second.from_ledger
    assert second.scores == first.scores


def test_test_refuses_a_record_it_cannot_reproduce(data, tmp_path):
    result = js.sweep(make_task(data), CONFIGS[:1], steps=10, store=tmp_path / "s.db")
    result._store._db.execute("UPDATE scores SET value = value + 1e-6")
    with pytest.raises(js.JsweepError, match="trained again gives validation/.* the record says"):
        result.test()
    assert result.ledger() == []


def test_data_without_a_test_split_says_so(data):
    result = js.sweep(make_task(js.Splits(data.train, data.validation)), CONFIGS[:1], steps=5)
    with pytest.raises(js.JsweepError, match="the data has no test split"):
        result.test()


def test_spread_is_over_seeds(result):
    for score in result.ranking("validation/loss"):
        assert score.std == pytest.approx(statistics.stdev(score.values))
        assert score.seeds == (0, 1, 2)
