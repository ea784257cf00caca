"""A Config is an immutable mapping and a pytree, and notes what is read of it whatever way that is done."""

import copy
import functools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, make_task, optimizer, rows_of

import jsweep as js
from jsweep.task.config import check_count

READS = {
    "by name": lambda c: c["rate"],
    "get": lambda c: c.get("rate"),
    "in": lambda c: "rate" in c,
    "copy": lambda c: c.copy()["rate"],
    "copy.copy": lambda c: copy.copy(c)["rate"],
    "pickle": lambda c: pickle.loads(pickle.dumps(c))["rate"],
    "deepcopy": lambda c: copy.deepcopy(c)["rate"],
    "or": lambda c: (c | {})["rate"],
    "ror": lambda c: ({"other": 1} | c)["rate"],
    "dict": lambda c: dict(c).pop("rate"),
    "unpacked": lambda c: {**c}["rate"],
    "arguments": lambda c: (lambda rate: rate)(**c),
    "items": lambda c: [value for _, value in c.items()],
    "values": lambda c: list(c.values()),
    "keys": lambda c: [c[name] for name in c.keys()],  # noqa: SIM118
    "iteration": lambda c: list(c),
    "keys and in": lambda c: "rate" in c.keys(),  # noqa: SIM118
    "flatten": jax.tree.leaves,
    "map": lambda c: jax.tree.map(lambda leaf: leaf, c),
    "repr": repr,
    "equality": lambda c: c == {},
}


@pytest.mark.parametrize("way", list(READS))
def test_a_read_is_noted_whatever_way_the_value_is_reached(way):
    config = js.Config({"rate": 0.1})
    assert config.reads == set()
    READS[way](config)
    assert config.reads == {"rate"}


def test_what_is_not_read_is_not_noted():
    config = js.Config({"rate": 0.1, "decay": 0.2})
    assert (len(config), "other" in config, config.get("other", 3), bool(config)) == (2, False, 3, True)
    assert config.copy()["rate"] == 0.1
    assert config.reads == {"rate"}


def test_a_config_with_other_values_is_another_config():
    config = js.Config({"rate": 0.1, "decay": 0.2})
    changed = config | {"rate": 1.0, "more": 2}
    assert isinstance(changed, js.Config)
    assert dict(changed) == {"rate": 1.0, "decay": 0.2, "more": 2}
    assert dict({"rate": 5.0, "less": 1} | config) == {"rate": 0.1, "less": 1, "decay": 0.2}
    assert dict(config) == {"rate": 0.1, "decay": 0.2}
    with pytest.raises(TypeError, match="does not support item assignment"):
        config["rate"] = 1.0  # pyright: ignore[reportIndexIssue]
    with pytest.raises(TypeError, match="unsupported operand"):
        config | 3  # pyright: ignore[reportOperatorIssue]


def test_copies_hold_the_same_values():
    config = js.Config({"rate": jnp.float32(0.1), "sizes": [1, 2], "f": jnp.tanh})
    for made in (copy.copy(config), copy.deepcopy(config), config.copy(), pickle.loads(pickle.dumps(js.Config({})))):
        assert isinstance(made, js.Config)
        assert set(made) in (set(config), set())
    deep = copy.deepcopy(config)
    deep["sizes"].append(3)
    assert config["sizes"] == [1, 2]
    assert pickle.loads(pickle.dumps(js.Config({"a": 1, "b": "x"}))) == {"a": 1, "b": "x"}


def test_a_missing_name_is_a_key_error_that_says_what_there_is():
    config = js.Config({"rate": 0.1, "steps": 5})
    with pytest.raises(js.UnknownNameError, match=r"config\['momentum'\].*it has: rate, steps.*config\.get") as caught:
        config["momentum"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)


def test_a_name_read_as_an_attribute_is_refused_with_the_fix():
    config = js.Config({"lr": 0.1})
    with pytest.raises(js.ConfigError, match=r'use config\["lr"\]') as caught:
        config.lr  # noqa: B018
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(config, "lr")
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        config.other  # noqa: B018
    assert js.Config({"items": 1, "get": 2})["get"] == 2


def test_it_can_be_matched_as_a_mapping():
    match js.Config({"kind": "sgd", "rate": 0.1}):
        case {"kind": "sgd", "rate": rate}:
            assert rate == 0.1
        case _:
            pytest.fail("a Config is a Mapping")


def test_arrays_are_its_leaves_and_all_else_is_static():
    width = js.Width(jnp.int32(3), 8)
    config = js.Config({"rate": jnp.float32(0.1), "act": jax.nn.relu, "width": width, "sizes": [1, 2], "name": "x"})
    paths, structure = jax.tree_util.tree_flatten_with_path(config)
    assert [jax.tree_util.keystr(path) for path, _ in paths] == ["['rate']", "['width'].size"]
    again = jax.tree.unflatten(structure, [1.5, 4])
    assert list(again) == ["rate", "act", "width", "sizes", "name"]
    assert (again["rate"], again["act"], again["sizes"], again["name"]) == (1.5, jax.nn.relu, [1, 2], "x")
    assert (again["width"].size, again["width"].most) == (4, 8)
    assert jax.tree.structure(again) == structure
    assert jax.tree.structure(jax.tree.map(lambda _: None, config, is_leaf=lambda v: v is None)) is not None


