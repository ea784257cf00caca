"""What a program computes, as a hash: the operations of its jaxpr and the constants in it, not the text it was written in.

So a change of a method, of a decorated, jitted or imported function, of a list or an array that it reads is noticed, and a
comment, another line or another Python is not.
"""

import hashlib
import itertools
import sysconfig
import types
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from jsweep.data.loader import Batches
from jsweep.data.splits import Splits
from jsweep.planning.traced import Traced

_LIBRARIES = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_MARK = 4  # hex digits kept of each operation, to say where two programs part
_CALLS = ("jit", "pjit", "closed_call", "core_call")  # what they call is looked at as if it were written in place
_NAMES = frozenset(
    {"name", "debug_info", "ctx_mesh", "donated_invars", "inline", "keep_unused"}
)  # of no effect on results


@dataclass(frozen=True)
class FunctionIdentity:
    """What one function computes: a digest (16 hex digits), and the name and a mark of each operation in order."""

    digest: str
    marks: tuple[str, ...]


@dataclass(frozen=True)
class ProgramIdentity:
    """What init, step and evaluate of a compile group compute."""

    init: FunctionIdentity
    step: FunctionIdentity
    evaluate: FunctionIdentity

    @property
    def digest(self) -> str:
        """16 hex digits over all three."""
        parts = (self.init.digest, self.step.digest, self.evaluate.digest)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def difference(self, before: "ProgramIdentity") -> str | None:
        """The first function, and operation in it, that is another than ``before``; None where all are the same."""
        for name in ("init", "step", "evaluate"):
            old, new = getattr(before, name), getattr(self, name)
            if old.digest != new.digest:
                return f"{name} ({_first_difference(old.marks, new.marks)})"
        return None


def _first_difference(before: Sequence[str], now: Sequence[str]) -> str:
    for number, (old, new) in enumerate(zip(before, now)):
        if old != new:
            was, now_is = (mark.split(":")[0] for mark in (old, new))
            if was != now_is:
                return f"operation {number} is {now_is}, and was {was}"
            return f"operation {number}, {was}, has other constants, shapes or operands"
    if len(before) == len(now):
        return "a constant"
    return f"it has {len(now)} operations, and had {len(before)}"


def identity_of(traced: Traced) -> ProgramIdentity:
    """The identity of a compile group's programs."""
    jaxprs = (traced.init, traced.step, traced.evaluate)
    return ProgramIdentity(*(_function_identity(jaxpr, traced.lanes) for jaxpr in jaxprs))


def _function_identity(closed: core.ClosedJaxpr, lanes: Sequence[str] = ()) -> FunctionIdentity:
    whole, marks = hashlib.sha256(), []
    for name, text in _operations(closed, lanes):
        digest = hashlib.sha256(text.encode()).hexdigest()
        whole.update(f"{name} {digest}\n".encode())
        marks.append(f"{name}:{digest[:_MARK]}")
    return FunctionIdentity(whole.hexdigest()[:16], tuple(marks))


