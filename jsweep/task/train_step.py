"""The task of a training step written elsewhere: ``train_step(state, batch) -> (state, metrics)``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from jsweep._runtime.types import Mode
from jsweep.data.arrays import Arrays
from jsweep.data.splits import Splits
from jsweep.errors import ConfigError
from jsweep.task.config import Config
from jsweep.task.task import Init, Metrics, State, Task

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def from_train_step(
    init_state: Init,
    train_step: Callable[..., tuple[State, Metrics]],
    eval_step: Callable[..., Metrics],
    *,
    data: Splits,
    batch_size: int = 64,
    modes: Mapping[str, Mode] | None = None,
    name: str | None = None,
    mesh: Mesh | None = None,
) -> Task:
    """The task of a training step as Flax's and Optax's examples write it, under `jax.jit` or not.

    Hyperparameters are read in ``init_state`` alone and reach the step in its state: in the ``tx`` of a TrainState, say,
    whose learning rate may be a lane.

    Args:
        init_state: ``init_state(config, key) -> state``, any pytree: a TrainState, a model with its `flax.nnx.Optimizer`, a
            tuple.
        train_step: ``train_step(state, batch) -> (state, metrics)``, or ``train_step(state, batch, key)`` with a new key each
            step; further arguments are bound, as by `functools.partial`. ``metrics`` is a dict of scalars. What is not an array
            in the state is returned as it was given.
        eval_step: ``eval_step(state, batch) -> metrics``, called once with the whole of a split; it has no key, so dropout is
            off in it.
        data: the examples, as `jsweep.Splits`; a batch is ``data.train`` with ``batch_size`` rows taken.
        batch_size: the examples in a batch, for configs without a ``batch_size`` of their own.
        modes: whether the smallest ("min") or the largest ("max") value of a metric is best, by its name without the split;
            ``{"loss": "min"}`` unless given.
        name: what the sweep is called in the record unless it has a name of its own.
        mesh: devices over which a model that is too large for one is sharded; see `Task`.

    Returns:
        A `Task` for `jsweep.Sweep`.

    Raises:
        ConfigError: if an argument is not as described; what the functions return is checked when they are traced.
    """
    takes_key = _arguments("train_step", train_step, most=3) == 3
    _check_no_third_default(train_step)
    _arguments("eval_step", eval_step, most=2)

    def step(config: Config, state: State, batch: Arrays, key: PRNGKeyArray) -> tuple[State, Metrics]:
        outcome = train_step(state, batch, key) if takes_key else train_step(state, batch)
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            raise ConfigError(f"train_step returned {type(outcome).__name__}: return the pair (state, metrics).")
        return outcome

    return Task(
        init_state,
        step,
        lambda config, state, split: eval_step(state, split),
        data=data,
        batch_size=batch_size,
        modes={"loss": "min"} if modes is None else modes,
        name=name,
        mesh=mesh,
    )


def _arguments(name: str, function: Any, most: int) -> int:
    """How many arguments a function requires; ConfigError unless it is a function of 2 to ``most``."""
    if not callable(function):
        raise ConfigError(f"{name} is of type {type(function).__name__}: pass a function.")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some functions written in C
        return 2
    required = sum(p.default is p.empty and p.kind in _POSITIONAL for p in parameters)
    accepted = sum(p.kind in _POSITIONAL for p in parameters)
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if required > most or (accepted < 2 and not takes_any):
        key = " or (state, batch, key)" if most == 3 else ""
        raise ConfigError(f"{name} requires {required} arguments: pass a function of (state, batch){key}.")
    return max(2, required)


def _check_no_third_default(train_step: Callable[..., Any]) -> None:
    """Raise ConfigError for a third argument with a default, which may be a key that the step would go without."""
    try:
        parameters = inspect.signature(train_step).parameters.values()
    except (TypeError, ValueError):
        return
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if len(positional) > 2 and positional[2].default is not inspect.Parameter.empty:
        name, default = positional[2].name, positional[2].default
        raise ConfigError(
            f"train_step has a third argument with a default, {name}={default!r}: leave the default out to be given a key each "
            f"step, or bind it with functools.partial(train_step, {name}=...)."
        )
