"""A hash of a task's code, so that a record is not continued by another computation under the same name."""

import hashlib
import sysconfig
import types
from typing import Any

import jax
import numpy as np

from jsweep.data.loader import Batches
from jsweep.data.splits import Splits, train_like

_LIBRARIES = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))


def code_hash(*functions: Any) -> str:
    """16 hex digits over the bytecode and constants of functions, and of what they close over or name.

    Follows closures, defaults and globals into the user's own functions; library functions count by name. Comments,
    line numbers and formatting do not count.
    """
    digest = hashlib.sha256()
    seen: set[int] = set()
    for function in functions:
        _add(digest, function, seen)
    return digest.hexdigest()[:16]


def data_hash(splits: Splits) -> str:
    """A hash of train and validation: 16 hex digits over structure, types, shapes and bytes.

    Of batches it is over the first one and the code that makes them.
    """
    digest = hashlib.sha256()
    if isinstance(splits.train, Batches):
        digest.update(code_hash(splits.train.make).encode())
    for arrays in (train_like(splits), splits.validation):
        digest.update(str(jax.tree.structure(arrays)).encode())
        for leaf in jax.tree.leaves(arrays):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape};".encode())
            for start in range(0, len(array), 65536):  # a memmap is hashed without being loaded whole
                digest.update(np.ascontiguousarray(array[start : start + 65536]).tobytes())
    return digest.hexdigest()[:16]


def _add(digest: Any, value: Any, seen: set[int]) -> None:
    if isinstance(value, types.CodeType):
        _add_code(digest, value, seen)
    elif isinstance(value, types.FunctionType):
        _add_function(digest, value, seen)
    elif isinstance(value, bool | int | float | complex | str | bytes | type(None)):
        digest.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, tuple | list | frozenset | set):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        digest.update(f"{type(value).__name__}{len(value)};".encode())
        for item in items:
            _add(digest, item, seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            _add(digest, key, seen)
            _add(digest, item, seen)
    elif hasattr(value, "func") and hasattr(value, "args"):  # functools.partial
        for part in (value.func, value.args, value.keywords):
            _add(digest, part, seen)
    else:
        digest.update(f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)};".encode())


def _add_function(digest: Any, function: types.FunctionType, seen: set[int]) -> None:
    digest.update(function.__qualname__.encode())
    if id(function) in seen:
        return
    seen.add(id(function))
    if function.__code__.co_filename.startswith(_LIBRARIES) and not _is_ours(function):
        digest.update(function.__module__.encode())
        return
    _add_code(digest, function.__code__, seen)
    _add(digest, function.__defaults__, seen)
    for cell in function.__closure__ or ():
        _add(digest, cell.cell_contents, seen)
    for name in _names(function.__code__):
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.FunctionType | bool | int | float | str | tuple):
                _add(digest, name, seen)
                _add(digest, value, seen)


def _is_ours(function: types.FunctionType) -> bool:
    """Functions of jsweep may close over the user's; they count whole."""
    return (function.__module__ or "").split(".")[0] == "jsweep"


def _add_code(digest: Any, code: types.CodeType, seen: set[int]) -> None:
    digest.update(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        _add(digest, constant, seen)


def _names(code: types.CodeType) -> list[str]:
    """Every global name a function mentions, its nested functions included."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return names
