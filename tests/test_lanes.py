"""A Choice and a Width never answer silently wrong, and an option that is not chosen reaches a lane in no way."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import init, make_task
from test_hyperparameters import final_losses

import jsweep as js
from jsweep.task.lanes import ChoiceUsedAsText, WidthUsedAsNumber, code_of

COMPARISONS = {
    "equal": lambda value, other: value == other,
    "equal, reversed": lambda value, other: other == value,
    "unequal": lambda value, other: value != other,
    "in a list": lambda value, other: value in [other],
    "in a tuple": lambda value, other: value in (other, other),
    "in a set": lambda value, other: value in {other},
    "looked up": lambda value, other: {other: 1}[value],
    "looked up with get": lambda value, other: {other: 1}.get(value),
    "hash": lambda value, other: hash(value),
    "bool": lambda value, other: not value,
    "str": lambda value, other: str(value),
    "repr": lambda value, other: repr(value),
    "f-string": lambda value, other: f"{value}",
    "format": lambda value, other: f"{value:>3}",
    "percent": lambda value, other: "%s" % value,  # noqa: UP031
    "index": lambda value, other: [1, 2][value],
    "less": lambda value, other: value < other,
    "sum": lambda value, other: value + other,
    "set": lambda value, other: {value},
}


@pytest.mark.parametrize("how", [how for how in COMPARISONS if how != "index"])
def test_a_choice_is_never_compared_or_printed(how):
    with pytest.raises(ChoiceUsedAsText):
        COMPARISONS[how](js.Choice(jnp.uint32(code_of("a")), ("a", "b")), "a")


@pytest.mark.parametrize("how", list(COMPARISONS))
def test_a_width_is_never_compared_or_printed(how):
    with pytest.raises(WidthUsedAsNumber):
        COMPARISONS[how](js.Width(jnp.int32(16), 32), 16)


BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    divmod,
]


@pytest.mark.parametrize("operation", BINARY)
def test_a_width_is_no_number(operation):
    width = js.Width(jnp.int32(16), 32)
    for pair in ((width, 2), (2, width)):
        with pytest.raises(WidthUsedAsNumber):
            operation(*pair)
    for alone in (int, float, round, abs, operator.neg, range, jnp.zeros):
        with pytest.raises(WidthUsedAsNumber):
            alone(width)


def test_a_width_that_is_compared_is_static_and_trains_as_such(data):
    def by_width(config):
        return optax.sgd(0.1 if config["width"] == 16 else 0.0)

    def masked(config, params, x, key):
        return js.models.apply_mlp(params, x, widths=[config["width"]])

    parts = {"init": lambda config, key: js.models.init_mlp(key, [64, config["width"], 10]), "apply": masked}
    swept = js.sweep(make_task(data, optimizer=by_width, **parts), js.grid({"width": [8, 16]}), steps=20)
    apart = js.sweep(make_task(data, optimizer=by_width, **parts), js.grid({"width": js.static([8, 16])}), steps=20)
    assert final_losses(swept) == final_losses(apart)
    assert len({trial.program for trial in swept.trials()}) == 2


def test_a_branch_on_the_type_of_a_name_is_taken_in_a_lane_too(data):
    """A choice passes for text in ``isinstance``, and is static where it is then compared."""

    def task_of(rate_of):
        def optimizer(config):
            rate = rate_of(config["kind"])
            return js.select_optimizer(config["kind"], {"sgd": optax.sgd(rate), "adam": optax.adam(rate)})

        return make_task(data, optimizer=optimizer)

    def losses(task, kinds):
        session = js.sweep(task, js.grid({"kind": kinds}), steps=5)
        return session.prepared.roles["kind"].kind, [score.mean for score in session.ranking()]

    by_type = task_of(lambda kind: 0.02 if isinstance(kind, str) else 0.01)
    by_name = task_of(lambda kind: 0.02 if isinstance(kind, str) and kind == "sgd" else 0.01)
    for task, role in ((by_type, "lane"), (by_name, "static")):
        found, means = losses(task, ["sgd", "adam"])
        assert found == role
        assert means == pytest.approx(losses(task, js.static(["sgd", "adam"]))[1], rel=1e-5)


def test_a_choice_and_a_width_are_pytrees():
    choice, width = js.Choice(jnp.uint32(code_of("b")), ("a", "b")), js.Width(jnp.int32(3), 8)
    assert jax.jit(lambda c, w: (c.position(["a", "b"]), w.mask().sum()))(choice, width) == (1, 3)
    assert width.masked == 1
    assert jax.tree.structure(choice) != jax.tree.structure(js.Choice(jnp.uint32(1), ("a", "c")))
    assert jax.tree.structure(width) == jax.tree.structure(js.Width(jnp.int32(5), 8))
    assert jax.tree.structure(width) != jax.tree.structure(js.Width(jnp.int32(3), 9))


def test_names_that_cannot_be_told_apart_are_refused(data):
    """CRC-32 is the same for both, found by search."""
    assert code_of("plumless") == code_of("buckeroo")
    rates = {"plumless": lambda: 0.05, "buckeroo": lambda: 0.0}
    with pytest.raises(js.ConfigError, match="'plumless' and 'buckeroo' cannot be told apart in a lane"):
        js.Choice(jnp.uint32(1), tuple(rates))
    with pytest.raises(js.ConfigError, match="cannot be told apart"):
        js.select(js.Choice(jnp.uint32(1), ("plumless",)), rates)
    task = make_task(data, optimizer=lambda config: optax.sgd(js.select(config["kind"], rates)()))
    found = js.sweep(task, js.grid({"kind": list(rates)}), steps=10)
    apart = js.sweep(task, js.grid({"kind": js.static(list(rates))}), steps=10)
    assert final_losses(found) == final_losses(apart)
    with pytest.raises(js.JsweepError, match="cannot be told apart"):
        js.plan(js.Sweep(task, js.grid({"kind": js.lane(list(rates))}), steps=10))


def test_unknown_names_and_positions_are_refused():
    options = {"a": jnp.sin, "b": jnp.cos}
    with pytest.raises(js.ConfigError, match="'c' is not one of the options a, b"):
        js.select("c", options)
    with pytest.raises(js.ConfigError, match="'c' is not one of the options a, b"):
        js.select(js.Choice(jnp.uint32(0), ("a", "c")), options)
    with pytest.raises(js.ConfigError, match="kind=2 is not valid: pass a position from 0 to 1"):
        js.select(2, options)
    assert js.select(1, options) is jnp.cos
    assert [float(js.select(jnp.int32(n), options)(0.0)) for n in (-1, 0, 1, 9)] == [0.0, 0.0, 1.0, 1.0]


# Options whose derivatives are infinite or NaN at 0 or beyond 88, by argument and by closure.
HARMFUL = {
    "root": lambda x: jnp.sqrt(x),
    "overflow": lambda x: jnp.log(1 + jnp.exp(100 * (x + 1))),
    "division": lambda x: x / jnp.sum(x * 0),
    "norm": lambda x: x * jnp.linalg.norm(x * 0),
    "nan": lambda x: x * jnp.nan,
}


def chosen(options, name):
    return js.Choice(jnp.uint32(code_of(name)), tuple(options))


def over_names(options, function, x):
    """``function(choice, x)`` with each name in a lane of its own."""
    codes = jnp.array([code_of(name) for name in options], jnp.uint32)
    return jax.vmap(lambda code: function(js.Choice(code, tuple(options)), x))(codes)


DERIVATIVES = {
    "value": lambda f: f,
    "gradient": jax.grad,
    "forward": jax.jacfwd,
    "hessian": jax.hessian,
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "forward over reverse over reverse": lambda f: jax.jacfwd(jax.jacrev(jax.grad(f))),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
    "in a scan": lambda f: jax.grad(lambda x: jax.lax.scan(lambda c, _: (c + f(x), None), 0.0, jnp.arange(2))[0]),
}


@pytest.mark.parametrize("order", list(DERIVATIVES))
@pytest.mark.parametrize("harm", list(HARMFUL))
def test_an_option_that_is_not_chosen_reaches_a_lane_by_no_derivative(harm, order):
    closed = (list(HARMFUL).index(harm) + list(DERIVATIVES).index(order)) % 2  # each order and each harm in both forms
    harmless = lambda x: x**3 + 2 * x
    options = {"harmless": harmless, "harmful": HARMFUL[harm], "other": jnp.tanh}
    x = jnp.array([0.0, 1.0, 2.0])

    def total(function):
        def of(x):
            shifted = 1.0 * x
            return (function(shifted) * shifted).sum()

        return DERIVATIVES[order](of)

    def selected(kind, x):
        if not closed:
            return total(js.select(kind, options))(x)
        return total(lambda y: js.select(kind, {n: (lambda f=f: f(y)) for n, f in options.items()})())(x)

    expected = {name: total(options[name])(x) for name in ("harmless", "other")}
    for function in (selected, jax.jit(selected)):
        lanes = dict(zip(options, over_names(options, function, x), strict=True))
        for name, value in expected.items():
            np.testing.assert_allclose(lanes[name], value, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(function(chosen(options, name), x), value, rtol=1e-6, atol=1e-7)


def test_a_selected_option_computes_the_bits_that_it_computes_alone():
    options = {"gelu": jax.nn.gelu, "softplus": jax.nn.softplus, "elu": jax.nn.elu}
    x = jax.random.normal(jax.random.key(0), (7, 5))
    both = lambda f: jax.value_and_grad(lambda x: jnp.sum(jnp.sin(f(x))))
    lanes = over_names(options, lambda kind, x: both(js.select(kind, options))(x), x)
    for number, option in enumerate(options.values()):
        alone = jax.vmap(both(option))(x[None])
        for one, lane in zip(alone, lanes, strict=True):
            np.testing.assert_array_equal(one[0], lane[number])


def test_options_may_take_names_python_values_keys_and_trees():
    options = {
        "mean": lambda tree, axis, key=None: {"out": tree["x"].mean(axis=axis)},
        "noisy": lambda tree, axis, key=None: {"out": tree["x"].sum(axis=axis) + jax.random.normal(key)},
    }
    key = jax.random.key(3)
    tree = {"x": jnp.arange(6.0).reshape(2, 3), "label": "not an array"}
    found = over_names(options, lambda kind, x: js.select(kind, options)(tree | {"x": x}, axis=1, key=key), tree["x"])
    np.testing.assert_allclose(found["out"][0], [1.0, 4.0])
    np.testing.assert_allclose(found["out"][1], np.array([3.0, 12.0]) + jax.random.normal(key), rtol=1e-6)


def test_an_optimizer_that_is_not_chosen_reaches_a_lane_by_no_derivative():
    """The derivative of trained parameters by the learning rate, beside an optimizer whose derivative is NaN."""

    def options(rate):
        wild = optax.sgd(lambda count: jnp.sqrt(0 * rate) + rate)
        return {"sgd": optax.sgd(rate, momentum=0.9), "wild": wild, "adam": optax.adam(rate)}

    def trained(rate, kind):
        transform = js.select_optimizer(kind, options(rate)) if isinstance(kind, js.Choice) else options(rate)[kind]
        params = jnp.array([1.0, -2.0])
        state = transform.init(params)
        for _ in range(3):
            updates, state = transform.update(jax.grad(lambda p: jnp.sum(p**4))(params), state, params)
            params = optax.apply_updates(params, updates)
        return jnp.sum(params**2)

    rate = jnp.float32(0.01)
    names = options(rate)
    for derivative in (jax.grad(trained), jax.jacfwd(trained)):
        of_kind = lambda kind, rate, derivative=derivative: derivative(rate, kind)
        lanes = dict(zip(names, over_names(names, of_kind, rate), strict=True))
        for name in ("sgd", "adam"):
            np.testing.assert_allclose(lanes[name], jax.grad(trained)(rate, name), rtol=1e-5)


@pytest.mark.parametrize("harm", ["overflow", "root"])
def test_a_lane_trains_as_in_a_program_of_its_own_beside_an_option_whose_gradient_is_infinite(data, harm):
    blank = lambda x: jnp.concatenate([x[:-1], jnp.zeros_like(x[:1])])  # whose hidden units are exactly 0
    options = {
        "relu": jax.nn.relu,
        "overflow": lambda x: jnp.log(1 + jnp.exp(1000 * x)),
        "root": lambda x: jnp.sign(x) * jnp.sqrt(jnp.abs(x)),
    }
    options = {name: options[name] for name in ("relu", harm)}

    def selected(config, params, x, key):
        hidden = js.select(config["activation"], options)(blank(x) @ params["w1"] + params["b1"])
        return hidden @ params["w2"] + params["b2"]

    task = make_task(data, init=init, apply=selected)
    losses = {}
    for how, values in (("lane", js.lane(list(options))), ("static", js.static(list(options)))):
        result = js.sweep(task, js.grid({"learning_rate": [0.05], "activation": values}), steps=15)
        curves = result.curves("validation/loss")
        losses[how] = {t.config["activation"]: curves[t.id][-1][1] for t in result.trials()}
        relu = next(trial for trial in result.trials() if trial.config["activation"] == "relu")
        assert relu.nonfinite is None
    assert np.isfinite(losses["lane"]["relu"])
    np.testing.assert_allclose(losses["lane"]["relu"], losses["static"]["relu"], rtol=1e-4)
