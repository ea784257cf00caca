"""The task of fitting a model to pairs (x, y) by gradient descent."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from jsweep._runtime.types import Mode
from jsweep.data.arrays import Arrays
from jsweep.data.splits import Splits, train_like
from jsweep.data.targets import FittedTargets, has_given, seen_by_loss, seen_by_metrics
from jsweep.errors import ConfigError
from jsweep.metrics import Metric
from jsweep.task.config import Config
from jsweep.task.evaluation import Measure, batch_mean, check_no_pairs, evaluate_split, per_example, shapes
from jsweep.task.task import Evaluate, Init, PerExample, State, Step, Task, check_splits
from jsweep.task.trainable import check_params, merge_trainable, split_trainable

Params = PyTree
Optimizer = Callable[[Config], optax.GradientTransformation]
Augment = Callable[[Config, tuple[Arrays, Arrays], PRNGKeyArray], tuple[Arrays, Arrays]]
_Out = TypeVar("_Out")
_Loss = Callable[[Config, PyTree, Arrays], Shaped[Array, " batch"]]


class Apply(Protocol):
    """``apply(config, params, x, key) -> outputs``: a model; ``key`` is None when evaluating."""

    def __call__(self, config: Config, params: Params, x: Arrays, key: PRNGKeyArray | None, /) -> PyTree: ...


class StatefulApply(Protocol):
    """``apply(config, params, model_state, x, key) -> (outputs, new_model_state)``: a model with a state."""

    def __call__(
        self, config: Config, params: Params, model_state: PyTree, x: Arrays, key: PRNGKeyArray | None, /
    ) -> tuple[PyTree, PyTree]: ...


def supervised(
    init: Init,
    apply: "Apply | StatefulApply",
    *,
    loss: Callable[..., Shaped[Array, " batch"]],
    optimizer: Optimizer,
    data: Splits,
    metrics: Mapping[str, Measure] | None = None,
    batch_size: int = 64,
    has_state: bool = False,
    augment: Augment | None = None,
    evaluation_params: Callable[[Config, State], Params] | None = None,
    name: str | None = None,
    mesh: Mesh | None = None,
) -> Task:
    """The task of fitting ``apply`` to pairs ``(x, y)`` by gradient descent.

    The state is ``{"params": ..., "optimizer": ...}``, and ``"model_state"`` where the model has one. Floating-point arrays
    among the parameters are trained; other leaves stay as ``init`` returned them. A config with ``l2`` adds
    ``l2 / 2 * sum(w ** 2)`` to the loss over every parameter of two or more dimensions (weights, not biases), which is what
    PyTorch's SGD calls weight decay: its gradient is ``l2 * w``.

    Args:
        init: ``init(config, key) -> params``, any pytree.
        apply: ``apply(config, params, x, key) -> outputs`` for a batch ``x`` of shape (batch, ...); ``key`` is None when
            evaluating, so that dropout is off.
        loss: ``loss(outputs, y)``, or ``loss(config, outputs, y)``, returns one value per example, shape (batch,). Their mean
            is minimised and recorded as ``loss``.
        optimizer: ``optimizer(config)`` returns an optax transformation; it is called inside the traced step, so its numbers
            may be lanes. Its ``update`` is passed ``value`` (the mean loss with the penalty), ``grad`` and ``value_fn``.
        data: the examples, as `jsweep.Splits` of pairs.
        metrics: functions ``(outputs, y) -> one value per example``, by name, whose means over a split are recorded. A
            `jsweep.metrics.Metric` with ``per_example=False`` is called once with the outputs of the whole split. Where
            ``data`` has targets transformed with an inverse, metrics see them, and outputs, as they were before.
        batch_size: the examples in a batch, for configs without a ``batch_size`` of their own.
        has_state: whether the model has a state that is not trained, such as batch statistics. Then
            ``init(config, key) -> (params, model_state)`` and
            ``apply(config, params, model_state, x, key) -> (outputs, new_model_state)``; when evaluating, the new state is
            dropped. Batches are then never padded, so that each batch size is a program of its own.
        augment: ``augment(config, batch, key) -> batch`` changes each training batch ``(x, y)``, anew at every step, as by
            random crops or noise; evaluation sees examples as they are.
        evaluation_params: ``evaluation_params(config, state) -> params``, for optimizers that evaluate other parameters than
            they train, such as `optax.contrib.schedule_free_eval_params`; ``state["params"]`` unless given.
        name: what the sweep is called in the record unless it has a name of its own.
        mesh: devices over which a model that is too large for one is sharded; see `Task`.

    Returns:
        A `Task` for `jsweep.Sweep`.

    Raises:
        ConfigError: if an argument is not as described; what the functions return is checked when they are traced.
    """
    measures = dict(metrics or {})
    functions = {"init": init, "apply": apply, "loss": loss, "optimizer": optimizer}
    _check_functions(functions | ({} if augment is None else {"augment": augment}), measures)
    _check_pairs(check_splits(data))
    forward = _checked(cast(StatefulApply, apply)) if has_state else _stateless(cast(Apply, apply))
    losses = _with_config(loss)
    step = _make_step(forward, losses, optimizer)
    given = _in_given_units(measures, data.target_transforms)
    return Task(
        init=_make_init(init, optimizer, has_state, checks_parameters=evaluation_params is None),
        step=_with_loss_targets(_augmented(augment, step)),
        evaluate=_make_evaluate(forward, losses, given, evaluation_params),
        data=data,
        batch_size=batch_size,
        name=name,
        modes=_modes(measures),
        per_example=None if has_state else per_example_losses(forward, loss, augment),
        mesh=mesh,
    )


def per_example_losses(
    forward: StatefulApply, loss: Callable[..., Array], augment: Augment | None = None
) -> PerExample:
    """The loss of each row of an augmented batch, of a model whose state training does not change."""
    losses = _with_config(loss)

    def per_row(config: Config, state: dict[str, PyTree], batch: tuple[Arrays, Arrays], key: PRNGKeyArray) -> Array:
        x, y = batch
        outputs, _ = forward(config, state["params"], state.get("model_state"), x, key)
        return _loss_values(losses, config, outputs, y)

    return _with_loss_targets(_augmented(augment, per_row))


def _with_loss_targets(function: Callable[..., _Out]) -> Callable[..., _Out]:
    """``function(config, state, batch, key)`` of batches whose targets are those of the loss."""

    def of_batch(config: Config, state: State, batch: tuple[Arrays, Arrays], key: PRNGKeyArray) -> _Out:
        return function(config, state, (batch[0], seen_by_loss(batch[1])) if has_given(batch) else batch, key)

    return of_batch


def _in_given_units(metrics: Mapping[str, Measure], fits: Sequence[FittedTargets]) -> Mapping[str, Measure]:
    """Metrics of outputs and targets in the units in which targets were given."""

    def of_given(name: str, metric: Measure) -> Measure:
        def measure(outputs: PyTree, y: Arrays) -> Array:
            outputs, y = seen_by_metrics(fits, outputs, y)
            check_no_pairs(name, metric, outputs, y)
            return metric(outputs, y)

        return Metric(measure, getattr(metric, "mode", None), getattr(metric, "per_example", True))

    return {name: of_given(name, metric) for name, metric in metrics.items()} if fits else metrics


def _augmented(augment: Augment | None, function: Callable[..., _Out]) -> Callable[..., _Out]:
    """``function(config, state, batch, key)`` of augmented batches."""
    if augment is None:
        return function

    def with_augmented(config: Config, state: State, batch: Arrays, key: PRNGKeyArray) -> _Out:
        for_augment, key = jax.random.split(key)
        found = augment(config, batch, for_augment)
        _check_augmented(batch, found)
        try:
            return function(config, state, found, key)
        except Exception as error:
            if shapes(found) != shapes(batch):
                error.add_note(f"augment returned arrays of shapes {shapes(found)} for a batch of {shapes(batch)}.")
            raise

    return with_augmented


def _make_init(init: Init, optimizer: Optimizer, has_state: bool, checks_parameters: bool) -> Init:
    def start(config: Config, key: PRNGKeyArray) -> dict[str, PyTree]:
        made = init(config, key)
        if has_state and not (isinstance(made, tuple) and len(made) == 2):
            raise ConfigError(
                f"init returned {type(made).__name__}: with has_state=True return the pair (params, model_state)."
            )
        params = made[0] if has_state else made
        check_params(params)
        with _l2_is_of_the_loss(config, "optimizer"):
            state = _transform(optimizer, config).init(split_trainable(params)[0])
        _check_optimizer_state(state, checks_parameters)
        return {"params": params, "optimizer": state} | ({"model_state": made[1]} if has_state else {})

    return start


def _make_step(forward: StatefulApply, losses: _Loss, optimizer: Optimizer) -> Step:
    def step(
        config: Config, state: dict[str, PyTree], batch: tuple[Arrays, Arrays], key: PRNGKeyArray
    ) -> tuple[dict[str, PyTree], dict[str, Array]]:
        x, y = batch
        trained, others = split_trainable(state["params"])

        def objective(trained: Params) -> tuple[Float[Array, ""], tuple[Float[Array, ""], PyTree]]:
            params = merge_trainable(trained, others)
            outputs, model_state = forward(config, params, state.get("model_state"), x, key)
            mean = batch_mean(config, _loss_values(losses, config, outputs, y))
            return mean + _l2_penalty(config, trained), (mean, model_state)

        def value_of(trained: Params) -> Float[Array, ""]:
            with _reads_put_back(config):
                return objective(trained)[0]

        (value, (mean, model_state)), gradients = jax.value_and_grad(objective, has_aux=True)(trained)
        with _l2_is_of_the_loss(config, "optimizer"):
            updates, optimizer_state = _transform(optimizer, config).update(
                gradients,
                state["optimizer"],
                trained,
                value=value,
                grad=gradients,
                value_fn=value_of,
            )
        params = merge_trainable(optax.apply_updates(trained, updates), others)
        after = {"params": params, "optimizer": optimizer_state}
        return after | ({"model_state": model_state} if "model_state" in state else {}), {"loss": mean}

    return step


def _make_evaluate(
    forward: StatefulApply,
    losses: _Loss,
    metrics: Mapping[str, Measure],
    evaluation_params: Callable[[Config, State], Params] | None,
) -> Evaluate:
    of_whole = {name for name, metric in metrics.items() if not getattr(metric, "per_example", True)}

    def evaluate(config: Config, state: dict[str, PyTree], split: tuple[Arrays, Arrays]) -> dict[str, Float[Array, ""]]:
        params = state["params"] if evaluation_params is None else evaluation_params(config, state)
        own: Measure = lambda outputs, y: losses(config, outputs, y)

        def loss(outputs: PyTree, y: Arrays) -> Array:
            check_no_pairs("loss", own, outputs, seen_by_loss(y))
            return own(outputs, seen_by_loss(y))

        each = {"loss": loss, **{name: metric for name, metric in metrics.items() if name not in of_whole}}
        whole = {name: metric for name, metric in metrics.items() if name in of_whole}
        outputs_of = lambda x: forward(config, params, state.get("model_state"), x, None)[0]
        found = evaluate_split(outputs_of, each, whole, split)
        return {name: found[name] for name in ("loss", *metrics)}

    return evaluate


def _loss_values(losses: _Loss, config: Config, outputs: PyTree, y: Arrays) -> Shaped[Array, " batch"]:
    with _l2_is_of_the_loss(config, "loss"):
        return per_example("loss", lambda outputs, y: losses(config, outputs, y), outputs, y)


def _stateless(apply: Apply) -> StatefulApply:
    return lambda config, params, model_state, x, key: (apply(config, params, x, key), None)


def _checked(apply: StatefulApply) -> StatefulApply:
    def forward(
        config: Config, params: Params, model_state: PyTree, x: Arrays, key: PRNGKeyArray | None
    ) -> tuple[PyTree, PyTree]:
        outcome = apply(config, params, model_state, x, key)
        if not (isinstance(outcome, tuple) and len(outcome) == 2):
            raise ConfigError(
                f"apply returned {type(outcome).__name__}: with has_state=True return the pair (outputs, new_model_state)."
            )
        return outcome

    return forward


def _with_config(loss: Callable[..., Array]) -> _Loss:
    """``loss`` as a function of the config too, which it takes where it has three required arguments."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # of some functions written in C
        parameters = ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind in positional]
    if len(required) == 3:
        return loss
    return lambda config, outputs, y: loss(outputs, y)