def _operations(closed: core.ClosedJaxpr, lanes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each operation's name, and all that decides what it computes as text, in order.

    The first inputs are ``lanes`` and go by their names, so that a lane which nothing depends on leaves no trace.
    """
    count = itertools.count()
    others = closed.jaxpr.invars[len(lanes) :]
    inputs = [*(f"lane {name}" for name in lanes), *(f"v{next(count)}" for _ in others)]
    yield "inputs", " ".join(str(v.aval) for v in others)
    outputs = yield from _inlined(closed.jaxpr, closed.consts, inputs, count)
    yield "outputs", " ".join(outputs)


def _inlined(
    jaxpr: core.Jaxpr, consts: Sequence[Any], inputs: Sequence[str], count: Iterator[int]
) -> Generator[tuple[str, str], None, list[str]]:
    """The operations of a jaxpr whose inputs go by these names; the names of its outputs."""
    names: dict[Any, str] = dict(zip(jaxpr.invars, inputs, strict=True))
    names |= {v: _constant(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
    name_of = lambda v: f"{v.aval}={_constant(v.val)}" if isinstance(v, core.Literal) else names[v]
    for equation in jaxpr.eqns:
        operands = [name_of(v) for v in equation.invars]
        called = equation.params.get("jaxpr") if equation.primitive.name in _CALLS else None
        if called is not None:
            results = yield from _inlined(called.jaxpr, called.consts, operands, count)
        else:
            results = [f"v{next(count)}" for _ in equation.outvars]
            parameters = [f"{n}={_parameter(v)}" for n, v in sorted(equation.params.items()) if n not in _NAMES]
            shapes = [str(v.aval) for v in (*equation.invars, *equation.outvars)]
            yield equation.primitive.name, "|".join((*operands, *parameters, *shapes))
        names.update(zip(equation.outvars, results, strict=True))
    return [name_of(v) for v in jaxpr.outvars]


def _constant(value: Any) -> str:
    if jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _parameter(value: Any) -> str:
    """A parameter of an operation as text without addresses; jaxprs by what they compute, functions by their code."""
    if hasattr(value, "jaxpr") and hasattr(value, "consts"):
        return _function_identity(value).digest
    if hasattr(value, "eqns"):
        return _function_identity(core.ClosedJaxpr(value, [np.zeros(0)] * len(value.constvars))).digest
    if isinstance(value, tuple | list):
        return f"({','.join(map(_parameter, value))})"
    if isinstance(value, dict):
        return ",".join(f"{key}:{_parameter(item)}" for key, item in value.items())
    if isinstance(value, types.FunctionType | types.MethodType):
        return code_hash(value)
    if isinstance(value, np.ndarray | jax.Array):
        return _constant(value)
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text or "object at" in text else text


def code_hash(*functions: Callable[..., Any]) -> str:
    """16 hex digits over the bytecode and constants of functions that run on the host, and of what they close over.

    Follows closures, defaults and globals into the user's own functions; library functions count by name. It is used for
    what no jaxpr shows: loaders of batches, and callbacks.
    """
    digest = hashlib.sha256()
    seen: set[int] = set()
    for function in functions:
        _add(digest, function, seen)
    return digest.hexdigest()[:16]


def data_hash(splits: Splits) -> str:
    """A hash of the training and validation examples: 16 hex digits over structure, types, shapes and bytes.

    Batches from a loader stand for themselves by the first one of each of three pairs of seed and epoch.
    """
    train = (splits.train,)
    if isinstance(splits.train, Batches):
        train = tuple(next(splits.train.draw(seed, start)) for seed, start in ((0, 0), (0, 1), (1, 0)))
    return _hash_of_arrays((*train, splits.validation))


def test_hash(splits: Splits) -> str | None:
    """The same of the test examples; None where there are none."""
    return None if splits.test is None else _hash_of_arrays((splits.test,))


def _hash_of_arrays(parts: Sequence[PyTree]) -> str:
    digest = hashlib.sha256()
    for arrays in parts:
        digest.update(str(jax.tree.structure(arrays)).encode())
        for leaf in jax.tree.leaves(arrays):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape};".encode())
            for start in range(0, len(array), 65536):  # a memory map is hashed without being loaded whole
                digest.update(np.ascontiguousarray(array[start : start + 65536]).tobytes())
    return digest.hexdigest()[:16]


def _add(digest: Any, value: Any, seen: set[int]) -> None:
    if isinstance(value, types.CodeType):
        _add_code(digest, value, seen)
    elif isinstance(value, types.FunctionType):
        _add_function(digest, value, seen)
    elif isinstance(value, types.MethodType):
        _add(digest, value.__func__, seen)
        _add(digest, getattr(value.__self__, "__dict__", None), seen)
    elif isinstance(value, bool | int | float | complex | str | bytes | type(None)):
        digest.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, np.ndarray | jax.Array):
        digest.update(_constant(value).encode())
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
        if (
            callable(value)
            and type(value).__module__.split(".")[0] not in ("builtins", "jax", "numpy")
            and id(value) not in seen
        ):
            seen.add(id(value))
            _add(digest, type(value).__call__, seen)
            _add(digest, getattr(value, "__dict__", None), seen)


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
    _add(digest, function.__kwdefaults__, seen)
    for cell in function.__closure__ or ():
        _add(digest, cell.cell_contents, seen)
    for name in _names(function.__code__):
        if name in function.__globals__:
            value = function.__globals__[name]
            if not isinstance(value, types.ModuleType | type):
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
