"""jsweep: hyperparameter sweeps in JAX, trained in parallel as vmap lanes.

Public names are listed here and nowhere else; each is imported on first use, so that `import jsweep.schedules` loads
optax and nothing of the engine, the store or the CLI.
"""

import importlib
from typing import Any

_PUBLIC = {
    "configure": "jsweep.backend",
    "UserError": "jsweep.errors",
    "Splits": "jsweep.data",
    "split": "jsweep.data",
    "Config": "jsweep.task",
    "Task": "jsweep.task",
    "supervised": "jsweep.task",
    "Choice": "jsweep.lanes",
    "select": "jsweep.lanes",
    "select_optimizer": "jsweep.lanes",
    "Configs": "jsweep.space",
    "Space": "jsweep.space",
    "at_least": "jsweep.space",
    "at_most": "jsweep.space",
    "choice": "jsweep.space",
    "configs": "jsweep.space",
    "grid": "jsweep.space",
    "int_uniform": "jsweep.space",
    "latin_hypercube": "jsweep.space",
    "linspace": "jsweep.space",
    "log_int": "jsweep.space",
    "log_uniform": "jsweep.space",
    "logspace": "jsweep.space",
    "normal": "jsweep.space",
    "random": "jsweep.space",
    "sobol": "jsweep.space",
    "uniform": "jsweep.space",
    "when": "jsweep.space",
    "Sweep": "jsweep.sweeps",
    "sweep": "jsweep.sweeps",
    "run": "jsweep.sweeps",
    "Result": "jsweep.results",
    "ConfigScore": "jsweep.results",
    "TestScore": "jsweep.results",
}
_MODULES = ("losses", "metrics", "schedules")
__all__ = [*_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jsweep.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jsweep' has no attribute {name!r}")
    importlib.import_module("jsweep.backend").configure()
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
