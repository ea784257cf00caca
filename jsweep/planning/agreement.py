"""Whether a task computes with traced numbers what it computes with the Python numbers that they stand for.

A traced whole number overflows and has no negative powers, a float is rounded to 32 bits, and a type check tells both from
Python's. So a group is traced once more with the numbers of a config compiled in. What both traces make of numbers alone is
evaluated; what is left must be the same operations, on the same numbers.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from jax.extend import core

from jsweep._runtime.jax_internals import loop_constants
from jsweep._runtime.types import Value
from jsweep.planning.arithmetic import MOVES, Known, close, constant, evaluated, known
from jsweep.planning.traced import Traced, inner_jaxprs

_CALLS = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"}
)


_PLACES = ("start_indices", "limit_indices", "strides", "permutation", "dimensions", "padding_config", "axes", "axis")


@dataclass(frozen=True)
class Operation:
    """An operation on arrays: its name, those of its operands that are known numbers, and which parts it takes."""

    name: str
    operands: tuple[Known | None, ...]
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Disagreement:
    """What differs between the traces with and without lanes, in words, and the lanes that it comes from, where known."""

    reason: str = "takes other operations as a Python number than in a lane"
    lanes: frozenset[str] = field(default_factory=frozenset)


def operations_of(traced: Traced, values: Mapping[str, Sequence[Value]]) -> list[Operation]:
    """The operations of a group's programs that are left when the numbers in lanes are known.

    Args:
        traced: the group's programs.
        values: for each lane that is a number its values, one for each config.
    """
    found: list[Operation] = []
    for closed in (traced.init, traced.step, traced.evaluate):
        inputs: list[Known | None] = [None] * len(closed.jaxpr.invars)
        for place, (name, variable) in enumerate(zip(traced.lanes, closed.jaxpr.invars)):
            if name in values:
                dtype = np.dtype(getattr(variable.aval, "dtype", np.float32))
                inputs[place] = known(values[name], dtype, frozenset({name}))
        outputs = _collect(found, _left(closed.jaxpr, closed.consts, inputs))
        found.append(Operation("outputs", tuple(outputs)))
    return found


def straying(operations: Sequence[Operation]) -> list[int]:
    """Configs, by their positions, for which some number is rounded to another one."""
    numbers = (each for operation in operations for each in operation.operands if each is not None and each.lanes)
    return list(dict.fromkeys(int(number.strays.argmax()) for number in numbers if number.strays.any()))


def disagreement(lanes: Sequence[Operation], numbers: Sequence[Operation], config: int) -> Disagreement | None:
    """What differs between a group's operations and those with one config's numbers compiled in; None where nothing does.

    Args:
        lanes: the operations of the group.
        numbers: the operations with the numbers compiled in.
        config: the position of the config among the group's.
    """
    for one, other in zip_longest(lanes, numbers):
        if one is None or other is None or one.name != other.name or len(one.operands) != len(other.operands):
            return Disagreement()
        if one.places != other.places:
            return Disagreement("takes other parts of an array as a Python number than in a lane")
        for traced, python in zip(one.operands, other.operands):
            if traced is None or python is None:
                if traced is not python:
                    return Disagreement()
                continue
            mine, its = traced.rounded[min(config, len(traced.rounded) - 1)], python.rounded[0]
            if not close(mine, its):
                return Disagreement(f"makes {its:.6g} as a Python number, and {mine:.6g} in a lane", traced.lanes)
    return None


def _collect(found: list[Operation], operations: Generator[Operation, None, list[Known | None]]) -> list[Known | None]:
    """Append what a generator yields; returns what it returns."""
    while True:
        try:
            found.append(next(operations))
        except StopIteration as end:
            return end.value


def _left(
    jaxpr: core.Jaxpr, consts: Sequence[Any], inputs: Sequence[Known | None]
) -> Generator[Operation, None, list[Known | None]]:
    """The operations of a jaxpr that cannot be evaluated yet; what is known of its outputs."""
    numbers: dict[Any, Known | None] = dict(zip(jaxpr.invars, inputs, strict=True))
    numbers |= {v: constant(c) for v, c in zip(jaxpr.constvars, consts)}
    number_of = lambda v: constant(v.val) if isinstance(v, core.Literal) else numbers.get(v)
    for equation in jaxpr.eqns:
        operands, inner = [number_of(v) for v in equation.invars], inner_jaxprs(equation)
        result = _result(equation, operands)
        results: list[Known | None] = [result] * len(equation.outvars)
        if equation.primitive.name in _CALLS and len(inner) == 1 and len(inner[0].invars) == len(operands):
            results = yield from _left(inner[0], _consts_of(equation), operands)
        elif result is None and equation.primitive.name not in MOVES:
            yield _in_one_form(equation, operands)
            for each, given in zip(inner, _given(equation, operands)):
                yield from _left(each, (), [*given, *[None] * (len(each.invars) - len(given))])
        numbers.update(zip(equation.outvars, results, strict=True))
    return [number_of(v) for v in jaxpr.outvars]


def _given(equation: core.JaxprEqn, operands: Sequence[Known | None]) -> list[Sequence[Known | None]]:
    """What each of the functions that an operation repeats or chooses from is given unchanged, as its first inputs."""
    match equation.primitive.name:
        case "scan":
            return [operands[: loop_constants(equation)]]
        case "while":
            first, second = equation.params["cond_nconsts"], equation.params["body_nconsts"]
            return [operands[:first], operands[first : first + second]]
        case "cond":
            return [operands[1:]] * len(equation.params["branches"])
    return []


def _consts_of(equation: core.JaxprEqn) -> Sequence[Any]:
    """The constants of the function that an operation calls."""
    called = [value for value in equation.params.values() if hasattr(value, "jaxpr") or hasattr(value, "eqns")]
    return getattr(called[0], "consts", ())


def _result(equation: core.JaxprEqn, operands: Sequence[Known | None]) -> Known | None:
    """The result of an operation on known numbers, or of a choice between equal ones; None where it is not known."""
    numbers = [operand for operand in operands if operand is not None]
    if operands and len(numbers) == len(operands):
        return evaluated(equation, numbers)
    if equation.primitive.name == "select_n" and len(numbers) == len(operands) - 1 and operands[0] is None:
        first, *others = numbers
        return first if all(np.array_equal(first.rounded, other.rounded) for other in others) else None
    return None


def _in_one_form(equation: core.JaxprEqn, operands: Sequence[Known | None]) -> Operation:
    """An operation written in the same way where JAX has several for traced and for Python's numbers.

    Powers by whole numbers are powers. What the functions of a loop or branch are given unchanged is compared in them.
    """
    name = equation.primitive.name
    if name in ("square", "integer_pow"):
        return Operation("pow", (*operands, constant(np.float32(equation.params.get("y", 2)))))
    if name == "cond":
        return Operation(name, (operands[0], *(operand for operand in operands[1:] if operand is None)))
    given = sum(map(len, _given(equation, operands)))
    places = tuple(str(equation.params[each]) for each in _PLACES if each in equation.params)
    return Operation(name, tuple(operands[given:]), places)
