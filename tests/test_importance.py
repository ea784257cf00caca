"""How much hyperparameters matter: shares of variance against plain NumPy, and what they are of."""

import itertools
import json
import math

import numpy as np
import pytest
from records import LOSS, halved, record
from test_cli import jsweep

import jsweep as js

STATES = {"rate": [1e-3, 1e-2, 1e-1], "width": [8, 16], "act": ["relu", None, (1, 2), True]}


def grid(scores, names, seeds=1, noise=0.0, offset=0.0):
    """Trials of a full grid with given scores, each seed with noise of its own and an offset that all configs share."""
    rng = np.random.default_rng(0)
    offsets = offset * rng.normal(size=seeds)
    trials = []
    for place in np.ndindex(scores.shape):
        config = {name: levels[i] for (name, levels), i in zip(names.items(), place)}
        for seed in range(seeds):
            trials.append((config, seed, {5: {LOSS: float(scores[place] + offsets[seed] + noise * rng.normal())}}))
    return trials


def by_definition(scores):
    """Shares of the variance by inclusion and exclusion of marginal means, cell by cell."""
    axes = range(scores.ndim)

    def effect(subset, place):
        def marginal(kept):
            cells = [c for c in np.ndindex(scores.shape) if all(c[a] == place[a] for a in kept)]
            return sum(scores[c] for c in cells) / len(cells)

        parts = (itertools.combinations(subset, size) for size in range(len(subset) + 1))
        return sum((-1) ** (len(subset) - len(kept)) * marginal(kept) for kept in itertools.chain(*parts))

    share = lambda *subset: np.mean([effect(subset, place) ** 2 for place in np.ndindex(scores.shape)]) / scores.var()
    return [share(a) for a in axes], {(a, b): share(a, b) for a, b in itertools.combinations(axes, 2)}, share(*axes)


# -- shares of variance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 2, 4), (5, 3), (7,), (1, 3)])
def test_shares_are_those_of_their_definition(shape):
    scores = np.random.default_rng(1).normal(3, 2, shape)
    found = js.statistics.variance_shares(scores)
    main, pairs, _ = by_definition(scores)
    np.testing.assert_allclose(found.main, main, atol=1e-12)
    for (a, b), share in pairs.items():
        assert found.pairs[a, b] == found.pairs[b, a] == pytest.approx(share, abs=1e-12)
    assert found.main.sum() + found.pairs.sum() / 2 + found.rest == pytest.approx(1)
    assert found.variance == pytest.approx(scores.var())


def test_what_only_three_explain_is_the_rest():
    sign = np.array([-1.0, 1.0])
    found = js.statistics.variance_shares(sign[:, None, None] * sign[:, None] * sign)
    assert (found.main.max(), found.pairs.max(), found.rest) == (0, 0, 1)
    product = js.statistics.variance_shares(sign[:, None] * sign)
    assert product.pairs[0, 1] == 1


def test_shares_do_not_depend_on_scale_or_shift():
    scores = np.random.default_rng(2).normal(size=(3, 4))
    plain = js.statistics.variance_shares(scores)
    for changed in (scores * 1e200, scores * 1e-200, scores * -3 + 100):
        np.testing.assert_allclose(js.statistics.variance_shares(changed).main, plain.main, rtol=1e-9)
    equal = js.statistics.variance_shares(np.full((3, 4), 0.1))
    assert equal.variance == 0
    assert np.isnan(equal.main).all()


