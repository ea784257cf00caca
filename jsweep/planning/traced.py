"""One compile group traced: the jaxprs of init, step and evaluate at their shapes, which every decision reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import Array, PyTree

from jsweep._runtime.jax_internals import drop_traces, used_inputs, without_first_input
from jsweep._runtime.prng import GENERATOR
from jsweep._runtime.types import Value
from jsweep.data.splits import train_like
from jsweep.errors import ConfigError
from jsweep.planning.lane_types import LaneType
from jsweep.planning.state import StateTemplate, python_numbers, template_of, whole_numbers
from jsweep.task.config import Config
from jsweep.task.lanes import Width
from jsweep.task.task import Task

_tracing = jax.make_user_context()  # JAX keeps what it has traced of jitted functions, for each value of this one apart
_HOST_CALLS = ("pure_callback", "io_callback", "debug_callback", "debug_print")


@dataclass(frozen=True)
class LaneFunctions:
    """A task's three functions for one lane of a compile group, on arrays alone.

    ``static`` values are compiled in, those of ``lanes`` are traced; ``template`` is what a state holds beside arrays.
    """

    task: Task
    static: Mapping[str, Value]
    lanes: Mapping[str, LaneType]
    template: StateTemplate

    def config(self, values: Mapping[str, jax.Array]) -> Config:
        """The config as the task sees it."""
        return traced_config(self.static, self.lanes, values)

    def init(self, values: Mapping[str, jax.Array], key: jax.Array) -> PyTree:
        """The arrays of the state that a trial starts from."""
        return self.template.arrays(self.task.init(self.config(values), key))

    def whole(self, values: Mapping[str, jax.Array], state: PyTree) -> PyTree:
        """The state as the task knows it, from its arrays."""
        if not self.template.remade:
            return self.template.whole(state)
        # No key has any part in what is not an array: `trace` has checked it.
        made = self.task.init(self.config(values), jax.random.key(0, impl=GENERATOR))
        return self.template.again(made).whole(state)

    def evaluate(
        self, values: Mapping[str, jax.Array], state: PyTree, split: PyTree
    ) -> Mapping[str, jax.Array | np.ndarray]:
        """The metrics of a state on a split."""
        return self.task.evaluate(self.config(values), self.whole(values, state), split)


@dataclass(frozen=True)
class Traced:
    """What tracing a compile group gave.

    ``init``, ``step`` and ``evaluate`` are the jaxprs of one lane, whose first inputs are the lanes' values in the order of
    their names; ``reads`` are the names that the task looked at; ``state`` has the shapes of one lane's arrays.
    """

    init: core.ClosedJaxpr = field(repr=False)
    step: core.ClosedJaxpr = field(repr=False)
    evaluate: core.ClosedJaxpr = field(repr=False)
    reads: frozenset[str]
    lanes: tuple[str, ...]
    state: PyTree[jax.ShapeDtypeStruct]
    template: StateTemplate = field(repr=False)
    train_metrics: tuple[str, ...]
    evaluation_metrics: tuple[str, ...]
    masks: bool
    """Whether the step masks every width that travels padded."""
    numbers: Mapping[str, str] = field(repr=False)
    """See `python_numbers`."""

    def run_init(self, values: Mapping[str, jax.Array], key: jax.Array) -> PyTree:
        """The arrays of the state that a trial starts from: ``init`` as it was traced, whatever the task would do now."""
        leaves = core.jaxpr_as_fun(self.init)(*jax.tree.leaves((values, key)))
        return jax.tree.unflatten(jax.tree.structure(self.state), leaves)

    def run_step(
        self,
        values: Mapping[str, jax.Array],
        state: PyTree,
        batch: PyTree,
        key: jax.Array,
        as_function: Callable[[core.ClosedJaxpr], Callable[..., Sequence[Array]]] = core.jaxpr_as_fun,
    ) -> tuple[PyTree, Mapping[str, jax.Array | np.ndarray]]:
        """One training step as it was traced: the new state's arrays, and the metrics."""
        leaves = as_function(self.step)(*jax.tree.leaves((values, state, batch, key)))
        tree = jax.tree.structure((self.state, dict.fromkeys(self.train_metrics, 0)))
        return jax.tree.unflatten(tree, leaves)

    def run_evaluate(
        self, values: Mapping[str, jax.Array], state: PyTree, split: PyTree
    ) -> Mapping[str, jax.Array | np.ndarray]:
        """The metrics of a state on the validation split, as traced."""
        leaves = core.jaxpr_as_fun(self.evaluate)(*jax.tree.leaves((values, state, split)))
        return jax.tree.unflatten(jax.tree.structure(dict.fromkeys(self.evaluation_metrics, 0)), leaves)

    @cached_property
    def used(self) -> frozenset[str]:
        """The lanes on which an output of one of the three programs depends."""
        return self._used_in(self.init) | self.used_in_training

    @cached_property
    def used_in_training(self) -> frozenset[str]:
        """The lanes on which a step or an evaluation depends, and not the initial state alone."""
        return self._used_in(self.step) | self._used_in(self.evaluate)

    def _used_in(self, traced: core.ClosedJaxpr) -> frozenset[str]:
        return frozenset(name for name, is_used in zip(self.lanes, used_inputs(traced.jaxpr)) if is_used)

    @cached_property
    def vmap_error(self) -> Exception | None:
        """What JAX raises where an operation of the step has no form under vmap."""
        inputs = self.step.jaxpr.invars
        lanes = [jax.ShapeDtypeStruct((2, *shape_of(v)), getattr(v.aval, "dtype", None)) for v in inputs]
        try:
            jax.eval_shape(jax.vmap(core.jaxpr_as_fun(self.step)), *lanes)
        except Exception as error:
            return error
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """What the task calls its metrics, and the arrays of its state."""
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(self.state)]
        return (*self.train_metrics, *self.evaluation_metrics, *paths)

    @cached_property
    def convolves(self) -> bool:
        """Whether a step convolves, which on CPU is slower under vmap than one lane at a time."""
        return mentions(self.step.jaxpr, "conv_general_dilated")

    @cached_property
    def calls_host(self) -> bool:
        """Whether a function of the user's runs on the host meanwhile: what it does, no trace shows."""
        jaxprs = (self.init.jaxpr, self.step.jaxpr, self.evaluate.jaxpr)
        return any(mentions(jaxpr, name) for jaxpr in jaxprs for name in _HOST_CALLS)


