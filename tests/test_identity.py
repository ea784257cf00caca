"""A task is what it computes: the record refuses every change of that, and nothing else."""

import importlib
import os
import sys
import types
from dataclasses import replace

import jax
import optax
import pytest
from small import apply, make_task, rows_of

import jsweep as js
from jsweep._runtime.environment import describe_environment

BASE = """
import functools
import types
import jax, jax.numpy as jnp, numpy as np, optax
import jsweep as js

SCALE = 2.0
TABLE = {"gain": 3.0}
LEVELS = [1.0, 0.5]
WEIGHTS = np.array([1.0, 2.0])
OFFSETS = {"host": 0.25}
nets = types.ModuleType("nets")


class Model:
    gain = 1.5

    def __init__(self, slope=0.1):
        self.slope = slope

    @staticmethod
    def squash(x):
        return x / 2.0

    @property
    def bias(self):
        return 0.125

    def activate(self, x):
        return jnp.where(x > 0, x, self.slope * x) * self.gain

    def __call__(self, x):
        return self.activate(self.squash(x)) + self.bias


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


def made(scale):
    def inner(x, base=1.0):
        return scale * x + base

    return inner


@jax.checkpoint
def checkpointed(x):
    return jnp.sin(x) * jnp.cos(x)


@jax.custom_vjp
def rounded(x):
    return jnp.round(x)


rounded.defvjp(lambda x: (rounded(x), None), lambda _, cotangent: (1.0 * cotangent,))


@functools.lru_cache
def cached(size):
    return 1.0 / size


def looped(x):
    return jax.lax.fori_loop(0, 3, lambda i, y: y + 0.1, x)


def branching(x):
    return jax.lax.cond(x.sum() > 0, lambda y: y + 0.5, lambda y: y - 0.5, x)


class Host:
    level = 2.0

    def lift(self, x):
        "Lift."
        return x + self.level + OFFSETS["host"]


host = Host()


def on_host(x):
    return np.float32(1.0) * host.lift(np.asarray(x))


def shown(x):
    str(x)


nets.head = lambda x: x * 0.75
partial = functools.partial(shifted, by=0.5)
closed = made(1.25)
model = Model()


def init(config, key):
    return {"w": jax.random.normal(key, (64, 10)) * 0.1}


def apply(config, params, x, key):
    hidden = x @ params["w"]
    hidden = model(hidden) + decorated(hidden) + jitted(hidden) + custom(hidden) + helper(hidden) + partial(hidden)
    hidden = closed(hidden) + checkpointed(hidden) + rounded(hidden) + looped(hidden) + jax.vmap(branching)(hidden)
    hidden = nets.head(hidden) * cached(2)
    hidden = hidden * SCALE * TABLE["gain"] * LEVELS[1] * WEIGHTS[1]
    for _ in range(2):
        hidden = jnp.sin(hidden)
    return hidden if len(LEVELS) > 1 else 0.0 * hidden


def loss(outputs, targets):
    return js.losses.softmax_cross_entropy(outputs, targets)


def optimizer(config):
    return optax.chain(optax.clip(1.0), optax.sgd(config["learning_rate"], momentum=0.9))


def metric(outputs, targets):
    jax.debug.callback(shown, outputs.sum())
    lifted = jax.pure_callback(on_host, jax.ShapeDtypeStruct((), outputs.dtype), outputs[0, 0], vmap_method="sequential")
    return jnp.abs(outputs).max(axis=-1) + lifted
"""

