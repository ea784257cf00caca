"""The rows of the record as Python values, and the text that stands for them in the file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jsweep.space import decode, encode


@dataclass(frozen=True)
class SweepRow:
    """A sweep as recorded."""

    key: int
    name: str
    task: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    created: str


@dataclass(frozen=True)
class TrialRow:
    """A trial as recorded; ``config`` holds callables as `jsweep.space.Named`, so that reading runs no code."""

    key: int
    id: str
    config_id: str
    config: Mapping[str, Any]
    seed: int
    steps: int
    done: int
    status: str
    nonfinite: int | None
    reason: str | None
    program: str | None
    width: int | None
    owner: str | None
    environment: int | None
    digest: str | None


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint as recorded; ``finished``: of one trial at its end, in place of a tile's stacked state."""

    tile: str
    step: int
    file: str
    sha256: str
    trials: Sequence[str]
    finished: bool


@dataclass(frozen=True)
class TestRow:
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


def sweep_row(row: Sequence[Any]) -> SweepRow:
    """A row of the table as a sweep, every field of its type whatever the file holds."""
    key, name, task, identity, settings, created = row
    return SweepRow(int(key), str(name), str(task), load_object(identity), load_object(settings), str(created))


def trial_row(row: Sequence[Any]) -> TrialRow:
    """A row of the table as a trial, every field of its type whatever the file holds."""
    key, trial, config_id, config, seed, steps, done, status, nonfinite, reason, program, width, *rest = row
    whole = lambda value: None if value is None else int(value)
    text = lambda value: None if value is None else str(value)
    owner, environment, digest = rest
    return TrialRow(
        key=int(key),
        id=str(trial),
        config_id=str(config_id),
        config=load_config(config),
        seed=int(seed),
        steps=int(steps),
        done=int(done),
        status=str(status),
        nonfinite=whole(nonfinite),
        reason=text(reason),
        program=text(program),
        width=whole(width),
        owner=text(owner),
        environment=whole(environment),
        digest=text(digest),
    )


def checkpoint_row(row: Sequence[Any]) -> CheckpointRow:
    """A row of the table as a checkpoint."""
    tile, step, file, sha256, trials, finished = row
    return CheckpointRow(
        str(tile), int(step), str(file), str(sha256), [str(trial) for trial in load(trials)], bool(finished)
    )


def test_row(row: Sequence[Any]) -> TestRow:
    """A row of the ledger as an opening of the test split."""
    config_id, config, chosen_by, scores, seeds, again, opened = row
    return TestRow(
        str(config_id),
        load_config(config),
        str(chosen_by),
        {name: [float(value) for value in values] for name, values in load_object(scores).items()},
        [int(seed) for seed in load(seeds)],
        bool(again),
        str(opened),
    )
