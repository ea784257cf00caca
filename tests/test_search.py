import hashlib
import itertools
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

import jsweep as js
from jsweep import space as space_module
from jsweep._runtime.prng import generator
from jsweep.errors import ConfigError
from jsweep.search._count import count_configs
from jsweep.space._domains import draw

quick = settings(deadline=None, derandomize=True, max_examples=40)

MIXED = {
    "learning_rate": js.log_uniform(1e-4, 1.0),
    "optimizer": ["sgd", "adam", "lion"],
    "momentum": js.when(optimizer="sgd", then=js.uniform(0.0, 0.99)),
    "layers": js.int_uniform(1, 3),
    "width_1": js.log_int(8, 512),
    "width_2": js.when(layers=js.at_least(2), then=js.log_int(8, 512)),
    "width_3": js.when(layers=js.at_least(3), then=js.log_int(8, 512)),
    "l2": js.choice([0.0, 1e-4], weights=[3, 1]),
    "bias": js.normal(0.0, 1.0),
    "steps": 100,
}
DRAWS = [js.random, js.sobol, js.latin_hypercube]


# The grid


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.lists(st.integers(0, 5) | st.text(max_size=2) | st.none(), min_size=1, max_size=4, unique=True),
        min_size=1,
        max_size=4,
    )
)
@quick
def test_a_grid_is_the_product_of_its_values_in_order(space):
    expected = [dict(zip(space, row, strict=True)) for row in itertools.product(*space.values())]
    assert list(js.grid(space)) == expected
    assert [list(config) for config in js.grid(space)] == [list(space)] * len(expected)


def test_a_grid_takes_values_of_any_type():
    space = {
        "act": [jax.nn.relu, jax.nn.gelu],
        "w": [(64, 64), [32], ()],
        "flag": [True, False, None],
        "x": ["a", 1, 0.5],
    }
    expected = [dict(zip(space, row, strict=True)) for row in itertools.product(*space.values())]
    assert list(js.grid(space)) == expected


def test_the_grid_of_64_learning_rates_and_3_penalties_has_192_configs():
    configs = js.grid({"learning_rate": js.logspace(1e-4, 1.0, 64), "l2": [0.0, 1e-4, 1e-3]})
    assert len(configs) == 192
    assert configs[0] == {"learning_rate": 1e-4, "l2": 0.0}
    assert configs[-1] == {"learning_rate": 1.0, "l2": 1e-3}


def test_conditional_names_are_present_only_where_their_condition_holds():
    space = {
        "optimizer": ["sgd", "adam"],
        "momentum": js.when(optimizer="sgd", then=[0.0, 0.9]),
        "nesterov": js.when(momentum=js.at_least(0.5), then=[True, False]),
    }
    assert list(js.grid(space)) == [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
        {"optimizer": "adam"},
    ]


def test_widths_exist_up_to_the_number_of_layers():
    widths = {f"width_{i}": js.when(layers=js.at_least(i), then=[16, 32]) for i in (1, 2, 3)}
    expected = [
        {"layers": layers, **{f"width_{i + 1}": width for i, width in enumerate(row)}}
        for layers in (1, 2, 3)
        for row in itertools.product([16, 32], repeat=layers)
    ]
    assert list(js.grid({"layers": [1, 2, 3], **widths})) == expected


def test_otherwise_gives_the_other_values():
    rates = js.when(optimizer="sgd", then=[0.1, 1.0], otherwise=js.when(optimizer="lion", then=1e-4, otherwise=[1e-3]))
    assert [tuple(c.values()) for c in js.grid({"optimizer": ["sgd", "adam", "lion"], "lr": rates})] == [
        ("sgd", 0.1),
        ("sgd", 1.0),
        ("adam", 1e-3),
        ("lion", 1e-4),
    ]


