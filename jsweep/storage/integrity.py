"""The care of a record: is it whole, and taking things out of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jsweep.errors import StoreError
from jsweep.storage import Store, SweepRecord, open_store
from jsweep.storage.checkpoints import folder_of, read_checkpoint, remove_checkpoint
from jsweep.storage.locks import is_alive


@dataclass(frozen=True)
class Verified:
    """What `verify` looked at (counts), and the faults it found, a sentence each; no faults means a sound record."""

    sweeps: int
    trials: int
    scores: int
    checkpoints: int
    replayed: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        looked = (
            f"{self.sweeps} sweeps, {self.trials} trials, {self.scores} scores, {self.checkpoints} checkpoints, "
            f"{self.replayed} trials replayed"
        )
        return (
            f"{looked}: sound" if not self.faults else "\n".join([f"{looked}: {len(self.faults)} faults", *self.faults])
        )


def verify(store: str | Path) -> Verified:
    """Check a record: the file's structure, each finished trial against its checksum, each checkpoint against its own.

    Raises StoreError where the file cannot be read at all.
    """
    record = open_store(store, write=False)
    faults = record.faults()
    folder = folder_of(record.path)
    trials = scores = checkpoints = 0
    for row in record.sweeps():
        found = record.trials(row.key)
        trials += len(found)
        faults += [
            f"sweep {row.name!r}: trial {trial} is not what was recorded when it finished"
            for trial in record.damaged(row.key)
        ]
        counted, short = _count_scores(record, row)
        scores += counted
        faults += short
        for checkpoint in record.checkpoints(row.key):
            checkpoints += 1
            if read_checkpoint(folder, checkpoint.file, checkpoint.sha256) is None:
                faults.append(f"sweep {row.name!r}: the checkpoint {checkpoint.file} is missing or damaged")
    return Verified(len(record.sweeps()), trials, scores, checkpoints, 0, tuple(faults))


def _count_scores(record: Store, row: SweepRecord) -> tuple[int, list[str]]:
    """The number of a sweep's scores, and its finished trials that lack one at their last step."""
    last, count = record.last_scores(row.key), 0
    metrics = record.metrics(row.key)
    for metric in metrics:
        count += sum(len(curve) for curve in record.scores(row.key, metric).values())
    short = [
        f"sweep {row.name!r}: trial {trial.id} is finished, but has no {metric} at step {trial.steps}"
        for trial in record.trials(row.key)
        if trial.status == "finished"
        for metric in metrics
        if metric not in last.get(trial.key, {})
    ]
    return count, short


def sample(trials: Iterable[str], count: int, seed: int = 0) -> list[str]:
    """``count`` trials drawn evenly from their ids, the same ones for the same record."""
    ids = sorted(trials)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(ids))
    return [ids[i] for i in order[:count]]


def drop(store: str | Path, sweep: str, trials: Iterable[str] | None = None) -> int:
    """Take trials (ids), or with None the whole sweep and its test ledger, out of a record; returns how many trials.

    Raises StoreError for a sweep or trial that is not there, and for trials that a running process holds.
    """
    if not Path(store).exists():
        raise StoreError(f"store={str(store)!r} does not exist: name the record's file.")
    record = open_store(store)
    row = record.sweep(sweep)
    if row is None:
        names = ", ".join(r.name for r in record.sweeps()) or "none"
        raise StoreError(f"no sweep {sweep!r} in {record.path}: it has {names}.")
    known = {trial.id: trial for trial in record.trials(row.key)}
    wanted = list(known) if trials is None else list(trials)
    folder = folder_of(record.path)
    for trial in wanted:
        if trial not in known:
            raise StoreError(f"no trial {trial!r} in {sweep!r}: give ids from jsweep show {sweep} --json.")
        holder = known[trial].owner
        if holder is not None and is_alive(folder, holder):
            raise StoreError(f"trial {trial} is being trained by another process: stop that first.")
    gone = set(wanted)
    outdated = [c for c in record.checkpoints(row.key) if gone & set(c.trials)]
    record.forget_checkpoints(row.key, outdated)
    for checkpoint in outdated:
        remove_checkpoint(folder, checkpoint.file)
    record.drop_trials(row.key, wanted)
    if trials is None:
        record.drop_sweep(row.key)
    return len(wanted)
