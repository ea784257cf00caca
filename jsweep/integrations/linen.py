"""Flax Linen models: ``jsweep.linen.supervised``."""

import inspect
from collections.abc import Callable
from typing import Any, Unpack

import jax
from jaxtyping import PRNGKeyArray, PyTree

from jsweep._runtime.optional import import_optional
from jsweep.data.arrays import Arrays
from jsweep.errors import ConfigError
from jsweep.integrations._supervised import Arguments, check_switches, example_input
from jsweep.task.config import Config
from jsweep.task.supervised import supervised as supervised_task
from jsweep.task.task import Task

_SWITCHES = ("train", "training", "is_training", "deterministic", "use_running_average")
Call = Callable[[Any, Arrays, bool], PyTree]


def supervised(
    model: Callable[[Config], Any],
    *,
    call: Call | None = None,
    has_state: bool = False,
    **arguments: Unpack[Arguments],
) -> Task:
    """The task of fitting a Flax Linen module to pairs ``(x, y)``; see `jsweep.supervised`.

    The collection "params" is trained. In training the stream "dropout" is seeded with the step's key, and any other one with
    a key that is folded from it.

    Args:
        model: ``model(config) -> nn.Module``.
        call: ``call(module, x, training) -> outputs``. Without it the module is called with ``x``, and with ``train``,
            ``training``, ``is_training``, ``deterministic`` or ``use_running_average`` where it has such an argument.
        has_state: whether the module has other collections than "params", such as "batch_stats". They are changed in
            training, and batches are then never padded.
        **arguments: ``loss``, ``optimizer``, ``data``, ``metrics``, ``batch_size``, ``augment``,
            ``evaluation_params``, ``name`` and ``mesh`` of `jsweep.supervised`.

    Returns:
        A `Task` for `jsweep.Sweep`. Of its state, ``{"params": state["params"], **state["model_state"]}`` are the variables.

    Raises:
        ConfigError: if ``model`` returns no module, or one with other collections without ``has_state``.
        MissingExtraError: if flax is not installed.
    """
    nn = import_optional("flax.linen", "flax")
    as_method = lambda training: lambda module, x: (call or _default_call)(module, x, training)

    def init(config: Config, key: PRNGKeyArray) -> PyTree:
        module = model(config)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"model(config) returned {type(module).__name__}: return an nn.Module.")
        if call is None:
            check_switches(module, _SWITCHES, "pass call=lambda module, x, training: ...")
        variables = dict(module.init(key, example_input(arguments["data"]), method=as_method(False)))
        params = variables.pop("params", {})
        if variables and not has_state:
            raise ConfigError(f"the model has the collections {sorted(variables)} beside params: pass has_state=True.")
        return (params, variables) if has_state else params

    def apply(config: Config, params: PyTree, x: Arrays, key: PRNGKeyArray | None) -> PyTree:
        return model(config).apply({"params": params}, x, rngs=_streams(key), method=as_method(key is not None))

    def apply_with_state(
        config: Config, params: PyTree, state: dict[str, PyTree], x: Arrays, key: PRNGKeyArray | None
    ) -> tuple[PyTree, PyTree]:
        variables, method = {"params": params, **state}, as_method(key is not None)
        if key is None:
            return model(config).apply(variables, x, method=method), state
        outputs, after = model(config).apply(variables, x, rngs=_streams(key), mutable=list(state), method=method)
        return outputs, dict(after)

    return supervised_task(init, apply_with_state if has_state else apply, has_state=has_state, **arguments)


def _streams(key: PRNGKeyArray | None) -> dict[str, PRNGKeyArray] | None:
    # Linen draws from "params" where a stream of another name was not given.
    return None if key is None else {"dropout": key, "params": jax.random.fold_in(key, 1)}


def _default_call(module: Any, x: Arrays, training: bool) -> PyTree:
    modes = dict(zip(_SWITCHES, (training, training, training, not training, not training)))
    takes = inspect.signature(type(module).__call__).parameters
    return module(x, **{name: mode for name, mode in modes.items() if name in takes})
