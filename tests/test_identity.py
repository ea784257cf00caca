"""A task is what it computes: every change of that is noticed, and nothing else is."""

import functools
import types

import jax
import pytest
from small import apply, make_task, rows_of

import jsweep as js
from jsweep.planning import make_groups, make_trials

BASE = """
import functools
import jax, jax.numpy as jnp, numpy as np, optax
import jsweep as js

SCALE = 2.0
TABLE = {"gain": 3.0}
LEVELS = [1.0, 0.5]
WEIGHTS = np.array([1.0, 2.0])


class Model:
    gain = 1.5

    def __init__(self, slope=0.1):
        self.slope = slope

    def activate(self, x):
        return jnp.where(x > 0, x, self.slope * x) * self.gain

    def __call__(self, x):
        return self.activate(x)


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2.0 * function(*args)

    return wrapper


@doubled
def decorated(x):
    return x + 1.0


@jax.jit
def jitted(x):
    return jnp.tanh(x)


@jax.custom_jvp
def custom(x):
    return x * x


@custom.defjvp
def _(primals, tangents):
    return custom(primals[0]), 2.0 * primals[0] * tangents[0]


def helper(x, *, shift=0.25):
    return x + shift


def shifted(x, by):
    return x - by


partial = functools.partial(shifted, by=0.5)
model = Model()


def init(config, key):
    return {"w": jax.random.normal(key, (64, 10)) * 0.1}


def apply(config, params, x, key):
    hidden = x @ params["w"]
    hidden = model(hidden) + decorated(hidden) + jitted(hidden) + custom(hidden) + helper(hidden) + partial(hidden)
    hidden = hidden * SCALE * TABLE["gain"] * LEVELS[1] * WEIGHTS[1]
    for _ in range(2):
        hidden = jnp.sin(hidden)
    return hidden if len(LEVELS) > 1 else 0.0 * hidden


def loss(outputs, targets):
    return js.losses.softmax_cross_entropy(outputs, targets)


def optimizer(config):
    return optax.chain(optax.clip(1.0), optax.sgd(config["learning_rate"], momentum=0.9))


def metric(outputs, targets):
    return jnp.abs(outputs).max(axis=-1)
"""

CHANGES = {
    "a method": ("self.slope * x) * self.gain", "self.slope * x) / self.gain"),
    "an attribute of an object": ("model = Model()", "model = Model(0.2)"),
    "an attribute of a class": ("gain = 1.5", "gain = 1.6"),
    "a __call__": ("return self.activate(x)", "return -self.activate(x)"),
    "a base class": ("class Model:\n    gain = 1.5", "class Base:\n    gain = 1.6\n\n\nclass Model(Base):"),
    "a decorator": ("return 2.0 * function", "return 2.5 * function"),
    "a decorated function": ("return x + 1.0", "return x + 1.5"),
    "a decorator taken off": ("@doubled\n", ""),
    "a jitted function": ("jnp.tanh(x)", "jnp.arctan(x)"),
    "a function with a custom derivative": ("return x * x\n", "return x * x * x\n"),
    "its derivative": ("2.0 * primals[0] * tangents[0]", "3.0 * primals[0] * tangents[0]"),
    "a keyword default": ("shift=0.25", "shift=0.5"),
    "a partial's argument": ("by=0.5", "by=0.25"),
    "a partial's function": ("return x - by", "return x + by"),
    "a global number": ("SCALE = 2.0", "SCALE = 2.5"),
    "a value in a dict": ('"gain": 3.0', '"gain": 4.0'),
    "a value in a list": ("[1.0, 0.5]", "[1.0, 0.25]"),
    "a branch on the length of a list": ("len(LEVELS) > 1", "len(LEVELS) > 2"),
    "a value in an array": ("np.array([1.0, 2.0])", "np.array([1.0, 2.5])"),
    "the number of rounds of a loop": ("range(2)", "range(3)"),
    "an operation": ("jnp.sin(hidden)", "jnp.cos(hidden)"),
    "initialisation": ("(64, 10)) * 0.1", "(64, 10)) * 0.2"),
    "the distribution of initialisation": ("jax.random.normal", "jax.random.uniform"),
    "a type": ("return x + shift", "return (x.astype(jnp.bfloat16) + shift).astype(jnp.float32)"),
    "the loss": ("return js.losses.softmax", "return 2.0 * js.losses.softmax"),
    "an imported loss": ("js.losses.softmax_cross_entropy(", "optax.softmax_cross_entropy_with_integer_labels("),
    "a clipping norm": ("optax.clip(1.0)", "optax.clip(0.5)"),
    "the momentum": ("momentum=0.9", "momentum=0.8"),
    "Nesterov's form": ("momentum=0.9", "momentum=0.9, nesterov=True"),
    "another optimizer": ('optax.sgd(config["learning_rate"], momentum=0.9)', 'optax.adam(config["learning_rate"])'),
    "a transformation more": ("optax.chain(", "optax.chain(optax.add_decayed_weights(0.1), "),
    "a metric": (".max(axis=-1)", ".min(axis=-1)"),
}
MOVED = "def moved(x, *, shift=0.25):\n    return x + shift\n\n\nhelper = moved\n"
NO_CHANGES = {
    "a comment": ("SCALE = 2.0", "SCALE = 2.0  # twice"),
    "a docstring": ("def helper(x, *, shift=0.25):\n", 'def helper(x, *, shift=0.25):\n    """Shift."""\n'),
    "an empty line": ("def helper(", "\n\n\ndef helper("),
    "the name of a local variable": ("for _ in range(2)", "for round in range(2)"),
    "the name of a function": ("def helper(x, *, shift=0.25):\n    return x + shift\n", MOVED),
    "an annotation": ("def shifted(x, by):", "def shifted(x: jax.Array, by: float) -> jax.Array:"),
    "a global that nothing reads": ("SCALE = 2.0", "SCALE = 2.0\nOTHER = 5.0"),
    "an import": ("import functools", "import functools\nimport math"),
    "a function that nothing calls": ("def init(", "def unused(x):\n    return x\n\n\ndef init("),
    "a value of a dict that nothing reads": ('"gain": 3.0', '"gain": 3.0, "other": 1.0'),
    "an equal expression": ("SCALE = 2.0", "SCALE = 1.0 + 1.0"),
    "a number written otherwise": ("momentum=0.9", "momentum=9e-1"),
    "a method that nothing calls": ("    def __call__(", "    def other(self):\n        return 1\n\n    def __call__("),
    "a print": ("def init(config, key):\n", "def init(config, key):\n    str(config)\n"),
    "a branch that is not taken": ("    hidden = x @", "    if SCALE > 100:\n        x = -x\n    hidden = x @"),
    "a jit around a function": ("def helper(x", "@jax.jit\ndef helper(x"),
    "a lambda for a function": ("def shifted(x, by):\n    return x - by", "shifted = lambda x, by: x - by"),
}


