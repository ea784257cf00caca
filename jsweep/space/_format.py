"""Values in few characters, for labels and tables."""

import math
from collections.abc import Mapping, Sequence

from jsweep._runtime.types import Value
from jsweep.space._encode import plain
from jsweep.space._named import Named, name_of


def format_value(value: object) -> str:
    """A value as a person would write it: at most four digits of a float, widths as 64x64, functions by name.

    >>> format_value(0.0003), format_value((64, 64)), format_value(0.9), format_value("relu")
    ('3e-4', '64x64', '0.9', 'relu')
    """
    return _formatted(plain(value))


def _formatted(value: Value) -> str:
    if isinstance(value, Named):
        return value.name.partition(":")[2]
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, tuple):
        if len(value) > 1 and all(type(item) is int for item in value):
            return "x".join(map(str, value))
        return "(" + ", ".join(map(_formatted, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_formatted, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_formatted(item)}" for name, item in value.items()) + "}"
    if callable(value):
        return name_of(value).partition(":")[2]
    return str(value)


def format_config(config: Mapping[str, Value]) -> str:
    """``name=value`` for every name, in order."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in config.items())


def format_values(values: Sequence[Value]) -> str:
    """The values separated by commas; of more than eight, the first ones, the last and their number."""
    if len(values) <= 8:
        return ", ".join(map(format_value, values))
    first = ", ".join(map(format_value, values[:3]))
    return f"{first}, ... {format_value(values[-1])} ({len(values)} values)"


def _format_float(value: float) -> str:
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    power = int(exponent)
    scientific = f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    fixed = f"{value:.{max(0, 3 - power)}f}"
    fixed = fixed.rstrip("0").rstrip(".") if "." in fixed else fixed
    # Small numbers take the shorter form; large ones are written out if they have at most six digits.
    if abs(value) >= 1:
        return fixed if power < 6 else scientific
    return scientific if len(scientific) < len(fixed) else fixed
