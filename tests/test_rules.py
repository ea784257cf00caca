"""Rules as functions of columns: published tables, other libraries' decisions on the same scores, what all rules keep to."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jsweep import rules
from jsweep.errors import ConfigError
from jsweep.runner.judge import Judge, check_rungs, make_rows
from jsweep.search.rules._rule import as_rule
from jsweep.search.rules._statistics import signed_rank_p
from jsweep.search.rules.halving import bracket_sizes
from jsweep.storage.records import Trial

KEY = np.array([0, 7], np.uint32)
EVERY_RULE = [
    rules.successive_halving(1),
    rules.hyperband(1),
    rules.asynchronous_halving(1, wave=5),
    rules.median_stopping(startup=3),
    rules.percentile(25, startup=3),
    rules.patience(2),
    rules.divergence(),
    rules.wilcoxon(threshold=0.5),
    rules.any_of(rules.successive_halving(1), rules.divergence()),
    rules.any_of(rules.asynchronous_halving(3, wave=5), rules.patience(3)),
    rules.all_of(rules.median_stopping(startup=3), rules.patience(1)),
    rules.per_trial(rules.successive_halving(1)),
]


def trials_of(configs, seeds=1, steps=27):
    identity = [hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(configs)]
    return [Trial(f"{i}/{s}", identity[i], {"i": i}, s, steps) for i in range(configs) for s in range(seeds)]


def play(rule, trials, curve, every=1, mode="min", known=(), order=lambda trials: trials, waves=10**9):
    """Train under a rule by a stub: returns the judge, each trial's steps, and how many trials went to each step by wave."""
    rule = as_rule(rule)
    judge = Judge(rule, make_rows(trials, every, rule.per), KEY, mode)
    for trial, step, value in known:
        judge.record(trial, step, value, True)
    at, by, went = dict.fromkeys((trial.id for trial in trials), 0), {trial.id: trial for trial in trials}, []
    while going := judge.advance():
        if len(went) == waves:
            break
        for trial in order(list(going)):
            for step in range(at[trial] + 1, going[trial] + 1):
                if step % every == 0 or step == by[trial].steps:
                    judge.record(trial, step, curve(by[trial], step), True)
            at[trial] = going[trial]
        went.append(Counter(going.values()))
    return judge, at, went


def ranked(trial, step):
    """Scores that tell configs apart from the first step on, and improve."""
    return trial.config["i"] + 1 / step + 0.01 * trial.seed


def noisy(trial, step):
    rng = np.random.default_rng([trial.config["i"], trial.seed, step])
    value = trial.config["i"] % 7 + rng.normal() + 3 / step
    return np.nan if trial.config["i"] % 5 == 2 and step > 4 else float(value)


def rungs_of(at):
    """How many trials reached each rung."""
    return {step: sum(value >= step for value in at.values()) for step in sorted(set(at.values()))}


def test_successive_halving_keeps_the_papers_numbers():
    _, at, waves = play(rules.successive_halving(1), trials_of(81, steps=81), ranked)
    assert rungs_of(at) == {1: 81, 3: 27, 9: 9, 27: 3, 81: 1}
    assert waves == [{1: 81}, {3: 27}, {9: 9}, {27: 3}, {81: 1}]
    assert [trial for trial, steps in at.items() if steps == 81] == ["0/0"]


def test_hyperband_has_the_brackets_of_the_papers_table():
    """Li et al. (2018), Table 1, R = 81 and factor 3: 81, 27, 9, 3, 1 | 34, 11, 3, 1 | 15, 5, 1 | 8, 2 | 5."""
    assert bracket_sizes(143, 4, 3) == [81, 34, 15, 8, 5]
    _, at, _ = play(rules.hyperband(1), trials_of(143, steps=81), ranked)
    assert rungs_of(at) == {1: 143, 3: 27 + 34 + 15 + 8 + 5, 9: 9 + 11 + 15 + 8 + 5, 27: 3 + 3 + 5 + 8 + 5, 81: 10}


