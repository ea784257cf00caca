"""What a step of one lane will cost, from its trace alone: operations, seconds, and seconds of compiling.

The seconds are a linear model of a trace's operations, fitted to 25 programs (perceptrons of width 8 to 1024, convolutional
nets with strides or pooling, transformers, with and without dropout) in tiles on two cores, of which it is within a factor of
1.9; `experiments/benchmarks/plan.py` shows how far it holds. They are those of one reference core, so that what is decided by
them is the same everywhere.
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from jax.extend import core

from jsweep._runtime.backend import cores
from jsweep.planning.traced import inner_jaxprs, shape_of

# Seconds on the reference core, whose matrix products reach 70 GF/s; today's machine is timed against that.
REFERENCE_FLOPS = 70e9
A_FLOP, A_BATCHED_FLOP = 1.56e-11, 4.5e-10  # of a matrix product; small batched ones do not fill the units
A_CONVOLVED_FLOP, A_GATHERED = 1e-11, 1.2e-9  # of a convolution: its product, and each number gathered for that
A_WINDOWED = 4.4e-9  # of each number that is pooled, forwards or backwards
AN_ELEMENT, A_FUNCTION = 9.4e-11, 2.5e-9  # of an element-wise operation; of exp, log, tanh and their kin
AN_OPERATION = 4e-7  # whatever its size, once for all lanes of a tile
ACCELERATOR_FLOPS = 1e12  # what many small lanes reach together on a GPU: a guess, as none was at hand
COMPILE_SECONDS, COMPILE_AN_OPERATION = 2.0, 7.5e-3  # of a tile's three programs, by the operations of a step

_FUNCTIONS = {"exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "erf", "erf_inv", "erfc", "pow", "sin", "cos"}
_DIVISIONS = {"div", "sqrt", "rsqrt", "integer_pow"}
_MOVES = {"reshape", "broadcast_in_dim", "squeeze", "transpose", "convert_element_type", "copy", "slice", "concatenate"}
_FREE = {"stop_gradient", "random_wrap", "random_unwrap", "iota"}


@dataclass(frozen=True)
class Work:
    """The work of one lane in one call: floating-point operations of products, seconds, and what it takes once a tile.

    ``seconds`` grow with the lanes, ``overhead`` is paid once for all lanes of a tile; both on the reference core.
    ``operations`` are those that run, ``compiled`` those of the program, in which the body of a loop stands once.
    """

    flops: float = 0.0
    seconds: float = 0.0
    operations: float = 0.0
    compiled: float = 0.0
    bytes: float = 0.0  # most bytes of arrays alive at once, before fusion

    @property
    def overhead(self) -> float:
        return self.operations * AN_OPERATION

    @property
    def compile_seconds(self) -> float:
        """Seconds one core takes to compile the three programs of a tile that trains by such steps."""
        return COMPILE_SECONDS + COMPILE_AN_OPERATION * self.compiled

    def a_lane(self, width: int, platform: str = "cpu") -> float:
        """Seconds of one lane in a tile of ``width``, on the reference core or an accelerator."""
        if platform != "cpu":
            return self.flops / ACCELERATOR_FLOPS + self.overhead / width
        return self.seconds + self.overhead / width

    def __add__(self, other: "Work") -> "Work":
        """One after the other."""
        operations, compiled = self.operations + other.operations, self.compiled + other.compiled
        most = max(self.bytes, other.bytes)
        return Work(self.flops + other.flops, self.seconds + other.seconds, operations, compiled, most)

    def __mul__(self, times: float) -> "Work":
        return replace(self, flops=self.flops * times, seconds=self.seconds * times, operations=self.operations * times)


def machine_speed() -> float:
    """How fast a core is beside the reference core: a matrix product timed now, on every core at once (some 20 ms)."""
    a = np.ones((768, 768), np.float32)
    b, best = np.empty_like(a), math.inf
    for _ in range(6):
        begun = time.perf_counter()
        np.matmul(a, a, out=b)
        best = min(best, time.perf_counter() - begun)
    return 2 * 768**3 / best / cores() / REFERENCE_FLOPS


def work_of(jaxpr: core.Jaxpr) -> Work:
    """The work of a traced function, loops counted by their length where that is known."""
    total = Work()
    for equation in jaxpr.eqns:
        inner = [] if equation.primitive.name == "random_bits" else inner_jaxprs(equation)
        if inner:
            times = equation.params["length"] if equation.primitive.name == "scan" else 1
            for part in inner:
                total += work_of(part) * times
        else:
            total += _of_equation(equation)
    return replace(total, bytes=max(total.bytes, _most_alive(jaxpr)))


def _most_alive(jaxpr: core.Jaxpr) -> float:
    """Bytes of the arrays that are alive at once at the worst moment, each from where it is made to its last use."""
    last = {v: number for number, equation in enumerate(jaxpr.eqns) for v in equation.invars if isinstance(v, core.Var)}
    last |= dict.fromkeys((v for v in jaxpr.outvars if isinstance(v, core.Var)), len(jaxpr.eqns))
    alive = {v: _bytes(v) for v in (*jaxpr.invars, *jaxpr.constvars)}
    most = now = sum(alive.values())
    ending: dict[int, list[core.Var]] = {}
    for v, number in last.items():
        ending.setdefault(number, []).append(v)
    for number, equation in enumerate(jaxpr.eqns):
        for v in equation.outvars:
            alive[v] = _bytes(v)
            now += alive[v]
        most = max(most, now)
        for v in (*ending.get(number, ()), *(v for v in equation.outvars if v not in last)):
            now -= alive.pop(v, 0.0)
    return most


def _of_equation(equation: core.JaxprEqn) -> Work:
    name = equation.primitive.name
    out = sum(_size(v) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), (batched, _) = equation.params["dimension_numbers"]
        shape = shape_of(equation.invars[0])
        flops = 2.0 * out * math.prod(shape[axis] for axis in contracted)
        return Work(flops, flops * (A_BATCHED_FLOP if batched else A_FLOP), 1, 1)
    if name == "conv_general_dilated":
        kernel = shape_of(equation.invars[1])
        outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        zeros = math.prod(equation.params["lhs_dilation"])  # put between inputs, and skipped
        flops = 2.0 * out * math.prod(kernel) / outputs / zeros
        return Work(flops, flops * A_CONVOLVED_FLOP + flops / 2 / outputs * A_GATHERED, 1, 1)
    return Work(0.0, _seconds_by_element(equation, name, out), 1, 1)


def _seconds_by_element(equation: core.JaxprEqn, name: str, out: int) -> float:
    if name in _FREE or name.startswith(("gather", "scatter", "dynamic_", "random_", "threefry")):
        return 0.0  # fitted to nothing beside the rest
    if name in _FUNCTIONS:
        return out * A_FUNCTION
    if name in _DIVISIONS:
        return 3 * out * AN_ELEMENT
    if name in _MOVES:
        return 0.5 * out * AN_ELEMENT
    if name.startswith(("reduce_window", "select_and")):
        return sum(_size(v) for v in equation.invars) * A_WINDOWED
    if name.startswith(("reduce", "arg", "cum", "sort")):
        return sum(_size(v) for v in equation.invars) * AN_ELEMENT
    return out * AN_ELEMENT


def _size(variable: core.Var | core.Literal) -> int:
    return math.prod(shape_of(variable))


def _bytes(variable: core.Var | core.Literal) -> float:
    dtype = getattr(variable.aval, "dtype", None)
    return _size(variable) * (8.0 if dtype is None or not hasattr(dtype, "itemsize") else float(dtype.itemsize))
