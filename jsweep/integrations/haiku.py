"""Haiku models: ``jsweep.haiku.supervised``."""

from collections.abc import Callable
from typing import Any, Unpack

from jaxtyping import PRNGKeyArray, PyTree

from jsweep._runtime.optional import import_optional
from jsweep.data.arrays import Arrays
from jsweep.errors import ConfigError
from jsweep.integrations._supervised import Arguments, example_input
from jsweep.task.config import Config
from jsweep.task.supervised import supervised as supervised_task
from jsweep.task.task import Task


def supervised(
    forward: Callable[[Config, Arrays, bool], PyTree], *, has_state: bool = False, **arguments: Unpack[Arguments]
) -> Task:
    """The task of fitting a Haiku function to pairs ``(x, y)``; see `jsweep.supervised`.

    Args:
        forward: ``forward(config, x, is_training) -> outputs``, to be transformed with ``hk.transform_with_state``; modules
            are made in it. ``hk.next_rng_key()`` draws from the step's key in training, and from none in evaluation.
        has_state: whether it has a state, such as batch statistics. Batches are then never padded.
        **arguments: ``loss``, ``optimizer``, ``data``, ``metrics``, ``batch_size``, ``augment``,
            ``evaluation_params``, ``name`` and ``mesh`` of `jsweep.supervised`.

    Returns:
        A `Task` for `jsweep.Sweep`.

    Raises:
        ConfigError: if ``forward`` has a state without ``has_state``.
        MissingExtraError: if dm-haiku is not installed.
    """
    hk = import_optional("haiku", "haiku")
    transformed = lambda config: hk.transform_with_state(lambda x, training: forward(config, x, training))

    def init(config: Config, key: PRNGKeyArray) -> PyTree:
        params, state = transformed(config).init(key, example_input(arguments["data"]), True)
        if state and not has_state:
            raise ConfigError(f"forward has a state, {sorted(state)}: pass has_state=True.")
        return (params, state) if has_state else params

    def apply_with_state(
        config: Config, params: PyTree, state: Any, x: Arrays, key: PRNGKeyArray | None
    ) -> tuple[PyTree, PyTree]:
        return transformed(config).apply(params, state, key, x, key is not None)

    def apply(config: Config, params: PyTree, x: Arrays, key: PRNGKeyArray | None) -> PyTree:
        return apply_with_state(config, params, {}, x, key)[0]

    return supervised_task(init, apply_with_state if has_state else apply, has_state=has_state, **arguments)
