"""What a program computes, as a hash: the operations of its jaxpr and the constants in it, not the text it was written in.

So a change of a method, of a decorated, jitted or imported function, of a list or an array that it reads is noticed, and a
comment, another line or another Python is not. Only callbacks, which run on the host, count by their code.
"""

import functools
import hashlib
import itertools
import types
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from jsweep._runtime.jax_internals import draws_in_any_order
from jsweep.data.loader import Batches
from jsweep.data.splits import Splits
from jsweep.planning.host_code import code_hash
from jsweep.planning.traced import Traced

FUNCTIONS = ("init", "step", "evaluate")
_Operation = tuple[str, str, core.JaxprEqn | None]
_MARK = 4  # hex digits kept of each operation, to say where two programs part
_CALLS = ("jit", "pjit", "closed_call", "core_call")  # what they call is looked at as if it were written in place
_SHOWN = frozenset({"debug_callback", "debug_print"})  # they show values and compute none
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
        for name in FUNCTIONS:
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
            if was == "outputs":
                return "what it returns is another constant or operation"
            return f"operation {number}, {was}, has other constants, shapes or operands"
    if len(before) == len(now):
        return "a constant"
    return f"it has {len(now)} operations, and had {len(before)}"


def differing_operation(traced: Traced, other: Traced) -> core.JaxprEqn | None:
    """The first operation of ``traced`` that is another than in ``other``; None where only inputs or outputs differ."""
    for name in FUNCTIONS:
        mine, others = (_operations(getattr(one, name), one.lanes) for one in (traced, other))
        for (_, text, equation), (_, other_text, _) in zip(mine, others):
            if text != other_text:
                return equation
    return None


def identity_of(traced: Traced) -> ProgramIdentity:
    """The identity of a compile group's programs."""
    jaxprs = (traced.init, traced.step, traced.evaluate)
    return ProgramIdentity(*(_function_identity(jaxpr, traced.lanes) for jaxpr in jaxprs))


def _function_identity(closed: core.ClosedJaxpr, lanes: Sequence[str] = ()) -> FunctionIdentity:
    whole, marks = hashlib.sha256(), []
    for name, text, _ in _operations(closed, lanes):
        digest = hashlib.sha256(text.encode()).hexdigest()
        whole.update(f"{name} {digest}\n".encode())
        marks.append(f"{name}:{digest[:_MARK]}")
    return FunctionIdentity(whole.hexdigest()[:16], tuple(marks))


def _operations(closed: core.ClosedJaxpr, lanes: Sequence[str]) -> Iterator[_Operation]:
    """Each operation's name, all that decides what it computes as text, and the operation itself, in order.

    The first inputs are ``lanes`` and go by their names, so that a lane which nothing depends on leaves no trace.
    """
    count = itertools.count()
    others = closed.jaxpr.invars[len(lanes) :]
    inputs = [*(f"lane {name}" for name in lanes), *(f"v{next(count)}" for _ in others)]
    yield "inputs", " ".join(str(v.aval) for v in others), None
    outputs = yield from _inlined(closed.jaxpr, closed.consts, inputs, count)
    yield "outputs", " ".join(outputs), None


def _inlined(
    jaxpr: core.Jaxpr, consts: Sequence[Any], inputs: Sequence[str], count: Iterator[int]
) -> Generator[_Operation, None, list[str]]:
    """The operations of a jaxpr whose inputs go by these names; the names of its outputs."""
    names: dict[Any, str] = dict(zip(jaxpr.invars, inputs, strict=True))
    names |= {v: _constant(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
    name_of = lambda v: f"{v.aval}={_constant(v.val)}" if isinstance(v, core.Literal) else names[v]
    for equation in jaxpr.eqns:
        operands = [name_of(v) for v in equation.invars]
        called = equation.params.get("jaxpr") if equation.primitive.name in _CALLS else None
        if called is not None:
            results = yield from _inlined(called.jaxpr, called.consts, operands, count)
        elif equation.primitive.name in _SHOWN:
            results = []
        else:
            results = [f"v{next(count)}" for _ in equation.outvars]
            shapes = [str(v.aval) for v in (*equation.invars, *equation.outvars)]
            yield equation.primitive.name, "|".join((*operands, *_parameters(equation), *shapes)), equation
        names.update(zip(equation.outvars, results, strict=True))
    return [name_of(v) for v in jaxpr.outvars]


def _constant(value: Any) -> str:
    if jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _parameters(equation: core.JaxprEqn) -> Iterator[str]:
    """The parameters of an operation as text; what is only shown while it runs is none of them."""
    name = equation.primitive.name
    for key, value in sorted(equation.params.items()):
        if key in _NAMES or name in _SHOWN:
            continue
        if hasattr(value, "callback_func"):  # what JAX wraps a callback in
            yield f"{key}={code_hash(value.callback_func, with_state=name == 'pure_callback')}"
        else:
            yield f"{key}={_parameter(value)}"
    if not draws_in_any_order(equation):
        yield "threefry in order"


def _parameter(value: Any) -> str:
    """A parameter as text without addresses; jaxprs by what they compute, functions by their code."""
    if hasattr(value, "jaxpr") and hasattr(value, "consts"):
        return _function_identity(value).digest
    if hasattr(value, "eqns"):
        return _function_identity(core.ClosedJaxpr(value, [np.zeros(0)] * len(value.constvars))).digest
    if isinstance(value, tuple | list):
        return f"({','.join(map(_parameter, value))})"
    if isinstance(value, dict):
        return ",".join(f"{key}:{_parameter(item)}" for key, item in value.items())
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        return code_hash(value, with_state=True)
    if isinstance(value, np.ndarray | jax.Array):
        return _constant(value)
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text or "object at" in text else text


def data_hash(splits: Splits) -> str:
    """A hash of the training and validation examples: 16 hex digits over structure, types, shapes and bytes.

    Batches from a loader stand for themselves by the first one of each of three pairs of seed and epoch.
    """
    train = (splits.train,)
    if isinstance(splits.train, Batches):
        train = tuple(next(splits.train.draw(seed, start)) for seed, start in ((0, 0), (0, 1), (1, 0)))
    folds = () if splits.folds is None else splits.folds.held_out
    return _hash_of_arrays((*train, splits.validation, *folds))


def test_hash(splits: Splits) -> str | None:
    """A hash of the test examples as they were before any transformation, in whatever order; None where there are none."""
    raw = splits.test if splits.raw_test is None else splits.raw_test
    if raw is None:
        return None
    leaves, rows = [np.asarray(leaf) for leaf in jax.tree.leaves(raw)], []
    for start in range(0, len(leaves[0]), 65536):  # a memory map is hashed without being loaded whole
        parts = [np.ascontiguousarray(leaf[start : start + 65536]) for leaf in leaves]
        flat = [part.reshape(len(part), -1).view(np.uint8) for part in parts]
        rows += [hashlib.blake2b(row, digest_size=16).digest() for row in map(bytes, np.concatenate(flat, axis=1))]
    kinds = [(str(leaf.dtype), leaf.shape[1:]) for leaf in leaves]
    return hashlib.sha256(repr(kinds).encode() + b"".join(sorted(rows))).hexdigest()[:16]


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