@contextmanager
def retracing() -> Iterator[None]:
    """Within it, functions under `jax.jit` are traced again although JAX has traced them before.

    JAX keeps those traces; a global that such a function reads may have been changed since. Those made within are dropped
    at the end.
    """
    mark = object()
    try:
        with _tracing(mark):
            yield
    finally:
        drop_traces(mark)


def traced_config(
    static: Mapping[str, Value],
    lanes: Mapping[str, LaneType],
    values: Mapping[str, jax.Array],
    reads: set[str] | None = None,
) -> Config:
    """The one builder of the config that a task sees: static values as they are, lanes as tracers."""
    return Config({**static, **{name: lanes[name].wrap(value) for name, value in values.items()}}, reads)


def trace(
    task: Task,
    static: Mapping[str, Value],
    lanes: Mapping[str, LaneType],
    rows: int,
    validation_rows: int | None = None,
    *,
    remade: bool = False,
) -> Traced:
    """Trace one initialisation, step and evaluation of one lane; nothing is compiled or run.

    Args:
        task: the task.
        static: the values that are compiled in, by name.
        lanes: the types of those that are traced.
        rows: the number of rows of a batch.
        validation_rows: the examples that validate a trial, where the data has folds; None for those of the first fold.
        remade: make what is not an array in the state again in each function, as is done where that needs it.

    Returns:
        The three jaxprs and what they tell.

    Raises:
        ConfigError: where the task breaks its contract (the structure of the state, metrics that are not scalars). An
            exception of the task itself passes through.
    """
    found = _trace(task, static, lanes, rows, validation_rows, remade=remade)
    if not _holds_tracers(found):
        return found
    if not remade:
        found = _trace(task, static, lanes, rows, validation_rows, remade=True)
    if found.init.jaxpr.effects:
        raise ConfigError(
            "init calls a function on the host, or prints, and keeps traced values in a part of the state that is not an array, "
            "such as the tx of a TrainState, for which every step would call it again: call it elsewhere."
        )
    if _holds_tracers(found):
        raise ConfigError(
            "step or evaluate uses a traced value that a call before it has kept, in a global variable, a cache or an attribute "
            "of an object: pass it in the state, or compute it again from config."
        )
    return found


