"""jsweep: hyperparameter sweeps in JAX, trained in parallel as vmap lanes.

Public names are listed here and nowhere else; each is imported on first use, so that `import jsweep.schedules` loads
optax and nothing of the engine, the store or the CLI.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time names are imported on first use
    from jsweep import losses as losses
    from jsweep import metrics as metrics
    from jsweep import models as models
    from jsweep import schedules as schedules
    from jsweep._runtime.backend import configure as configure
    from jsweep.data.folds import folds as folds
    from jsweep.data.folds import nested_folds as nested_folds
    from jsweep.data.loader import Batches as Batches
    from jsweep.data.splits import Splits as Splits
    from jsweep.data.splits import split as split
    from jsweep.engine.events import Callback as Callback
    from jsweep.engine.events import Compiled as Compiled
    from jsweep.engine.events import Failed as Failed
    from jsweep.engine.events import Halved as Halved
    from jsweep.engine.events import Trained as Trained
    from jsweep.engine.executors.distributed import distributed as distributed
    from jsweep.engine.executors.remote import Executor as Executor
    from jsweep.errors import ConfigError as ConfigError
    from jsweep.errors import IncompatibleSweepError as IncompatibleSweepError
    from jsweep.errors import JsweepError as JsweepError
    from jsweep.errors import MissingExtraError as MissingExtraError
    from jsweep.errors import StoreError as StoreError
    from jsweep.errors import UnknownNameError as UnknownNameError
    from jsweep.integrations import equinox as equinox
    from jsweep.integrations import haiku as haiku
    from jsweep.integrations import linen as linen
    from jsweep.integrations import nnx as nnx
    from jsweep.integrations import sklearn as sklearn
    from jsweep.integrations.export import Exported as Exported
    from jsweep.integrations.export import export as export
    from jsweep.integrations.ray import RayExecutor as RayExecutor
    from jsweep.integrations.ray import ray as ray
    from jsweep.results import statistics as statistics
    from jsweep.results.comparison import Comparison as Comparison
    from jsweep.results.comparison import compare as compare
    from jsweep.results.curves import Curves as Curves
    from jsweep.results.diagnostics import Diagnosis as Diagnosis
    from jsweep.results.diagnostics import Finding as Finding
    from jsweep.results.importance import Importance as Importance
    from jsweep.results.objective import Objective as Objective
    from jsweep.results.objective import maximize as maximize
    from jsweep.results.objective import minimize as minimize
    from jsweep.results.pareto import ParetoPoint as ParetoPoint
    from jsweep.results.ranking import ConfigScore as ConfigScore
    from jsweep.results.ranking import TestScore as TestScore
    from jsweep.results.report import Page as Page
    from jsweep.results.reports import SweepReport as SweepReport
    from jsweep.results.reports import SweepSummary as SweepSummary
    from jsweep.results.reports import TrialReport as TrialReport
    from jsweep.results.result import Result as Result
    from jsweep.results.table import Table as Table
    from jsweep.results.verbs import best as best
    from jsweep.results.verbs import diagnose as diagnose
    from jsweep.results.verbs import importance as importance
    from jsweep.results.verbs import list as list
    from jsweep.results.verbs import open as open
    from jsweep.results.verbs import report as report
    from jsweep.results.verbs import show as show
    from jsweep.runner.clone import clone as clone
    from jsweep.runner.confirm import Confirmation as Confirmation
    from jsweep.runner.confirm import confirm as confirm
    from jsweep.runner.plan import Plan as Plan
    from jsweep.runner.plan import plan as plan
    from jsweep.runner.prediction import Prediction as Prediction
    from jsweep.runner.replay import Replay as Replay
    from jsweep.runner.replay import replay as replay
    from jsweep.runner.resume import resume as resume
    from jsweep.runner.run import attach as attach
    from jsweep.runner.run import run as run
    from jsweep.runner.run import sweep as sweep
    from jsweep.runner.session import Session as Session
    from jsweep.runner.sweep import Sweep as Sweep
    from jsweep.runner.tune import Tuned as Tuned
    from jsweep.runner.tune import tune as tune
    from jsweep.runner.verbs import params as params
    from jsweep.runner.verbs import test as test
    from jsweep.search import rules as rules
    from jsweep.search.grid import grid as grid
    from jsweep.search.model_based import Search as Search
    from jsweep.search.model_based import cma_es as cma_es
    from jsweep.search.model_based import gp as gp
    from jsweep.search.model_based import nsga2 as nsga2
    from jsweep.search.model_based import optuna as optuna
    from jsweep.search.model_based import tpe as tpe
    from jsweep.search.quasi_random import latin_hypercube as latin_hypercube
    from jsweep.search.quasi_random import sobol as sobol
    from jsweep.search.random import random as random
    from jsweep.space import Configs as Configs
    from jsweep.space import Space as Space
    from jsweep.space import at_least as at_least
    from jsweep.space import at_most as at_most
    from jsweep.space import choice as choice
    from jsweep.space import configs as configs
    from jsweep.space import constraint as constraint
    from jsweep.space import int_uniform as int_uniform
    from jsweep.space import lane as lane
    from jsweep.space import linspace as linspace
    from jsweep.space import log_int as log_int
    from jsweep.space import log_uniform as log_uniform
    from jsweep.space import logspace as logspace
    from jsweep.space import normal as normal
    from jsweep.space import static as static
    from jsweep.space import uniform as uniform
    from jsweep.space import when as when
    from jsweep.storage.integrity import Verified as Verified
    from jsweep.storage.integrity import drop as drop
    from jsweep.storage.integrity import stop as stop
    from jsweep.storage.integrity import verify as verify
    from jsweep.storage.merging import Merged as Merged
    from jsweep.storage.merging import merge as merge
    from jsweep.task.config import Config as Config
    from jsweep.task.lanes import Choice as Choice
    from jsweep.task.lanes import Width as Width
    from jsweep.task.lanes import select as select
    from jsweep.task.lanes import select_optimizer as select_optimizer
    from jsweep.task.supervised import supervised as supervised
    from jsweep.task.task import Task as Task
    from jsweep.task.train_step import from_train_step as from_train_step

    __version__: str

_PUBLIC = {
    "configure": "jsweep._runtime.backend",
    "Callback": "jsweep.engine.events",
    "Compiled": "jsweep.engine.events",
    "Failed": "jsweep.engine.events",
    "Halved": "jsweep.engine.events",
    "Trained": "jsweep.engine.events",
    "JsweepError": "jsweep.errors",
    "ConfigError": "jsweep.errors",
    "UnknownNameError": "jsweep.errors",
    "StoreError": "jsweep.errors",
    "IncompatibleSweepError": "jsweep.errors",
    "MissingExtraError": "jsweep.errors",
    "Batches": "jsweep.data.loader",
    "folds": "jsweep.data.folds",
    "nested_folds": "jsweep.data.folds",
    "Splits": "jsweep.data.splits",
    "split": "jsweep.data.splits",
    "Config": "jsweep.task.config",
    "Task": "jsweep.task.task",
    "supervised": "jsweep.task.supervised",
    "from_train_step": "jsweep.task.train_step",
    "Choice": "jsweep.task.lanes",
    "Width": "jsweep.task.lanes",
    "select": "jsweep.task.lanes",
    "select_optimizer": "jsweep.task.lanes",
    "Configs": "jsweep.space",
    "Space": "jsweep.space",
    "at_least": "jsweep.space",
    "at_most": "jsweep.space",
    "choice": "jsweep.space",
    "configs": "jsweep.space",
    "constraint": "jsweep.space",
    "int_uniform": "jsweep.space",
    "lane": "jsweep.space",
    "linspace": "jsweep.space",
    "log_int": "jsweep.space",
    "log_uniform": "jsweep.space",
    "logspace": "jsweep.space",
    "normal": "jsweep.space",
    "static": "jsweep.space",
    "uniform": "jsweep.space",
    "when": "jsweep.space",
    "grid": "jsweep.search.grid",
    "Search": "jsweep.search.model_based",
    "cma_es": "jsweep.search.model_based",
    "gp": "jsweep.search.model_based",
    "nsga2": "jsweep.search.model_based",
    "optuna": "jsweep.search.model_based",
    "tpe": "jsweep.search.model_based",
    "random": "jsweep.search.random",
    "latin_hypercube": "jsweep.search.quasi_random",
    "sobol": "jsweep.search.quasi_random",
    "Session": "jsweep.runner.session",
    "Sweep": "jsweep.runner.sweep",
    "Tuned": "jsweep.runner.tune",
    "tune": "jsweep.runner.tune",
    "params": "jsweep.runner.verbs",
    "test": "jsweep.runner.verbs",
    "sweep": "jsweep.runner.run",
    "attach": "jsweep.runner.run",
    "run": "jsweep.runner.run",
    "resume": "jsweep.runner.resume",
    "Plan": "jsweep.runner.plan",
    "Prediction": "jsweep.runner.prediction",
    "plan": "jsweep.runner.plan",
    "Verified": "jsweep.storage.integrity",
    "drop": "jsweep.storage.integrity",
    "Merged": "jsweep.storage.merging",
    "merge": "jsweep.storage.merging",
    "stop": "jsweep.storage.integrity",
    "verify": "jsweep.storage.integrity",
    "Replay": "jsweep.runner.replay",
    "replay": "jsweep.runner.replay",
    "clone": "jsweep.runner.clone",
    "Confirmation": "jsweep.runner.confirm",
    "confirm": "jsweep.runner.confirm",
    "RayExecutor": "jsweep.integrations.ray",
    "ray": "jsweep.integrations.ray",
    "Executor": "jsweep.engine.executors.remote",
    "distributed": "jsweep.engine.executors.distributed",
    "Exported": "jsweep.integrations.export",
    "export": "jsweep.integrations.export",
    "Diagnosis": "jsweep.results.diagnostics",
    "Finding": "jsweep.results.diagnostics",
    "Comparison": "jsweep.results.comparison",
    "compare": "jsweep.results.comparison",
    "Curves": "jsweep.results.curves",
    "Importance": "jsweep.results.importance",
    "Objective": "jsweep.results.objective",
    "maximize": "jsweep.results.objective",
    "minimize": "jsweep.results.objective",
    "Result": "jsweep.results.result",
    "Table": "jsweep.results.table",
    "Page": "jsweep.results.report",
    "SweepReport": "jsweep.results.reports",
    "SweepSummary": "jsweep.results.reports",
    "TrialReport": "jsweep.results.reports",
    "best": "jsweep.results.verbs",
    "diagnose": "jsweep.results.verbs",
    "importance": "jsweep.results.verbs",
    "list": "jsweep.results.verbs",
    "open": "jsweep.results.verbs",
    "report": "jsweep.results.verbs",
    "show": "jsweep.results.verbs",
    "ConfigScore": "jsweep.results.ranking",
    "ParetoPoint": "jsweep.results.pareto",
    "TestScore": "jsweep.results.ranking",
}
_MODULES = {
    "equinox": "jsweep.integrations.equinox",
    "haiku": "jsweep.integrations.haiku",
    "linen": "jsweep.integrations.linen",
    "nnx": "jsweep.integrations.nnx",
    "sklearn": "jsweep.integrations.sklearn",
    "losses": "jsweep.losses",
    "metrics": "jsweep.metrics",
    "models": "jsweep.models",
    "rules": "jsweep.search.rules",
    "schedules": "jsweep.schedules",
    "statistics": "jsweep.results.statistics",
}
__all__ = [*_PUBLIC, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("jsweep")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jsweep' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> Sequence[str]:
    return sorted(__all__)
