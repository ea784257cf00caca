"""Values as JSON, exactly: what a config's identity is made of and what a record holds."""

import functools
import hashlib
import importlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jsweep.errors import ConfigError

_INFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Named:
    """A callable as a record holds it: its name, ``"module:qualname"``, with nothing imported or run."""

    name: str

    def resolve(self) -> Callable:
        """Import the module and return the callable; ConfigError where it is not there any more."""
        module, _, qualname = self.name.partition(":")
        try:
            return _look_up(_import(module), qualname)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.name} cannot be found ({error}): make its module importable here, under the name it had."
            ) from error


def encode(value: Any) -> Any:
    """``value`` as JSON-able data, from which `decode` gives it back exactly.

    Numbers (whole numbers and floats stay apart, floats keep every bit), bools, None and text stand for themselves;
    NumPy and JAX scalars become Python's. Lists stay lists; a tuple is ``{"tuple": [...]}``, a callable
    ``{"callable": "module:qualname"}``, an infinity or nan ``{"float": "inf"}``. Raises ConfigError for anything
    else, and for callables without a name of their own in a module (lambdas, inner functions, partials).

    >>> encode((64, 0.1))
    {'tuple': [64, 0.1]}
    """
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, Named):
        return {"callable": value.name}
    if callable(value):
        return {"callable": name_of(value)}
    return value


def decode(data: Any, resolve: bool = False) -> Any:
    """The value that `encode` turned into ``data``.

    Callables come back as `Named`, which imports nothing, because a record from elsewhere must run no code;
    ``resolve=True`` imports them. Raises ConfigError for data that `encode` does not write.

    >>> decode({"callable": "math:sqrt"}), decode({"callable": "math:sqrt"}, resolve=True)(9.0)
    (Named(name='math:sqrt'), 3.0)
    """
    if isinstance(data, list):
        return [decode(item, resolve) for item in data]
    if isinstance(data, dict):
        match data:
            case {"tuple": [*items], **rest} if not rest:
                return tuple(decode(item, resolve) for item in items)
            case {"float": str(text), **rest} if not rest and text in _INFINITE:
                return _INFINITE[text]
            case {"callable": str(name), **rest} if not rest and ":" in name:
                return Named(name).resolve() if resolve else Named(name)
        raise ConfigError(f"{data!r} is no encoded value: give what encode returned.")
    return data


def config_id(config: Mapping[str, Any]) -> str:
    """The config's identity: 16 hex digits, the same on every machine and whatever the order of its names.

    They are the first of the SHA-256 of its canonical JSON. 1 and 1.0 are different values: a whole number can be a
    shape, and travels in a lane of its own type, so that the two may train differently.

    >>> config_id({"l2": 0.0, "learning_rate": 0.1}) == config_id({"learning_rate": 0.1, "l2": 0.0})
    True
    """
    return hashlib.sha256(canonical({name: encode(value) for name, value in config.items()}).encode()).hexdigest()[:16]


def canonical(data: Any) -> str:
    """JSON in the one form that identities are made of: sorted names, no spaces, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """``value`` with NumPy and JAX scalars as Python's, tuples and lists throughout; ConfigError for what is no value."""
    if type(value) in (bool, int, float, str, type(None), Named):
        return value
    if type(value) in (tuple, list):
        return type(value)(plain(item) for item in value)
    if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0:
        return _scalar(value)
    if callable(value):
        name_of(value)
        return value
    raise _refused(value)


def _scalar(value: Any) -> Any:
    try:
        item = value.item()
    except (TypeError, NotImplementedError):  # a tracer; a key
        raise _refused(value) from None
    if type(item) not in (bool, int, float, str):
        raise _refused(value)
    return item


def _refused(value: Any) -> ConfigError:
    shown = " ".join(repr(value).split())
    return ConfigError(
        f"{shown if len(shown) <= 60 else shown[:57] + '...'} is of type {type(value).__name__}, which no config can hold: "
        "give a number, text, a bool, None, a tuple or list of them, or a function."
    )


def name_of(function: Any) -> str:
    """``"module:qualname"`` of a callable that its module holds under that name; ConfigError for any other.

    A function that a package makes public goes by its public module (``jax.nn:relu``), which outlives the private one
    it is written in; a function of the running script by the file's name, so that it is the same value run or imported.
    """
    module, qualname = getattr(function, "__module__", None), _qualname(function)
    if not isinstance(module, str) or qualname is None:
        raise ConfigError(
            f"a {type(function).__name__} object has no name that a record could keep: "
            "write a function at the top level of a module, and give that."
        )
    if "<" in qualname:
        raise ConfigError(
            f"{qualname} has no name that a record could keep: define it with def at the top level of a module."
        )
    module = _public_module(module, qualname)
    if not _holds(module, qualname, function):
        raise ConfigError(
            f"{qualname} is not what its module {module} holds under that name, so a record could not keep it: "
            "define it with def at the top level of a module, and give that one."
        )
    return f"{_script() if module == '__main__' else module}:{qualname}"


def _qualname(function: Any) -> str | None:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return name if isinstance(name, str) else None


@functools.cache
def _public_module(module: str, qualname: str) -> str:
    """The module without its private parts, or the nearest parent of that, which holds the same object; else itself."""
    first, *rest = module.split(".")
    if first.startswith("_") or not any(part.startswith("_") for part in rest):
        return module
    function = _look_up(_import(module), qualname) if _holds(module, qualname) else None
    public = [first, *(part for part in rest if not part.startswith("_"))]
    parents = (".".join(public[:length]) for length in range(len(public), 0, -1))
    return next((name for name in parents if function is not None and _holds(name, qualname, function)), module)


def _holds(module: str, qualname: str, function: Any = None) -> bool:
    """Whether the module can be imported and has that name, for that very function where one is given."""
    try:
        found = _look_up(_import(module), qualname)
    except (ImportError, AttributeError):
        return False
    return function is None or found is function


def _look_up(module: Any, qualname: str) -> Any:
    for part in qualname.split("."):
        module = getattr(module, part)
    return module


def _import(name: str) -> Any:
    """The module of that name; the running script under either of its names, unless it was imported as well."""
    if name in sys.modules:
        return sys.modules[name]
    return sys.modules["__main__"] if name == _script() else importlib.import_module(name)


def _script() -> str:
    """What the script that runs would be imported as; "__main__" in a notebook or at a prompt."""
    main = sys.modules["__main__"]
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return spec.name
    return Path(path).stem if path else "__main__"
