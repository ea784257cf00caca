"""Statistics against SciPy, enumeration and published figures; diagnostics of sweeps made to deserve each finding."""

import itertools
import math

import numpy as np
import pytest
from records import LOSS, curves, record, trial_of
from scipy import stats
from small import make_task

import jsweep as js
from jsweep import statistics
from jsweep.errors import ConfigError
from jsweep.results.result import Result
from jsweep.storage.records import Score

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=7)
OTHERS = SCORES + RNG.normal(0.3, 0.2, size=7)


def test_intervals_are_those_of_scipy():
    found = statistics.mean_interval(SCORES, confidence=0.9)
    expected = stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=1e-12)
    paired = statistics.paired_interval(SCORES, OTHERS)
    expected = stats.ttest_rel(SCORES, OTHERS).confidence_interval(0.95)
    np.testing.assert_allclose([paired.low, paired.high], [expected.low, expected.high], rtol=1e-12)
    assert SCORES.mean() in found


def test_the_interval_over_folds_is_wider_by_nadeau_and_bengios_factor():
    plain = statistics.paired_interval(SCORES, OTHERS)
    corrected = statistics.corrected_interval(SCORES, OTHERS, test_fraction=0.1)
    factor = math.sqrt((1 / 7 + 0.1 / 0.9) / (1 / 7))
    assert corrected.high - corrected.low == pytest.approx(factor * (plain.high - plain.low))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_values_that_determine_no_interval_give_nan(values):
    found = statistics.mean_interval(values)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_outperformance_counts_pairs_and_follows_the_direction():
    ours, theirs = np.arange(10.0), np.arange(10.0) - 1.0
    theirs[0] = 5.0
    found = statistics.outperformance(ours, theirs, mode="max")
    assert found.probability == pytest.approx(0.9)
    assert found.verdict == "significant and meaningful"
    assert statistics.outperformance(ours, theirs, mode="min").probability == pytest.approx(0.1)
    assert statistics.outperformance(ours, ours, mode="max").probability == 0.5
    assert statistics.outperformance(ours, ours, mode="max").verdict == "not significant"
    slight = np.where(np.arange(400) % 3 > 0, 1.0, -1.0)  # beats zero in two thirds of the cases
    assert statistics.outperformance(slight, 0 * slight, mode="max").verdict == "significant but not meaningful"


def test_sample_sizes_are_noethers():
    assert statistics.seeds_needed(0.75) == 29  # Bouthillier et al. (2021)


def test_interquartile_means_are_those_published():
    assert statistics.interquartile_mean(np.array([[1.0, 2], [2, 2], [1, 1], [2, 1]])) == 1.5  # rliable's own examples
    assert statistics.interquartile_mean(np.array([[1.0, 1], [2, 2], [3, 3]])) == 2.0


def test_the_stratified_interval_draws_runs_within_each_task():
    scores = np.stack([np.zeros(20), np.full(20, 10.0)], axis=1)  # tasks that differ, runs that do not
    found = statistics.stratified_interval(scores, lambda drawn: float(drawn.mean()))
    assert (found.low, found.high) == (5.0, 5.0)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_expected_best_is_the_mean_over_all_samples(mode):
    best = max if mode == "max" else min
    values = list(SCORES[:5])
    exact = [np.mean([best(drawn) for drawn in itertools.combinations(values, n)]) for n in range(1, 6)]
    np.testing.assert_allclose(statistics.expected_best(values, mode=mode), exact, rtol=1e-12)
    replaced = [np.mean([best(drawn) for drawn in itertools.product(values, repeat=n)]) for n in range(1, 6)]
    np.testing.assert_allclose(statistics.expected_best(values, mode=mode, unbiased=False), replaced, rtol=1e-12)


def test_the_expected_best_of_a_thousand_configs_is_finite_and_ends_at_the_best():
    values = RNG.normal(size=1000)
    found = statistics.expected_best(values, mode="max")
    assert (np.diff(found) >= 0).all()
    assert found[-1] == pytest.approx(values.max())


def test_the_expected_maximum_is_that_of_smith_and_winkler():
    assert statistics.expected_maximum(3) == pytest.approx(0.85, abs=0.005)
    assert statistics.expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert statistics.expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert statistics.expected_maximum(1000) == pytest.approx(3.2414, abs=1e-3)  # of tables of order statistics


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("draw", "mean"), [(RNG.normal, 0), (RNG.exponential, 1)], ids=["normal", "exponential"])
def test_optimism_is_what_fresh_seeds_take_off_the_best_mean(draw, mean, seeds):
    truth = np.concatenate([np.zeros(12), np.linspace(-20, -1, 20)])  # ties for the best, and configs far worse
    found, true = [], []
    for _ in range(2000):
        scores = truth[:, None] + draw(size=(32, seeds)) - mean
        means = scores.mean(axis=1)
        true.append(means.max() - truth[means.argmax()])
        found.append(statistics.optimism(scores, mode="max"))
        assert statistics.optimism(-scores, mode="min") == pytest.approx(found[-1])
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.15)