@pytest.mark.parametrize("configs", [1, 2, 5, 17, 142, 143, 500])
def test_brackets_share_out_every_config(configs):
    for rungs, factor in [(1, 3), (4, 3), (5, 2), (2, 4)]:
        sizes = bracket_sizes(configs, rungs, factor)
        assert sum(sizes) == configs
        assert len(sizes) == rungs + 1
        assert min(sizes) >= 0


def test_asynchronous_halving_promotes_the_best_of_those_that_have_arrived():
    _, at, waves = play(rules.asynchronous_halving(1, wave=27), trials_of(81, steps=81), ranked)
    assert waves[:2] == [{1: 27}, {3: 9, 1: 18}]  # the best 9 of 27, and new ones
    assert all(sum(wave.values()) <= 27 for wave in waves)
    reached = rungs_of(at)
    assert reached[1] == 81
    assert 27 <= reached[3] < 27 + 9  # a few are promoted that the later ones would have kept out
    assert at["0/0"] == 81


def test_asynchronous_halving_promotes_by_score_and_then_by_id():
    scores, budgets = np.full((12, 4, 1), np.nan), np.tile(np.array([1, 2, 3, 9]), (12, 1))
    scores[:, 0, 0] = [2, 1, 2, np.inf, 2, 1, 2, 2, 2, 2, 2, 2]
    rule = rules.asynchronous_halving(1, wave=4)
    assert np.flatnonzero(rule(scores, budgets, KEY) == rules.GO).tolist() == [0, 1, 2, 5]  # the best third
    scores[:, 0, 0] = [np.inf] * 10 + [1, 1]
    assert np.flatnonzero(rule(scores, budgets, KEY) == rules.GO).tolist() == [10, 11]


def test_median_stopping_begins_as_many_as_have_begun():
    _, at, waves = play(rules.median_stopping(startup=4), trials_of(32, steps=9), ranked)
    begun = [wave[1] for wave in waves if wave[1]]
    assert begun == [4, 4, 8, 16]
    assert sum(steps == 9 for steps in at.values()) < 16


def table(curves, complete):
    """Columns for a rule: complete configs and running ones, of the same length."""
    scores = np.full((len(curves), max(map(len, curves)), 1), np.nan)
    for row, curve in enumerate(curves):
        scores[row, : len(curve), 0] = np.where(np.isfinite(curve), curve, np.inf)
    steps = np.arange(1, scores.shape[1] + 1, dtype=np.int64)
    assert all(len(curve) == len(steps) for curve in curves[:complete])
    return scores, np.tile(steps, (len(curves), 1))


def random_curves(seed, length=8):
    rng = np.random.default_rng(seed)
    curves = [rng.normal(size=length) for _ in range(6)] + [rng.normal(size=rng.integers(1, length)) for _ in range(10)]
    for curve in curves[::3]:
        curve[-1] = np.nan
    return curves


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("q", [25.0, 50.0, 80.0])
def test_percentile_decides_as_optuna(seed, q):
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(pruner=optuna.pruners.PercentilePruner(q, n_startup_trials=1, n_warmup_steps=0))
    curves = random_curves(seed)
    for curve in curves[:6]:
        values = {step: float(value) for step, value in enumerate(curve, start=1)}
        study.add_trial(optuna.trial.create_trial(value=0.0, intermediate_values=values))
    decided = rules.percentile(q, startup=1)(*table(curves, 6), KEY)
    for curve, decision in zip(curves[6:], decided[6:]):
        trial = study.ask()
        for step, value in enumerate(curve, start=1):
            trial.report(float(value), step)
        assert (decision == rules.STOP) == (trial.should_prune() or not np.isfinite(np.nanmin([*curve, np.inf])))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
def test_patience_decides_as_optuna_with_one_less(seed):
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(pruner=optuna.pruners.PatientPruner(None, patience=2))
    curves = [curve[np.isfinite(curve)] for curve in random_curves(seed)]
    decided = rules.patience(3)(*table([np.zeros(8), *curves], 1), KEY)[1:]
    for curve, decision in zip(curves, decided):
        trial = study.ask()
        for step, value in enumerate(curve):
            trial.report(float(value), step)
        assert (decision == rules.STOP) == trial.should_prune()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.05, 0.2])
