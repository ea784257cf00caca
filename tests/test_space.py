import doctest
import importlib
import json
import math
import os
import pkgutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jsweep as js
from jsweep import space as space_module
from jsweep.errors import ConfigError

quick = settings(deadline=None, derandomize=True, max_examples=60)

floats = st.floats(-1e6, 1e6, allow_nan=False)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)
names = st.text(min_size=1, max_size=6)


def different(items):
    """Lists of values that a space takes: no two equal."""
    try:
        return bool(js.choice(items))
    except ConfigError:
        return False


@st.composite
def distributions(draw):
    make = draw(st.sampled_from([js.uniform, js.log_uniform, js.int_uniform, js.log_int, js.normal]))
    if make in (js.int_uniform, js.log_int):
        low = draw(st.integers(1, 1000))
        return make(low, low + draw(st.integers(1, 1000)))
    low = draw(st.floats(1e-6, 1e3))
    return make(low, low + draw(st.floats(1e-3, 1e3)))


lists = st.lists(values, min_size=1, max_size=4).filter(different)


@st.composite
def spaces(draw):
    """Spaces of lists, distributions, constants, weights, and parts conditional on the first two names."""
    weighted = st.lists(st.integers(), min_size=2, max_size=2, unique=True).map(
        lambda v: js.choice(v, weights=[1, 2.5])
    )
    simple = lists | distributions() | weighted | st.none() | st.integers() | st.text(max_size=3)
    parts = {"kind": ["a", "b", None], "size": js.int_uniform(1, 9)}
    conditions = st.sampled_from(
        [{"kind": "a"}, {"kind": ["b", None]}, {"size": js.at_least(3)}, {"size": js.at_most(4), "kind": "b"}]
    )
    for name in draw(st.lists(names, max_size=4, unique=True)):
        if name in parts:
            continue
        part = draw(simple)
        if draw(st.booleans()):
            otherwise = {"otherwise": draw(simple)} if draw(st.booleans()) else {}
            part = js.when(then=part, **otherwise, **draw(conditions))
        parts[name] = part
    order = draw(st.permutations(list(parts)))
    return js.Space({name: parts[name] for name in order})


