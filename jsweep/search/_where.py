"""Which configs a search keeps: those that satisfy every constraint of the space and the user's ``where``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._space import Space

Where = Callable[[dict[str, Any]], bool]
"""A function from a config to whether it is kept."""


@dataclass(frozen=True)
class Filter:
    """The configs of a space that satisfy its constraints and, where there is one, ``where``."""

    space: Space
    where: Where | None = None

    def __post_init__(self) -> None:
        if self.where is not None and not callable(self.where):
            raise ConfigError(f"where={self.where!r} is not a function: pass one from a config to True or False.")

    @cached_property
    def conditions(self) -> Mapping[str, Where]:
        """What must be True of a config, by the words in which messages speak of it."""
        own: dict[str, Where] = {
            f"the constraint {name!r}": constraint.holds for name, constraint in self.space.constraints.items()
        }
        return own if self.where is None else {**own, "where": self.where}

    def keeps(self, config: Mapping[str, Value]) -> bool:
        """Whether every condition is True of a config.

        Raises ConfigError for a condition that returns neither True nor False, or that reads an absent name.
        """
        return all(_answer(words, condition, self.space, config) for words, condition in self.conditions.items())

    def __str__(self) -> str:
        *first, last = self.conditions or [""]
        return f"{', '.join(first)} and {last}" if first else last


def _answer(words: str, condition: Where, space: Space, config: Mapping[str, Value]) -> bool:
    try:
        answer = condition(dict(config))
    except KeyError as error:
        name = error.args[0] if error.args else None
        if name in config or (name not in space and words == "where"):
            raise
        if name not in space:
            raise ConfigError(
                f"{words} reads {name!r}, which the space does not have: add that name, or correct it."
            ) from error
        raise ConfigError(
            f"{words} reads {name!r}, which not every config has: read it with config.get({name!r})."
        ) from error
    if not isinstance(answer, bool | np.bool_):
        raise ConfigError(f"{words} returned {answer!r}: return True for the configs to keep and False for the others.")
    return bool(answer)
