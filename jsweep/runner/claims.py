"""Claims: which process trains which trial, so that several processes may run one sweep in one store."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jsweep.storage import Status, Store, Trial
from jsweep.storage.locks import is_alive, others_alive
from jsweep.storage.records import JsonObject


@dataclass(frozen=True)
class Claims:
    """One process's claims on the trials of a sweep.

    ``owner`` is the process's name from `jsweep.storage.locks.owner`, ``folder`` holds its lock, and ``environment`` is
    recorded with each trial that it claims. Workers share one object.
    """

    store: Store
    sweep: int
    owner: str
    folder: Path
    environment: JsonObject
    _retried: set[str] = field(default_factory=set, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def retry(self, trials: Iterable[str]) -> None:
        """Allow trials that failed in an earlier run to be claimed once more."""
        with self._lock:
            self._retried.update(trials)

    def may_take(self, owner: str | None, status: str, trial: str) -> bool:
        """Whether this process may train a trial, given who claimed it last and its status."""
        if status == Status.FINISHED or (status == Status.FAILED and trial not in self._retried):
            return False
        return owner in (None, self.owner) or not is_alive(self.folder, owner or "")

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """Claim trials; returns those that are now this process's to train."""
        ids = [trial.id for trial in trials]
        mine = set(self.store.claim(self.sweep, ids, self.owner, self.environment, self.may_take))
        with self._lock:
            self._retried.difference_update(mine)
        return tuple(trial for trial in trials if trial.id in mine)

    def release(self) -> None:
        """Give up every claim of this process."""
        self.store.release(self.owner)

    def alone(self) -> bool:
        """Whether no other process uses the store; removes the locks of processes that have ended."""
        return not others_alive(self.folder, self.owner)