CHANGES = {
    "a method": ("self.slope * x) * self.gain", "self.slope * x) / self.gain"),
    "an attribute of an object": ("model = Model()", "model = Model(0.2)"),
    "an attribute of a class": ("gain = 1.5", "gain = 1.6"),
    "a __call__": ("return self.activate(self.squash(x))", "return -self.activate(self.squash(x))"),
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
    "a static method": ("x / 2.0", "x / 4.0"),
    "a property": ("return 0.125", "return 0.25"),
    "a value in a closure": ("made(1.25)", "made(1.5)"),
    "a function in a closure": ("scale * x + base", "scale * x - base"),
    "a default": ("base=1.0", "base=2.0"),
    "a checkpointed function": ("jnp.sin(x) * jnp.cos(x)", "jnp.sin(x) * jnp.sin(x)"),
    "a function with a custom gradient": ("return jnp.round(x)", "return jnp.floor(x)"),
    "its gradient": ("1.0 * cotangent", "2.0 * cotangent"),
    "a cached function": ("return 1.0 / size", "return 2.0 / size"),
    "the body of a loop": ("y + 0.1", "y + 0.2"),
    "a branch": ("y - 0.5", "y - 0.75"),
    "a function of a module": ("x * 0.75", "x * 0.5"),
    "a callback": ("np.float32(1.0) *", "np.float32(2.0) *"),
    "a method that a callback calls": ("x + self.level", "x - self.level"),
    "an attribute that a callback reads": ("level = 2.0", "level = 3.0"),
    "a value in a dict that a callback reads": ('"host": 0.25', '"host": 0.5'),
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
    "a debug print": ("    hidden = x @", '    jax.debug.print("{}", x)\n    hidden = x @'),
    "a debug callback": ("    hidden = x @", "    jax.debug.callback(TABLE.update, x=x)\n    hidden = x @"),
    "a branch that is not taken": ("    hidden = x @", "    if SCALE > 100:\n        x = -x\n    hidden = x @"),
    "a jit around a function": ("def helper(x", "@jax.jit\ndef helper(x"),
    "what a callback shows": ("    str(x)", "    repr(x)"),
    "a docstring of a method that a callback calls": ('"Lift."', '"Raise."'),
    "a comment in a callback": ("return np.float32(1.0)", "# on the host\n    return np.float32(1.0)"),
    "a static method made a function": (
        "    @staticmethod\n    def squash(x):",
        "    def squash(self, x):",
    ),
    "a lambda for a function": ("def shifted(x, by):\n    return x - by", "shifted = lambda x, by: x - by"),
}


REFUSED = r"was trained by another task: what it computes has changed in (init|step|evaluate) \("
CONFIGS = [{"learning_rate": 0.1}]


@pytest.fixture(scope="module")
def few(data):
    return js.Splits(*(tuple(array[:32] for array in part) for part in (data.train, data.validation, data.test)))


def sweep_of(data, source, store):
    module = types.ModuleType("experiment")
    exec(compile(source, "experiment.py", "exec"), module.__dict__)
    task = js.supervised(
        module.init,
        module.apply,
        loss=module.loss,
        optimizer=module.optimizer,
        data=data,
        metrics={"largest": js.metrics.Metric(module.metric, "max")},
        batch_size=16,
        name="base",
    )
    return js.Sweep(task, CONFIGS, steps=2, store=store)


@pytest.fixture(scope="module")
def store(few, tmp_path_factory):
    """A store with the base experiment, trained."""
    file = tmp_path_factory.mktemp("identity") / "s.db"
    js.run(sweep_of(few, BASE, file)).close()
    return file


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_computed_is_refused(few, store, change):
    old, new = CHANGES[change]
    assert old in BASE
    with pytest.raises(js.IncompatibleSweepError, match=REFUSED):
        js.attach(sweep_of(few, BASE.replace(old, new), store))


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_changes_no_computation_is_taken(few, store, change):
    old, new = NO_CHANGES[change]
    assert old in BASE
    js.attach(sweep_of(few, BASE.replace(old, new), store)).close()


def test_a_changed_task_is_refused_with_the_operation_that_differs(data, tmp_path):
    store = tmp_path / "s.db"
    rows = rows_of(js.sweep(make_task(data), CONFIGS, steps=10, store=store))
    doubled = make_task(data, apply=lambda config, params, x, key: 2.0 * apply(config, params, x, key))
    with pytest.raises(
        js.IncompatibleSweepError, match=r"another task: what it computes has changed in step \(operation"
    ):
        js.sweep(doubled, CONFIGS, steps=10, store=store)
    with pytest.raises(js.IncompatibleSweepError, match="was trained by another task"):
        js.sweep(doubled, CONFIGS, seeds=2, steps=10, store=store)
    assert rows_of(js.sweep(make_task(data), CONFIGS, steps=10, store=store)) == rows


def test_another_test_split_is_another_sweep(data, tmp_path):
    store = tmp_path / "s.db"
    js.sweep(make_task(data), [{"learning_rate": 0.1}], steps=5, store=store)
    other = js.Splits(data.train, data.validation, (data.test[0] + 1, data.test[1]))
    with pytest.raises(js.IncompatibleSweepError, match="was made with other test examples"):
        js.sweep(make_task(other), [{"learning_rate": 0.1}], steps=5, store=store)


