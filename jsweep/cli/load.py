"""Loading an experiment file: a Python file whose ``sweep`` is a `jsweep.Sweep`, or a function that returns one."""

import dataclasses
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from jsweep.errors import JsweepError


def load_sweep(path: str, **changes: Any) -> Any:
    """Run the file at ``path`` and return the `jsweep.Sweep` it defines, with ``changes`` (None: leave) applied."""
    from jsweep.runner.sweep import Sweep

    module = _run_file(Path(path))
    defined = getattr(module, "sweep", None)
    if callable(defined) and not isinstance(defined, Sweep) and getattr(defined, "__module__", "") == module.__name__:
        defined = _guarded(path, defined)
    if not isinstance(defined, Sweep):
        raise JsweepError(
            f"{path} defines no sweep: give it a function sweep() that returns a jsweep.Sweep(task, configs, ...)."
        )
    changes = {name: value for name, value in changes.items() if value is not None}
    if "steps" in changes:
        changes.setdefault("epochs", None)
    return dataclasses.replace(defined, **changes)


def _run_file(path: Path) -> Any:
    if not path.is_file():
        raise JsweepError(
            f"{str(path)!r} is not a file: give the path of an experiment, such as experiments/digits.py."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise JsweepError(f"{str(path)!r} is not a Python file: give one whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that functions named in configs are found again by module and name
    sys.path.insert(0, str(path.parent))
    _guarded(str(path), spec.loader.exec_module, module)
    return module


def _guarded(path: str, function: Any, *arguments: Any) -> Any:
    """Call into the user's file; what goes wrong there is told with its place."""
    try:
        return function(*arguments)
    except JsweepError:
        raise
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(path, error)
        raise JsweepError(
            f"{path}{f':{line}' if line else ''} raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error


def _line_in(path: str, error: BaseException) -> int | None:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == Path(path).name]
    return frames[-1].lineno if frames else None
