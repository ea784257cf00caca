"""The user's ``where``: which configs a search keeps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._space import Space

Where = Callable[[dict[str, Any]], bool]
"""A function from a config to whether it is kept."""


def check_where(where: Where | None) -> None:
    """ConfigError unless ``where`` is a function or None."""
    if where is not None and not callable(where):
        raise ConfigError(f"where={where!r} is not a function: pass one from a config to True or False.")


def passes(where: Where, space: Space, config: Mapping[str, Value]) -> bool:
    """Whether ``where`` keeps a config; ConfigError if it returns neither True nor False, or reads an absent name."""
    try:
        answer = where(dict(config))
    except KeyError as error:
        name = error.args[0] if error.args else None
        if name not in space or name in config:
            raise
        raise ConfigError(
            f"where reads {name!r}, which not every config has: read it with config.get({name!r})."
        ) from error
    if not isinstance(answer, bool | np.bool_):
        raise ConfigError(f"where returned {answer!r}: return True for the configs to keep and False for the others.")
    return bool(answer)
