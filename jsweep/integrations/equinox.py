"""Equinox models: ``jsweep.equinox.supervised``."""

import inspect
from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from jsweep._runtime.optional import import_optional
from jsweep.data.arrays import Arrays
from jsweep.errors import ConfigError
from jsweep.integrations._supervised import Arguments, Static, check_switches, check_whole, with_static
from jsweep.task.config import Config
from jsweep.task.task import State, Task


def supervised(
    model: Callable[[Config, PRNGKeyArray], Any], *, has_state: bool = False, **arguments: Unpack[Arguments]
) -> Task:
    """The task of fitting an Equinox module to pairs ``(x, y)``; see `jsweep.supervised`.

    The module is called with one example under ``jax.vmap``, whose axis is named "batch", and with ``key=`` where it has such
    an argument: one for each example, split from the step's key, and None in evaluation, which is in ``inference_mode``.
    Floating-point arrays are trained, as ``eqx.is_inexact_array`` has it. A value of ``config`` that the module keeps as it is
    (a dropout rate, say) is not, whether it is a lane or not.

    Args:
        model: ``model(config, key) -> eqx.Module``, with ``has_state`` the pair of a module and an ``eqx.nn.State``, as
            ``eqx.nn.make_with_state`` returns it.
        has_state: whether the module has a state, such as batch statistics. It is then called as ``module(x, state)``, and
            batches are never padded.
        **arguments: ``loss``, ``optimizer``, ``data``, ``metrics``, ``batch_size``, ``augment``,
            ``evaluation_params``, ``name`` and ``mesh`` of `jsweep.supervised`.

    Returns:
        A `Task` for `jsweep.Sweep`; `trained_model` makes a module of its state.

    Raises:
        ConfigError: if ``model`` does not return what ``has_state`` says.
        MissingExtraError: if equinox is not installed.
    """
    eqx = import_optional("equinox", "equinox")

    def init(config: Config, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        made = model(config, key)
        is_pair = isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], eqx.nn.State)
        module, state = made if is_pair else (made, None)
        if is_pair != has_state or not isinstance(module, eqx.Module):
            expected = "the pair (module, state)" if has_state else "an eqx.Module, or pass has_state=True with a state"
            raise ConfigError(f"model(config, key) returned {_kind(made)}: return {expected}.")
        check_switches(module, (), "leave the mode to eqx.nn.inference_mode, as eqx.nn.Dropout does")
        lanes = _values(config)
        is_parameter = lambda leaf: eqx.is_array(leaf) and not any(leaf is value for value in lanes)
        params, static = eqx.partition(module, is_parameter)
        return params, {"static": Static(static), "state": state}

    def apply(
        config: Config, params: PyTree, parts: dict[str, Any], x: Arrays, key: PRNGKeyArray | None
    ) -> tuple[PyTree, PyTree]:
        module = eqx.combine(params, parts["static"].value)
        if key is None:
            module = eqx.nn.inference_mode(module)
        keyword = "key" in inspect.signature(module).parameters

        def one(x: Arrays, state: Any, key: PRNGKeyArray | None) -> tuple[PyTree, Any]:
            arguments = (x, state) if has_state else (x,)
            outcome = module(*arguments, **({"key": key} if keyword else {}))
            return outcome if has_state else (outcome, None)

        rows = jnp.shape(jax.tree.leaves(x)[0])[0]
        keys = None if key is None or not keyword else jax.random.split(key, rows)
        # A State may be used once, and an optimizer may evaluate the loss several times.
        state = jax.tree.map(lambda leaf: leaf, parts["state"])
        outputs, after = jax.vmap(one, (0, None, 0), (0, None), axis_name="batch")(x, state, keys)
        return outputs, parts if key is None else parts | {"state": after}

    return with_static(init, apply, has_state, arguments)


def trained_model(state: State) -> Any:
    """The module of a trained state (``session.best().state()``) in inference mode; the pair with its State where it has one."""
    check_whole(state)
    eqx = import_optional("equinox", "equinox")
    parts = state["model_state"]
    module = eqx.nn.inference_mode(eqx.combine(state["params"], parts["static"].value))
    return module if parts["state"] is None else (module, parts["state"])


def _values(config: Config) -> list[Any]:
    """The values of a config, without noting that they are read."""
    before = set(config.reads)
    values = list(config.values())
    config.reads.intersection_update(before)
    return values


def _kind(made: Any) -> str:
    return f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
