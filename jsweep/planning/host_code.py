"""The code of functions that run on the host, which no jaxpr shows: callbacks of a step, and loaders of batches."""

import functools
import hashlib
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

_LIBRARIES = tuple(sysconfig.get_paths()[key] + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...))
_PLAIN = (*_CONSTANTS, tuple, frozenset, types.CodeType)
_WRITTEN = frozenset({"__module__", "__doc__", "__firstlineno__", "__annotations__"})  # of a class, of no effect
_ARRAY_BYTES = 1 << 26  # of an array that are hashed; of a larger one rows at equal distances


def code_hash(function: Callable[..., Any], *, with_state: bool) -> str:
    """16 hex digits over the bytecode of a function, and over what that refers to.

    Closures, defaults, global names, methods, classes and modules are followed, except into libraries: of those count the
    function that is called and the version. Comments, docstrings and annotations do not count; another Python has other
    bytecode.

    Args:
        function: the function.
        with_state: whether what may change while it runs counts too: lists, sets, dicts and attributes of objects.
    """
    digest = hashlib.sha256()
    seen: dict[int, object] = {}  # by id; keeping them alive keeps their ids
    waiting: list[Any] = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        if not isinstance(value, _PLAIN):
            seen[id(value)] = value
        text, parts = _described(value, with_state)
        digest.update(text + b";")
        waiting += parts
    return digest.hexdigest()[:16]


def _described(value: Any, with_state: bool) -> tuple[bytes, list[Any]]:
    """A value's own part of the hash, and the values that it refers to."""
    kind = type(value).__qualname__.encode()
    match value:
        case bool() | int() | float() | complex() | str() | bytes() | None | types.EllipsisType():
            return kind + repr(value).encode(), []
        case types.CodeType():
            return value.co_code + repr(value.co_names).encode(), list(value.co_consts)
        case types.FunctionType():
            return _described_function(value)
        case types.MethodType():
            return kind, [value.__func__, value.__self__]
        case functools.partial():
            return kind, [value.func, value.args, *_items(value.keywords)]
        case type():
            return _described_class(value, with_state)
        case np.ndarray() | np.generic() | jax.Array():
            return _described_array(value), []
        case tuple() | frozenset():
            return kind, _contents(value)
        case list() | set() | dict():
            return kind, _contents(value) if with_state else []
        case property() | functools.cached_property():
            return kind, [getattr(value, name, None) for name in ("fget", "fset", "func")]
    if hasattr(value, "__wrapped__"):  # of functools.lru_cache, staticmethod or jax.jit, say
        return kind, [value.__wrapped__]
    return _described_object(value, with_state)


def _described_function(function: types.FunctionType) -> tuple[bytes, list[Any]]:
    code = function.__code__
    if function.__doc__ is not None and code.co_consts[:1] == (function.__doc__,):
        code = code.replace(co_consts=(None, *code.co_consts[1:]))
    if code.co_filename.startswith(_LIBRARIES):
        return _name_and_version(function.__module__, function.__qualname__), [code]
    names = _names(code)
    named = [part for name in names for part in _global(function.__globals__, name, names)]
    cells = [part for cell in function.__closure__ or () for part in _cell(cell)]
    return b"function", [code, function.__defaults__, *_items(function.__kwdefaults__ or {}), *cells, *named]


def _described_class(kind: type, with_state: bool) -> tuple[bytes, list[Any]]:
    if _is_library(kind.__module__):
        return _name_and_version(kind.__module__, kind.__qualname__), []
    own = {name: value for name, value in vars(kind).items() if name not in _WRITTEN}
    kept = {n: v for n, v in own.items() if with_state or callable(v) or isinstance(v, (*_PLAIN, property))}
    return b"class", [*kind.__bases__, *_items(kept)]


def _described_array(value: Any) -> bytes:
    array = np.asarray(value)
    rows = array.reshape(-1)[:: -(-array.nbytes // _ARRAY_BYTES) or 1]
    return f"{array.dtype}{array.shape}".encode() + hashlib.sha256(rows.tobytes()).digest()


def _described_object(value: Any, with_state: bool) -> tuple[bytes, list[Any]]:
    if isinstance(value, types.BuiltinFunctionType) or _is_library(type(value).__module__):
        name = getattr(value, "__qualname__", getattr(value, "__name__", type(value).__qualname__))
        return _name_and_version(str(getattr(value, "__module__", "")), str(name)), []
    return b"object", [type(value), *(_items(getattr(value, "__dict__", {})) if with_state else [])]


def _cell(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not yet set
        return []


def _global(variables: Mapping[str, Any], name: str, names: list[str]) -> Iterator[Any]:
    """What a function means by a global name; of a module the attributes that the function may use."""
    if name not in variables:
        return
    value = variables[name]
    yield name
    if not isinstance(value, types.ModuleType):
        yield value
    elif _is_library(value.__name__):
        yield _name_and_version(value.__name__, "").decode()
    else:
        yield from (getattr(value, each) for each in names if hasattr(value, each))


def _names(code: types.CodeType) -> list[str]:
    """Every name that a function mentions, those of functions in it included."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return list(dict.fromkeys([*code.co_names, *(name for each in inner for name in _names(each))]))


def _contents(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return _items(value)
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)


def _items(mapping: Mapping[Any, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]


def _is_library(module: str) -> bool:
    found = sys.modules.get(module)
    if found is None or module == "__main__":
        return False
    file = getattr(found, "__file__", None)
    return file is None or file.startswith(_LIBRARIES)


def _name_and_version(module: str, name: str) -> bytes:
    package = sys.modules.get(module.partition(".")[0])
    return f"{module}.{name} {getattr(package, '__version__', '')}".encode()