def identity_of(data, source):
    module = types.ModuleType("experiment")
    exec(compile(source, "experiment.py", "exec"), module.__dict__)
    task = js.supervised(
        module.init,
        module.apply,
        loss=module.loss,
        optimizer=module.optimizer,
        data=data,
        metrics={"largest": js.metrics.Metric(module.metric, "max")},
    )
    groups = make_groups(task, make_trials(task, [{"learning_rate": 0.1}], 1, 10, None, 240)).groups
    return groups[0].identity


@pytest.fixture(scope="module")
def base(data):
    return identity_of(data, BASE)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_computed_is_noticed(data, base, change):
    old, new = CHANGES[change]
    assert old in BASE
    changed = identity_of(data, BASE.replace(old, new))
    assert changed.digest != base.digest
    assert changed.difference(base).startswith(("init (", "step (", "evaluate ("))


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_changes_no_computation_is_not(data, base, change):
    old, new = NO_CHANGES[change]
    assert old in BASE
    assert identity_of(data, BASE.replace(old, new)) == base


def test_a_function_given_as_a_value_is_looked_into(data):
    identities = []
    for slope in (0.1, 0.2):
        leaky = functools.partial(jax.nn.leaky_relu, negative_slope=slope)
        task = make_task(data, apply=lambda config, params, x, key, f=leaky: f(apply(config, params, x, key)))
        groups = make_groups(task, make_trials(task, [{"learning_rate": 0.1}], 1, 10, None, 240)).groups
        identities.append(groups[0].identity.digest)
    assert identities[0] != identities[1]


def test_a_changed_task_is_refused_with_the_operation_that_differs(data, tmp_path):
    store = tmp_path / "s.db"
    first = js.sweep(make_task(data), [{"learning_rate": 0.1}], steps=10, store=store)
    rows = rows_of(first)
    doubled = make_task(data, apply=lambda config, params, x, key: 2.0 * apply(config, params, x, key))
    with pytest.raises(
        js.IncompatibleSweepError,
        match=r"another task: what it computes has changed in step \(operation",
    ):
        js.sweep(doubled, [{"learning_rate": 0.1}], steps=10, store=store)
    with pytest.raises(js.IncompatibleSweepError, match="was trained by another task"):
        js.sweep(doubled, [{"learning_rate": 0.1}], seeds=2, steps=10, store=store)
    assert rows_of(js.sweep(make_task(data), [{"learning_rate": 0.1}], steps=10, store=store)) == rows


def test_another_test_split_is_another_sweep(data, tmp_path):
    store = tmp_path / "s.db"
    js.sweep(make_task(data), [{"learning_rate": 0.1}], steps=5, store=store)
    other = js.Splits(data.train, data.validation, (data.test[0] + 1, data.test[1]))
    with pytest.raises(js.IncompatibleSweepError, match="was made with other test examples"):
        js.sweep(make_task(other), [{"learning_rate": 0.1}], steps=5, store=store)
