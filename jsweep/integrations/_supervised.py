"""What the adapters of model libraries share: the arguments of `supervised`, and the static part of a model."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Required, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from jsweep.data.splits import Splits, train_like
from jsweep.errors import ConfigError
from jsweep.task.config import Config
from jsweep.task.evaluation import Measure
from jsweep.task.supervised import Augment, StatefulApply, per_example_losses, supervised
from jsweep.task.task import Init, State, Task


class Arguments(TypedDict, total=False):
    """The arguments of `jsweep.supervised` that every adapter takes as they are."""

    loss: Required[Callable[..., Any]]
    optimizer: Required[Callable[[Config], optax.GradientTransformation]]
    data: Required[Splits]
    metrics: Mapping[str, Measure] | None
    batch_size: int
    augment: Augment | None
    evaluation_params: Callable[[Config, State], PyTree] | None
    name: str | None
    mesh: Mesh | None


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Static:
    """What of a model is no array, such as NNX's graphdef; a pytree without leaves."""

    value: Any


def with_static(init: Init, apply: StatefulApply, has_state: bool, arguments: Arguments) -> Task:
    """The task of a model whose ``model_state`` holds its static part, beside a state where ``has_state`` says so."""
    task = supervised(init, apply, has_state=True, **arguments)
    if has_state:
        return task
    return replace(task, per_example=per_example_losses(apply, arguments["loss"], arguments.get("augment")))


def example_input(data: Splits) -> PyTree[jax.Array]:
    """One example of zeros, like those of ``data``, with a leading axis."""
    zeros = lambda a: jnp.zeros((1, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype))
    return jax.tree.map(zeros, train_like(data)[0])


def check_switches(module: Any, known: Collection[str], fix: str) -> None:
    """Raise ConfigError where a module's call has a switch that would stay as it is by default, such as ``train=False``."""
    for name, parameter in inspect.signature(type(module).__call__).parameters.items():
        if name not in known and isinstance(parameter.default, bool):
            raise ConfigError(
                f"{type(module).__name__} is called with {name}={parameter.default} in training and in evaluation alike: {fix}."
            )


def check_whole(state: State) -> None:
    """Raise ConfigError unless ``state`` is a whole one, of which parameters are a part."""
    if not isinstance(state, Mapping) or not {"params", "model_state"} <= state.keys():
        raise ConfigError(
            f"state is a {type(state).__name__} without 'params' and 'model_state': pass session.best().state(), not params()."
        )
