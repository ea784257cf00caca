"""Constraints of a space: which combinations of its values are configs at all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jsweep.errors import ConfigError


@dataclass(frozen=True)
class Constraint:
    """What every config of a space satisfies: ``holds(config)`` is True."""

    holds: Callable[[dict[str, Any]], bool]

    def __str__(self) -> str:
        return f"constraint {getattr(self.holds, '__qualname__', None) or self.holds}"


def constraint(holds: Callable[[dict[str, Any]], bool]) -> Constraint:
    """A constraint, which stands in a space under a name of its own: its configs are those for which ``holds`` is True.

    Every search sees it. ``holds`` is given the config as a dict; a conditional name that may be absent is read with
    ``config.get``. Raises ConfigError unless ``holds`` is a function.

    >>> import jsweep as js
    >>> shorter = js.constraint(lambda config: config["warmup"] < config["steps"])
    >>> js.grid({"warmup": [0, 100], "steps": [100, 200], "warmup is shorter": shorter})
    3 configs
      warmup=0, steps=100
      warmup=0, steps=200
      warmup=100, steps=200
    """
    if not callable(holds):
        raise ConfigError(f"constraint({holds!r}) is not of a function: pass one from a config to True or False.")
    return Constraint(holds)
