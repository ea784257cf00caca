"""Lengths of time, as people write them."""

import math
import re

from jsweep.errors import ConfigError

_SECONDS = {"h": 3600, "min": 60, "m": 60, "s": 1}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(h|min|m|s)\s*")


def seconds_of(name: str, value: float | str) -> float:
    """A length of time in seconds.

    Args:
        name: the argument's name, for the error.
        value: a number of seconds, or text such as "90s", "10min" or "1h 30min".

    Raises:
        ConfigError: where it is neither, or not above 0.
    """
    if isinstance(value, str):
        parts = _PART.findall(value) if re.fullmatch(f"(?:{_PART.pattern})+", value) else []
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        seconds = math.nan if isinstance(value, bool) else float(value)
    if not 0 < seconds < math.inf:
        raise ConfigError(
            f"{name}={value!r} is not a length of time: pass seconds, or text such as '90s' or '1h 30min'."
        )
    return seconds


def duration(seconds: float) -> str:
    """A length of time as minutes and seconds, with hours where there are any: "1:02:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
