"""Rows of the tables to Python values and back. A store may have been written by anyone: every field is converted."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jsweep._runtime.types import Value
from jsweep.space import decode, encode
from jsweep.storage.records import Checkpoint, Status, SweepRecord, TestOpening, Trial
from jsweep.storage.settings import checked_settings

Row: TypeAlias = Sequence[Any]
"""A row of a table: whatever types the file holds."""

TRIAL_COLUMNS = (
    "key, id, config_id, config, seed, steps, done, status, nonfinite, reason, traceback, program, width, owner, "
    "environment, digest"
)
OPENING_COLUMNS = "config_id, config, metric, mode, rule, at, step, scores, seeds, again, opened"


def dump(value: object) -> str:
    """A value as JSON; equal values give equal texts."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def dump_config(config: Mapping[str, Value]) -> str:
    """A config as JSON, with its names in their order."""
    return json.dumps({name: encode(value) for name, value in config.items()}, allow_nan=False)


def load_config(text: str) -> dict[str, Value]:
    """A config from JSON; callables become `jsweep.space.Named`, so that reading runs no code."""
    return {name: decode(value) for name, value in load_object(text).items()}


def load_number(value: float | None) -> float:
    """A score from its column, where NULL is NaN."""
    return math.nan if value is None else float(value)


def load_object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError for JSON of another kind."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def load_list(text: str) -> list[Any]:
    """A JSON array; ValueError for JSON of another kind."""
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError("not a JSON array")
    return value


def sweep_from_row(row: Row) -> SweepRecord:
    """A sweep from (id, name, task, identity, settings, created)."""
    key, name, task, identity, settings, created = row
    checked = checked_settings(load_object(settings))
    return SweepRecord(int(key), str(name), str(task), load_object(identity), checked, str(created))


def trial_from_row(row: Row) -> Trial:
    """A trial from `TRIAL_COLUMNS`."""
    key, trial, config_id, config, seed, steps, done, status, nonfinite, reason, traceback, *rest = row
    program, width, owner, environment, digest = rest
    return Trial(
        key=int(key),
        id=str(trial),
        config_id=str(config_id),
        config=load_config(config),
        seed=int(seed),
        steps=int(steps),
        done=int(done),
        status=Status(status),
        nonfinite=_whole(nonfinite),
        reason=_text(reason),
        traceback=_text(traceback),
        program=_text(program),
        width=_whole(width),
        owner=_text(owner),
        environment=_whole(environment),
        digest=_text(digest),
    )


def checkpoint_from_row(row: Row) -> Checkpoint:
    """A checkpoint from (tile, step, file, sha256, trials, finished)."""
    tile, step, file, sha256, trials, finished = row
    ids = [str(trial) for trial in load_list(trials)]
    return Checkpoint(str(tile), int(step), str(file), str(sha256), ids, bool(finished))


def opening_from_row(row: Row) -> TestOpening:
    """An entry of the ledger from `OPENING_COLUMNS`."""
    config_id, config, metric, mode, rule, at, step, scores, seeds, again, opened = row
    return TestOpening(
        config_id=str(config_id),
        config=load_config(config),
        metric=str(metric),
        mode=str(mode),
        rule=str(rule),
        at=str(at),
        step=int(step),
        scores={name: [float(value) for value in values] for name, values in load_object(scores).items()},
        seeds=[int(seed) for seed in load_list(seeds)],
        again=bool(again),
        opened=str(opened),
    )


def opening_to_row(entry: TestOpening) -> tuple[str | int, ...]:
    """`OPENING_COLUMNS` of an entry of the ledger; JSON has no NaN and no infinity, so these become text."""
    scores = {
        name: [value if math.isfinite(value) else str(value) for value in values]
        for name, values in entry.scores.items()
    }
    chosen = (entry.metric, entry.mode, entry.rule, entry.at, entry.step)
    config, seeds = dump_config(entry.config), dump(list(entry.seeds))
    return (entry.config_id, config, *chosen, dump(scores), seeds, int(entry.again), entry.opened)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