def equal(a, b):
    """Equality that tells 1 from 1.0 and True, and takes nan as equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    return a == b


def test_the_examples_of_the_docstrings_hold():
    package = importlib.import_module("jsweep.space")
    public = {name: getattr(js, name) for name in js.__all__} | {
        name: getattr(package, name) for name in package.__all__
    }
    tried = 0
    for module in pkgutil.iter_modules(package.__path__, "jsweep.space."):
        result = doctest.testmod(importlib.import_module(module.name), extraglobs=public)
        assert result.failed == 0, module.name
        tried += result.attempted
    assert tried > 15


# Lists typed by their ends


@pytest.mark.parametrize(("start", "stop", "n"), [(1e-4, 1.0, 64), (1e-5, 1e-1, 9), (3e-4, 7.0, 11), (10.0, 1e-3, 5)])
def test_logspace_is_geometric_with_exact_ends(start, stop, n):
    found = js.logspace(start, stop, n)
    assert len(found) == n
    assert found[0] == start
    assert found[-1] == stop
    assert all(type(value) is float for value in found)
    np.testing.assert_allclose(found, np.geomspace(start, stop, n), rtol=1e-14)


def test_logspace_meets_the_powers_of_ten_exactly():
    assert js.logspace(1e-6, 1.0, 7) == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(2, 40))
@quick
def test_linspace_gives_the_nearest_float_to_each_fraction(a, b, n):
    if a == b:
        return
    exact = [Fraction(a) + Fraction(i * (b - a), n - 1) for i in range(n)]
    assert js.linspace(a, b, n) == [float(value) for value in exact]


# Encoding and identity


@given(values)
@quick
def test_any_value_goes_through_json_exactly(value):
    assert equal(space_module.decode(json.loads(json.dumps(space_module.encode(value), allow_nan=False))), value)


@given(st.dictionaries(names, values, max_size=5), st.randoms())
@quick
def test_the_identity_of_a_config_does_not_depend_on_the_order_of_its_names(config, random):
    items = list(config.items())
    random.shuffle(items)
    assert space_module.config_id(dict(items)) == space_module.config_id(config)


def test_identities_are_the_sha256_of_canonical_json():
    """Computed by `printf '{"act":{"callable":"jax.nn:relu"},"l2":0.0,"w":{"tuple":[64,1]}}' | sha256sum`."""
    assert space_module.config_id({"w": (64, 1), "l2": 0.0, "act": jax.nn.relu}) == "199834538ea24c59"


def test_values_that_may_train_differently_have_different_identities():
    different_values = [1, 1.0, True, "1", None, "None", (1,), [1], 0, 0.0, False, math.inf, math.nan, "inf", ()]
    assert len({space_module.config_id({"x": value}) for value in different_values}) == len(different_values)
    assert space_module.config_id({"x": 1}) != space_module.config_id({"y": 1})


@pytest.mark.parametrize(
    ("given_value", "value"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("relu"), "relu"),
        (np.array(2), 2),
        ((np.int32(1), [np.float64(2.0)]), (1, [2.0])),
        ({"b1": np.float32(0.5), "sizes": (np.int8(3),)}, {"b1": 0.5, "sizes": (3,)}),
    ],
)
def test_numpy_scalars_become_pythons(given_value, value):
    assert space_module.encode(given_value) == space_module.encode(value)
    assert equal(js.configs([{"x": given_value}])[0]["x"], value)


def test_jax_scalars_become_pythons():
    assert space_module.encode(jax.numpy.float32(0.25)) == 0.25
    assert equal(js.configs([{"x": jax.numpy.int32(3), "y": jax.numpy.bool_(True)}])[0], {"x": 3, "y": True})
    assert js.configs([{"x": jax.numpy.bfloat16(0.5)}])[0] == {"x": 0.5}


def module_level(x):
    return x


class Holder:
    @staticmethod
    def inner(x):
        return x

    def method(self):
        return self


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.relu, "jax.nn:relu"),
        (jax.numpy.tanh, "jax.numpy:tanh"),
        (jax.numpy.maximum, "jax.numpy:maximum"),
        (math.sqrt, "math:sqrt"),
        (float, "builtins:float"),
        (module_level, f"{__name__}:module_level"),
        (Holder.inner, f"{__name__}:Holder.inner"),
    ],
)
def test_callables_are_recorded_by_their_public_name_and_found_again(function, name):
    data = space_module.encode(function)
    assert data == {"callable": name}
    assert space_module.decode(data) == space_module.Named(name)
    assert space_module.decode(data, resolve=True) is function
    assert space_module.encode(space_module.Named(name)) == data


def local_function():
    def inner(x):
        return x

    return inner


class Callable:
    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    "value",
    [lambda x: x, local_function(), Holder().method, Callable(), jax.tree_util.Partial(module_level), [lambda x: x]],
)
def test_callables_without_a_name_of_their_own_are_refused_with_the_fix(value):
    with pytest.raises(ConfigError, match="top level of a module"):
        space_module.encode(value)


@pytest.mark.parametrize(
    "value", [{1: "a"}, {1, 2}, b"x", 1j, object(), np.zeros(2), np.complex64(1), jax.random.key(0), {"a": {1}}]
)
def test_values_that_a_record_cannot_hold_are_refused(value):
    with pytest.raises(ConfigError, match="which a config cannot hold|has the key 1"):
        space_module.encode(value)


def test_reading_a_record_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "harmful_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    data = {"callable": "harmful_module:f"}
    assert space_module.decode([data, {"tuple": [data]}]) == [
        space_module.Named("harmful_module:f"),
        (space_module.Named("harmful_module:f"),),
    ]
    space = js.Space.from_json(json.dumps({"x": {"values": [data]}}))
    assert js.grid(space)[0] == {"x": space_module.Named("harmful_module:f")}
    assert "harmful_module" not in sys.modules


def test_a_name_that_no_longer_exists_is_refused():
    with pytest.raises(ConfigError, match="math:squareroot cannot be found"):
        space_module.decode({"callable": "math:squareroot"}, resolve=True)
    with pytest.raises(ConfigError, match="no_such_module:f cannot be found"):
        space_module.Named("no_such_module:f").resolve()


@pytest.mark.parametrize(
    "data",
    [{"tuple": 3}, {"callable": 3}, {"float": "0.5"}, {"a": 1}, {"tuple": [], "b": 1}, {"dict": [1]}, {}],
)
def test_data_that_encode_does_not_write_is_refused(data):
    with pytest.raises(ConfigError, match="is not an encoded value"):
        space_module.decode(data)


def test_a_function_of_a_script_is_the_same_run_or_imported(tmp_path):
    (tmp_path / "train_script.py").write_text(
        "from jsweep import space as space_module\n"
        "def act(x):\n    return x\n"
        "data = space_module.encode(act)\n"
        "if __name__ == '__main__':\n"
        "    print(data['callable'], space_module.decode(data, resolve=True) is act, space_module.config_id({'act': act}))\n"
        "else:\n"
        "    print(data['callable'], True, space_module.config_id({'act': act}))\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(space_module.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths}
    commands = (["train_script.py"], ["-m", "train_script"], ["-c", "import train_script"])
    printed = [
        subprocess.run([sys.executable, *c], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        for c in commands
    ]
    assert len({process.stdout for process in printed}) == 1
    assert printed[0].stdout.startswith("train_script:act True ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-4, "3e-4"),
        (1e-3, "1e-3"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (1.0, "1"),
        (0.0, "0"),
        (-2.5e-7, "-2.5e-7"),
        (1 / 3, "0.3333"),
        (1234567.0, "1.235e6"),
        (1500.0, "1500"),
        (math.inf, "inf"),
        (123456789, "123456789"),
        (True, "True"),
        (None, "None"),
        ("relu", "relu"),
        ((64, 64), "64x64"),
        ((64,), "(64,)"),
        ((0.9, 0.999), "(0.9, 0.999)"),
        ([64, "a"], "[64, a]"),
        ({"name": "adam", "b1": 0.9, "sizes": (64, 64)}, "{name: adam, b1: 0.9, sizes: 64x64}"),
        ("adapter[/lora]", "adapter[/lora]"),
        (jax.nn.relu, "relu"),
        (space_module.Named("jax.nn:gelu"), "gelu"),
        (np.float32(0.5), "0.5"),
    ],
)
def test_values_are_shown_as_a_person_writes_them(value, text):
    assert space_module.format_value(value) == text


@given(st.floats(-1e300, 1e300))
@quick
def test_shown_floats_are_right_to_four_digits(value):
    assert float(space_module.format_value(value)) == pytest.approx(value, rel=5.1e-4)


# Spaces


@given(spaces())
@quick
def test_a_space_goes_through_json_and_keeps_its_order(space):
    again = js.Space.from_json(space.to_json())
    assert again == space
    assert list(again) == list(space)
    assert again.to_json() == space.to_json()
    assert repr(again) == repr(space)
    assert hash(again) == hash(space)


def test_the_json_of_a_space_has_the_recorded_form():
    space = {
        "optimizer": ["sgd", "adam"],
        "momentum": js.when(optimizer="sgd", then=js.uniform(0.0, 0.99), otherwise=0.0),
        "width": js.choice([16, 32], weights=[1, 3]),
        "activation": jax.nn.relu,
    }
    assert json.loads(js.Space(space).to_json()) == {
        "optimizer": {"values": ["sgd", "adam"]},
        "momentum": {
            "when": {"optimizer": {"any_of": ["sgd"]}},
            "then": {"uniform": [0.0, 0.99]},
            "otherwise": {"values": [0.0]},
        },
        "width": {"values": [16, 32], "weights": [1.0, 3.0]},
        "activation": {"values": [{"callable": "jax.nn:relu"}]},
    }


def test_a_space_prints_itself_readably():
    space = js.Space(
        {
            "learning_rate": js.logspace(1e-4, 1.0, 64),
            "optimizer": ["sgd", "adam", "lion"],
            "momentum": js.when(optimizer=["sgd", "lion"], then=js.uniform(0.0, 0.99), otherwise=0.5),
            "layers": js.int_uniform(1, 3),
            "width_2": js.when(layers=js.at_least(2), optimizer="sgd", then=js.log_int(8, 512)),
        }
    )
    assert repr(space).splitlines() == [
        "Space",
        "  learning_rate: 1e-4, 1.157e-4, 1.34e-4, ... 1 (64 values)",
        "  optimizer:     sgd, adam, lion",
        "  momentum:      uniform(0, 0.99)  when optimizer is one of sgd, lion; otherwise 0.5",
        "  layers:        int_uniform(1, 3)",
        "  width_2:       log_int(8, 512)  when layers is at least 2 and optimizer is sgd",
    ]


def test_arrays_ranges_and_lists_hold_values_and_everything_else_is_one_value():
    space = {"a": np.linspace(0, 1, 3), "b": range(2), "c": (1, 2), "d": "text", "e": None, "f": 0.5}
    configs = js.grid(space)
    assert len(configs) == 6
    assert equal([config["a"] for config in configs], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0])
    assert equal([config["b"] for config in configs], [0, 1] * 3)
    assert equal(list(configs[0].values())[2:], [(1, 2), "text", None, 0.5])


def test_spaces_that_differ_in_a_type_or_an_order_are_not_equal():
    assert js.Space({"a": [1]}) != js.Space({"a": [1.0]})
    assert js.Space({"a": [1], "b": [2]}) != js.Space({"b": [2], "a": [1]})
    assert js.Space({"a": [1, 2]}) == js.Space({"a": range(1, 3)})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "3",
        '{"a": 3}',
        '{"a": {"uniform": [1]}}',
        '{"a": {"uniform": [2, 1]}}',
        '{"a": {"exec": ["x"]}}',
        '{"a": {"values": []}}',
        '{"a": {"when": {"b": {"like": [1]}}, "then": {"values": [1]}}, "b": {"values": [1]}}',
    ],
)
def test_text_that_is_not_a_space_is_refused(text):
    with pytest.raises(ConfigError):
        js.Space.from_json(text)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: js.Space({}), "space is empty"),
        (lambda: js.Space([0.1]), "pass a dict"),
        (lambda: js.Space({1: [2]}), "1 is not a name"),
        (lambda: js.Space({"": [2]}), "'' is not a name"),
        (lambda: js.Space({"a": []}), "a: the list of values is empty"),
        (lambda: js.Space({"a": np.zeros((2, 2))}), r"a: an array of shape \(2, 2\)"),
        (lambda: js.Space({"a": [1, 2, 1]}), "a: the values 1 and 1 are equal"),
        (lambda: js.Space({"a": [0, 0.0]}), "a: the values 0 and 0.0 are equal"),
        (lambda: js.Space({"a": [(1, 2), (1, 2)]}), "are equal"),
        (lambda: js.Space({"a": {1, 2}}), "a: .* is of type set"),
        (lambda: js.Space({"a": {"b": [1]}}), "a: .* a space is not nested"),
        (lambda: js.Space({"a": js.at_least(2)}), "a: at_least and at_most are conditions"),
        (lambda: js.Space({"a": [js.uniform(0, 1)]}), "a: .* is of type Distribution"),
        (lambda: js.linspace(0.0, 1.0, 1), "n=1 is not valid: pass a whole number of at least 2"),
        (lambda: js.linspace(0.0, 1.0, 2.5), "n=2.5"),
        (lambda: js.linspace(1.0, 1.0, 3), "starts and stops at 1.0"),
        (lambda: js.linspace("a", 1.0, 3), "start='a'"),
        (lambda: js.linspace(1.0, math.nextafter(1.0, 2.0), 5), "more floats than lie between"),
        (lambda: js.logspace(-4, 0, 64), "the values themselves, not their exponents"),
        (lambda: js.uniform(1.0, 0.0), "low not below high"),
        (lambda: js.uniform(0.0, 0.0), "low not below high"),
        (lambda: js.uniform(0.0, math.inf), "high=inf"),
        (lambda: js.uniform(-1e308, 1e308), "too wide"),
        (lambda: js.uniform(0, 10**400), "finite number"),
        (lambda: js.uniform(True, 2), "low=True"),
        (lambda: js.log_uniform(0.0, 1.0), "low=0.0: pass a number above 0"),
        (lambda: js.int_uniform(1.0, 3), "pass whole numbers"),
        (lambda: js.int_uniform(3, 1), "low not below high"),
        (lambda: js.log_int(0, 3), "above 0"),
        (lambda: js.normal(0.0, 0.0), "standard_deviation=0.0"),
        (lambda: js.normal(None, 1.0), "mean=None"),
        (lambda: js.choice([]), "empty"),
        (lambda: js.choice("relu"), "'relu' is not a list"),
        (lambda: js.choice([1, 2], weights=[1]), "for 2 values"),
        (lambda: js.choice([1, 2], weights=3), "weights=3: pass a list"),
        (lambda: js.choice([1, 2], weights=[1, 0]), "above 0"),
        (lambda: js.choice([1, 2], weights=["a", 1]), "weights='a'"),
    ],
)
def test_a_mistake_in_a_space_is_refused_in_one_sentence(make, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# Conditions


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"a": js.when(b=1, then=[1])}, "a is conditional on 'b', which the space does not have"),
        ({"a": js.when(a=1, then=[1])}, r"form a circle \(a on a\)"),
        ({"a": js.when(b=1, then=[1]), "b": js.when(a=1, then=[1])}, r"form a circle \(a on b on a\)"),
        (
            {"o": ["sgd"], "m": js.when(o="sdg", then=[1])},
            "m asks whether o is sdg, which it never is: correct it to one of sgd",
        ),
        ({"n": [1, 2], "m": js.when(n=js.at_least(3), then=[1])}, "which it never is"),
        (
            {"n": js.uniform(0, 1), "m": js.when(n=["a", 0.5], then=[1])},
            r"n is a, which it never is: correct it to one of uniform\(0, 1\)",
        ),
        ({"n": ["1"], "m": js.when(n=js.at_least(1), then=[1])}, "which it never is"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused(space, words):
    with pytest.raises(ConfigError, match=words):
        js.Space(space)


def test_when_and_its_bounds_refuse_what_they_cannot_use():
    with pytest.raises(ConfigError, match="when has no condition"):
        js.when(then=[1])
    with pytest.raises(ConfigError, match="a condition on a that is not valid: the list of values is empty"):
        js.when(a=[], then=[1])
    with pytest.raises(ConfigError, match="at_least has the bound 'x'"):
        js.at_least("x")
    with pytest.raises(ConfigError, match=r"when has a=uniform\(0, 1\)"):
        js.when(a=js.uniform(0, 1), then=[1])


# Configs


def test_configs_cannot_be_changed_from_outside():
    mine = [{"w": [16, 32], "l2": 0.0, "optimizer": {"b1": [0.9]}}]
    configs = js.configs(mine)
    mine[0]["w"].append(64)
    mine[0]["optimizer"]["b1"].append(0.99)
    configs[0]["w"].append(64)
    configs[0]["optimizer"]["b1"].append(0.99)
    configs[0]["optimizer"]["b2"] = 0.5
    next(iter(configs))["l2"] = 1.0
    assert configs[0] == {"w": [16, 32], "l2": 0.0, "optimizer": {"b1": [0.9]}}
    with pytest.raises(AttributeError):
        configs.rows = ()
    with pytest.raises(TypeError):
        configs[0:1][0] = {}


def test_configs_are_a_sequence():
    space = {"a": [1, 2, 3]}
    configs = js.grid(space)
    assert len(configs) == 3
    assert configs[-1] == {"a": 3}
    assert list(configs[1:]) == [{"a": 2}, {"a": 3}]
    assert isinstance(configs[::2], js.Configs)
    assert configs[::2].spaces == (js.Space(space),)
    assert {"a": 2} in configs
    assert {"a": 2.0} not in configs
    assert {"a": 4} not in configs
    assert configs == js.configs([{"a": 1}, {"a": 2}, {"a": 3}]) != js.configs([{"a": 1}, {"a": 2}, {"a": 3.0}])
    assert hash(configs) == hash(js.configs(list(configs)))
    with pytest.raises(IndexError):
        configs[3]


def test_a_sum_of_configs_is_their_union_in_order():
    a, b = js.grid({"x": [1, 2]}), js.grid({"y": [0], "x": [2, 3]})
    assert list(a + b) == [{"x": 1}, {"x": 2}, {"y": 0, "x": 2}, {"y": 0, "x": 3}]
    assert list(a + js.grid({"x": [2, 3]})) == [{"x": 1}, {"x": 2}, {"x": 3}]
    listed = [{"x": 9}, {"x": 1}]
    assert list(a + listed) == [{"x": 1}, {"x": 2}, {"x": 9}]
    assert list(listed + a) == [{"x": 9}, {"x": 1}, {"x": 2}]
    assert (a + b).spaces == a.spaces + b.spaces
    assert (a + a) == a
    assert (a + a).spaces == a.spaces
    with pytest.raises(TypeError):
        a + 3
    with pytest.raises(ConfigError, match="one dict"):
        a + {"x": [4, 5]}


@given(st.lists(st.dictionaries(names, values, max_size=3), max_size=5, unique_by=space_module.config_id))
@quick
def test_configs_go_through_json_exactly(rows):
    configs = js.configs(rows)
    again = js.Configs.from_json(configs.to_json())
    assert again == configs
    assert all(equal(list(a.items()), list(b.items())) for a, b in zip(again, rows, strict=True))


def test_configs_keep_their_spaces_and_functions_through_json():
    configs = js.grid({"act": [jax.nn.relu, jax.nn.gelu], "l2": [0.0, math.inf]})
    read = js.Configs.from_json(configs.to_json())
    assert read == configs
    assert read.spaces == configs.spaces
    assert read[0]["act"] == space_module.Named("jax.nn:relu")
    assert js.Configs.from_json(configs.to_json(), resolve=True)[0]["act"] is jax.nn.relu
    for text in ("", "[]", "{}", '{"configs": [3], "spaces": []}'):
        with pytest.raises(ConfigError, match="not the JSON of configs"):
            js.Configs.from_json(text)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"a": 1}, "is one dict"),
        (3, "is not a list of configs"),
        ("ab", "is not a list of configs"),
        ([3], "3 is not a config"),
        ([{1: 2}], "1 is not a name"),
        ([{"a": {1}}], "a: .* is of type set"),
        ([{"a": 1, "b": 2}, {"c": 1}, {"b": 2, "a": 1}], r"configs\[2\] equals configs\[0\]"),
    ],
)
def test_a_mistake_in_explicit_configs_is_refused_in_one_sentence(rows, words):
    with pytest.raises(ConfigError, match=words):
        js.configs(rows)


def test_configs_print_their_number_and_the_first_and_last_of_them():
    assert repr(js.grid({"x": [1]})) == "1 config\n  x=1"
    lines = repr(js.grid({"x": js.linspace(0, 1, 11), "act": [jax.nn.relu]})).splitlines()
    assert lines[0] == "11 configs"
    assert lines[1] == "  x=0, act=relu"
    assert lines[4] == "  ..."
    assert lines[-1].startswith("  x=1,")
    assert len(lines) == 8
    assert len(repr(js.grid({"x": [1, 2, 3, 4]})).splitlines()) == 5


def test_names_and_values_with_brackets_are_shown_as_they_are():
    configs = js.grid({"data[/a]": ["train[/2]", "lr [0.1/1.0]"]})
    assert repr(configs) == "2 configs\n  data[/a]=train[/2]\n  data[/a]=lr [0.1/1.0]"
    assert repr(js.Space({"data[/a]": ["train[/2]"]})) == "Space\n  data[/a]: train[/2]"


def test_a_dict_is_one_value_where_it_stands_in_a_list():
    optimizers = [{"name": "adam", "b1": 0.9, "sizes": [64, 64]}, {"name": "sgd"}]
    configs = js.grid({"optimizer": optimizers, "l2": [0.0, 0.1], "constant": {"b1": 0.5, "nested": {"c": (1, 2)}}})
    assert [config["optimizer"] for config in configs[::2]] == optimizers
    assert js.Space.from_json(configs.spaces[0].to_json()) == configs.spaces[0]
    assert list(js.Configs.from_json(configs.to_json())) == list(configs)
    assert js.random({"optimizer": optimizers}, 2, key=0)[0]["optimizer"] in optimizers


def test_the_identity_of_a_dict_does_not_depend_on_the_order_of_its_keys():
    a, b = {"x": {"p": 1, "q": 2}}, {"x": {"q": 2, "p": 1}}
    assert space_module.config_id(a) == space_module.config_id(b)
    assert space_module.config_id(a) != space_module.config_id({"x": {"p": 1, "q": 2.0}})
    with pytest.raises(ConfigError, match="are equal"):
        js.choice([a["x"], b["x"]])


@pytest.mark.parametrize("part", [{"lr": [0.1, 0.3]}, {"lr": js.uniform(0, 1)}, {"sgd": {"lr": range(3)}}])
def test_a_nested_space_is_refused_rather_than_taken_for_one_value(part):
    with pytest.raises(ConfigError, match="optimizer: .* a space is not nested"):
        js.Space({"optimizer": part})


@pytest.mark.parametrize("part", [range(10**12), np.broadcast_to(0.0, 10**8), js.when(a=1, then=[1])])
def test_a_list_too_long_to_be_meant_is_refused_before_it_is_built(part):
    if isinstance(part, range | np.ndarray):
        with pytest.raises(ConfigError, match=f"the list has {len(part):,} values, more than 1,000,000"):
            js.Space({"a": part})
    with pytest.raises(ConfigError, match="the list has 1,000,000,000 values"):
        js.linspace(0.0, 1.0, 10**9)


@pytest.mark.parametrize("n", [np.int64(3), np.uint8(3), jax.numpy.int32(3), np.array(3)])
def test_numpy_and_jax_integers_are_whole_numbers(n):
    assert js.linspace(0.0, 1.0, n) == js.linspace(0.0, 1.0, 3)
    assert js.random({"a": js.int_uniform(n, 9)}, n, key=0) == js.random({"a": js.int_uniform(3, 9)}, 3, key=0)
    assert js.Space({"a": js.log_int(n, 9)}) == js.Space({"a": js.log_int(3, 9)})


# Kinds of values


KINDS = [
    (js.uniform(0, 1), ("float", (), 0.0, 1.0)),
    (js.log_uniform(1, 8), ("float", (), 1.0, 8.0)),
    (js.normal(0.0, 1.0), ("float", (), None, None)),
    (js.int_uniform(1, 4), ("int", (), 1, 4)),
    (js.log_int(8, 512), ("int", (), 8, 512)),
    (js.linspace(1, 3, 3), ("float", (), 1.0, 3.0)),
    (js.logspace(1, 100, 3), ("float", (), 1.0, 100.0)),
    ([16, 64, 32], ("int", (), 16, 64)),
    (np.array([3, 1]), ("int", (), 1, 3)),
    ([1, 2.5], ("float", (), 1, 2.5)),
    ([1.0, math.nan], ("float", (), None, None)),
    (7, ("int", (), 7, 7)),
    ([True, False], ("bool", (), None, None)),
    ([True, 2], ("other", (), None, None)),
    (["sgd", "adam"], ("str", ("adam", "sgd"), None, None)),
    ([0.5, None], ("other", (), None, None)),
    ([1, "auto"], ("other", (), None, None)),
    ([(64, 64)], ("other", (), None, None)),
    ([jax.nn.relu], ("other", (), None, None)),
    (js.choice(["b", "a"], weights=[1, 2]), ("str", ("a", "b"), None, None)),
    (js.lane([1, 2]), ("int", (), 1, 2)),
    (js.when(other=1, then=[0, 2], otherwise=js.uniform(-1, 1)), ("float", (), -1.0, 2)),
    (js.when(other=1, then=[16]), ("int", (), 16, 16)),
    (js.when(other=1, then=["b"], otherwise="a"), ("str", ("a", "b"), None, None)),
    (js.when(other=1, then=[0.1], otherwise=None), ("other", (), None, None)),
]


@pytest.mark.parametrize(("part", "kind"), KINDS)
def test_the_kind_of_a_names_values_is_what_the_space_says(part, kind):
    space = js.Space({"x": part, "other": [1, 2, 3], "u": js.uniform(0, 1)})
    assert space.value_kinds["x"] == space_module.ValueKind(*kind)
    for n in (1, 3, 30):
        assert js.random(space, n, key=n).value_kinds == space.value_kinds


def test_the_kinds_of_a_grid_do_not_depend_on_what_where_keeps():
    space = {"width": [16, 32.0, 64], "optimizer": ["sgd", "adam", "lion"]}
    kept = js.grid(space, where=lambda config: config["width"] == 16 and config["optimizer"] == "sgd")
    assert len(kept) == 1
    assert kept.value_kinds == js.Space(space).value_kinds == kept[:0].value_kinds


def test_the_kinds_of_configs_written_by_hand_follow_from_their_values():
    kinds = js.configs([{"a": 1, "b": "x", "c": True}, {"a": np.float32(0.5), "b": "w"}, {"d": (1,)}]).value_kinds
    assert kinds == {
        "a": space_module.ValueKind("float", (), 0.5, 1),
        "b": space_module.ValueKind("str", ("w", "x")),
        "c": space_module.ValueKind("bool"),
        "d": space_module.ValueKind("other"),
    }


def test_the_kinds_of_a_union_are_merged():
    a = js.random({"x": js.int_uniform(1, 9), "o": ["sgd", "adam"], "n": [1]}, 2, key=0)
    b = js.random({"x": js.uniform(-1, 1), "o": ["lion"], "n": ["one"]}, 2, key=0)
    expected = {
        "x": space_module.ValueKind("float", (), -1.0, 9),
        "o": space_module.ValueKind("str", ("adam", "lion", "sgd")),
        "n": space_module.ValueKind("other"),
    }
    assert (a + b).value_kinds == (b + a).value_kinds == expected
    listed = [{"x": 20, "flag": True}]
    by_hand = a + listed
    assert by_hand.value_kinds["x"] == space_module.ValueKind("int", (), 1, 20)
    assert by_hand.value_kinds["flag"] == space_module.ValueKind("bool")
    assert js.Configs.from_json(by_hand.to_json()).value_kinds == by_hand.value_kinds


@given(spaces(), spaces())
@quick
def test_the_kinds_of_two_spaces_merge_in_any_order(a, b):
    def drawn(space):
        return js.Configs((), (space,))

    assert (drawn(a) + drawn(b)).value_kinds == (drawn(b) + drawn(a)).value_kinds
    assert (drawn(a) + drawn(a)).value_kinds == a.value_kinds


def test_annotations_are_recorded_under_their_own_words():
    space = js.Space({"a": js.static([1, 2]), "b": js.lane(js.uniform(0, 1)), "c": [1]})
    assert json.loads(space.to_json()) == {
        "a": {"static": {"values": [1, 2]}},
        "b": {"lane": {"uniform": [0.0, 1.0]}},
        "c": {"values": [1]},
    }
    again = js.Space.from_json(space.to_json())
    assert again == space
    assert again.annotations == {"a": "static", "b": "lane"}
