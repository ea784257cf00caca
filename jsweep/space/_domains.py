"""What a name may take: a list of values or a distribution; and the lists that are given by their ends.

Every distribution is drawn by its inverse: a number u, uniform on [0, 1), becomes a value. So `random`, `sobol` and
`latin_hypercube` differ only in where u comes from.
"""

import itertools
import math
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from decimal import Context, Decimal
from statistics import NormalDist
from typing import Literal, SupportsIndex

import numpy as np
from jaxtyping import Float, Int

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._encode import canonical, encode, plain
from jsweep.space._format import format_value, format_values
from jsweep.space._numbers import finite_number, whole_number

# Drawn floats are rounded to ten digits: the last bits of exp and log differ between machines, and configs must not.
_DIGITS = 10

MOST_VALUES = 1_000_000
"""The longest list of values; a longer one is taken for a mistake, which must not fill the memory."""

Kind = Literal["uniform", "log_uniform", "int_uniform", "log_int", "normal"]


@dataclass(frozen=True)
class Values:
    """Finitely many values, no two equal; with ``weights``, drawn in proportion to them."""

    values: tuple[Value, ...]
    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        if self.weights is None:
            return format_values(self.values)
        pairs = zip(self.values, self.weights, strict=True)
        return "choice(" + ", ".join(f"{format_value(v)}: {format_value(w)}" for v, w in pairs) + ")"


@dataclass(frozen=True)
class Distribution:
    """A distribution of numbers: its ``kind`` (the function that makes it) and that function's two arguments."""

    kind: Kind
    arguments: tuple[int | float, int | float]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(format_value, self.arguments))})"


Leaf = Values | Distribution


