"""What part each name plays: a lane of a program, a value compiled in, a length of training, or nothing at all."""

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import jax
import numpy as np
import optax

from jsweep._runtime.types import Value
from jsweep.errors import JsweepError
from jsweep.planning.lane_types import LaneType
from jsweep.task.lanes import ChoiceUsedAsText, WidthUsedAsNumber

ENGINE_NAMES = ("steps", "epochs", "batch_size")
"""What the engine itself reads: lengths of training, and the rows of a batch."""


class RoleKind(StrEnum):
    """How a name takes part in a sweep."""

    LANE = "lane"
    STATIC = "static"
    ENGINE = "engine"
    UNUSED = "unused"


@dataclass(frozen=True)
class Role:
    """How one name takes part, and why.

    ``types`` are the lane types that its values travel in; ``buckets`` maps a size that is padded to what it is padded to.
    """

    name: str
    kind: RoleKind
    reason: str
    types: tuple[LaneType, ...] = ()
    buckets: Mapping[int, int] | None = None


def reason_of(error: BaseException) -> str:
    """Why a tracer was refused, in a few words, with the place in the user's code."""
    place = user_frame(traceback.extract_tb(error.__traceback__))
    text = str(error)
    if isinstance(error, ChoiceUsedAsText):
        why = "used as a string"
    elif isinstance(error, jax.errors.TracerBoolConversionError):
        why = "decides a Python branch"
    elif isinstance(error, WidthUsedAsNumber | jax.errors.TracerIntegerConversionError) or "Shapes must be 1D" in text:
        why = "used as a shape or a Python index"
    elif isinstance(error, jax.errors.UnexpectedTracerError):
        why = "kept in a part of the state that is not an array"
    elif isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        why = "needed as a Python number"
    elif isinstance(error, TypeError) and "Tracer" in text:
        why = "needed as a Python value"
    elif isinstance(error, JsweepError):
        why = text.rstrip(".")
    else:
        why = f"{type(error).__name__}: {text.splitlines()[0][:80] if text else 'no message'}"
    hint = _hint(error)
    return f"{why} in {place}{hint}" if place else f"{why}{hint}"


def _hint(error: BaseException) -> str:
    """How the name could be a lane after all; empty where nothing is known."""
    for frame in traceback.extract_tb(error.__traceback__):
        ours = _OF_OPTAX.get(frame.name)
        if ours is not None and f"{os.sep}optax{os.sep}" in frame.filename:
            return f"; js.schedules.{ours} takes it as a lane"
        if "dropout" in os.path.basename(frame.filename).lower():
            return "; x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate) takes it as a lane"
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return "; jnp.where in place of the branch would make it a lane"
    return ""


_OF_OPTAX = {
    "constant_schedule": "constant",
    "cosine_decay_schedule": "cosine_decay",
    "cosine_onecycle_schedule": "cosine_onecycle",
    "exponential_decay": "exponential_decay",
    "join_schedules": "join",
    "linear_onecycle_schedule": "linear_onecycle",
    "linear_schedule": "linear",
    "piecewise_constant_schedule": "piecewise_constant",
    "polynomial_schedule": "polynomial",
    "sgdr_schedule": "cosine_restarts",
    "warmup_constant_schedule": "warmup_constant",
    "warmup_cosine_decay_schedule": "warmup_cosine_decay",
    "warmup_exponential_decay_schedule": "warmup_exponential_decay",
}
"""Schedules of optax that take no tracers, and those of jsweep that do."""


def kind_of_value(value: Value) -> str:
    """What a value that cannot be a lane is, in words."""
    if callable(value):
        return "functions"
    names = {tuple: "tuples", list: "lists", dict: "dicts", str: "strings", type(None): "not all numbers"}
    return names.get(type(value), f"of type {type(value).__name__}")


def user_frame(frames: traceback.StackSummary) -> str | None:
    """The innermost frame in the user's code, as "function (file.py:line)"; None where there is none."""
    libraries = [os.path.dirname(module.__file__ or "") for module in (jax, np, optax)]
    ours = os.path.dirname(os.path.dirname(__file__))
    outside = [
        frame
        for frame in reversed(frames)
        if not any(frame.filename.startswith(folder + os.sep) for folder in (*libraries, ours))
        and not frame.filename.startswith("<")
    ]
    own = [frame for frame in outside if f"{os.sep}site-packages{os.sep}" not in frame.filename]
    for frame in own or outside:  # of a model library only where all code is installed
        return f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})"
    return None