@given(st.permutations(["a", "b", "c", "d"]))
@quick
def test_the_order_of_names_decides_the_order_of_configs_and_nothing_else(order):
    parts = {
        "a": [1, 2, 3],
        "b": js.when(a=js.at_most(2), then=["x", "y"]),
        "c": js.when(b="y", a=[1, 3], then=[0.5], otherwise=[None, False]),
        "d": [1.0, 2.0],
    }
    configs = list(js.grid({name: parts[name] for name in order}))
    expected = [
        {"a": a, **b, **c, "d": d}
        for a in (1, 2, 3)
        for b in ([{"b": "x"}, {"b": "y"}] if a <= 2 else [{}])
        for c in ([{"c": 0.5}] if b == {"b": "y"} and a in (1, 3) else [{"c": None}, {"c": False}])
        for d in (1.0, 2.0)
    ]
    assert {space_module.config_id(config) for config in configs} == {
        space_module.config_id(config) for config in expected
    }
    assert len(configs) == len(expected)
    assert all(list(config) == [name for name in order if name in config] for config in configs)
    places = {"a": [1, 2, 3], "b": ["x", "y"], "d": [1.0, 2.0], "c": [None, False]}
    rows = [[-1 if n not in c else 0 if c[n] == 0.5 else places[n].index(c[n]) for n in order] for c in configs]
    assert rows == sorted(rows)


def test_where_keeps_the_configs_it_is_true_for():
    space = {"layers": [1, 2, 3], "width": [64, 128]}
    configs = js.grid(space, where=lambda c: c["layers"] * c["width"] <= 128)
    assert list(configs) == [c for c in js.grid(space) if c["layers"] * c["width"] <= 128]
    assert len(js.grid({"x": np.arange(4)}, where=lambda c: np.float64(c["x"]) > 1)) == 2