def _l2_penalty(config: Config, params: Params) -> Float[Array, ""] | float:
    if "l2" not in config:
        return 0.0
    weights = [leaf for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) >= 2]
    return config["l2"] / 2 * sum(jnp.sum(jnp.square(leaf)) for leaf in weights)


@contextmanager
def _l2_is_of_the_loss(config: Config, where: str) -> Iterator[None]:
    """Raise ConfigError where the function called ``where`` reads ``l2``, which would then count twice."""
    was_read = "l2" in config.reads
    config.reads.discard("l2")
    yield
    if "l2" in config.reads:
        raise ConfigError(
            f'{where} reads config["l2"], by itself or with all other names, but supervised adds that penalty to the loss '
            f"already: give the number that {where} needs another name, such as weight_decay."
        )
    if was_read:
        config.reads.add("l2")


@contextmanager
def _reads_put_back(config: Config) -> Iterator[None]:
    """What is read within is not noted."""
    before = set(config.reads)
    yield
    config.reads.intersection_update(before)


def _transform(optimizer: Optimizer, config: Config) -> optax.GradientTransformationExtraArgs:
    transform: Any = optimizer(config)
    if not (hasattr(transform, "init") and hasattr(transform, "update")):
        raise ConfigError(
            f"optimizer(config) returned {type(transform).__name__}: return an optax transformation, such as optax.adam(0.001)."
        )
    return optax.with_extra_args_support(transform)


