"""Rows of the tables to Python values and back. A store may have been written by anyone: every field is converted."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jsweep._runtime.types import Value
from jsweep.space import decode, encode_config, json_encoder, json_of
from jsweep.storage.records import Batch, Checkpoint, Outcome, Status, SweepRecord, TestOpening, Trial
from jsweep.storage.settings import checked_settings

Row: TypeAlias = Sequence[Any]
"""A row of a table: whatever types the file holds."""

TRIAL_COLUMNS = (
    "key, id, config_id, config, seed, steps, done, status, nonfinite, reason, traceback, program, environment"
)
OPENING_COLUMNS = (
    "id, data, look, sweep, config_id, config, metric, mode, rule, at, step, seeds, again, owner, opened, scores"
)

_config_json = json_encoder(sort_keys=False)
_STATUS = {str(status): status for status in Status}


def dump(value: object) -> str:
    """A value as JSON; equal values give equal texts."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def dump_config(config: Mapping[str, Value]) -> str:
    """A config as JSON, with its names in their order."""
    return _config_json(encode_config(config))


def configs_of(trials: Sequence[Trial]) -> list[str]:
    """Each trial's config as JSON, made once for those of a config that follow one another."""
    count, distinct = [], []
    for trial in trials:
        if not distinct or trial.config is not distinct[-1]:
            distinct.append(trial.config)
            count.append(0)
        count[-1] += 1
    texts = json_of(distinct, sort_keys=False)
    return [text for text, times in zip(texts, count, strict=True) for _ in range(times)]


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


def trial_from_row(row: Row, programs: Mapping[int, tuple[str, int]]) -> Trial:
    """A trial from `TRIAL_COLUMNS` and the fingerprints and widths of programs by their numbers."""
    key, trial, config_id, config, seed, steps, done, status, nonfinite, reason, traceback, *rest = row
    program, environment = rest
    fingerprint, width = programs.get(program, (None, None))
    return Trial(
        key=int(key),
        id=str(trial),
        config_id=str(config_id),
        config=load_config(config),
        seed=int(seed),
        steps=int(steps),
        done=int(done),
        status=_STATUS[status],
        nonfinite=_whole(nonfinite),
        reason=_text(reason),
        traceback=_text(traceback),
        program=fingerprint,
        width=width,
        environment=_whole(environment),
    )


def checkpoint_from_row(row: Row) -> Checkpoint:
    """A checkpoint from (tile, step, file, sha256, trials, finished); one that is damaged is of no trial."""
    tile, step, file, sha256, trials, finished = row
    try:
        ids = [str(trial) for trial in load_list(trials)]
        return Checkpoint(str(tile), int(step), str(file), str(sha256), ids, bool(finished))
    except (ValueError, TypeError, RecursionError):
        return Checkpoint(str(tile), -1, str(file), str(sha256), [], finished=False)


def batch_from_row(row: Row) -> Batch:
    """A batch of a search from (configs, told)."""
    configs, told = row
    found = [{name: decode(value) for name, value in config.items()} for config in load_list(configs)]
    return Batch(found, None if told is None else [_outcome(*each) for each in load_list(told)])


def dump_configs(configs: Sequence[Mapping[str, Value]]) -> str:
    """Configs as a JSON array, with their names in their order."""
    return f"[{', '.join(map(dump_config, configs))}]"


def dump_outcomes(told: Sequence[Outcome]) -> str:
    """What a search is told as JSON, which has no NaN and no infinity."""
    numbers = lambda values: [value if math.isfinite(value) else None for value in values]
    return dump([[numbers(each.values), each.stopped] for each in told])


def _outcome(values: Sequence[Any], stopped: Any) -> Outcome:
    return Outcome(tuple(map(load_number, values)), _whole(stopped))


def opening_from_row(row: Row) -> TestOpening:
    """An entry of the ledger from `OPENING_COLUMNS`."""
    key, data, look, sweep, config_id, config, metric, mode, rule, at, step, seeds, again, owner, opened, scores = row
    measured = {} if scores is None else load_object(scores)
    return TestOpening(
        key=int(key),
        data=str(data),
        look=str(look),
        sweep=str(sweep),
        config_id=str(config_id),
        config=load_config(config),
        metric=str(metric),
        mode=str(mode),
        rule=str(rule),
        at=str(at),
        step=int(step),
        scores={name: [float(value) for value in values] for name, values in measured.items()},
        seeds=[int(seed) for seed in load_list(seeds)],
        again=bool(again),
        owner=_text(owner),
        opened=_text(opened),
        complete=scores is not None,
    )


def opening_to_row(entry: TestOpening, owner: str, again: bool) -> tuple[str | int | None, ...]:
    """`OPENING_COLUMNS` but the first, of an entry of the ledger that is made now."""
    chosen = (entry.metric, entry.mode, entry.rule, entry.at, entry.step)
    what = (entry.data, entry.look, entry.sweep, entry.config_id, dump_config(entry.config))
    return (*what, *chosen, dump(list(entry.seeds)), int(again), owner, None, None)


def scores_to_text(scores: Mapping[str, Sequence[float]]) -> str:
    """Test scores as JSON, which has no NaN and no infinity, so these become text."""
    finite = {name: [v if math.isfinite(v) else str(v) for v in values] for name, values in scores.items()}
    return dump(finite)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
