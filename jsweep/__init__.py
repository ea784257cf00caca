"""jsweep: hyperparameter sweeps in JAX, trained in parallel as vmap lanes.

Public names are listed here and nowhere else; each is imported on first use, so that `import jsweep.schedules` loads
optax and nothing of the engine, the store or the CLI.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time names are imported on first use
    from jsweep import losses as losses
    from jsweep import metrics as metrics
    from jsweep import models as models
    from jsweep import schedules as schedules
    from jsweep.backend import configure as configure
    from jsweep.data import Batches as Batches
    from jsweep.data import Splits as Splits
    from jsweep.data import split as split
    from jsweep.errors import UserError as UserError
    from jsweep.lanes import Choice as Choice
    from jsweep.lanes import Width as Width
    from jsweep.lanes import select as select
    from jsweep.lanes import select_optimizer as select_optimizer
    from jsweep.plans import Plan as Plan
    from jsweep.plans import plan as plan
    from jsweep.records import Verified as Verified
    from jsweep.records import drop as drop
    from jsweep.records import verify as verify
    from jsweep.replays import Replay as Replay
    from jsweep.replays import replay as replay
    from jsweep.results import ConfigScore as ConfigScore
    from jsweep.results import Result as Result
    from jsweep.results import TestScore as TestScore
    from jsweep.running import run as run
    from jsweep.running import sweep as sweep
    from jsweep.space import Configs as Configs
    from jsweep.space import Space as Space
    from jsweep.space import at_least as at_least
    from jsweep.space import at_most as at_most
    from jsweep.space import choice as choice
    from jsweep.space import configs as configs
    from jsweep.space import grid as grid
    from jsweep.space import int_uniform as int_uniform
    from jsweep.space import lane as lane
    from jsweep.space import latin_hypercube as latin_hypercube
    from jsweep.space import linspace as linspace
    from jsweep.space import log_int as log_int
    from jsweep.space import log_uniform as log_uniform
    from jsweep.space import logspace as logspace
    from jsweep.space import normal as normal
    from jsweep.space import random as random
    from jsweep.space import sobol as sobol
    from jsweep.space import static as static
    from jsweep.space import uniform as uniform
    from jsweep.space import when as when
    from jsweep.sweeps import Sweep as Sweep
    from jsweep.task import Config as Config
    from jsweep.task import Task as Task
    from jsweep.task import supervised as supervised

_PUBLIC = {
    "configure": "jsweep.backend",
    "UserError": "jsweep.errors",
    "Batches": "jsweep.data",
    "Splits": "jsweep.data",
    "split": "jsweep.data",
    "Config": "jsweep.task",
    "Task": "jsweep.task",
    "supervised": "jsweep.task",
    "Choice": "jsweep.lanes",
    "Width": "jsweep.lanes",
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
    "lane": "jsweep.space",
    "latin_hypercube": "jsweep.space",
    "linspace": "jsweep.space",
    "log_int": "jsweep.space",
    "log_uniform": "jsweep.space",
    "logspace": "jsweep.space",
    "normal": "jsweep.space",
    "random": "jsweep.space",
    "sobol": "jsweep.space",
    "static": "jsweep.space",
    "uniform": "jsweep.space",
    "when": "jsweep.space",
    "Sweep": "jsweep.sweeps",
    "sweep": "jsweep.running",
    "run": "jsweep.running",
    "Plan": "jsweep.plans",
    "plan": "jsweep.plans",
    "Verified": "jsweep.records",
    "drop": "jsweep.records",
    "verify": "jsweep.records",
    "Replay": "jsweep.replays",
    "replay": "jsweep.replays",
    "Result": "jsweep.results",
    "ConfigScore": "jsweep.results",
    "TestScore": "jsweep.results",
}
_MODULES = ("losses", "metrics", "models", "schedules")
__all__ = [*_PUBLIC, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


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
