"""Hyperparameters as axes: numbers, or labels by index."""

from collections.abc import Sequence
from typing import Any

from jsweep._runtime.text import clean
from jsweep.results.ranking import ConfigScore
from jsweep.results.text_table import names_of
from jsweep.space import format_value

LOG_RATIO = 50  # values that span a larger factor get a logarithmic axis
MOST_LABELS = 200


def rounded(value: float) -> float | int | None:
    """A number to five significant digits; None where it is not finite or too large for an axis."""
    if not abs(value) < 1e300:
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def axes_of(scores: Sequence[ConfigScore]) -> list[dict[str, Any]]:
    """The hyperparameters that differ between configs, each with its values in the order of ``scores``."""
    axes = (_axis(name, [score.config.get(name) for score in scores]) for name in names_of(s.config for s in scores))
    return [axis for axis in axes if len({repr(value) for value in axis["values"]}) > 1]


def _axis(name: str, values: Sequence[Any]) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    if present and all(_is_number(value) for value in present):
        numbers = [None if value is None else rounded(value) for value in values]
        known = [number for number in numbers if number is not None]
        log = bool(known) and min(known) > 0 and max(known) / min(known) > LOG_RATIO
        return {"name": clean(name, 200), "log": log, "labels": None, "values": numbers}
    texts = [None if value is None else clean(format_value(value), 100) for value in values]
    labels = list(dict.fromkeys(text for text in texts if text is not None))
    if all(value is None or isinstance(value, bool) for value in values):
        labels.sort()
    place = {label: min(index, MOST_LABELS) for index, label in enumerate(labels)}
    shown = labels[:MOST_LABELS] + ["(others)"] * (len(labels) > MOST_LABELS)
    return {
        "name": clean(name, 200),
        "log": False,
        "labels": shown,
        "values": [None if text is None else place[text] for text in texts],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