def _trace(
    task: Task,
    static: Mapping[str, Value],
    lanes: Mapping[str, LaneType],
    rows: int,
    validation_rows: int | None,
    *,
    remade: bool,
) -> Traced:
    """The trace of a compile group; ``remade`` makes what is not an array in the state again in each function."""
    reads: set[str] = set()
    masks: list[bool] = []
    templates: list[StateTemplate] = []
    numbers: dict[str, str] = {}
    whole: set[str] = set()
    config_of = lambda values: traced_config(static, lanes, values, reads)

    def init(values: Mapping[str, jax.Array], key: jax.Array) -> PyTree:
        state = task.init(config_of(values), key)
        templates.append(template_of(state, remade=remade))
        numbers.update(python_numbers(state, static))
        whole.update(whole_numbers(state))
        return templates[-1].arrays(state)

    def template_in(values: Mapping[str, jax.Array], init_key: jax.Array) -> StateTemplate:
        return templates[0].again(task.init(config_of(values), init_key)) if remade else templates[0]

    def step(init_key: jax.Array, values: Mapping[str, jax.Array], state: PyTree, batch: PyTree, key: jax.Array) -> Any:
        template = template_in(values, init_key)
        wrapped = {name: lanes[name].wrap(value) for name, value in values.items()}
        outcome = task.step(Config({**static, **wrapped}, reads), template.whole(state), batch, key)
        masks.append(all(value.masked > 0 for value in wrapped.values() if isinstance(value, Width)))
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            raise ConfigError(f"step returned {type(outcome).__name__}: return the pair (state, metrics).")
        _check_metrics("step", outcome[1])
        return template.updated(state, outcome[0]), dict(outcome[1])

    def evaluate(init_key: jax.Array, values: Mapping[str, jax.Array], state: PyTree, split: PyTree) -> Any:
        metrics = task.evaluate(config_of(values), template_in(values, init_key).whole(state), split)
        _check_metrics("evaluate", metrics)
        return dict(metrics)

    values = {name: lanes[name].shape() for name in sorted(lanes)}
    key = jax.eval_shape(lambda: jax.random.key(0, impl=GENERATOR))
    if task.data.folds is not None and validation_rows is None:
        validation_rows = len(task.data.folds.validation[0])
    batch, validation = _shapes(train_like(task.data), rows), _shapes(task.data.validation, validation_rows)
    traced_init, state = jax.make_jaxpr(init, return_shape=True)(values, key)
    try:
        traced_step, (_, train) = jax.make_jaxpr(step, return_shape=True)(key, values, state, batch, key)
    except Exception as error:
        if whole:
            error.add_note(
                f"In the state that init made, {' and '.join(sorted(whole))}: a step is given arrays in their place. Read what "
                "must stay a Python number from config, as jsweep.Task allows, or keep it in an object that is no pytree."
            )
        raise
    traced_evaluate, evaluation = jax.make_jaxpr(evaluate, return_shape=True)(key, values, state, validation)
    return Traced(
        traced_init,
        _without_key(traced_step, "step"),
        _without_key(traced_evaluate, "evaluate"),
        frozenset(reads),
        tuple(values),
        state,
        templates[0],
        tuple(train),
        tuple(evaluation),
        all(masks),
        numbers,
    )


def _holds_tracers(traced: Traced) -> bool:
    """Whether step or evaluate uses values of a trace that has ended, such as those that ``init`` put in a function."""
    return any(isinstance(const, jax.core.Tracer) for jaxpr in (traced.step, traced.evaluate) for const in jaxpr.consts)


def _without_key(closed: core.ClosedJaxpr, where: str) -> core.ClosedJaxpr:
    """A jaxpr without its first input, the key of ``init``; ConfigError where something depends on that."""
    if not used_inputs(closed.jaxpr)[0]:
        return without_first_input(closed)
    raise ConfigError(
        f"{where} depends on a random number that init keeps in a part of the state that is not an array, such as the tx of a "
        "TrainState: keep it in an array of the state."
    )


def mentions(jaxpr: core.Jaxpr, primitive: str) -> bool:
    """Whether a jaxpr, or one inside it, has an operation of that name."""
    return any(
        equation.primitive.name == primitive or any(mentions(inner, primitive) for inner in inner_jaxprs(equation))
        for equation in jaxpr.eqns
    )


def inner_jaxprs(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs in an operation's parameters."""
    found = []
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, core.Jaxpr):
                found.append(part)
    return found


def shape_of(value: core.Var | core.Literal) -> tuple[int, ...]:
    """The shape of a value in a jaxpr; () where it has none."""
    return tuple(getattr(value.aval, "shape", ()))


def _shapes(arrays: PyTree, rows: int | None) -> PyTree[jax.ShapeDtypeStruct]:
    dims = lambda a: a.shape if rows is None else (rows, *a.shape[1:])
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(dims(a), jax.dtypes.canonicalize_dtype(a.dtype)), arrays)


def _check_metrics(where: str, metrics: Any) -> None:
    if not isinstance(metrics, Mapping):
        raise ConfigError(f"{where} returned {type(metrics).__name__} as metrics: return a dict of scalars.")
    for name, value in metrics.items():
        if jnp.shape(value) != ():
            raise ConfigError(f"the metric {name!r} of {where} has shape {jnp.shape(value)}: return a scalar.")
