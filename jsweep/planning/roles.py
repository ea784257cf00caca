"""What is a lane and what is a compile group: each swept name is traced once, and what survives as a tracer is a lane."""

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import optax

from jsweep.errors import ConfigError
from jsweep.planning.traced import LaneType, lane_type, trace
from jsweep.task.lanes import ChoiceUsedAsText, WidthUsedAsNumber
from jsweep.task.task import Task

# What the engine itself reads: lengths of training, and the rows of a batch.
ENGINE_NAMES = ("steps", "epochs", "batch_size")


@dataclass(frozen=True)
class Role:
    """How one name takes part: ``kind`` is "lane", "static" (of compilation), "engine" or "unread"; ``reason`` says why."""

    name: str
    kind: str
    reason: str
    padded: "LaneType | None" = None  # how a width travels that may be padded and masked
    tiers: Mapping[int, int] | None = None  # of a size that may be padded: value -> what it is padded to

    def compiled_in(self, value: Any) -> bool:
        """Whether this value is part of the program: that of a compile group, or a size that shares no program."""
        if self.kind != "lane" or self.tiers is None:
            return self.kind == "static"
        return list(self.tiers.values()).count(self.tiers[value]) == 1


class _WronglyTold(ConfigError):
    """The user recorded a role that cannot be."""


def assign_roles(task: Task, configs: Sequence[Mapping[str, Any]], told: Mapping[str, str]) -> dict[str, Role]:
    """The role of every name in ``configs``. ``told`` maps names to "lane" or "static" where the user has recorded.

    All candidates are traced together first; only where that fails is each traced alone.
    """
    examples = _one_config_per_presence(configs)
    candidates = {}
    for name in {n: None for config in configs for n in config}:
        if told.get(name) == "static" or name == "epochs" or (name == "batch_size" and not task.masks_batch):
            continue
        lane = lane_type([config[name] for config in configs if name in config])
        if lane is not None:
            candidates[name] = lane
        elif told.get(name) == "lane":
            raise _WronglyTold(f"{name!r} was given as a lane, but its values are not all numbers, or all strings.")
    roles: dict[str, Role] = {}
    errors = []
    for example in examples:
        try:
            _roles_of_example(task, example, candidates, told, roles)
        except Exception as error:
            errors.append(error)
    if len(errors) == len(examples) or any(isinstance(error, _WronglyTold) for error in errors):
        raise errors[0]
    for name in {n: None for config in configs for n in config}:
        roles.setdefault(name, Role(name, "static", "the configs that have it cannot be traced"))
        if name == "epochs":
            roles[name] = Role(name, "engine", "the length of training")
        elif name in ENGINE_NAMES and roles[name].kind == "unread":
            roles[name] = Role(name, *_engine_role(name))
    return roles


def _engine_role(name: str) -> tuple[str, str]:
    if name == "batch_size":
        return "static", "used as a shape: the rows of a batch"
    return "engine", "the length of training"


def _roles_of_example(
    task: Task,
    example: dict[str, Any],
    candidates: Mapping[str, LaneType],
    told: Mapping[str, str],
    roles: dict[str, Role],
) -> None:
    lanes = {name: lane for name, lane in candidates.items() if name in example}
    rows = example.get("batch_size", task.batch_size)
    refused: dict[str, str] = {}
    for name in [name for name in lanes if told.get(name) == "lane"]:
        lanes[name] = _padded_if_needed(task, example, name, lanes[name], rows)
    known = {name: role.reason for name in lanes if (role := roles.get(name)) is not None and role.kind == "static"}
    lanes = {name: lane for name, lane in lanes.items() if name not in known}  # what one config refuses, none may have
    try:
        traced = trace(task, _without(example, lanes), lanes, rows)
    except Exception as together:
        traced = trace(task, example, {}, rows)  # fails as well if the task itself is at fault
        for name in _suspects(task, example, lanes, rows):
            try:
                trace(task, _without(example, [name]), {name: lanes[name]}, rows)
            except Exception as alone:
                refused[name] = reason_of(alone)
                if told.get(name) == "lane":
                    raise _WronglyTold(f"{name!r} was given as a lane but cannot be one: {refused[name]}.") from alone
        if not refused:
            raise together
    for name in example:
        if name not in traced.reads:
            new = Role(name, "unread", "never read by the task")
        elif name in known:
            continue
        elif name in refused:
            new = Role(name, "static", refused[name], _padded_if_masked(task, example, name, lanes[name], rows))
        elif name in lanes and lanes[name].most:
            new = Role(name, "lane", f"told so by lane: padded to {lanes[name].most} and masked", lanes[name])
        elif name in candidates:
            new = Role(name, "lane", "traces" if not candidates[name].names else "handed to a select")
        elif told.get(name) == "static":
            new = Role(name, "static", "told so by static")
        else:
            new = Role(name, "static", f"its values are {_kind_of(example[name])}")
        old = roles.get(name)
        if old is None or _RANK[new.kind] > _RANK[old.kind]:
            roles[name] = new