@pytest.mark.parametrize("package", ["lab", "site-packages/lab"])
def test_a_changed_function_of_a_package_is_refused_in_code_and_as_a_value(few, tmp_path, monkeypatch, package):
    """Installed or not, and whether the task imports it or the space holds it under its name."""
    file = tmp_path / package / "nets.py"
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").touch()
    file.write_text("def head(x):\n    return 2.0 * x\n")
    monkeypatch.syspath_prepend(str(file.parent.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.split(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
    nets = importlib.import_module("lab.nets")

    def imported():
        task = make_task(few, 16, apply=lambda config, params, x, key: nets.head(apply(config, params, x, key)))
        return js.Sweep(task, CONFIGS, steps=1, store=tmp_path / "s.db", name="imported")

    def as_a_value():
        task = make_task(few, 16, apply=lambda config, params, x, key: config["head"](apply(config, params, x, key)))
        configs = js.grid({"learning_rate": [0.1], "head": [nets.head]})
        return js.Sweep(task, configs, steps=1, store=tmp_path / "s.db", name="value")

    for make in (imported, as_a_value):
        js.run(make())
    file.write_text("def head(x):\n    return 2.5 * x\n")
    importlib.reload(nets)
    for make in (imported, as_a_value):
        with pytest.raises(js.IncompatibleSweepError, match=REFUSED):
            js.run(make())


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("column", [0, 1])
def test_other_data_in_any_split_are_refused(few, store, part, column):
    arrays = list(getattr(few, part))
    arrays[column] = arrays[column].copy()
    arrays[column][3] = arrays[column][4] + 1
    with pytest.raises(js.IncompatibleSweepError, match="was made with other (data|test examples):"):
        js.attach(sweep_of(replace(few, **{part: tuple(arrays)}), BASE, store))


@pytest.mark.parametrize("setting", [{"key": 1}, {"pairing": "independent"}, {"evaluate_every": 2}])
def test_other_settings_are_refused(few, store, setting):
    with pytest.raises(js.IncompatibleSweepError, match="was made with other"):
        js.attach(replace(sweep_of(few, BASE, store), **setting))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("jax_threefry_partitionable", False),
        ("jax_random_seed_offset", 5),
        ("jax_default_matmul_precision", "highest"),
        ("jax_enable_x64", True),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
    ],
)
def test_more_is_not_trained_under_options_that_change_numbers(few, store, monkeypatch, option, value):
    sweep = replace(sweep_of(few, BASE, store), seeds=2)
    if option == "XLA_FLAGS":
        monkeypatch.setenv(option, f"{os.environ.get(option, '')} {value}")
    before = None if option == "XLA_FLAGS" else getattr(jax.config, option)
    try:
        if option != "XLA_FLAGS":
            jax.config.update(option, value)
        with pytest.raises(js.IncompatibleSweepError, match="trained elsewhere|was trained by another task"):
            js.run(sweep)
    finally:
        if option != "XLA_FLAGS":
            jax.config.update(option, before)


def test_a_loader_whose_code_changed_is_refused_though_its_first_batches_did_not(few, tmp_path):
    x, y = few.train

    def sweep(later):
        def make(seed, epoch):
            yield x[:8], y[:8]
            yield x[8:16], y[8:16]
            yield later * x[16:24], y[16:24]

        data = js.Splits(js.Batches(make), few.validation)
        return js.Sweep(make_task(data), CONFIGS, steps=2, store=tmp_path / "s.db")

    js.run(sweep(1.0))
    js.attach(sweep(1.0)).close()
    with pytest.raises(js.IncompatibleSweepError, match="was made with other code of the loader of its batches"):
        js.run(sweep(2.0))


def test_what_can_no_longer_be_traced_is_said(few, tmp_path):
    def sweep(names):
        task = make_task(few, 16, optimizer=lambda config: optax.sgd(names[config["kind"]]))
        return js.Sweep(task, js.grid({"kind": ["a", "b"]}), steps=1, store=tmp_path / "s.db")

    rows = rows_of(js.run(sweep({"a": 0.1, "b": 0.2})))
    with pytest.warns(
        UserWarning, match="1 trials of 'small' cannot be traced now .*'b'.*scores are those of the record"
    ):
        assert rows_of(js.run(sweep({"a": 0.1}))) == rows


def test_what_another_version_of_jax_trained_is_not_taken_for_checked(few, store, monkeypatch):
    later = dict(describe_environment(), jax="99.0")
    monkeypatch.setattr("jsweep.runner.compatibility.describe_environment", lambda: later)
    js.run(sweep_of(few, BASE, store)).close()  # it is traced to the same operations
    changed = sweep_of(few, BASE.replace("SCALE = 2.0", "SCALE = 3.0"), store)
    with pytest.warns(UserWarning, match=r"1 trials of 'base' .*now 99\.0\), so whether the task still computes"):
        js.run(changed).close()
    with pytest.raises(js.IncompatibleSweepError, match=r"trained elsewhere \(jax .*, now 99\.0\)"):
        js.run(replace(changed, seeds=2))
