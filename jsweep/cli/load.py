"""Loading an experiment: a Python file whose ``sweep`` is a `jsweep.Sweep`, or a function that returns one."""

import contextlib
import dataclasses
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jsweep.cli.options import STORE, Experiment
from jsweep.errors import ConfigError, JsweepError

if TYPE_CHECKING:
    from jsweep.runner.sweep import Sweep

P = ParamSpec("P")
T = TypeVar("T")

_EXPERIMENTS: set[str] = set()  # the modules of this process that were loaded here
_FOLDERS: set[str] = set()  # where they lie


def load_sweep(experiment: Experiment) -> "Sweep":
    """Run an experiment's file and return the sweep it defines, changed as the command line says.

    On the command line a sweep always has a store (default: sweeps.db) and a name: its own, its task's, or the file's.
    """
    from jsweep._runtime.backend import configure
    from jsweep.runner.sweep import Sweep

    configure()  # before the file makes its first array
    path = Path(experiment.file)
    module = _run_file(path)
    defined = getattr(module, "sweep", None)
    if callable(defined) and not isinstance(defined, Sweep) and getattr(defined, "__module__", "") == module.__name__:
        defined = _guarded(path, defined)
    if not isinstance(defined, Sweep):
        raise ConfigError(
            f"{path} defines no sweep: define a function sweep() that returns a jsweep.Sweep(task, configs, ...)."
        )
    return _changed(defined, experiment)


def experiment_modules() -> list[ModuleType]:
    """The modules of the experiments that were loaded."""
    return [sys.modules[name] for name in _EXPERIMENTS if name in sys.modules]


def _changed(sweep: "Sweep", experiment: Experiment) -> "Sweep":
    from jsweep.runner.confirm import recorded_confirmation

    given = dataclasses.asdict(experiment)
    changes: dict[str, Any] = {
        name: given[name] for name in ("store", "name", "seeds", "steps", "epochs") if given[name] is not None
    }
    if "steps" in changes or "epochs" in changes:
        changes = {"steps": None, "epochs": None} | changes
    if sweep.store is None:
        changes.setdefault("store", STORE)
    if sweep.name is None and sweep.task.name is None:
        changes.setdefault("name", Path(experiment.file).stem)
    return recorded_confirmation(dataclasses.replace(sweep, **changes))


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(
            f"{str(path)!r} is not a file: pass the path of an experiment, such as experiments/digits.py."
        )
    if path.suffix != ".py":
        raise ConfigError(f"{str(path)!r} is not a Python file: pass a file whose name ends in .py.")
    name = _module_name(path)
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None  # as the loader was given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # functions in configs are found again by module and name
    _EXPERIMENTS.add(name)
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        _FOLDERS.add(folder)
        sys.path.insert(0, folder)  # for imports of its neighbours, as when Python runs the file
    _guarded(path, loader.exec_module, module)
    return module


def _module_name(path: Path) -> str:
    """The file's stem, unless another module has that name: that one is then imported, so that it is not hidden."""
    stem = path.stem
    if stem in _EXPERIMENTS or not _is_taken(stem, path):
        return stem
    if stem not in sys.modules:
        with contextlib.suppress(Exception):  # a module that cannot be imported here is not needed here
            importlib.import_module(stem)
    return f"{stem}_experiment"


def _is_taken(name: str, path: Path) -> bool:
    """Whether ``name`` is that of a module which is not the file at ``path``; the working directory does not count."""
    if name in sys.stdlib_module_names:
        return True
    if name in sys.modules:
        return not _is_same(getattr(sys.modules[name], "__file__", None), path)
    here = str(Path.cwd())
    installed = [entry for entry in sys.path if entry not in ("", here, *_FOLDERS)]
    spec = PathFinder.find_spec(name, installed)
    return spec is not None and spec.origin is not None and not _is_same(spec.origin, path)


def _is_same(file: str | None, path: Path) -> bool:
    return file is not None and Path(file).resolve() == path.resolve()


def _guarded(path: Path, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call into the user's file; an exception becomes one sentence with its place."""
    try:
        return function(*args, **kwargs)
    except JsweepError:
        raise
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(path, error)
        place = f"{path}:{line}" if line else str(path)
        raise ConfigError(f"{place} raised {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def _line_in(path: Path, error: Exception) -> int | None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == path.name]
    return frames[-1].lineno if frames else None
