"""Adapters of model libraries, each against a plain loop of its own library and optax on the same batches and keys."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import trial_keys

import jsweep as js
from jsweep._runtime.prng import root_key_data, step_key
from jsweep.data.shuffle import batch_indices
from jsweep.runner.session import parameters_of

RATES = [0.02, 0.1]
STEPS = 100
ROWS = 16
rng = np.random.default_rng(0)
X = rng.normal(size=(96, 4)).astype(np.float32)
Y = (np.tanh(X @ rng.normal(size=4)) + 0.1 * rng.normal(size=96)).astype(np.float32)
DATA = js.Splits((X[:64], Y[:64]), (X[64:], Y[64:]))
ARGUMENTS = {
    "loss": lambda outputs, y: jnp.square(outputs - y),
    "optimizer": lambda config: optax.sgd(config["learning_rate"], momentum=0.9),
    "data": DATA,
    "batch_size": ROWS,
    "name": "adapter",
}
SPACE = {"learning_rate": RATES, "dropout": [0.3], "scale": [0.5]}


def sweep_of(task, store, space=SPACE, **settings):
    settings = {"steps": STEPS, "evaluate_every": 20, "tile": 2} | settings
    return js.run(js.Sweep(task, js.grid(space), store=str(store), **settings))


def stream(steps=STEPS):
    """The key of initialisation of seed 0, and the batch and the key of each step."""
    for_init, order, noise = trial_keys(jnp.asarray(root_key_data(0)), jnp.uint32(0), jnp.zeros(2, jnp.uint32))
    words = tuple(int(word) for word in jax.random.key_data(order))
    rows = batch_indices(words, 64, ROWS, 0, steps)
    noise = jax.random.key_data(noise)
    return for_init, [(X[own], Y[own], step_key(noise, jnp.int32(at))) for at, own in enumerate(rows)]


def assert_same_curves(session, train, validation):
    """Training and validation losses of the configs with ``RATES``; those of a plain loop are float lists."""
    for rate in RATES:
        own = session.where(learning_rate=rate)
        expected = np.reshape(train[rate], (-1, 20)).mean(axis=1)
        np.testing.assert_allclose(own.curves("train/loss").values[0], expected, rtol=3e-5)
        np.testing.assert_allclose(own.curves("validation/loss").values[0, -1], validation[rate], rtol=3e-5)


def mean_loss(outputs, y):
    return jnp.square(outputs - y).mean()


# Flax NNX


def nnx_model(config, rngs):
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self):
            self.one = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.drop = nnx.Dropout(config["dropout"], rngs=rngs)
            self.two = nnx.Linear(8, 1, rngs=rngs)
            self.scale = config["scale"]

        def __call__(self, x):
            return self.two(self.drop(nnx.relu(self.norm(self.one(x) * self.scale))))[:, 0]

    return Model()


def nnx_loop(config):
    from flax import nnx

    for_init, batches = stream()
    model = nnx_model(config, nnx.Rngs(for_init))
    optimizer = nnx.Optimizer(model, optax.sgd(config["learning_rate"], momentum=0.9), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        loss, gradients = nnx.value_and_grad(lambda model: mean_loss(model(x), y))(model)
        optimizer.update(model, gradients)
        return loss

    losses = []
    for x, y, key in batches:
        model.train()
        nnx.reseed(model, default=jax.random.split(key, 1)[0])
        losses.append(float(step(model, optimizer, x, y)))
    model.eval()
    return losses, float(mean_loss(model(X[64:]), Y[64:])), model


@pytest.fixture(scope="module")
def nnx_session(tmp_path_factory):
    pytest.importorskip("flax")
    task = js.nnx.supervised(nnx_model, has_state=True, **ARGUMENTS)
    return sweep_of(task, tmp_path_factory.mktemp("nnx") / "a.db")


def test_nnx_trains_as_its_own_loop_with_batch_norm_and_dropout(nnx_session):
    found = {rate: nnx_loop({"learning_rate": rate, "dropout": 0.3, "scale": 0.5}) for rate in RATES}
    assert len(nnx_session.prepared.groups) == 1
    assert_same_curves(nnx_session, {r: f[0] for r, f in found.items()}, {r: f[1] for r, f in found.items()})
    best = nnx_session.best()
    model = js.nnx.trained_model(best.state())
    plain = found[best.config["learning_rate"]][2]
    np.testing.assert_allclose(model(X), plain(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.norm.mean[...], plain.norm.mean[...], rtol=1e-4, atol=1e-5)
    with pytest.raises(js.ConfigError, match=r"pass session.best\(\).state\(\), not params"):
        js.nnx.trained_model(best.params())
    whole = parameters_of(best.state(), with_model_state=True)  # what `jsweep params` writes
    assert {"params", "model_state"} == whole.keys()
    assert len(jax.tree.leaves(whole["model_state"])) == 2  # mean and variance


def test_nnx_with_batch_statistics_needs_has_state(tmp_path):
    pytest.importorskip("flax")
    with pytest.raises(js.ConfigError, match=r"training changes the variable model.*norm.*: pass has_state=True"):
        js.plan(js.Sweep(js.nnx.supervised(nnx_model, **ARGUMENTS), js.grid(SPACE), steps=2))


def test_a_number_that_an_nnx_module_keeps_is_a_lane_and_not_trained(nnx_session):
    assert "scale" in nnx_session.prepared.groups[0].lanes
    leaves = jax.tree_util.tree_leaves_with_path(nnx_session.best().params())
    paths = [jax.tree_util.keystr(path) for path, _ in leaves]
    assert [path for path in paths if "scale" in path and "norm" not in path] == []  # BatchNorm has a scale of its own
    assert float(js.nnx.trained_model(nnx_session.best().state()).scale) == 0.5


# Flax Linen


def linen_model(config):
    from flax import linen as nn

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x) * config["scale"])
            x = nn.Dropout(config["dropout"], deterministic=not train)(nn.relu(x))
            return nn.Dense(1)(x)[:, 0]

    return Model()


def linen_loop(config):
    for_init, batches = stream()
    model = linen_model(config)
    variables = model.init(for_init, jnp.zeros((1, 4)), train=False)
    params, statistics = variables["params"], variables["batch_stats"]
    tx = optax.sgd(config["learning_rate"], momentum=0.9)

    def loss(params, statistics, x, y, key):
        given = {"params": params, "batch_stats": statistics}
        outputs, after = model.apply(given, x, train=True, mutable=["batch_stats"], rngs={"dropout": key})
        return mean_loss(outputs, y), after["batch_stats"]

    @jax.jit
    def step(params, statistics, state, x, y, key):
        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(params, statistics, x, y, key)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), statistics, state, value

    state, losses = tx.init(params), []
    for x, y, key in batches:
        params, statistics, state, value = step(params, statistics, state, x, y, key)
        losses.append(float(value))
    outputs = model.apply({"params": params, "batch_stats": statistics}, X[64:], train=False)
    return losses, float(mean_loss(outputs, Y[64:]))


def test_linen_trains_as_its_own_loop_with_batch_norm_and_dropout(tmp_path):
    pytest.importorskip("flax")
    session = sweep_of(js.linen.supervised(linen_model, has_state=True, **ARGUMENTS), tmp_path / "a.db")
    found = {rate: linen_loop({"learning_rate": rate, "dropout": 0.3, "scale": 0.5}) for rate in RATES}
    assert_same_curves(session, {r: f[0] for r, f in found.items()}, {r: f[1] for r, f in found.items()})
    state = session.best().state()
    outputs = linen_model({"dropout": 0.3, "scale": 0.5}).apply(
        {"params": state["params"], **state["model_state"]}, X, False
    )
    assert np.isfinite(outputs).all()


def test_linen_with_batch_statistics_needs_has_state():
    pytest.importorskip("flax")
    with pytest.raises(
        js.ConfigError, match=r"the model has the collections \['batch_stats'\] beside params: pass has_state"
    ):
        js.plan(js.Sweep(js.linen.supervised(linen_model, **ARGUMENTS), js.grid(SPACE), steps=2))


# Equinox


def equinox_model(config, key):
    import equinox as eqx

    class Model(eqx.Module):
        one: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        drop: eqx.nn.Dropout
        two: eqx.nn.Linear
        scale: float

        def __init__(self):
            first, second = jax.random.split(key)
            self.one = eqx.nn.Linear(4, 8, key=first)
            self.norm = eqx.nn.BatchNorm(8, axis_name="batch", mode="batch")
            self.drop = eqx.nn.Dropout(config["dropout"])
            self.two = eqx.nn.Linear(8, "scalar", key=second)
            self.scale = config["scale"]

        def __call__(self, x, state, key):
            x, state = self.norm(self.one(x) * self.scale, state)
            return self.two(self.drop(jax.nn.relu(x), key=key)), state

    return eqx.nn.make_with_state(Model)()


def equinox_loop(config):
    import equinox as eqx

    for_init, batches = stream()
    model, state = equinox_model(config, for_init)
    tx = optax.sgd(config["learning_rate"], momentum=0.9)
    moments = tx.init(eqx.filter(model, eqx.is_inexact_array))

    def loss(model, state, x, y, key):
        keys = jax.random.split(key, ROWS)
        outputs, state = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))(x, state, keys)
        return mean_loss(outputs, y), state

    @eqx.filter_jit
    def step(model, state, moments, x, y, key):
        (value, state), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(model, state, x, y, key)
        updates, moments = tx.update(gradients, moments, model)
        return eqx.apply_updates(model, updates), state, moments, value

    losses = []
    for x, y, key in batches:
        model, state, moments, value = step(model, state, moments, x, y, key)
        losses.append(float(value))
    model = eqx.nn.inference_mode(model)
    outputs, _ = jax.vmap(model, axis_name="batch", in_axes=(0, None, None), out_axes=(0, None))(X[64:], state, None)
    return losses, float(mean_loss(outputs, Y[64:]))


@pytest.fixture(scope="module")
def equinox_session(tmp_path_factory):
    pytest.importorskip("equinox")
    task = js.equinox.supervised(equinox_model, has_state=True, **ARGUMENTS)
    return sweep_of(task, tmp_path_factory.mktemp("equinox") / "a.db", SPACE | {"dropout": [0.3, 0.1]}, tile=4)


def test_equinox_trains_as_its_own_loop_with_batch_norm_and_dropout(equinox_session):
    found = {rate: equinox_loop({"learning_rate": rate, "dropout": 0.3, "scale": 0.5}) for rate in RATES}
    with_dropout = equinox_session.where(dropout=0.3)
    assert len(equinox_session.prepared.groups) == 1
    assert_same_curves(with_dropout, {r: f[0] for r, f in found.items()}, {r: f[1] for r, f in found.items()})


def test_numbers_that_an_equinox_module_keeps_are_lanes_and_not_trained(equinox_session):
    assert {"dropout", "scale"} <= set(equinox_session.prepared.groups[0].lanes)
    best = equinox_session.best()
    model, state = js.equinox.trained_model(best.state())
    assert (float(model.scale), float(model.drop.p)) == (
        pytest.approx(best.config["scale"]),
        pytest.approx(best.config["dropout"]),
    )
    outputs, _ = jax.vmap(model, axis_name="batch", in_axes=(0, None, None), out_axes=(0, None))(X[64:], state, None)
    recorded = dict(best.curves("validation/loss")) if hasattr(best, "curves") else None
    assert recorded is None or np.isfinite(float(mean_loss(outputs, Y[64:])))
    assert all(leaf.ndim > 0 for leaf in jax.tree.leaves(best.params()))


def test_equinox_returns_what_has_state_says():
    pytest.importorskip("equinox")
    with pytest.raises(
        js.ConfigError, match=r"model\(config, key\) returned a tuple of 2: return an eqx.Module, or pass"
    ):
        js.plan(js.Sweep(js.equinox.supervised(equinox_model, **ARGUMENTS), js.grid(SPACE), steps=2))


# Haiku


def haiku_forward(config, x, is_training):
    hk = importlib.import_module("haiku")

    x = hk.BatchNorm(True, True, 0.9)(hk.Linear(8)(x) * config["scale"], is_training)
    x = jax.nn.relu(x)
    if is_training:
        x = hk.dropout(hk.next_rng_key(), config["dropout"], x)
    return hk.Linear(1)(x)[:, 0]


def haiku_loop(config):
    hk = importlib.import_module("haiku")

    for_init, batches = stream()
    model = hk.transform_with_state(lambda x, training: haiku_forward(config, x, training))
    params, state = model.init(for_init, jnp.zeros((1, 4)), True)
    tx = optax.sgd(config["learning_rate"], momentum=0.9)
    moments = tx.init(params)

    def loss(params, state, x, y, key):
        outputs, state = model.apply(params, state, key, x, True)
        return mean_loss(outputs, y), state

    @jax.jit
    def step(params, state, moments, x, y, key):
        (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(params, state, x, y, key)
        updates, moments = tx.update(gradients, moments, params)
        return optax.apply_updates(params, updates), state, moments, value

    losses = []
    for x, y, key in batches:
        params, state, moments, value = step(params, state, moments, x, y, key)
        losses.append(float(value))
    return losses, float(mean_loss(model.apply(params, state, None, X[64:], False)[0], Y[64:]))


def test_haiku_trains_as_its_own_loop_with_batch_norm_and_dropout(tmp_path):
    pytest.importorskip("haiku")
    session = sweep_of(js.haiku.supervised(haiku_forward, has_state=True, **ARGUMENTS), tmp_path / "a.db")
    found = {rate: haiku_loop({"learning_rate": rate, "dropout": 0.3, "scale": 0.5}) for rate in RATES}
    assert_same_curves(session, {r: f[0] for r, f in found.items()}, {r: f[1] for r, f in found.items()})


def test_haiku_with_a_state_needs_has_state():
    pytest.importorskip("haiku")
    with pytest.raises(
        js.ConfigError, match=r"forward has a state, \['batch_norm/~/mean_ema', .*: pass has_state=True"
    ):
        js.plan(js.Sweep(js.haiku.supervised(haiku_forward, **ARGUMENTS), js.grid(SPACE), steps=2))


# All


def test_a_switch_that_would_stay_off_in_training_is_refused():
    pytest.importorskip("flax")
    eqx = pytest.importorskip("equinox")
    from flax import linen, nnx

    class Linen(linen.Module):
        @linen.compact
        def __call__(self, x, dropping: bool = False):
            return linen.Dense(1)(x)[:, 0]

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x, train: bool = False):
            return self.linear(x)[:, 0]

    class Equinox(eqx.nn.Linear):
        def __call__(self, x, enable_dropout: bool = False):
            return super().__call__(x)[0]

    tasks = [
        js.linen.supervised(lambda config: Linen(), **ARGUMENTS),
        js.nnx.supervised(lambda config, rngs: Nnx(rngs), **ARGUMENTS),
        js.equinox.supervised(lambda config, key: Equinox(4, 1, key=key), **ARGUMENTS),
    ]
    for task, switch in zip(tasks, ("dropping", "train", "enable_dropout")):
        with pytest.raises(js.ConfigError, match=f"is called with {switch}=False in training and in evaluation alike"):
            task.init(js.Config({"learning_rate": 0.1}), jax.random.key(0))
    chosen = js.linen.supervised(
        lambda config: Linen(), call=lambda module, x, training: module(x, training), **ARGUMENTS
    )
    assert "params" in chosen.init(js.Config({"learning_rate": 0.1}), jax.random.key(0))


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    for module, extra in (("flax.nnx", "flax"), ("flax.linen", "flax"), ("equinox", "equinox"), ("haiku", "haiku")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(js.MissingExtraError, match=rf"pip install 'jsweep\[{extra}\]'"):
            getattr(js, module.split(".")[-1]).supervised(lambda *_: None, **ARGUMENTS)