def test_there_is_no_optimism_without_noise_and_no_estimate_from_one_seed():
    assert statistics.optimism(np.tile([[0.5], [0.7]], 4), mode="max") == pytest.approx(0, abs=1e-12)
    assert math.isnan(statistics.optimism(np.array([[0.5], [0.7]]), mode="max"))


def test_mcnemars_test_is_the_binomial_one():
    first, second = (
        np.repeat([True, True, False, False], [50, 9, 1, 40]),
        np.repeat([True, False, True, False], [50, 9, 1, 40]),
    )
    found = statistics.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (9, 1)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # twice the chance of at most one of ten
    assert statistics.mcnemar(second, first).p_value == pytest.approx(found.p_value)
    assert statistics.mcnemar(first, first).p_value == 1


def test_the_bias_of_choosing_is_taken_out():
    """Of 50 configs that guess, the best seems to be better than half."""
    found, seemed = [], []
    for _ in range(20):
        right = RNG.random((50, 200)) < 0.5
        seemed.append(right.mean(axis=1).max())
        found.append(statistics.bias_corrected(right.astype(float), mode="max", resamples=100).mean)
    assert np.mean(seemed) > 0.56
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)
    one = RNG.normal(size=(1, 400))
    alone = statistics.bias_corrected(one, mode="min")
    assert alone.mean == pytest.approx(one.mean(), abs=0.02)
    assert alone.interval.low < one.mean() < alone.interval.high


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: statistics.mean_interval(SCORES, confidence=95), "confidence=95"),
        (lambda: statistics.paired_interval(SCORES, OTHERS[:3]), "7 scores and others 3"),
        (lambda: statistics.corrected_interval(SCORES, OTHERS, test_fraction=5), "test_fraction=5"),
        (lambda: statistics.expected_best([], mode="max"), r"shape \(0,\)"),
        (lambda: statistics.outperformance(SCORES, OTHERS, mode="max", threshold=0.5), "threshold=0.5"),
        (lambda: statistics.optimism(SCORES, mode="max"), r"shape \(7,\)"),
        (lambda: statistics.optimism(np.full((2, 2), math.inf), mode="max"), "not finite"),
        (lambda: statistics.mcnemar(np.ones(3, bool), np.ones(4, bool)), r"second \(4,\)"),
        (lambda: statistics.bias_corrected(np.ones((2, 1)), mode="max"), r"shape \(2, 1\)"),
        (lambda: statistics.posterior_means([1.0, math.nan], [1.0, 1.0]), "not finite"),
    ],
)
def test_bad_arguments_are_named(call, names):
    with pytest.raises(ConfigError, match=names):
        call()


# -- contenders -------------------------------------------------------------------------------------------------------


def _sweep(means, seeds=5, noise=0.01, steps=(5,), key=0):
    """A record of one config a mean, its scores by seed around it, constant over ``steps``."""
    drawn = np.asarray(means)[:, None] + noise * np.random.default_rng(key).normal(size=(len(means), seeds))
    return record(curves(np.repeat(drawn[:, :, None], len(steps), axis=2), steps))


def test_contenders_are_those_that_scipys_test_does_not_tell_from_the_best():
    store, result = _sweep([1.0, 1.005, 1.3, 2.0])
    with store:
        ranking = result.ranking()
        level = 0.05 / 3
        kept = [
            score.config
            for score in ranking[1:]
            if stats.ttest_rel(score.values, ranking[0].values, alternative="greater").pvalue >= level
        ]
        assert [score.config for score in result.contenders()] == [ranking[0].config, *kept]
        assert {score.config["rate"] for score in result.contenders()} == {0, 1}


def test_the_truly_best_config_is_a_contender_as_often_as_promised():
    missed = 0
    for key in range(100):
        store, result = _sweep([1.0, 1.002, 1.01, 1.05, 1.1], seeds=4, key=key)
        with store:
            missed += all(score.config["rate"] != 0 for score in result.contenders(confidence=0.8))
    assert missed <= 20


# -- diagnostics ------------------------------------------------------------------------------------------------------


def _checks(result):
    return {finding.check for finding in result.diagnose().findings}


def _grid(score, steps=(10, 20, 30, 40), seeds=8, noise=1e-3, **axes):
    """A sweep over a grid, where ``score(config, progress)`` is a config's loss, and progress goes from 0 to 1."""
    random, trials = np.random.default_rng(0), []
    for values in itertools.product(*axes.values()):
        config = dict(zip(axes, values))
        for seed in range(seeds):
            luck = noise * random.normal()
            curve = {s: {LOSS: score(config, s / steps[-1]) + luck, "train/loss": 1 / s} for s in steps}
            trials.append((config, seed, curve))
    return record(trials)


