"""The task of fitting a model to pairs (x, y) by gradient descent."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import optax

from jsweep.data.splits import Splits, train_like
from jsweep.errors import ConfigError
from jsweep.task.config import Config
from jsweep.task.task import Task

EVALUATION_CHUNK = 2048  # examples evaluated at once; bounds the memory of activations over a large split


def supervised(
    init: Callable[[Config, jax.Array], Any],
    apply: Callable[[Config, Any, Any, jax.Array | None], Any],
    *,
    loss: Callable[..., jax.Array],
    optimizer: Callable[[Config], optax.GradientTransformation],
    data: Splits,
    metrics: Mapping[str, Callable[[Any, Any], jax.Array]] | None = None,
    batch_size: int = 64,
    name: str | None = None,
) -> Task:
    """The task of fitting ``apply`` to pairs ``(x, y)`` by gradient descent.

    - ``init(config, key) -> params``, any pytree.
    - ``apply(config, params, x, key) -> outputs`` for a batch ``x``; ``key`` is None when evaluating, so that
      dropout knows to keep still.
    - ``loss(outputs, y)``, or ``loss(config, outputs, y)``, gives one value an example, shape (batch,); their mean is
      minimised and recorded as ``loss``.
    - ``optimizer(config)`` gives an optax transformation, built inside the traced step, so its numbers may be lanes.
    - ``metrics`` maps names to ``(outputs, y) -> one value an example``; the mean over a split is recorded.

    A config with ``l2`` adds ``l2 / 2 * sum(w ** 2)`` to the loss over every parameter of two or more dimensions
    (weights, not biases), which is what PyTorch's SGD calls weight decay: its gradient is ``l2 * w``.

    The state is ``{"params": ..., "optimizer": ...}``.
    """
    metrics = dict(metrics or {})
    if "loss" in metrics:
        raise ConfigError("metrics names 'loss', which the loss itself is recorded as: give it another name.")
    _check_pairs(data)
    losses = _with_config(loss)

    def per_example(config: Config, params: Any, x: Any, y: Any, key: jax.Array | None) -> tuple[jax.Array, Any]:
        outputs = apply(config, params, x, key)
        values = losses(config, outputs, y)
        rows = jnp.shape(jax.tree.leaves(y)[0])[0]
        if jnp.shape(values) != (rows,):
            raise ConfigError(
                f"loss returned shape {jnp.shape(values)} for {rows} examples: return one value an example, not their mean."
            )
        return values, outputs

    def start(config: Config, key: jax.Array) -> dict[str, Any]:
        params = init(config, key)
        return {"params": params, "optimizer": optimizer(config).init(params)}

    def step(config: Config, state: Any, batch: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        x, y = batch

        def objective(params: Any) -> tuple[jax.Array, jax.Array]:
            values, _ = per_example(config, params, x, y, key)
            mean = _batch_mean(config, values)
            return mean + _l2_penalty(config, params), mean

        (_, mean), gradients = jax.value_and_grad(objective, has_aux=True)(state["params"])
        transform = optax.with_extra_args_support(optimizer(config))  # reduce-on-plateau and its kin take the loss
        updates, optimizer_state = transform.update(gradients, state["optimizer"], state["params"], value=mean)
        params = optax.apply_updates(state["params"], updates)
        return {"params": params, "optimizer": optimizer_state}, {"loss": mean}

    def evaluate(config: Config, state: Any, split: Any) -> dict[str, jax.Array]:
        def measured(x: Any, y: Any) -> dict[str, jax.Array]:
            values, outputs = per_example(config, state["params"], x, y, None)
            return {"loss": values, **{name: metric(outputs, y) for name, metric in metrics.items()}}

        return _mean_in_chunks(measured, split)

    return Task(
        init=start,
        step=step,
        evaluate=evaluate,
        data=data,
        batch_size=batch_size,
        name=name or _name_of(apply),
        higher_is_better=frozenset(n for n, metric in metrics.items() if getattr(metric, "mode", None) == "max"),
        masks_batch=True,
    )


def _check_pairs(data: Any) -> None:
    """Raise ConfigError for splits that are not pairs; what is no `Splits` at all is for `Task` to refuse."""
    if not isinstance(data, Splits):
        return
    for part in ("train", "validation", "test"):
        value = train_like(data) if part == "train" else getattr(data, part)
        if value is not None and not (isinstance(value, tuple) and len(value) == 2):
            raise ConfigError(
                f"data.{part} is not a pair (x, y): supervised takes Splits of pairs; write a Task instead."
            )


def _with_config(loss: Callable[..., jax.Array]) -> Callable[[Config, Any, Any], jax.Array]:
    required = [
        p
        for p in inspect.signature(loss).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) == 3:
        return loss
    return lambda config, outputs, y: loss(outputs, y)


def _batch_mean(config: Config, values: jax.Array) -> jax.Array:
    """The mean over a batch; where batch size is a lane, over its first ``batch_size`` rows (the rest is padding)."""
    size = config.get("batch_size")
    if isinstance(size, jax.core.Tracer):
        real = jnp.arange(values.shape[0]) < size
        return jnp.where(real, values, 0.0).sum() / size.astype(values.dtype)
    return values.mean()


def _l2_penalty(config: Config, params: Any) -> jax.Array | float:
    if "l2" not in config:
        return 0.0
    weights = [leaf for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) >= 2]
    return config["l2"] / 2 * sum(jnp.sum(jnp.square(leaf)) for leaf in weights)


def _mean_in_chunks(measured: Callable[[Any, Any], dict[str, jax.Array]], split: Any) -> dict[str, jax.Array]:
    examples = jax.tree.leaves(split)[0].shape[0]
    if examples <= EVALUATION_CHUNK:
        return {name: values.mean() for name, values in measured(*split).items()}
    count = -(-examples // EVALUATION_CHUNK)
    size = -(-examples // count)

    def add(index: jax.Array) -> dict[str, jax.Array]:
        rows = index * size + jnp.arange(size)
        x, y = jax.tree.map(lambda a: jnp.take(a, rows, axis=0, mode="clip"), split)
        return {name: jnp.where(rows < examples, values, 0.0).sum() for name, values in measured(x, y).items()}

    sums = jax.lax.map(add, jnp.arange(count))
    return {name: values.sum() / examples for name, values in sums.items()}


def _name_of(function: Callable) -> str:
    module = getattr(function, "__module__", None) or "task"
    return module.rpartition(".")[2] if module != "__main__" else "task"
