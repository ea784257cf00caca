"""Values in few characters, for labels and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsweep.space._encode import Named, name_of, plain


def format_value(value: Any) -> str:
    """A value as a person would write it: at most four digits of a float, widths as 64x64, functions by name.

    >>> format_value(0.0003), format_value((64, 64)), format_value(0.9), format_value("relu")
    ('3e-4', '64x64', '0.9', 'relu')
    """
    value = plain(value)
    if isinstance(value, Named):
        return value.name.partition(":")[2]
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, tuple):
        if len(value) > 1 and all(type(item) is int for item in value):
            return "x".join(map(str, value))
        return "(" + ", ".join(map(format_value, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(format_value, value)) + "]"
    if callable(value):
        return name_of(value).partition(":")[2]
    return str(value)


def format_config(config: Mapping[str, Any]) -> str:
    """``name=value`` for every name, in order."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in config.items())


def format_values(values: Sequence[Any]) -> str:
    """The values one after another; of more than eight the first ones, the last and their number."""
    words = [format_value(value) for value in values]
    if len(words) <= 8:
        return ", ".join(words)
    return f"{', '.join(words[:3])}, ... {words[-1]} ({len(words)} values)"


def _format_float(value: float) -> str:
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    power = int(exponent)
    scientific = f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    fixed = f"{value:.{max(0, 3 - power)}f}"
    fixed = fixed.rstrip("0").rstrip(".") if "." in fixed else fixed
    # Small numbers take the shorter form; large ones are written out as long as their digits are the whole of them.
    if abs(value) >= 1:
        return fixed if power < 6 else scientific
    return scientific if len(scientific) < len(fixed) else fixed