SAME = [
    1,
    1.0,
    True,
    "1",
    None,
    math.nan,
    (1, 2),
    [1, 2],
    [1.0, 2],
    {"a": [1]},
    {"a": (1,)},
    -0.0,
    0.0,
    jnp.tanh,
    {1, 2},
]
SAME += [
    np.float32(1),
    np.float64(1),
    jnp.sin,
    functools.partial,
    {"a": {"b": [None]}},
    {"a": {"b": [False]}},
    [[]],
    [],
]


def test_static_values_are_equal_only_to_what_computes_the_same():
    structures = [jax.tree.structure(js.Config({"value": value})) for value in SAME]
    copied = [copy.deepcopy(value) if isinstance(value, list | dict | float) else value for value in SAME]
    for i, one in enumerate(structures):
        again = jax.tree.structure(js.Config({"value": copied[i]}))
        assert one == again
        assert hash(one) == hash(again)
        assert [j for j, other in enumerate(structures) if one == other] == [i]
    unhashable = bytearray(b"a")
    one, two = (jax.tree.structure(js.Config({"value": value})) for value in (unhashable, bytearray(b"a")))
    assert one != two
    assert one == jax.tree.structure(js.Config({"value": unhashable}))


def test_a_function_under_jit_is_traced_again_only_for_another_static_value():
    traced = []

    @jax.jit
    def double(config):
        traced.append(config["kind"])
        return 2 * config["rate"]

    for kind, rate in ((1, 0.5), (1, 1.5), (1.0, 0.5), (True, 0.5), (1, 2.5)):
        assert double(js.Config({"kind": kind, "rate": jnp.float32(rate)})) == 2 * rate
    assert [type(kind) for kind in traced] == [int, float, bool]


def test_reads_are_noted_where_jit_already_has_its_trace():
    double = jax.jit(lambda config: 2 * config["rate"])
    for _ in range(2):
        config = js.Config({"rate": jnp.float32(1.0)})
        assert double(config) == 2
        assert config.reads == {"rate"}


def test_what_comes_out_of_jit_goes_on_noting_reads():
    def doubled(config):
        return config | {"rate": 2 * config["rate"]}

    config = js.Config({"rate": jnp.float32(1.0), "kind": "a"})
    out = jax.jit(doubled)(config)
    assert isinstance(out, js.Config)
    assert (out["rate"], out["kind"]) == (2.0, "a")
    assert out.reads == {"rate", "kind"}


def test_transformations_take_it_as_an_argument_or_in_their_closure():
    def loss(w, config):
        return config["scale"] * jnp.sum(w**2) if config["square"] else 0.0

    scales, w = jnp.array([1.0, 3.0]), jnp.array([1.0, 2.0])
    over = js.Config({"scale": scales, "square": True})
    one = js.Config({"scale": scales[1], "square": True})
    np.testing.assert_allclose(jax.vmap(loss, (None, 0))(w, over), [5.0, 15.0])
    np.testing.assert_allclose(jax.grad(lambda w: loss(w, one))(w), 6 * w)
    np.testing.assert_allclose(jax.jit(jax.grad(jax.checkpoint(loss)))(w, one), 6 * w)
    gradient = jax.grad(loss, argnums=1)(w, one)
    assert isinstance(gradient, js.Config)
    np.testing.assert_allclose(gradient["scale"], 5.0)
    _, again = jax.lax.scan(lambda c, x: (c, x * c["scale"]), one, w)
    np.testing.assert_allclose(again, 3 * w)


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
def test_a_sweep_of_a_wrapped_apply_is_that_of_the_function_itself(data, wrap):
    space = js.grid({"learning_rate": [0.1, 0.2], "scale": [1.0, 2.0], "kind": ["a", 3]})

    def scaled(config, params, x, key):
        factor = 3.0 if config["kind"] == 3 else 1.0
        return factor * config["scale"] * apply(config, params, x, key)

    def swept(function):
        return rows_of(js.sweep(make_task(data, apply=function), space, steps=5, evaluate_every=5, tile=4))

    plain, wrapped = swept(scaled), swept(wrap(scaled))
    assert plain.keys() == wrapped.keys()
    np.testing.assert_allclose([float(wrapped[k]) for k in plain], [float(v) for v in plain.values()], rtol=1e-5)
    assert len({plain[k] for k in plain if k[1] == "validation/loss"}) == 8


def by_key_error(config):
    try:
        momentum = config["momentum"]
    except KeyError:
        momentum = 0.9
    return optax.sgd(config["learning_rate"], momentum=momentum)


COPIES = {
    "copy": lambda config: optax.sgd(config.copy()["learning_rate"], 0.9),
    "or": lambda config: optax.sgd((config | {})["learning_rate"], 0.9),
    "pop": lambda config: optax.sgd(dict(config).pop("learning_rate"), 0.9),
    "key error": by_key_error,
}


@pytest.mark.parametrize("way", list(COPIES))
def test_a_sweep_of_a_config_that_is_copied_is_that_of_the_config(data, way):
    configs = [{"learning_rate": rate} for rate in (0.05, 0.1)]
    expected, found = (
        rows_of(js.sweep(make_task(data, optimizer=o), configs, steps=4)) for o in (optimizer, COPIES[way])
    )
    assert found == expected


@pytest.mark.parametrize("value", [0, 1.5, True, "2", None])
def test_counts_are_whole_numbers_of_at_least_one(value):
    with pytest.raises(js.ConfigError, match=r"tile=.* is not valid: pass a whole number of at least 1\."):
        check_count("tile", value)
    assert check_count("tile", np.int64(3)) == 3
    assert type(check_count("tile", np.int64(3))) is int
