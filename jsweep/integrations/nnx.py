"""Flax NNX models: ``jsweep.nnx.supervised``."""

from collections.abc import Callable
from typing import Any, Unpack

import jax
from jaxtyping import PRNGKeyArray, PyTree

from jsweep._runtime.optional import import_optional
from jsweep.data.arrays import Arrays
from jsweep.errors import ConfigError
from jsweep.integrations._supervised import Arguments, Static, check_switches, check_whole, with_static
from jsweep.task.config import Config
from jsweep.task.task import State, Task


def supervised(model: Callable[[Config, Any], Any], *, has_state: bool = False, **arguments: Unpack[Arguments]) -> Task:
    """The task of fitting a Flax NNX module to pairs ``(x, y)``; see `jsweep.supervised`.

    Its ``nnx.Param`` are trained. Before each training step the module is put in ``train()`` mode and its random streams are
    seeded with ``nnx.reseed``, by one key for each of their names in alphabetical order, split from the step's; before an
    evaluation it is put in ``eval()`` mode.

    Args:
        model: ``model(config, rngs) -> nnx.Module``, which is called with a batch ``x``.
        has_state: whether training changes other variables than parameters, such as batch statistics. Batches are then never
            padded.
        **arguments: ``loss``, ``optimizer``, ``data``, ``metrics``, ``batch_size``, ``augment``,
            ``evaluation_params``, ``name`` and ``mesh`` of `jsweep.supervised`.

    Returns:
        A `Task` for `jsweep.Sweep`; `trained_model` makes a module of its state.

    Raises:
        ConfigError: if ``model`` returns no module, or training changes variables without ``has_state``.
        MissingExtraError: if flax is not installed.
    """
    nnx = import_optional("flax.nnx", "flax")

    def init(config: Config, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        module = model(config, nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise ConfigError(f"model(config, rngs) returned {type(module).__name__}: return an nnx.Module.")
        check_switches(module, (), "leave the mode to train() and eval(), as nnx.Dropout and nnx.BatchNorm do")
        static, params, rngs, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return params, {"static": Static(static), "rngs": rngs, "state": state}

    def apply(
        config: Config, params: PyTree, parts: dict[str, Any], x: Arrays, key: PRNGKeyArray | None
    ) -> tuple[PyTree, PyTree]:
        module = _merge(nnx, params, parts)
        if key is None:
            module.eval()
            return module(x), parts
        module.train()
        _reseed(nnx, module, key)
        outputs = module(x)
        nnx.pop(module, nnx.Intermediate)
        state = nnx.split(module, nnx.Param, nnx.RngState, ...)[3]
        if not has_state:
            _check_unchanged(parts["state"], state)
        return outputs, parts | {"state": state}

    return with_static(init, apply, has_state, arguments)


def trained_model(state: State) -> Any:
    """The ``nnx.Module`` of a trained state (``session.best().state()``), in ``eval()`` mode."""
    check_whole(state)
    module = _merge(import_optional("flax.nnx", "flax"), state["params"], state["model_state"])
    module.eval()
    return module


def _merge(nnx: Any, params: PyTree, parts: dict[str, Any]) -> Any:
    # Copied, variables belong to the trace under way, where alone NNX lets them change.
    return nnx.merge(parts["static"].value, params, parts["rngs"], parts["state"], copy=True)


def _reseed(nnx: Any, module: Any, key: PRNGKeyArray) -> None:
    streams = [node for _, node in nnx.iter_graph(module) if isinstance(node, nnx.RngStream)]
    names = sorted({stream.tag for stream in streams})
    if names:
        nnx.reseed(module, policy="match_shape", **dict(zip(names, jax.random.split(key, len(names)))))


def _check_unchanged(before: PyTree, after: PyTree) -> None:
    """Raise ConfigError where a variable has another value than before."""
    old, new = (jax.tree_util.tree_leaves_with_path(tree) for tree in (before, after))
    changed = [path for (path, leaf), (_, now) in zip(old, new) if leaf is not now] or (
        [()] if len(old) != len(new) else []
    )
    if changed:
        raise ConfigError(
            f"training changes the variable model{jax.tree_util.keystr(changed[0])}, which is no parameter: pass has_state=True."
        )