def test_where_cannot_change_a_config():
    assert list(js.grid({"a": [1]}, where=lambda c: c.pop("a") == 1)) == [{"a": 1}]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: js.grid({"lr": js.log_uniform(1e-4, 1.0)}),
            r"lr is log_uniform\(1e-4, 1\).* pass js.logspace\(0.0001, 1.0, 8\)",
        ),
        (lambda: js.grid({"lr": js.uniform(0.0, 1.0)}), r"pass js.linspace\(0.0, 1.0, 8\)"),
        (lambda: js.grid({"n": js.int_uniform(1, 4)}), "pass a list"),
        (lambda: js.grid({"o": ["s"], "m": js.when(o="s", then=js.normal(0, 1))}), "m is normal"),
        (lambda: js.grid({"a": js.choice([1, 2], weights=[1, 2])}), "a has weights"),
        (lambda: js.grid({"a": [1, 2]}, where=lambda c: False), "where kept no config of the grid"),
        (lambda: js.grid({"a": [1, 2]}, where=lambda c: None), "where returned None"),
        (lambda: js.grid({"a": [1, 2]}, where=3), "where=3 is not a function"),
        (lambda: js.random({"a": [1, 2]}, 1, key=0, where={"a": 1}), "is not a function"),
        (
            lambda: js.grid({"a": [1, 2], "b": js.when(a=1, then=[1])}, where=lambda c: c["b"] > 0),
            r"where reads 'b', which not every config has: read it with config.get\('b'\)",
        ),
        (lambda: js.grid([1, 2]), "pass a dict"),
    ],
)
def test_a_mistake_in_a_grid_is_refused_in_one_sentence(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_an_error_raised_by_where_itself_is_not_caught():
    with pytest.raises(KeyError, match="typo"):
        js.grid({"a": [1]}, where=lambda c: c["typo"])


# Distributions, against SciPy's

N = 4000
DISTRIBUTIONS = [
    (js.uniform(-2.0, 3.0), stats.uniform(-2.0, 5.0)),
    (js.log_uniform(1e-5, 1e-1), stats.loguniform(1e-5, 1e-1)),
    (js.normal(3.0, 0.5), stats.norm(3.0, 0.5)),
]


def column(configs, name="x"):
    return np.array([config[name] for config in configs])


def space_of(distribution):
    """With a second name, so that no draw of a short list repeats a config."""
    return {"x": distribution, "other": js.uniform(0.0, 1.0)}


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize(("distribution", "reference"), DISTRIBUTIONS)
def test_continuous_draws_follow_scipys_distribution(draws, distribution, reference):
    x = column(draws(space_of(distribution), N, key=1))
    assert stats.kstest(x, reference.cdf).pvalue > 1e-3
    assert x.dtype == np.float64


def log_int_probabilities(low, high):
    k = np.arange(low, high + 1)
    return stats.loguniform(low - 0.5, high + 0.5).cdf(k + 0.5) - stats.loguniform(low - 0.5, high + 0.5).cdf(k - 0.5)


DISCRETE = [
    (js.int_uniform(-2, 6), list(range(-2, 7)), np.full(9, 1 / 9)),
    (js.log_int(1, 20), list(range(1, 21)), log_int_probabilities(1, 20)),
    (["a", None, (1, 2), 0.5, True], ["a", None, (1, 2), 0.5, True], np.full(5, 0.2)),
    (js.choice(["a", "b", "c"], weights=[1, 2.5, 0.5]), ["a", "b", "c"], np.array([0.25, 0.625, 0.125])),
]


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize(("part", "outcomes", "probabilities"), DISCRETE)
def test_discrete_draws_reach_every_outcome_as_often_as_they_should(draws, part, outcomes, probabilities):
    drawn = [config["x"] for config in draws(space_of(part), N, key=2)]
    counts = [sum(type(value) is type(outcome) and value == outcome for value in drawn) for outcome in outcomes]
    assert sum(counts) == N
    assert stats.chisquare(counts, probabilities * N).pvalue > 1e-3


def test_names_are_drawn_independently():
    configs = js.random({f"x{i}": js.uniform(0.0, 1.0) for i in range(6)}, N, key=3)
    correlation = np.corrcoef([column(configs, f"x{i}") for i in range(6)])
    assert np.abs(correlation - np.eye(6)).max() < 5 / math.sqrt(N)


@given(st.integers(-50, 50), st.integers(1, 100), st.floats(0, 1, exclude_max=True))
@quick
def test_draws_stay_between_their_ends(low, span, u):
    u = np.array([u, 0.0, 1 - 2.0**-53])
    high = low + span
    assert all(low / 7 <= x <= high / 7 for x in draw(js.uniform(low / 7, high / 7), u))
    assert {type(x) for x in draw(js.int_uniform(low, high), u)} == {int}
    assert all(low <= x <= high for x in draw(js.int_uniform(low, high), u))
    assert all(1 <= x <= 1 + span for x in draw(js.log_int(1, 1 + span), u))
    assert all(0.3 <= x <= 0.3 + span for x in draw(js.log_uniform(0.3, 0.3 + span), u))
    assert all(math.isfinite(x) for x in draw(js.normal(low, span), u))


# Keys and prefixes


@pytest.mark.parametrize("draws", DRAWS)
def test_a_search_is_reproducible_from_its_key(draws):
    typed = draws(MIXED, 50, key=jax.random.key(7))
    assert draws(MIXED, 50, key=jax.random.key(7)) == typed
    assert draws(MIXED, 50, key=7) == typed
    assert draws(MIXED, 50, key=jax.random.PRNGKey(7)) == typed
    assert draws(MIXED, 50, key=np.int64(7)) == typed
    assert draws(MIXED, 50, key=np.asarray(jax.random.key_data(jax.random.key(7)))) == typed
    assert not set(typed.ids) & set(draws(MIXED, 50, key=8).ids)


def philox_words(key, n):
    """The first n words of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    mask = 2**64 - 1
    words = []
    for block in range(1, n // 4 + 2):
        c0, c1, c2, c3, k0, k1 = block, 0, 0, 0, key & mask, key >> 64
        for _ in range(10):
            high0, low0 = divmod(c0 * 0xD2E7470EE14C6C93, 2**64)
            high1, low1 = divmod(c2 * 0xCA5A826395121157, 2**64)
            c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
        words += [c0, c1, c2, c3]
    return words[:n]


def test_random_draws_are_fixed_by_philox_and_a_hash_of_key_and_name():
    configs = js.random(
        {"rate": js.log_uniform(1e-4, 1.0), "n": js.int_uniform(0, 999), "o": ["a", "b"]}, 30, key=2**40
    )

    def u(name):
        text = f"('jsweep', 'random', (256, 0), ('{name}',))"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        return [(word >> 11) / 2**53 for word in philox_words(key, 30)]

    np.testing.assert_allclose(column(configs, "rate"), [1e-4 ** (1 - number) for number in u("rate")], rtol=1e-9)
    assert [config["n"] for config in configs] == [math.floor(1000 * number) for number in u("n")]
    assert [config["o"] for config in configs] == ["ab"[math.floor(2 * number)] for number in u("o")]


@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 2**64 - 1), st.sampled_from([js.random, js.sobol]))
@quick
def test_the_first_configs_of_a_longer_draw_are_those_of_a_shorter_one(n, more, key, draws):
    assert draws(MIXED, n + more, key=key)[:n] == draws(MIXED, n, key=key)


@pytest.mark.parametrize("draws", [js.random, js.sobol])
def test_prefixes_hold_where_draws_are_skipped(draws):
    space = {"a": js.int_uniform(0, 30), "b": ["x", "y"], "c": js.when(b="x", then=[1, 2, 3])}
    where = lambda config: config["a"] % 3 == 0
    long = draws(space, 44, key=5, where=where)
    assert len(set(long.ids)) == 44
    assert all(map(where, long))
    for n in (1, 2, 7, 20, 43):
        assert draws(space, n, key=5, where=where) == long[:n]


@pytest.mark.parametrize("draws", [js.random, js.sobol])
def test_a_space_of_lists_can_be_drawn_completely_and_no_further(draws):
    space = {"a": [1, 2, 3], "b": ["x", "y"], "c": js.when(b="x", then=[1, 2])}
    assert set(draws(space, 9, key=0).ids) == set(js.grid(space).ids)
    with pytest.raises(ConfigError, match="gave 9 different configs and then none"):
        draws(space, 10, key=0)


def test_where_on_random_keeps_the_order_of_the_stream():
    where = lambda config: config["layers"] < 3
    kept = [config for config in js.random(MIXED, 200, key=4) if where(config)]
    assert list(js.random(MIXED, 60, key=4, where=where)) == kept[:60]


@given(st.permutations(list(MIXED)), st.sets(st.sampled_from(list(MIXED))))
@quick
def test_the_draws_of_a_name_depend_on_no_other_name(order, dropped):
    needed = {"momentum": "optimizer", "width_2": "layers", "width_3": "layers"}
    kept = [name for name in order if name not in dropped and needed.get(name) not in dropped]
    if not set(kept) - {"steps", "optimizer", "layers", "l2"}:
        return
    whole = js.random(MIXED, 20, key=1)
    part = js.random({**{name: MIXED[name] for name in kept}, "id": js.uniform(0.0, 1.0)}, 20, key=1)
    for a, b in zip(whole, part, strict=True):
        assert all(a.get(name) == b.get(name) for name in kept)
        assert list(b) == [name for name in [*kept, "id"] if name in b]


@pytest.mark.parametrize("draws", DRAWS)
def test_conditional_names_are_drawn_only_where_their_condition_holds(draws):
    for config in draws(MIXED, 300, key=0):
        assert ("momentum" in config) == (config["optimizer"] == "sgd")
        assert ("width_2" in config) == (config["layers"] >= 2)
        assert ("width_3" in config) == (config["layers"] >= 3)
        assert config["steps"] == 100


# Constraints


def _shorter(config):
    return config["warmup"] < config["steps"]


CONSTRAINED = {
    "warmup": js.uniform(0.0, 500.0),
    "steps": js.log_int(100, 1000),
    "optimizer": ["sgd", "adam"],
    "momentum": js.when(optimizer="sgd", then=js.uniform(0.0, 1.0)),
    "warmup is shorter": js.constraint(_shorter),
    "momentum is small": js.constraint(lambda config: config.get("momentum", 0.0) < 0.9),
}


@pytest.mark.parametrize("draws", DRAWS)
def test_every_draw_satisfies_the_constraints_and_follows_from_the_key(draws):
    configs = draws(CONSTRAINED, 60, key=3)
    assert all(config["warmup"] < config["steps"] and config.get("momentum", 0.0) < 0.9 for config in configs)
    assert {config["optimizer"] for config in configs} == {"sgd", "adam"}
    assert "warmup is shorter" not in configs[0]
    assert draws(CONSTRAINED, 60, key=3) == configs != draws(CONSTRAINED, 60, key=4)


@given(st.integers(1, 12), st.integers(0, 5))
@quick
def test_a_constrained_grid_has_the_configs_of_the_product_that_satisfy_it(n, gap):
    space = {"a": range(n), "b": range(n), "far": js.constraint(lambda c: c["b"] - c["a"] >= gap), "c": [0, 1]}
    expected = [(a, b, c) for a, b, c in itertools.product(range(n), range(n), [0, 1]) if b - a >= gap]
    if not expected:
        with pytest.raises(ConfigError, match="the constraint 'far' kept no config of the grid"):
            js.grid(space)
    else:
        assert [tuple(config.values()) for config in js.grid(space)] == expected


def test_a_constrained_latin_hypercube_still_has_one_draw_in_every_interval():
    space = {
        "a": js.uniform(0.0, 1.0),
        "b": js.uniform(0.0, 1.0),
        "a is smaller": js.constraint(lambda c: c["a"] < c["b"] + 0.1),
    }
    configs = js.latin_hypercube(space, 50, key=1)
    assert sum(a >= b + 0.1 for a, b in qmc.LatinHypercube(2, rng=generator(1, "latin_hypercube", 50)).random(50)) > 5
    for name in "ab":
        assert sorted(np.floor(column(configs, name) * 50).astype(int)) == list(range(50))


@pytest.mark.parametrize("draws", DRAWS)
def test_constraints_that_nothing_satisfies_are_refused_by_name(draws, monkeypatch):
    monkeypatch.setattr("jsweep.search.random._FRUITLESS", 1000)
    with pytest.raises(ConfigError, match="the constraint 'never'"):
        draws({"a": js.uniform(0, 1), "never": js.constraint(lambda config: False)}, 5, key=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: js.constraint(3), "constraint\\(3\\) is not of a function"),
        (lambda: js.Space({"c": js.constraint(_shorter)}), "the space has only constraints"),
        (lambda: js.grid({"warmup": [1], "c": js.constraint(_shorter)}), "'c' reads 'steps', which the space does not"),
        (
            lambda: js.grid({"a": [1, 2], "b": js.when(a=1, then=[1]), "c": js.constraint(lambda c: c["b"] > 0)}),
            r"the constraint 'c' reads 'b', which not every config has: read it with config.get\('b'\)",
        ),
        (lambda: js.grid({"a": [1], "c": js.constraint(lambda config: None)}), "the constraint 'c' returned None"),
    ],
)
def test_a_mistake_in_a_constraint_is_refused_in_one_sentence(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_space_with_constraints_prints_and_converts_to_json():
    space = js.Space({"warmup": [0, 10], "steps": [10], "shorter": js.constraint(_shorter)})
    assert "shorter: constraint _shorter" in repr(space)
    again = js.Space.from_json(space.to_json(), resolve=True)
    assert again == space
    assert hash(again) == hash(space)
    assert len(js.grid(js.Space.from_json(space.to_json()))) == 1
    assert space != js.Space({"warmup": [0, 10], "steps": [10]})


# Sobol and Latin hypercube, against SciPy


@pytest.mark.parametrize("n", [1, 5, 64, 100])
def test_sobol_is_scipys_sequence_mapped_through_the_space(n):
    space = {
        "x": js.uniform(2.0, 4.0),
        "c": 7,
        "o": ["a", "b", "c"],
        "y": js.log_uniform(1e-4, 1.0),
        "z": js.normal(0, 2),
    }
    points = qmc.Sobol(4, scramble=True, rng=generator(9, "sobol")).random_base2(7)[:n]
    configs = js.sobol(space, n, key=9)
    np.testing.assert_allclose(column(configs), 2.0 + 2.0 * points[:, 0], rtol=1e-9)
    assert [config["o"] for config in configs] == ["abc"[int(u * 3)] for u in points[:, 1]]
    np.testing.assert_allclose(column(configs, "y"), stats.loguniform(1e-4, 1.0).ppf(points[:, 2]), rtol=1e-9)
    np.testing.assert_allclose(column(configs, "z"), stats.norm(0, 2).ppf(points[:, 3]), rtol=1e-8, atol=1e-9)


def test_sobol_fills_every_part_of_a_name_equally():
    configs = js.sobol({"x": js.uniform(0.0, 1.0), "y": js.uniform(0.0, 1.0)}, 64, key=1)
    cells = np.floor(column(configs) * 8).astype(int) * 8 + np.floor(column(configs, "y") * 8).astype(int)
    assert sorted(cells) == list(range(64))


@pytest.mark.parametrize("n", [1, 7, 50])
def test_latin_hypercube_is_scipys_and_has_one_draw_in_every_part(n):
    points = qmc.LatinHypercube(2, rng=generator(3, "latin_hypercube", n)).random(n)
    configs = js.latin_hypercube({"x": js.uniform(0.0, 1.0), "y": js.log_uniform(1e-3, 1.0)}, n, key=3)
    np.testing.assert_allclose(column(configs), points[:, 0], rtol=1e-9)
    np.testing.assert_allclose(column(configs, "y"), 1e-3 ** (1 - points[:, 1]), rtol=1e-9)
    assert sorted(np.floor(column(configs) * n).astype(int)) == list(range(n))


def test_latin_hypercubes_of_different_lengths_share_nothing():
    space = {"x": js.uniform(0.0, 1.0)}
    assert not set(js.latin_hypercube(space, 20, key=0).ids) & set(js.latin_hypercube(space, 21, key=0).ids)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda draws: draws({"x": [1, 2]}, 0, key=0), "n=0 is not valid: pass a whole number of at least 1"),
        (lambda draws: draws({"x": [1, 2]}, 2.0, key=0), "n=2.0 is not valid"),
        (lambda draws: draws({"x": [1, 2]}, True, key=0), "n=True"),
        (lambda draws: draws({"x": [1, 2]}, 2, key=-1), "key=-1 is not a seed"),
        (lambda draws: draws({"x": [1, 2]}, 2, key="seed"), "key='seed' is not a key"),
        (lambda draws: draws({"x": [1, 2]}, 2, key=True), "key=True is not a key"),
        (lambda draws: draws({"x": [1, 2]}, 2, key=jax.random.split(jax.random.key(0))), "pass one key"),
        (lambda draws: draws({"x": [1, 2]}, 2, key=np.zeros(2)), "float64 array"),
        (lambda draws: draws({}, 2, key=0), "space is empty"),
        (lambda draws: draws({"x": 1}, 2, key=0), "1 different configs"),
    ],
)
@pytest.mark.parametrize("draws", DRAWS)
def test_a_mistake_in_a_search_is_refused_in_one_sentence(draws, make, words):
    with pytest.raises(ConfigError, match=words):
        make(draws)


def test_a_where_that_keeps_nothing_is_refused():
    with pytest.raises(ConfigError, match="kept 0 different configs .* 1 in 10,000"):
        js.random({"x": js.uniform(0.0, 1.0)}, 1, key=0, where=lambda config: config["x"] > 2)


def test_a_where_that_keeps_one_in_a_thousand_is_enough():
    configs = js.random({"x": js.uniform(0.0, 1.0)}, 5, key=0, where=lambda config: config["x"] > 0.999)
    assert len(configs) == 5
    assert min(column(configs)) > 0.999


# Size


def test_a_grid_too_large_for_memory_is_refused_with_its_size():
    with pytest.raises(ConfigError, match=r"the grid has 100,000,000 configs, .* js.random\(space, 1000, key=0\)"):
        js.grid({name: range(100) for name in "abcd"})
    with pytest.raises(ConfigError, match="the grid has 1" + ",000" * 20):
        js.grid({f"x{i}": range(1000) for i in range(20)}, where=lambda config: False)
    with pytest.raises(ConfigError, match="n=10,000,001 is more than the 10,000,000"):
        js.random({"a": js.uniform(0, 1)}, 10_000_001, key=0)


@given(st.permutations(["a", "b", "c", "d"]), st.integers(1, 4), st.integers(1, 3))
@quick
def test_the_size_of_a_conditional_grid_is_known_before_it_is_built(order, most, width):
    parts = {
        "a": list(range(1, most + 3)),
        "b": js.when(a=js.at_most(most), then=["x", "y"], otherwise=js.when(c=0, then=list(range(width)))),
        "c": [0, 1, 2],
        "d": js.when(b="y", c=[1, 0], then=[0.5], otherwise=[None, False]),
    }
    space = js.Space({name: parts[name] for name in order})
    assert count_configs(space) == len(js.grid(space))


def test_the_size_of_a_grid_of_many_switches_is_known_at_once():
    switches = {f"on_{i}": [False, True] for i in range(200)}
    values = {f"x_{i}": js.when(then=range(9), **{f"on_{i}": True}) for i in range(200)}
    assert count_configs(js.Space(switches | values)) == 10**200
    widths = {f"width_{i}": js.when(layers=js.at_least(i), then=[16, 32]) for i in range(1, 61)}
    assert count_configs(js.Space({"layers": range(1, 61), **widths})) == 2**61 - 2
