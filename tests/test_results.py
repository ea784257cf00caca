"""The sealed test split, and a best config that can be trained again."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import make_task

import jsweep as js

CONFIGS = [{"learning_rate": lr} for lr in (0.001, 0.03, 0.1, 0.3)]


@pytest.fixture(scope="module")
def sweep(data, tmp_path_factory):
    store = tmp_path_factory.mktemp("record") / "s.db"
    return js.Sweep(make_task(data), CONFIGS, seeds=3, steps=60, evaluate_every=20, store=store)


@pytest.fixture(scope="module")
def result(sweep):
    return js.run(sweep)


def test_the_engine_is_never_handed_the_test_split(data):
    other = js.Splits(data.train, data.validation, (np.full_like(data.test[0], 1e30), data.test[1]))
    scores = [js.sweep(make_task(splits), CONFIGS[1:2], steps=10).best() for splits in (data, other)]
    assert scores[0].values == scores[1].values


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
    with pytest.raises(js.JsweepError, match="opened on .* for another choice .learning_rate=.*again=True"):
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


def test_seeds_that_were_trained_in_other_widths_are_tested_together(data, tmp_path):
    def run(seeds, tile):
        return js.sweep(
            make_task(data), [{"learning_rate": 0.1}], seeds=seeds, steps=20, store=tmp_path / "s.db", tile=tile
        )

    run(1, 1).close()
    with run(3, 2) as session:
        assert [trial.width for trial in session.trials()] == [1, 2, 2]
        assert len(session.test().scores["test/loss"]) == 3


def test_test_refuses_a_record_it_cannot_reproduce(data, tmp_path):
    result = js.sweep(make_task(data), CONFIGS[:1], steps=10, store=tmp_path / "s.db")
    result._store._db.execute("UPDATE scores SET value = value + 1e-6")
    with pytest.raises(js.JsweepError, match="trained again gives train/loss .* the record says"):
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


def test_the_best_config_can_be_trained_again_as_it_is_functions_included(data):
    configs = [{"learning_rate": 0.1, "activation": function} for function in (jnp.tanh, jax.nn.relu)]
    apply = lambda config, params, x, key: config["activation"](x @ params["w1"]) @ params["w2"]
    result = js.sweep(make_task(data, apply=apply), configs, steps=5)
    best = result.best()
    assert best.config["activation"] in (jnp.tanh, jax.nn.relu)
    again = js.sweep(make_task(data, apply=apply), [best.config], steps=5)
    assert again.best().values == best.values
    assert result.where(activation=jnp.tanh).best().config["activation"] is jnp.tanh
