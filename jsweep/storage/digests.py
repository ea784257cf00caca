"""The digests by which `verify` and `merge` know that an ended trial is what was recorded."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from jsweep.storage.queries import among, names, programs
from jsweep.storage.records import Scores

_SCORE = np.dtype([("metric", "<u8"), ("step", "<i8"), ("value", "<f8")])


def digests(db: sqlite3.Connection, keys: Sequence[int]) -> dict[int, bytes]:
    """The first 8 bytes of SHA-256 over each trial's row and its scores, by the trial's key."""
    known, scores = programs(db), _scores(db, keys)
    select = "SELECT key, id, config_id, config, seed, steps, done, nonfinite, program FROM trials WHERE key IN {}"
    found: dict[int, bytes] = {}
    for key, trial, config_id, config, seed, steps, done, nonfinite, program in among(db, select, keys):
        content = scores.get(key, b"")
        found[key] = digest_of(trial, config_id, config, seed, steps, done, nonfinite, known.get(program), content)
    return found


def digest_of(
    trial: str,
    config_id: str,
    config: str,
    seed: int,
    steps: int,
    done: int,
    nonfinite: int | None,
    program: tuple[str, int] | None,
    scores: bytes,
) -> bytes:
    """The digest of a trial's row and its scores as bytes; ``program`` is a fingerprint and a width."""
    row = f"{trial} {config_id} {config} {seed} {steps} {done} {nonfinite} {program}"
    return hashlib.sha256(row.encode() + scores).digest()[:8]


def contents_of(scores: Scores) -> list[bytes]:
    """The scores of each trial as bytes, as they will be read once they are recorded and are all that there is of it."""
    found = np.empty((len(scores), len(scores.values)), _SCORE)
    for place, name in enumerate(sorted(scores.values, key=_number)):
        values = scores.values[name]
        found["metric"][:, place], found["step"][:, place] = _number(name), scores.step
        found["value"][:, place] = np.where(np.isnan(values), np.nan, values) + 0.0  # SQLite has one NaN, and no -0.0
    return [row.tobytes() for row in found]


def _scores(db: sqlite3.Connection, keys: Sequence[int]) -> Mapping[int, bytes]:
    """The scores of each trial as bytes, in an order that is the same in every record: metrics go by a hash of their names."""
    rows = list(among(db, "SELECT trial, metric, step, value FROM scores WHERE trial IN {}", keys))
    if not rows:
        return {}
    trials, metrics, steps, values = zip(*rows, strict=True)
    named = {metric: _number(name) for metric, name in names(db, "metrics", "name").items()}
    scores = np.empty(len(rows), _SCORE)
    scores["metric"] = [named[metric] for metric in metrics]
    scores["step"], scores["value"] = steps, values  # None becomes NaN
    owners = np.array(trials)
    order = np.lexsort((scores["step"], scores["metric"], owners))
    content, size = scores[order].tobytes(), _SCORE.itemsize
    distinct, starts = np.unique(owners[order], return_index=True)
    ends = [*starts[1:].tolist(), len(rows)]
    return {
        key: content[start * size : end * size]
        for key, start, end in zip(distinct.tolist(), starts.tolist(), ends, strict=True)
    }


@cache
def _number(metric: str) -> int:
    """What stands for a metric in digests."""
    return int.from_bytes(hashlib.sha256(metric.encode()).digest()[:8], "little")
