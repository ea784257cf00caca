"""Numbers as arguments: Python's, NumPy's and JAX's alike, checked in one place."""

import operator
import sys
from typing import SupportsIndex, cast

from jsweep.errors import ConfigError
from jsweep.space._encode import plain


def finite_number(where: str, name: str, value: object) -> int | float:
    """A number as Python's int or float; ConfigError unless it is finite."""
    number = None if callable(value) else plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
        raise ConfigError(f"{where} has {name}={value!r}: pass a finite number.")
    return number


def whole_number(name: str, value: object, least: int) -> int:
    """A whole number as Python's int, NumPy's and JAX's integers included; ConfigError unless it is at least ``least``."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(cast(SupportsIndex, value))
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{name}={value!r} is not valid: pass a whole number of at least {least}.")
    return number
