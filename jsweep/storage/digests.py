"""The digests by which `verify` and `merge` know that an ended trial is what was recorded."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np

from jsweep.storage.transitions import among, names, programs

_SCORE = np.dtype([("metric", "<u8"), ("step", "<i8"), ("value", "<f8")])


def digests(db: sqlite3.Connection, keys: Sequence[int]) -> dict[int, bytes]:
    """The first 8 bytes of SHA-256 over each trial's row and its scores, by the trial's key."""
    known, scores = programs(db), _scores(db, keys)
    select = "SELECT key, id, config_id, config, seed, steps, done, nonfinite, program FROM trials WHERE key IN ({})"
    found: dict[int, bytes] = {}
    for key, trial, config_id, config, seed, steps, done, nonfinite, program in among(db, select, keys):
        row = f"{trial} {config_id} {config} {seed} {steps} {done} {nonfinite} {known.get(program)}"
        found[key] = hashlib.sha256(row.encode() + scores.get(key, b"")).digest()[:8]
    return found


def _scores(db: sqlite3.Connection, keys: Sequence[int]) -> Mapping[int, bytes]:
    """The scores of each trial as bytes, in an order that is the same in every record: metrics go by a hash of their names."""
    rows = list(among(db, "SELECT trial, metric, step, value FROM scores WHERE trial IN ({})", keys))
    if not rows:
        return {}
    trials, metrics, steps, values = zip(*rows, strict=True)
    number = lambda name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    named = {metric: number(name) for metric, name in names(db, "metrics", "name").items()}
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
