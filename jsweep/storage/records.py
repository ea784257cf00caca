"""The rows of the record as Python values, and the text that stands for them in the file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from jsweep.space import decode, encode


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as recorded."""

    key: int
    name: str
    task: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    created: str


class Status(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """One config under one seed, and where the record says it stands.

    ``id`` is a stable hash of the task's name, the config and the seed. ``steps`` are to be trained, ``done`` are trained.
    ``config`` of a trial read from a record holds callables as `jsweep.space.Named`, so that reading runs no code.
    """

    id: str
    config_id: str
    config: Mapping[str, Any]
    seed: int
    steps: int
    done: int = 0
    status: Status = Status.WAITING
    nonfinite: int | None = None  # the first step at which a metric was not finite
    reason: str | None = None
    program: str | None = None
    width: int | None = None
    owner: str | None = None
    environment: int | None = None
    digest: str | None = None
    key: int = -1  # its row; -1: not in a record


@dataclass(frozen=True)
class Score:
    """One trial's metrics after ``step`` steps, by name ("validation/loss"); ``nonfinite`` is the step NaN began."""

    trial: str
    step: int
    metrics: Mapping[str, float]
    nonfinite: int | None
    finished: bool


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as recorded; ``finished``: of one trial at its end, in place of a tile's stacked state."""

    tile: str
    step: int
    file: str
    sha256: str
    trials: Sequence[str]
    finished: bool


@dataclass(frozen=True)
class TestOpening:
    """One opening of the test split."""

    config_id: str
    config: Mapping[str, Any]
    chosen_by: str
    scores: Mapping[str, list[float]]
    seeds: Sequence[int]
    again: bool
    opened: str


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def dump(value: Any) -> str:
    """A value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def load(text: str) -> Any:
    """The value of a JSON text."""
    return json.loads(text)


def dump_config(config: Mapping[str, Any]) -> str:
    """A config as JSON, names in their order."""
    return json.dumps({name: encode(value) for name, value in config.items()}, allow_nan=False)


def load_config(text: str) -> dict[str, Any]:
    """A config from its JSON; callables come as `jsweep.space.Named`, so that reading runs no code."""
    return {name: decode(value) for name, value in load_object(text).items()}


def dump_number(value: float) -> Any:
    """A number for JSON, which has no NaN and no infinity: those as text."""
    return value if math.isfinite(value) else str(value)


def load_number(value: Any) -> float:
    """A number from the scores, where NULL stands for NaN."""
    return math.nan if value is None else float(value)


def load_object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError for JSON of another kind."""
    value = load(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def sweep_from_row(row: Sequence[Any]) -> SweepRecord:
    """A row of the table as a sweep, every field of its type whatever the file holds."""
    key, name, task, identity, settings, created = row
    return SweepRecord(int(key), str(name), str(task), load_object(identity), load_object(settings), str(created))


def trial_from_row(row: Sequence[Any]) -> Trial:
    """A row of the table as a trial, every field of its type whatever the file holds."""
    key, trial, config_id, config, seed, steps, done, status, nonfinite, reason, program, width, *rest = row
    whole = lambda value: None if value is None else int(value)
    text = lambda value: None if value is None else str(value)
    owner, environment, digest = rest
    return Trial(
        key=int(key),
        id=str(trial),
        config_id=str(config_id),
        config=load_config(config),
        seed=int(seed),
        steps=int(steps),
        done=int(done),
        status=Status(status),
        nonfinite=whole(nonfinite),
        reason=text(reason),
        program=text(program),
        width=whole(width),
        owner=text(owner),
        environment=whole(environment),
        digest=text(digest),
    )


def checkpoint_from_row(row: Sequence[Any]) -> Checkpoint:
    """A row of the table as a checkpoint."""
    tile, step, file, sha256, trials, finished = row
    return Checkpoint(
        str(tile), int(step), str(file), str(sha256), [str(trial) for trial in load(trials)], bool(finished)
    )


def opening_from_row(row: Sequence[Any]) -> TestOpening:
    """A row of the ledger as an opening of the test split."""
    config_id, config, chosen_by, scores, seeds, again, opened = row
    return TestOpening(
        str(config_id),
        load_config(config),
        str(chosen_by),
        {name: [float(value) for value in values] for name, values in load_object(scores).items()},
        [int(seed) for seed in load(seeds)],
        bool(again),
        str(opened),
    )