def test_wilcoxon_decides_as_optuna(seed, threshold):
    """Optuna pairs the instances of a problem where a sweep pairs seeds."""
    optuna = pytest.importorskip("optuna")
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(12, 1, 8)) + np.linspace(0, 1.5, 12)[:, None, None]
    decided = rules.wilcoxon(threshold=threshold)(scores, np.ones((12, 1), np.int64), KEY)
    means = scores.mean(axis=(1, 2))
    study = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner(p_threshold=threshold))
    best = dict(enumerate(scores[means.argmin(), 0].tolist()))
    study.add_trial(optuna.trial.create_trial(value=float(means.min()), intermediate_values=best))
    pruned = []
    for row in scores[:, 0].tolist():
        trial = study.ask()
        for instance, value in enumerate(row):
            trial.report(value, instance)
        pruned.append(trial.should_prune())
    assert (decided == rules.STOP).tolist() == pruned
    assert 0 < sum(pruned) < 12


def test_the_signed_rank_test_is_scipys():
    rng = np.random.default_rng(0)
    for pairs in range(2, 12):
        differences = rng.normal(0.3, size=pairs)
        expected = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
        assert signed_rank_p(differences) == pytest.approx(expected)
    ties = np.array([1.0, 1.0, -1.0, 2.0, 0.0, 0.0])  # by all signs of the four that are not 0; zeros count half each
    ranks = np.array([4, 4, 4, 6])
    signs = (np.arange(16)[:, None] >> np.arange(4)) & 1
    assert signed_rank_p(ties) == pytest.approx(((signs * ranks).sum(axis=1) >= 14).mean())