def _suspects(task: Task, example: dict[str, Any], lanes: Mapping[str, LaneType], rows: int) -> list[str]:
    """The names of which some are refused as lanes: mostly whole numbers, which are used as shapes; else any."""
    others = {name: lane for name, lane in lanes.items() if lane.dtype != np.int32}
    try:
        trace(task, _without(example, others), others, rows)
    except Exception:
        return list(lanes)
    return [name for name in lanes if name not in others]


def _padded_if_needed(task: Task, example: dict[str, Any], name: str, lane: LaneType, rows: int) -> LaneType:
    """A lane of whole numbers as it is or, where only that traces, as widths padded to the widest."""
    if lane.dtype != np.int32 or lane.names:
        return lane
    try:
        trace(task, _without(example, [name]), {name: lane}, rows)
    except Exception:
        padded = replace(lane, most=lane.widest)
        try:
            trace(task, _without(example, [name]), {name: padded}, rows)
        except Exception:
            return lane  # its own error is the one to show
        return padded
    return lane


def _padded_if_masked(task: Task, example: dict[str, Any], name: str, lane: LaneType, rows: int) -> LaneType | None:
    """How a width that is refused as a number could travel: padded, where the task masks it in its step; else None.

    A task that takes a Width at its start and never masks it again would train other models, so it is not asked to.
    """
    if lane.dtype != np.int32 or lane.names or name == "batch_size":
        return None
    padded = replace(lane, most=lane.widest)
    try:
        return padded if trace(task, _without(example, [name]), {name: padded}, rows).masks else None
    except Exception:
        return None


_RANK = {"unread": 0, "lane": 1, "engine": 1, "static": 2}  # what one config needs, all configs get


def reason_of(error: BaseException) -> str:
    """Why a tracer was refused, in a few words, with the place in the user's code."""
    place = _user_frame(error)
    text = str(error)
    if isinstance(error, ChoiceUsedAsText):
        why = "used as a string"
    elif isinstance(error, jax.errors.TracerBoolConversionError):
        why = "decides a Python branch"
    elif isinstance(error, WidthUsedAsNumber | jax.errors.TracerIntegerConversionError) or "Shapes must be 1D" in text:
        why = "used as a shape or a Python index"
    elif isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        why = "needed as a Python number"
    elif isinstance(error, TypeError) and "Tracer" in text:
        why = "needed as a Python value"
    else:
        why = f"{type(error).__name__}: {text.splitlines()[0][:80] if text else 'no message'}"
    return f"{why} in {place}" if place else why


def _user_frame(error: BaseException) -> str | None:
    libraries = [os.path.dirname(module.__file__ or "") for module in (jax, np, optax)]
    ours = os.path.dirname(os.path.dirname(__file__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        inside = any(frame.filename.startswith(folder + os.sep) for folder in (*libraries, ours))
        if not inside and not frame.filename.startswith("<"):
            return f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})"
    return None


def _one_config_per_presence(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A config for each set of names that occurs, and for each value of a string, which may lead to other code."""
    examples: dict[Any, dict[str, Any]] = {}
    for config in configs:
        examples.setdefault(frozenset(config), dict(config))
        for name, value in config.items():
            if isinstance(value, str) and len(examples) < 24:
                examples.setdefault((frozenset(config), name, value), dict(config))
    unique: list[dict[str, Any]] = []
    for example in examples.values():
        if example not in unique:
            unique.append(example)
    return unique


def _without(config: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def _kind_of(value: Any) -> str:
    if callable(value):
        return "functions"
    return {tuple: "tuples", str: "strings", type(None): "not all numbers"}.get(
        type(value), f"of type {type(value).__name__}"
    )