def linspace(start: float, stop: float, n: SupportsIndex) -> list[float]:
    """``n`` floats from ``start`` to ``stop``, both included, with equal differences.

    Value i is the float nearest to ``start + i (stop - start) / (n - 1)``, the same on every machine.

    Args:
        start: the first value.
        stop: the last value; it may be smaller than ``start``.
        n: how many values, 2 to 1,000,000.

    Returns:
        A list of Python floats.

    Raises:
        ConfigError: for fewer than two values, for equal ends, and where fewer than ``n`` floats lie between the ends.

    >>> import jsweep as js
    >>> js.linspace(0.0, 0.5, 6)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    a, b, n = _ends("linspace", start, stop, n)
    context = Context(prec=40)
    step = context.divide(context.subtract(b, a), Decimal(n - 1))
    inner = (float(context.add(a, context.multiply(step, Decimal(i)))) for i in range(1, n - 1))
    return _different("linspace", [float(start), *inner, float(stop)])


def logspace(start: float, stop: float, n: SupportsIndex) -> list[float]:
    """``n`` floats from ``start`` to ``stop``, both included, with equal ratios (NumPy's ``geomspace``).

    Value i is the float nearest to ``start (stop / start)^(i / (n - 1))``, the same on every machine. The ends are the
    values themselves, not their exponents.

    Args:
        start: the first value, above 0.
        stop: the last value, above 0; it may be smaller than ``start``.
        n: how many values, 2 to 1,000,000.

    Returns:
        A list of Python floats.

    Raises:
        ConfigError: for fewer than two values, for equal ends, for ends that are not above 0, and where fewer than
            ``n`` floats lie between the ends.

    >>> import jsweep as js
    >>> js.logspace(1e-4, 1.0, 5)
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    a, b, n = _ends("logspace", start, stop, n)
    if a <= 0 or b <= 0:
        raise ConfigError(
            f"logspace({start!r}, {stop!r}, {n}) has an end that is not above 0: "
            "pass the values themselves, not their exponents, as in js.logspace(1e-4, 1.0, 64)."
        )
    context = Context(prec=40)
    low, high = context.ln(a), context.ln(b)
    step = context.divide(context.subtract(high, low), Decimal(n - 1))
    inner = (float(context.exp(context.add(low, context.multiply(step, Decimal(i))))) for i in range(1, n - 1))
    return _different("logspace", [float(start), *inner, float(stop)])


def uniform(low: float, high: float) -> Distribution:
    """Floats between ``low`` and ``high``, uniformly distributed: ``low + u (high - low)``, rounded to ten digits.

    Raises ConfigError unless ``low < high``.

    >>> import jsweep as js
    >>> js.random({"dropout": js.uniform(0.0, 0.5)}, 2, key=0)
    2 configs
      dropout=0.4698
      dropout=0.1301
    """
    return _between("uniform", low, high)


def log_uniform(low: float, high: float) -> Distribution:
    """Floats between ``low`` and ``high`` with a uniform logarithm: ``low (high / low)^u``, rounded to ten digits.

    Raises ConfigError unless ``0 < low < high``.

    >>> import jsweep as js
    >>> js.random({"learning_rate": js.log_uniform(1e-4, 1.0)}, 2, key=0)
    2 configs
      learning_rate=0.01436
      learning_rate=7.572e-4
    """
    return _between("log_uniform", low, high, positive=True)


def int_uniform(low: SupportsIndex, high: SupportsIndex) -> Distribution:
    """Whole numbers from ``low`` to ``high``, both included, equally likely: ``low + floor(u (high - low + 1))``.

    Raises ConfigError unless both are whole numbers and ``low < high``.

    >>> import jsweep as js
    >>> js.random({"layers": js.int_uniform(1, 4)}, 2, key=0)
    2 configs
      layers=4
      layers=1
    """
    return _between("int_uniform", low, high, whole=True)


def log_int(low: SupportsIndex, high: SupportsIndex) -> Distribution:
    """Whole numbers from ``low`` to ``high``, both included, with a nearly uniform logarithm.

    The probability of k is that of a `log_uniform` from ``low - 1/2`` to ``high + 1/2`` being rounded to k: proportional
    to ``log((k + 1/2) / (k - 1/2))``, which is close to ``1 / k``. Raises ConfigError unless both are whole numbers and
    ``1 <= low < high``.

    >>> import jsweep as js
    >>> js.random({"width": js.log_int(8, 512)}, 2, key=0)
    2 configs
      width=31
      width=184
    """
    return _between("log_int", low, high, positive=True, whole=True)


def normal(mean: float, standard_deviation: float) -> Distribution:
    """Floats from the normal distribution, rounded to ten digits.

    Raises ConfigError unless ``standard_deviation`` is above 0.

    >>> import jsweep as js
    >>> js.random({"bias": js.normal(0.0, 1.0)}, 2, key=0)
    2 configs
      bias=-0.6909
      bias=0.3853
    """
    m = finite_number("normal", "mean", mean)
    s = finite_number("normal", "standard_deviation", standard_deviation)
    if s <= 0:
        raise ConfigError(f"normal has standard_deviation={standard_deviation!r}: pass a number above 0.")
    return Distribution("normal", (float(m), float(s)))


def choice(values: Iterable[Value], *, weights: Iterable[float] | None = None) -> Values:
    """One of ``values``, drawn with probabilities in proportion to ``weights``.

    Without weights all are equally likely, as in a plain list. Raises ConfigError unless ``weights`` has one number above
    0 for each value.

    >>> import jsweep as js
    >>> js.random({"activation": js.choice(["relu", "tanh"], weights=[3, 1])}, 2, key=0)
    2 configs
      activation=relu
      activation=tanh
    """
    unweighted = values_of(values)
    if weights is None:
        return unweighted
    if isinstance(weights, str | dict) or not isinstance(weights, Iterable):
        raise ConfigError(f"choice has weights={weights!r}: pass a list of numbers, one for each value.")
    numbers = tuple(float(finite_number("choice", "weights", weight)) for weight in weights)
    if len(numbers) != len(unweighted.values) or any(number <= 0 for number in numbers):
        raise ConfigError(
            f"choice has weights={list(numbers)} for {len(unweighted.values)} values: "
            "pass one number above 0 for each value."
        )
    return Values(unweighted.values, numbers)


def values_of(values: object) -> Values:
    """A list of values, checked: it is not empty and no value occurs twice (numbers that are equal count as one)."""
    if isinstance(values, str | dict | set | frozenset) or not isinstance(values, Iterable):
        raise ConfigError(f"{values!r} is not a list of values: pass a list.")
    if isinstance(values, Sized):
        check_length(len(values))
    items = tuple(plain(value) for value in values)
    if not items:
        raise ConfigError("the list of values is empty: pass at least one value, or leave the name out.")
    seen: dict[object, Value] = {}
    for item in items:
        number = type(item) in (int, float) and item == item
        identity = item if number else canonical(encode(item))
        if identity in seen:
            raise ConfigError(f"the values {seen[identity]!r} and {item!r} are equal: remove one.")
        seen[identity] = item
    return Values(items)


def check_length(length: int) -> None:
    """ConfigError for a list of values that is too long to be meant."""
    if length > MOST_VALUES:
        raise ConfigError(
            f"the list has {length:,} values, more than {MOST_VALUES:,}: pass fewer, or a distribution such as "
            "js.int_uniform."
        )


def draw(leaf: Leaf, u: Float[np.ndarray, " n"]) -> Sequence[int | float]:
    """What the numbers ``u``, uniform on [0, 1), select: positions in a list of values, or the numbers drawn.

    Args:
        leaf: a list of values or a distribution.
        u: float64 of shape (n,), from 0 up to but not including 1.

    Returns:
        n positions or numbers; `value_of` turns each into a value.
    """
    if isinstance(leaf, Values):
        return _positions(leaf, u).tolist()
    a, b = leaf.arguments
    match leaf.kind:
        case "uniform":
            return rounded(a + u * (b - a), a, b)
        case "log_uniform":
            return rounded(np.exp(math.log(a) + u * (math.log(b) - math.log(a))), a, b)
        case "int_uniform":
            return [int(a) + k for k in _floor(u, int(b) - int(a) + 1).tolist()]
        case "log_int":
            low, high = math.log(a - 0.5), math.log(b + 0.5)
            return np.clip(np.rint(np.exp(low + u * (high - low))), a, b).astype(np.int64).tolist()
        case _:
            inverse = NormalDist(a, b).inv_cdf
            inside = np.clip(u, 2.0**-54, 1 - 2.0**-53)  # u = 0 would be minus infinity
            return rounded([inverse(number) for number in inside.tolist()], -math.inf, math.inf)


def value_of(leaf: Leaf, drawn: int | float) -> Value:
    """The value that one entry of `draw` stands for."""
    return leaf.values[int(drawn)] if isinstance(leaf, Values) else drawn


def _positions(leaf: Values, u: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    if leaf.weights is None:
        return _floor(u, len(leaf.values))
    bounds = np.array(list(itertools.accumulate(leaf.weights)))
    return np.minimum(np.searchsorted(bounds / bounds[-1], u, side="right"), len(leaf.values) - 1)


def _floor(u: Float[np.ndarray, " n"], n: int) -> Int[np.ndarray, " n"]:
    return np.minimum(np.floor(u * n).astype(np.int64), n - 1)


def rounded(numbers: Sequence[float] | Float[np.ndarray, " n"], low: float, high: float) -> list[float]:
    return [min(max(float(f"{number:.{_DIGITS}g}"), low), high) for number in np.asarray(numbers).tolist()]


def _between(kind: Kind, low: object, high: object, *, positive: bool = False, whole: bool = False) -> Distribution:
    a, b = finite_number(kind, "low", low), finite_number(kind, "high", high)
    given = f"{kind}({low!r}, {high!r})"
    if whole and not (type(a) is int and type(b) is int and abs(a) < 2**53 and abs(b) < 2**53):
        raise ConfigError(f"{given} has an end that is not a whole number below 2**53: pass whole numbers.")
    if positive and a <= 0:
        raise ConfigError(f"{given} has low={low!r}: pass a number above 0, as its logarithm is taken.")
    if not a < b:
        raise ConfigError(f"{given} has low not below high: pass the smaller number first.")
    if not math.isfinite(float(b) - float(a)):
        raise ConfigError(f"{given} is too wide for a float: move the ends closer together.")
    return Distribution(kind, (a, b) if whole else (float(a), float(b)))


def _ends(where: str, start: object, stop: object, n: object) -> tuple[Decimal, Decimal, int]:
    ends = [finite_number(where, name, value) for name, value in (("start", start), ("stop", stop))]
    count = whole_number("n", n, 2)
    check_length(count)
    if ends[0] == ends[1]:
        raise ConfigError(f"{where} starts and stops at {start!r}: pass two different ends.")
    return Decimal(repr(float(ends[0]))), Decimal(repr(float(ends[1]))), count


def _different(where: str, values: Sequence[float]) -> list[float]:
    if len(set(values)) != len(values):
        raise ConfigError(f"{where} has n={len(values)}, more floats than lie between its ends: pass a smaller n.")
    return list(values)