def test_wilcoxon_needs_every_seed_to_be_worse():
    scores = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5], [0.2, 0.1, 0.4, 0.5]])[:, None]
    budgets = np.array([[1, 2]] * 3, np.int64)
    scores = np.concatenate([scores, np.full_like(scores, np.nan)], axis=1)
    assert rules.wilcoxon()(scores, budgets, KEY).tolist() == [rules.GO, rules.STOP, rules.GO]
    assert rules.wilcoxon(threshold=0.1).least_seeds == 4


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
@pytest.mark.parametrize("configs", [1, 20])
def test_a_rule_comes_to_the_same_decisions_however_the_scores_come(rule, configs):
    trials = trials_of(configs, seeds=2, steps=9)
    judge, at, waves = play(rule, trials, noisy)
    stops = sorted(map(str, judge.stops()))
    shuffled = [trials[i] for i in np.random.default_rng(1).permutation(len(trials))]
    again, at_again, _ = play(rule, shuffled, noisy, order=lambda going: going[::-1])
    assert at == at_again
    assert stops == sorted(map(str, again.stops()))
    for wave in range(0, len(waves), max(1, len(waves) // 5)):  # interrupted, and resumed from what is recorded
        _, until, _ = play(rule, trials, noisy, waves=wave)
        known = [(t.id, step, noisy(t, step)) for t in trials for step in range(1, until[t.id] + 1)]
        resumed, _, _ = play(rule, trials, noisy, known=known)
        assert sorted(map(str, resumed.stops())) == stops
    assert all(0 <= steps <= 9 for steps in at.values())
    assert len(stops) == sum(steps < 9 for steps in at.values())


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_every_config_ends_whatever_its_scores(rule):
    trials = trials_of(9, seeds=2, steps=9)
    judge, at, _ = play(rule, trials, lambda trial, step: 1.0)  # ties
    assert {stop.trial for stop in judge.stops()} == {trial for trial, steps in at.items() if steps < 9}
    judge, at, _ = play(rule, trials, lambda trial, step: np.nan)
    assert {stop.trial for stop in judge.stops()} == {trial for trial, steps in at.items() if steps < 9}


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, np.nan, np.inf, -np.inf]), min_size=3, max_size=12), st.booleans())
def test_halving_never_keeps_nan_over_a_number(values, largest):
    mode = "max" if largest else "min"
    trials = trials_of(len(values), steps=9)
    _, at, _ = play(rules.successive_halving(1), trials, lambda trial, step: values[trial.config["i"]], mode=mode)
    went_on = [values[trial.config["i"]] for trial in trials if at[trial.id] > 1]
    stopped = [values[trial.config["i"]] for trial in trials if at[trial.id] == 1]
    assert np.isfinite(went_on).all()
    finite = [value for value in stopped if np.isfinite(value)]
    if went_on and finite:
        assert min(went_on) >= max(finite) if largest else max(went_on) <= min(finite)
    assert len(went_on) == min(max(1, len(values) // 3), int(np.isfinite(values).sum()))


def test_a_config_is_judged_by_the_mean_of_its_seeds_which_stop_together():
    lucky = lambda trial, step: [0.0, 9.0, 5.0, 5.0][trial.config["i"]] + (-8.0 if trial.id == "1/0" else 0.0)
    trials = trials_of(4, seeds=3, steps=9)
    _, at, _ = play(rules.successive_halving(3, factor=4), trials, lucky)
    assert [trial for trial, steps in at.items() if steps == 9] == ["0/0", "0/1", "0/2"]
    _, at, _ = play(rules.per_trial(rules.successive_halving(3, factor=4)), trials, lucky)
    assert sorted(trial for trial, steps in at.items() if steps == 9) == ["0/0", "0/1", "0/2"]


def test_a_failed_trial_counts_as_diverged():
    trials = trials_of(6, seeds=2, steps=9)
    rule = rules.successive_halving(1)
    judge = Judge(rule, make_rows(trials, 1, rule.per), KEY, "min")
    for trial in judge.advance():
        if trial == "0/1":
            judge.fail(trial)
        else:
            judge.record(trial, 1, float(trial.partition("/")[0]), True)
    assert sorted(judge.advance()) == ["1/0", "1/1", "2/0", "2/1"]
    assert {stop.trial for stop in judge.stops()} >= {"0/0", "0/1"}


def test_what_is_recorded_stands():
    """Where a device gives other bits when a trial is trained again, no decision is taken back."""
    trials = trials_of(6, steps=9)
    rule = rules.successive_halving(1)
    judge = Judge(rule, make_rows(trials, 1, rule.per), KEY, "min", stops={"0/0": 1})
    judge.record("5/0", 2, 9.0, True)  # went on
    for trial in trials:
        judge.record(trial.id, 1, float(trial.config["i"]), True)
    assert sorted(judge.advance()) == ["1/0", "5/0"]


def test_a_users_function_is_a_rule():
    def below(scores, budgets, key):
        return np.where(np.nan_to_num(scores[:, 0, 0], nan=0.0) > 2, rules.STOP, rules.GO)

    _, at, _ = play(below, trials_of(6, steps=3), lambda trial, step: float(trial.config["i"]))
    assert list(at.values()) == [3, 3, 3, 1, 1, 1]
    wrong = lambda scores, budgets, key: np.full(len(scores), 7)
    with pytest.raises(ConfigError, match="array of shape"):
        play(wrong, trials_of(2), ranked)


def test_what_cannot_be_is_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="both decide when configs begin"):
        rules.any_of(rules.asynchronous_halving(1), rules.median_stopping())
    with pytest.raises(ConfigError, match="whole number of at least 2"):
        rules.hyperband(3, factor=1)
    with pytest.raises(ConfigError, match="combine rules first"):
        rules.all_of(rules.per_trial(rules.divergence()))
    with pytest.raises(ConfigError, match="evaluate_every=9"):
        check_rungs(rules.successive_halving(9), [81], 18)
    with pytest.raises(ConfigError, match="never decides"):
        check_rungs(rules.hyperband(100), [100], 10)
    with pytest.raises(ConfigError, match="is not a rule"):
        as_rule("median")