def _check_optimizer_state(state: PyTree, checks_parameters: bool) -> None:
    kinds = (optax.LookaheadState, optax.contrib.ScheduleFreeState, optax.contrib.SAMState)
    found = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, kinds))
    if any(isinstance(leaf, optax.contrib.SAMState) for leaf in found):
        raise ConfigError(
            "optimizer(config) is optax.contrib.sam, which moves the parameters to the worst place near between two updates: "
            "write a jsweep.Task."
        )
    if any(isinstance(leaf, optax.LookaheadState) for leaf in found):
        raise ConfigError(
            "optimizer(config) is optax.lookahead, which trains two sets of parameters: write a jsweep.Task."
        )
    if checks_parameters and any(isinstance(leaf, optax.contrib.ScheduleFreeState) for leaf in found):
        raise ConfigError(
            "optimizer(config) is schedule-free, whose parameters to evaluate are not those it trains: pass "
            "evaluation_params=lambda config, state: "
            'optax.contrib.schedule_free_eval_params(state["optimizer"], state["params"]).'
        )


def _check_functions(functions: Mapping[str, object], metrics: Mapping[str, object]) -> None:
    """Raise ConfigError for functions that are not functions, and for a metric that is called "loss"."""
    if "loss" in metrics:
        raise ConfigError('metrics has a metric "loss", which is the name of the loss itself: give it another name.')
    for name, function in {**functions, **{f"metrics[{name!r}]": metric for name, metric in metrics.items()}}.items():
        if isinstance(function, optax.GradientTransformation):
            raise ConfigError(
                f"{name} is an optax transformation: pass a function of the config that returns it, such as "
                'lambda config: optax.adam(config["learning_rate"]).'
            )
        if not callable(function):
            raise ConfigError(f"{name} is of type {type(function).__name__}: pass a function.")
        if name == "optimizer" and str(getattr(function, "__module__", "")).split(".")[0] == "optax":
            raise ConfigError(
                "optimizer is a function of optax: pass one of the config that calls it, such as "
                'lambda config: optax.adam(config["learning_rate"]).'
            )


def _check_augmented(before: Arrays, after: object) -> None:
    """Raise ConfigError unless an augmented batch has as many examples as before, each part of the same structure."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ConfigError(
            f"augment returned {jax.tree.structure(after)} for a batch {jax.tree.structure(before)}: return the pair (x, y)."
        )
    rows = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(after)}
    if rows != {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(before)}:
        raise ConfigError(
            f"augment returned arrays of shapes {shapes(after)} for a batch of {shapes(before)}: return as many examples."
        )


def _check_pairs(data: Splits) -> None:
    for part in ("train", "validation", "test"):
        value = train_like(data) if part == "train" else getattr(data, part)
        if value is not None and not (isinstance(value, tuple | list) and len(value) == 2):
            raise ConfigError(f"data.{part} is not a pair (x, y): pass Splits of pairs, or write a jsweep.Task.")


def _modes(metrics: Mapping[str, Measure]) -> dict[str, Mode]:
    """The directions of the loss and of the metrics that have one."""
    modes: dict[str, Mode] = {"loss": "min"}
    return modes | {name: mode for name, metric in metrics.items() if (mode := getattr(metric, "mode", None))}