def _scattered(count):
    """A random search over two numbers."""
    drawn = np.random.default_rng(0).uniform(size=(count, 2))
    return record(
        [({"a": float(a), "b": float(b)}, seed, {5: {LOSS: a + b + seed}}) for a, b in drawn for seed in [0, 1]]
    )


RATES = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
GOOD = lambda config, progress: 1 + math.log10(config["learning_rate"] / 1e-2) ** 2 + math.exp(-40 * progress)


def test_a_good_sweep_has_nothing_to_report():
    store, result = _grid(GOOD, learning_rate=RATES)
    with store:
        assert _checks(result) == set()
        assert "nothing to report" in str(result.diagnose())


@pytest.mark.parametrize(
    ("check", "sweep"),
    [
        ("edge of the space", lambda: _grid(GOOD, learning_rate=RATES[2:])),
        ("edge of the space", lambda: _grid(GOOD, learning_rate=RATES[:3])),
        ("still improving", lambda: _grid(lambda c, p: GOOD(c, 1) - p, learning_rate=RATES)),
        ("overfitting", lambda: _grid(lambda c, p: GOOD(c, 1) + 4 * abs(p - 0.5), learning_rate=RATES)),
        ("too few seeds", lambda: _grid(GOOD, learning_rate=RATES, seeds=1)),
        ("too few seeds", lambda: _grid(GOOD, learning_rate=RATES, noise=5.0)),
        ("without effect", lambda: _grid(GOOD, learning_rate=RATES, beta=[0.8, 0.9], noise=1e-4)),
        ("duplicates", lambda: _grid(lambda c, p: GOOD({"learning_rate": min(c["learning_rate"], 0.1)}, p),
                                     learning_rate=RATES, noise=0)),
        ("thin sample", lambda: _scattered(8)),
    ],
)  # fmt: skip
def test_each_check_finds_what_it_looks_for(check, sweep):
    store, result = sweep()
    with store:
        assert check in _checks(result)


def test_divergence_is_found_with_the_values_at_which_it_begins():
    trials = [({"rate": rate}, seed, {5: {LOSS: rate + seed / 1e3}}) for rate in [1, 2] for seed in range(3)]
    store, result = record(trials)
    with store:
        for rate, seed in itertools.product([30, 40, 50], range(3)):
            trial = trial_of({"rate": rate}, seed, 5)
            store.add_trials(result.row.key, [trial])
            store.record_segment(result.row.key, "program", 1, [Score(trial.id, 5, {LOSS: math.nan}, 3, True)])
        result = Result(store, result.name)
        seen = {finding.check: finding.seen for finding in result.diagnose().findings}
        assert seen["few finite"].startswith("3 of 5 configs")
        assert "rate above 2" in seen["few finite"]


def test_an_edge_at_zero_or_within_the_noise_is_none():
    store, result = _grid(lambda c, p: GOOD({"learning_rate": 1e-2}, p) + c["l2"], l2=[0.0, 0.1, 0.2])
    with store:
        assert "edge of the space" not in _checks(result)
    store, result = _grid(lambda c, p: GOOD({"learning_rate": 1e-2}, p) + c["l2"] / 1e6, l2=[0.1, 0.2, 0.3], noise=0.1)
    with store:
        assert "edge of the space" not in _checks(result)


# -- confirmation -----------------------------------------------------------------------------------------------------


def test_confirmation_trains_fresh_seeds_and_chooses_by_these_alone(tmp_path, data):
    sweep = js.Sweep(
        make_task(data),
        js.grid({"learning_rate": [0.01, 0.1, 0.3]}),
        seeds=[0, 4],
        steps=4,
        tile=2,
        store=tmp_path / "confirm.db",
        name="small",
    )
    with js.run(sweep) as session:
        found = js.confirm(session, top=2, seeds=3)
        with found.session:
            assert [score.config_id for score in found.first] == [s.config_id for s in session.ranking()[:2]]
            assert all(score.seeds == (5, 6, 7) for score in found.fresh)
            assert found.best.config_id == found.fresh[0].config_id
            means = {score.config_id: np.mean(score.values) for score in found.fresh}
            first = found.first[0]
            assert "cannot be told" in str(found) or "better than every other" in str(found)
            checks = {finding.check: finding for finding in found.session.diagnose().findings}
            assert not checks.keys() & {"edge of the space", "thin sample", "duplicates", "without effect"}
            assert "confirm" not in str(checks.get("too few seeds"))
            assert found.optimism == pytest.approx(means[first.config_id] - first.mean)
            assert found.session.name == "small-confirm"
            assert "3 fresh seeds" in str(found)
        js.confirm(session, top=2, seeds=4).session.close()
    with js.open(tmp_path / "confirm.db", "small-confirm") as again:
        assert len(again.trials()) == 8
