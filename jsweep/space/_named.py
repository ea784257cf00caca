"""Callables by name: what a record holds in place of a function."""

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from jsweep.errors import ConfigError


@dataclass(frozen=True)
class Named:
    """A callable as a record holds it: its name, ``"module:qualname"``, with nothing imported or run."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Import the callable, and call it."""
        return self.resolve()(*args, **kwargs)

    def resolve(self) -> Callable[..., Any]:
        """Import the module and return the callable; ConfigError if it is not there any more."""
        module, _, qualname = self.name.partition(":")
        try:
            found = _look_up(_import(module), qualname)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.name} cannot be found ({error}): make its module importable under the name it had."
            ) from error
        if not callable(found):
            raise ConfigError(f"{self.name} is not a function any more: restore it under that name.")
        return found


def name_of(function: Callable[..., Any]) -> str:
    """``"module:qualname"`` of a callable that its module holds under that name; ConfigError for any other.

    A function that a package makes public is named by its public module (``jax.nn:relu``), which outlives the private
    one that defines it; a function of the running script by the file's name, so that it is the same value whether the
    script is run or imported.
    """
    module, qualname = getattr(function, "__module__", None), _qualname(function)
    if not isinstance(module, str) or qualname is None:
        raise ConfigError(
            f"a {type(function).__name__} object has no name that a record could hold: "
            "define a function at the top level of a module and pass that."
        )
    if "<" in qualname:
        raise ConfigError(
            f"{qualname} has no name that a record could hold: define it with def at the top level of a module."
        )
    module = _public_module(module, qualname)
    if not _holds(module, qualname, function):
        raise ConfigError(
            f"{qualname} is not what its module {module} holds under that name, so a record could not name it: "
            "define it with def at the top level of a module and pass that."
        )
    return f"{_script() if module == '__main__' else module}:{qualname}"


def _qualname(function: Callable[..., Any]) -> str | None:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return name if isinstance(name, str) else None


@functools.cache
def _public_module(module: str, qualname: str) -> str:
    """The module without its private parts, or its nearest parent that holds the same object; otherwise itself."""
    first, *rest = module.split(".")
    if first.startswith("_") or not any(part.startswith("_") for part in rest):
        return module
    function = _look_up(_import(module), qualname) if _holds(module, qualname) else None
    public = [first, *(part for part in rest if not part.startswith("_"))]
    parents = (".".join(public[:length]) for length in range(len(public), 0, -1))
    return next((name for name in parents if function is not None and _holds(name, qualname, function)), module)


def _holds(module: str, qualname: str, function: object = None) -> bool:
    """Whether the module can be imported and has that name, for that very function if one is given."""
    try:
        found = _look_up(_import(module), qualname)
    except (ImportError, AttributeError):
        return False
    return function is None or found is function


def _look_up(module: ModuleType, qualname: str) -> object:
    return functools.reduce(getattr, qualname.split("."), module)


def _import(name: str) -> ModuleType:
    """The module of that name; the running script under either of its names, unless it was imported as well."""
    if name in sys.modules:
        return sys.modules[name]
    return sys.modules["__main__"] if name == _script() else importlib.import_module(name)


def _script() -> str:
    """The name under which the running script would be imported; "__main__" in a notebook or at a prompt."""
    main = sys.modules["__main__"]
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return spec.name
    return Path(path).stem if path else "__main__"
