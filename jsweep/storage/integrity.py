"""Checking a store, and removing sweeps and trials from it."""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jsweep._runtime.text import clean
from jsweep.errors import ConfigError, StoreError
from jsweep.storage.checkpoints import read_checkpoint, remove_checkpoint
from jsweep.storage.locks import is_alive
from jsweep.storage.paths import resolve
from jsweep.storage.records import Checkpoint, SweepRecord, Trial
from jsweep.storage.sqlite import Store, open_store


@dataclass(frozen=True)
class Verified:
    """What `verify` checked (counts), and the faults that it found, one sentence each; a store without any is intact."""

    sweeps: int
    trials: int
    scores: int
    checkpoints: int
    replayed: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        counts = (
            f"{self.sweeps} sweeps, {self.trials} trials, {self.scores} scores, {self.checkpoints} checkpoints, "
            f"{self.replayed} trials replayed"
        )
        if not self.faults:
            return f"{counts}: intact"
        return "\n".join([f"{counts}: {len(self.faults)} faults", *(clean(fault, 500) for fault in self.faults)])


def verify(store: str | os.PathLike[str]) -> Verified:
    """Check a store: the file's structure, each finished trial against its checksum, each checkpoint against its own.

    Raises StoreError if the file cannot be read at all.
    """
    _check_on_disk(store)
    with open_store(store, write=False) as opened:
        with opened.snapshot():
            found, suspects = _check(opened)
        # A running process forgets a checkpoint and then removes its file, so what is named still is at fault.
        named = {
            (sweep.key, row.file, row.sha256) for sweep in opened.sweeps() for row in opened.checkpoints(sweep.key)
        }
        lost = tuple(
            f"sweep {sweep.name!r}: the checkpoint {row.file} is missing or damaged"
            for sweep, row in suspects
            if (sweep.key, row.file, row.sha256) in named
        )
        return replace(found, faults=(*found.faults, *lost))


def _check(opened: Store) -> tuple[Verified, list[tuple[SweepRecord, Checkpoint]]]:
    """What there is and what is wrong with it, and the checkpoints that seem to be missing or damaged."""
    faults, suspects = opened.faults(), []
    sweeps = opened.sweeps()
    trials = scores = checkpoints = 0
    for row in sweeps:
        recorded = opened.trials(row.key)
        trials += len(recorded)
        scores += opened.count_scores(row.key)
        faults += [
            f"sweep {row.name!r}: trial {trial} is not what was recorded when it finished"
            for trial in opened.damaged(row.key)
        ]
        faults += _missing_scores(opened, row, recorded)
        for checkpoint in opened.checkpoints(row.key):
            checkpoints += 1
            if read_checkpoint(opened.folder, checkpoint) is None:
                suspects.append((row, checkpoint))
    return Verified(len(sweeps), trials, scores, checkpoints, 0, tuple(faults)), suspects


def drop(store: str | os.PathLike[str], sweep: str, trials: Iterable[str] | None = None) -> int:
    """Remove trials, or a whole sweep, from a store; the test ledger stays.

    Args:
        store: The store's file.
        sweep: The sweep's name in the store.
        trials: The ids of the trials to remove; None removes the sweep.

    Returns:
        The number of trials that were removed.

    Raises:
        StoreError: If the sweep or a trial is not in the store, or a trial is being trained by a running process.
    """
    path = _check_on_disk(store)
    if not path.exists():
        raise StoreError(f"store={str(store)!r} does not exist: pass the path of an existing store.")
    with open_store(store) as opened:
        alive = functools.cache(functools.partial(is_alive, opened.folder))
        count, outdated = opened.drop(sweep, None if trials is None else list(trials), alive)
        for file in {checkpoint.file for checkpoint in outdated} - opened.checkpoint_files():
            remove_checkpoint(opened.folder, file)
    return count


def stop(store: str | os.PathLike[str], sweep: str, configs: Iterable[str] | None = None) -> int:
    """Ask the processes that train a sweep to stop, or stop some of its configs, from anywhere that its record can be reached.

    Without ``configs``, each process ends after its current segments with everything recorded, and its `run` returns the
    session. Running the sweep again trains the rest. With them, these configs stop for good where their record stands, by
    the user; a process that trains them leaves them at the end of its current segment, of which nothing is recorded.

    Args:
        store: The store's file.
        sweep: The sweep's name in the store.
        configs: The ids of configs, or the beginnings of them.

    Returns:
        The number of processes that train it; with ``configs``, the number of trials that were stopped.

    Raises:
        StoreError: If the sweep is not in the store, or no process trains it now; if a config is not in it, or has ended.
    """
    path = _check_on_disk(store)
    if not path.exists():
        raise StoreError(f"store={str(store)!r} does not exist: pass the path of an existing store.")
    with open_store(store) as opened:
        if configs is not None:
            return opened.stop_configs(sweep, _listed(configs))
        return opened.ask_to_stop(sweep, functools.cache(functools.partial(is_alive, opened.folder)))


def _listed(configs: Iterable[str]) -> list[str]:
    listed = [] if isinstance(configs, str) else list(configs)
    if not listed or not all(isinstance(each, str) for each in listed):
        raise ConfigError(f"configs={configs!r} is not valid: pass a list of config ids, such as ['3f2a91'].")
    return listed


def sample(trials: Iterable[str], count: int, seed: int = 0) -> list[str]:
    """``count`` ids drawn at random without replacement; the same ones for the same trials and seed."""
    ids = sorted(trials)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(ids))
    return [ids[i] for i in order[:count]]


def _check_on_disk(store: str | os.PathLike[str]) -> Path:
    path = resolve(store)
    if path is None:
        raise ConfigError(f"store={store!r} is in memory: pass the path of a store's file.")
    return path


def _missing_scores(store: Store, sweep: SweepRecord, trials: Iterable[Trial]) -> list[str]:
    """A sentence for each score that a finished trial lacks at its last step."""
    last, metrics = store.last_scores(sweep.key), store.metrics(sweep.key)
    return [
        f"sweep {sweep.name!r}: trial {trial.id} is {trial.status}, but has no {metric} at step {trial.done}"
        for trial in trials
        if trial.status == "finished" or (trial.status == "stopped" and trial.done)
        for metric in metrics
        if metric not in last.get(trial.key, {})
    ]
