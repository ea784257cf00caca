"""What a name may take: a list of values, or a distribution; and the lists that are typed by their ends.

Every distribution is drawn by its inverse: a number u, uniform on [0, 1), becomes a value. So `random`, `sobol` and
`latin_hypercube` differ in nothing but where u comes from.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from statistics import NormalDist
from typing import Any

import numpy as np

from jsweep.errors import ConfigError
from jsweep.space._encode import canonical, encode, plain
from jsweep.space._format import format_value, format_values

# Draws of floats keep ten digits: the last bits of exp and log differ between machines, and configs are not to.
_DIGITS = 10


@dataclass(frozen=True)
class Values:
    """Finitely many values, all different; with ``weights``, drawn in proportion to them."""

    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        if self.weights is None:
            return format_values(self.values)
        pairs = zip(self.values, self.weights, strict=True)
        return "choice(" + ", ".join(f"{format_value(v)}: {format_value(w)}" for v, w in pairs) + ")"


@dataclass(frozen=True)
class Distribution:
    """A distribution of numbers: its ``kind`` (the function that makes it) and that function's two arguments."""

    kind: str
    arguments: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(format_value, self.arguments))})"


Leaf = Values | Distribution

MOST_VALUES = 1_000_000  # of a list; nobody trains more, and a slip of the pen should not fill the memory