@pytest.mark.parametrize(("values", "sentence"), [([1.0, math.nan], "not finite"), (1.0, "shape"), ([], "shape")])
def test_scores_without_shares_are_refused(values, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.statistics.variance_shares(np.array(values))


def test_sensitivity_is_the_mean_loss_above_the_best_capped_at_the_initial_one():
    losses = [2.0, 1.0, 3.0, math.nan, math.inf, 50.0]
    assert js.statistics.sensitivity(losses, initial=4.0) == pytest.approx(np.mean([2, 1, 3, 4, 4, 4]) - 1)
    assert js.statistics.sensitivity([0.5, 0.5], initial=4.0) == 0
    assert math.isnan(js.statistics.sensitivity([math.nan], initial=4.0))
    with pytest.raises(js.ConfigError, match="initial=nan is not finite"):
        js.statistics.sensitivity(losses, initial=math.nan)
    with pytest.raises(js.ConfigError, match="shape"):
        js.statistics.sensitivity([], initial=1.0)


# -- of a sweep ---------------------------------------------------------------------------------------------------------


def test_a_grid_is_weighed_by_its_means_over_seeds():
    scores = np.random.default_rng(3).normal(size=(3, 2, 4))
    result = record(grid(scores, STATES, seeds=3, offset=5.0)[::-1])[1]  # in another order than the grid's
    found = result.importance()
    main, pairs, rest = by_definition(scores)
    assert (found.method, found.configs) == ("anova", 24)
    assert found.main == pytest.approx(dict(zip(STATES, main)))
    assert [*found.main.values()] == sorted(found.main.values(), reverse=True)
    names = [*STATES]
    assert {frozenset(pair): v for pair, v in found.pairs.items()} == pytest.approx(
        {frozenset((names[a], names[b])): share for (a, b), share in pairs.items()}
    )
    assert found.rest == pytest.approx(rest)
    assert found.noise == pytest.approx(0, abs=1e-12)  # an offset that all configs share is no noise


def test_the_noise_is_the_share_that_seeds_alone_explain():
    shares = [
        record(grid(np.zeros((10, 10)), {"a": [*range(10)], "b": [*range(10)]}, seeds, 1.0, 9.0))[1].importance().noise
        for seeds in (2, 5)
    ]
    assert shares == pytest.approx([1, 1], abs=0.5)  # there is nothing else
    scores = np.arange(16.0).reshape(4, 4) * 100
    quiet = record(grid(scores, {"a": [*range(4)], "b": [*range(4)]}, 5, 1.0))[1].importance()
    # the variance of a mean over five seeds, over that of the scores
    assert quiet.noise == pytest.approx(1 / 5 / scores.var(), rel=0.5)
    assert math.isnan(record(grid(scores, {"a": [*range(4)], "b": [*range(4)]}))[1].importance().noise)


def test_levels_that_diverge_are_left_out_and_named():
    scores = np.random.default_rng(4).normal(size=(3, 2, 4))
    whole = grid(scores, STATES)
    whole = [t if t[0]["rate"] != 1e-1 else (*t[:2], {5: {LOSS: math.nan}}) for t in whole]
    found = record(whole)[1].importance()
    assert found.main == pytest.approx(dict(zip(STATES, by_definition(scores[:2])[0])))
    assert found.configs == 16
    assert "rate=0.1." in found.notes[0]
    nothing = [(config, seed, {5: {LOSS: math.nan}}) for config, seed, _ in whole]
    with pytest.raises(js.ConfigError, match="too few configs of 'made' have finished"):
        record(nothing)[1].importance()


def test_configs_that_are_no_grid_are_weighed_by_the_best_of_them():
    rng = np.random.default_rng(5)
    rates, others = 10 ** rng.uniform(-5, 0, 200), rng.uniform(0, 1, 200)
    score = lambda rate, other: (math.log10(rate) + 2) ** 2 + 0.01 * other
    trials = [({"rate": r, "other": o}, 0, {5: {LOSS: score(r, o)}}) for r, o in zip(rates, others)]
    trials[7] = (*trials[7][:2], {5: {LOSS: math.nan}})
    trials.append(({"rate": 0.5, "other": 0.5}, 0, None))
    result = record(trials)[1]
    found = result.importance()
    assert (found.method, found.configs) == ("ped-anova", 200)
    assert found.main["rate"] > 0.9
    assert sum(found.main.values()) == pytest.approx(1)
    assert any("1 configs that were stopped, failed or diverged" in note for note in found.notes)
    assert any("1 configs have not ended" in note for note in found.notes)
    with pytest.raises(js.ConfigError, match="are not a full grid"):
        result.importance(method="anova")


def test_conditional_hyperparameters_are_weighed_where_they_are():
    rng = np.random.default_rng(6)
    trials = []
    for i in range(120):
        config = {"kind": "sgd", "momentum": rng.uniform()} if i % 2 else {"kind": "adam"}
        loss = 2 - config["momentum"] if i % 2 else 5 + rng.uniform()
        trials.append((config | {"id": i}, 0, {5: {LOSS: loss}}))
    found = record(trials)[1].importance()
    assert found.main["momentum"] > found.main["id"]
    assert {*found.main} == {"kind", "momentum", "id"}


def test_what_cannot_be_weighed_is_refused():
    one = record([({"a": 1}, s, {5: {LOSS: 1.0}}) for s in (0, 1)])[1]
    with pytest.raises(js.ConfigError, match="no hyperparameter differs between the configs of 'made'"):
        one.importance()
    few = record([({"a": i, "b": i}, 0, {5: {LOSS: float(i)}}) for i in range(5)])[1]
    with pytest.raises(js.ConfigError, match="at least 20"):
        few.importance()
    with pytest.raises(js.ConfigError, match="method='forest' is not valid"):
        few.importance(method="forest")
    same = record(grid(np.ones((3, 2, 4)), STATES))[1].importance()
    assert same.notes == ("All configs score the same.",)


def test_the_command_prints_the_table_and_json(capsys, tmp_path):
    scores = np.random.default_rng(3).normal(size=(3, 2, 4))
    store, result = record(grid(scores, STATES, 2, 0.1), path=tmp_path / "s.db")
    expected = result.importance()
    store.close()
    code, out, _ = jsweep(capsys, "importance", "--store", tmp_path / "s.db")
    assert code == 0
    assert out.splitlines()[0] == "validation/loss over 24 configs, by functional ANOVA of the grid"
    for name, value in expected.main.items():
        assert f"{100 * value:.1f}%" in next(line for line in out.splitlines() if line.startswith(name))
    assert "three and more together" in out
    code, out, _ = jsweep(capsys, "importance", "made", "--store", tmp_path / "s.db", "--json")
    assert json.loads(out)["main"] == pytest.approx(dict(expected.main))
    code, _, err = jsweep(capsys, "importance", "none", "--store", tmp_path / "s.db")
    assert code == 2
    assert "no sweep 'none'" in err


def test_under_a_rule_configs_are_weighed_where_nine_tenths_of_them_were():
    """The scores at the first rung, as without the rule: those at the others are of a few configs."""
    rng = np.random.default_rng(7)
    configs = [
        {"rate": rate, "other": other} for rate, other in zip(10 ** rng.uniform(-5, 0, 60), rng.uniform(size=60))
    ]
    losses = np.array([[(math.log10(c["rate"]) + 2) ** 2, c["other"], c["other"]] for c in configs])
    found = halved(configs, losses)[1].importance()
    whole = record([(c, 0, {3: {LOSS: loss}}) for c, loss in zip(configs, losses[:, 0])])[1].importance()
    assert found.main == pytest.approx(whole.main)
    assert (found.configs, found.main["rate"] > 0.9) == (60, True)
    assert found.notes == (
        "By the scores at step 3, the last that nine tenths of the configs reached before some were stopped.",
        *whole.notes,
    )
    grid = [{"rate": r, "width": w} for r in range(3) for w in range(4)]
    losses = np.array([[c["rate"] + 10 * c["width"]] * 3 for c in grid])
    found = halved(grid, losses)[1].importance()
    assert (found.method, found.configs) == ("anova", 12)
    variances = np.var([0, 1, 2]), np.var([0, 10, 20, 30])
    assert found.main["width"] == pytest.approx(variances[1] / sum(variances))