def linspace(start: float, stop: float, n: int) -> list[float]:
    """``n`` floats from ``start`` to ``stop``, both included, at equal distances.

    Value i is ``start + i (stop - start) / (n - 1)``: the float nearest to it, the same on every machine.
    Raises ConfigError for ``n < 2`` and for equal ends.

    >>> linspace(0.0, 0.5, 6)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    a, b, n = _ends("linspace", start, stop, n)
    context = Context(prec=40)
    step = context.divide(context.subtract(b, a), Decimal(n - 1))
    inner = (float(context.add(a, context.multiply(step, Decimal(i)))) for i in range(1, n - 1))
    return _different("linspace", [float(start), *inner, float(stop)])


def logspace(start: float, stop: float, n: int) -> list[float]:
    """``n`` floats from ``start`` to ``stop``, both included, at equal ratios.

    Value i is ``start (stop / start)^(i / (n - 1))``: the float nearest to it, the same on every machine. The ends are
    given themselves, not as exponents (as in NumPy's ``geomspace``). Raises ConfigError for ``n < 2``, for equal ends, and
    for ends that are not above 0.

    >>> logspace(1e-4, 1.0, 5)
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    a, b, n = _ends("logspace", start, stop, n)
    if a <= 0 or b <= 0:
        raise ConfigError(
            f"logspace({start!r}, {stop!r}, {n}) has an end that is not above 0: "
            "give the values themselves, not their exponents, as in logspace(1e-4, 1.0, 64)."
        )
    context = Context(prec=40)
    low, high = context.ln(a), context.ln(b)
    step = context.divide(context.subtract(high, low), Decimal(n - 1))
    inner = (float(context.exp(context.add(low, context.multiply(step, Decimal(i))))) for i in range(1, n - 1))
    return _different("logspace", [float(start), *inner, float(stop)])


def uniform(low: float, high: float) -> Distribution:
    """Floats between ``low`` and ``high``, all alike: ``low + u (high - low)``, to ten digits.

    Raises ConfigError unless ``low < high``.

    >>> random({"dropout": uniform(0.0, 0.5)}, 2, key=0)
    2 configs
      dropout=0.4698
      dropout=0.1301
    """
    return _between("uniform", low, high)


def log_uniform(low: float, high: float) -> Distribution:
    """Floats between ``low`` and ``high``, every ratio alike: ``low (high / low)^u``, to ten digits.

    Raises ConfigError unless ``0 < low < high``.

    >>> random({"learning_rate": log_uniform(1e-4, 1.0)}, 2, key=0)
    2 configs
      learning_rate=0.01436
      learning_rate=7.572e-4
    """
    return _between("log_uniform", low, high, positive=True)


def int_uniform(low: int, high: int) -> Distribution:
    """Whole numbers from ``low`` to ``high``, both included, all alike: ``low + floor(u (high - low + 1))``.

    Raises ConfigError unless both are whole numbers and ``low < high``.

    >>> random({"layers": int_uniform(1, 4)}, 2, key=0)
    2 configs
      layers=4
      layers=1
    """
    return _between("int_uniform", low, high, whole=True)


def log_int(low: int, high: int) -> Distribution:
    """Whole numbers from ``low`` to ``high``, both included, every ratio nearly alike.

    k has the probability that a `log_uniform` from ``low - 1/2`` to ``high + 1/2`` is rounded to it, in proportion to
    ``log((k + 1/2) / (k - 1/2))``, which is close to ``1 / k``. Raises ConfigError unless both are whole numbers and
    ``1 <= low < high``.

    >>> random({"width": log_int(8, 512)}, 2, key=0)
    2 configs
      width=31
      width=184
    """
    return _between("log_int", low, high, positive=True, whole=True)


def normal(mean: float, standard_deviation: float) -> Distribution:
    """Floats from the normal distribution, to ten digits. Raises ConfigError unless the deviation is above 0.

    >>> random({"bias": normal(0.0, 1.0)}, 2, key=0)
    2 configs
      bias=-0.6909
      bias=0.3853
    """
    m, s = _number("normal", "mean", mean), _number("normal", "standard_deviation", standard_deviation)
    if s <= 0:
        raise ConfigError(f"normal has standard_deviation={standard_deviation!r}: give a number above 0.")
    return Distribution("normal", (float(m), float(s)))


def choice(values: Iterable[Any], *, weights: Iterable[float] | None = None) -> Values:
    """One of ``values``, drawn in proportion to ``weights``; without weights, what the list alone means: all alike.

    Raises ConfigError for weights that are not one number above 0 for each value.

    >>> random({"activation": choice(["relu", "tanh"], weights=[3, 1])}, 2, key=0)
    2 configs
      activation=relu
      activation=tanh
    """
    plain_values = values_of(values)
    if weights is None:
        return plain_values
    if isinstance(weights, str | dict) or not isinstance(weights, Iterable):
        raise ConfigError(f"choice has weights={weights!r}: give a list of numbers, one for each value.")
    given = tuple(float(_number("choice", "weights", weight)) for weight in weights)
    if len(given) != len(plain_values.values) or any(weight <= 0 for weight in given):
        raise ConfigError(
            f"choice has weights={list(given)} for {len(plain_values.values)} values: give one number above 0 for each."
        )
    return Values(plain_values.values, given)


def values_of(values: Iterable[Any]) -> Values:
    """A list of values, checked: not empty, no value twice (equal numbers count as one value)."""
    if isinstance(values, str | dict | set | frozenset) or not isinstance(values, Iterable):
        raise ConfigError(f"{values!r} is no list of values: give a list.")
    items = tuple(plain(value) for value in values)
    if not items:
        raise ConfigError("the list of values is empty: give at least one, or leave the name out.")
    seen: dict[Any, Any] = {}
    for item in items:
        number = type(item) in (int, float) and item == item
        identity = item if number else canonical(encode(item))
        if identity in seen:
            raise ConfigError(f"the values {seen[identity]!r} and {item!r} are equal: remove one.")
        seen[identity] = item
    return Values(items)


def draw(leaf: Leaf, u: np.ndarray) -> list[Any]:
    """What numbers ``u``, uniform on [0, 1), shape (n,), select: positions in a list of values, or the numbers drawn."""
    if isinstance(leaf, Values):
        return _positions(leaf, u).tolist()
    a, b = leaf.arguments
    match leaf.kind:
        case "uniform":
            return _rounded(a + u * (b - a), a, b)
        case "log_uniform":
            return _rounded(np.exp(math.log(a) + u * (math.log(b) - math.log(a))), a, b)
        case "int_uniform":
            return [int(a) + k for k in _floor(u, int(b) - int(a) + 1).tolist()]
        case "log_int":
            low, high = math.log(a - 0.5), math.log(b + 0.5)
            return np.clip(np.rint(np.exp(low + u * (high - low))), a, b).astype(np.int64).tolist()
        case _:
            inverse = NormalDist(a, b).inv_cdf
            inside = np.clip(u, 2.0**-54, 1 - 2.0**-53)  # u = 0 would be minus infinity
            return _rounded([inverse(number) for number in inside.tolist()], -math.inf, math.inf)


def value_of(leaf: Leaf, drawn: Any) -> Any:
    """The value that one entry of `draw` stands for."""
    return leaf.values[drawn] if isinstance(leaf, Values) else drawn


def _positions(leaf: Values, u: np.ndarray) -> np.ndarray:
    if leaf.weights is None:
        return _floor(u, len(leaf.values))
    bounds = np.array(list(itertools.accumulate(leaf.weights)))
    return np.minimum(np.searchsorted(bounds / bounds[-1], u, side="right"), len(leaf.values) - 1)


def _floor(u: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(np.floor(u * n).astype(np.int64), n - 1)


def _rounded(numbers: Any, low: float, high: float) -> list[float]:
    return [min(max(float(f"{number:.{_DIGITS}g}"), low), high) for number in np.asarray(numbers).tolist()]


def _between(kind: str, low: Any, high: Any, positive: bool = False, whole: bool = False) -> Distribution:
    a, b = _number(kind, "low", low), _number(kind, "high", high)
    if whole and not (type(a) is int and type(b) is int and abs(a) < 2**53 and abs(b) < 2**53):
        raise ConfigError(
            f"{kind}({low!r}, {high!r}) has an end that is no whole number below 2**53: give whole numbers."
        )
    if positive and a <= 0:
        raise ConfigError(
            f"{kind}({low!r}, {high!r}) has low={low!r}: give a number above 0, as its logarithm is taken."
        )
    if not a < b:
        raise ConfigError(f"{kind}({low!r}, {high!r}) has low not below high: give the smaller number first.")
    if not math.isfinite(float(b) - float(a)):
        raise ConfigError(f"{kind}({low!r}, {high!r}) is too wide for a float: give nearer ends.")
    return Distribution(kind, (a, b) if whole else (float(a), float(b)))


def _number(where: str, name: str, value: Any) -> int | float:
    number = plain(value) if not callable(value) else None
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
        raise ConfigError(f"{where} has {name}={value!r}: give a finite number.")
    return number


def _ends(where: str, start: Any, stop: Any, n: Any) -> tuple[Decimal, Decimal, int]:
    ends = [_number(where, name, value) for name, value in (("start", start), ("stop", stop))]
    count = plain(n) if not callable(n) else None
    if type(count) is not int or count < 2:
        raise ConfigError(f"{where} has n={n!r}: give a whole number of at least 2, as both ends are among the values.")
    if count > MOST_VALUES:
        raise ConfigError(
            f"{where} has n={n!r}: give at most {MOST_VALUES}, or draw from a distribution, such as uniform."
        )
    if ends[0] == ends[1]:
        raise ConfigError(f"{where} starts and stops at {start!r}: give two different ends.")
    return Decimal(repr(float(ends[0]))), Decimal(repr(float(ends[1]))), count


def _different(where: str, values: Sequence[float]) -> list[float]:
    if len(set(values)) != len(values):
        raise ConfigError(f"{where} has n={len(values)}, more floats than lie between its ends: give a smaller n.")
    return list(values)
