"""Claims: which process trains which trial, so that several processes may run one sweep in one store.

Every decision is the store's, from the rows as they are; see docs/record.md. Nothing here needs JAX.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jsweep.errors import StoreError
from jsweep.storage import Checkpoint, Score, Store, Trial
from jsweep.storage.records import Copy, JsonObject, Stop, ended_among
from jsweep.storage.standing import Standing, TrialState, Wanted, standing


@dataclass(frozen=True)
class View:
    """How a process's trials stand: their rows, and the ids of those that are not ended or given up.

    Of those that are untouched, which are free, there are no rows.
    """

    states: Mapping[str, TrialState]
    free: tuple[str, ...]
    held: tuple[str, ...]
    gone: tuple[str, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Claims:
    """One process's claims on the trials of a sweep.

    ``owner`` is the process's name from `jsweep.storage.locks.owner`, ``alive`` says of such a name whether its process is
    running, ``environment`` is recorded with each trial that is claimed, and ``wanted`` is what is wanted of each trial.
    Workers share one object.
    """

    store: Store
    sweep: int
    owner: str
    alive: Callable[[str], bool]
    environment: JsonObject
    wanted: dict[str, Wanted]
    _held: set[str] = field(default_factory=set, init=False, repr=False)
    _ended: set[str] = field(default_factory=set, init=False, repr=False)  # as wanted, by this process
    _untouched: dict[str, int] = field(default_factory=dict, init=False, repr=False)  # at the last look: the rows' keys
    _counts: dict[str, int] = field(default_factory=lambda: {"claimed": 0, "recorded": 0}, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def retry_failed(self) -> None:
        """Let trials that have failed by now be claimed once more."""
        for trial in self.store.failed(self.sweep) & self.wanted.keys():
            self.wanted[trial] = self.wanted[trial]._replace(retry=True)

    def look(self) -> View:
        """How the trials stand now; there is nothing to look at where this process has ended all of them."""
        if self._ended.issuperset(self.wanted):
            return View({}, (), (), (), ())
        with self.store.snapshot():
            self._untouched.clear()
            self._untouched.update(self.store.untouched(self.sweep))
            states = self.store.touched_states(self.sweep)
        found: dict[Standing, list[str]] = {kind: [] for kind in Standing}
        alive = functools.cache(self.alive)
        for trial, wanted in self.wanted.items():
            free = trial in self._untouched
            found[Standing.FREE if free else standing(states.get(trial), wanted, self.owner, alive)].append(trial)
        by = {kind: tuple(trials) for kind, trials in found.items()}
        return View(states, by[Standing.FREE], by[Standing.HELD], by[Standing.GONE], by[Standing.FIXED])

    def passes(self) -> Iterator[View]:
        """Look again and again until nothing is free or held; the last view is of that.

        The caller trains what is free in a view before it asks for the next one, or waits where nothing is.

        Raises:
            StoreError: where trials were claimed, and neither a segment nor a failure of any was recorded: trying again would
                give the same for ever.
        """
        while True:
            before, view = dict(self._counts), self.look()
            yield view
            if not view.free and not view.held:
                return
            claimed, recorded = (self._counts[name] - before[name] for name in ("claimed", "recorded"))
            if claimed and not recorded:
                raise StoreError(
                    f"{claimed} trials, the first {view.free[0]}, were trained and gave nothing to record: this is a fault of "
                    "jsweep; drop them (jsweep drop SWEEP TRIAL), then run the sweep again to train them from the start."
                )

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """Claim trials; returns those that are now this process's to train."""
        asked = {trial.id: self.wanted[trial.id] for trial in trials}
        alive = functools.cache(self.alive)
        seen = {trial: key for trial in asked if (key := self._untouched.get(trial)) is not None}
        mine = set(self.store.claim(self.sweep, asked, self.owner, self.environment, alive, seen))
        with self._lock:
            self._held.update(mine)
            self._counts["claimed"] += len(mine)
            self.wanted.update({trial: asked[trial]._replace(retry=False) for trial in mine if asked[trial].retry})
        return tuple(trial for trial in trials if trial.id in mine)

    def lost(self, trials: Sequence[Trial]) -> bool:
        """Whether all of some trials that were claimed have been dropped since, or belong to another process."""
        with self._lock:
            return not any(trial.id in self._held for trial in trials)

    def record(
        self,
        program: str,
        width: int,
        scores: Sequence[Score],
        checkpoints: Sequence[Checkpoint] = (),
        outdated: Sequence[Checkpoint] = (),
    ) -> list[str]:
        """Record a segment of a tile; returns the trials whose scores do not count, as they are not this process's any more.

        Args:
            program: see `Store.record_segment`, as for the others.
            width: the lanes of the tile.
            scores: the scores at the segment's end.
            checkpoints: what has been written.
            outdated: what is not needed any more.
        """
        lost = self.store.record_segment(
            self.sweep, program, width, scores, checkpoints, outdated, self.owner, self.alive
        )
        with self._lock:
            ended = {*ended_among(scores)}
            self._held.difference_update(lost, ended)
            self._ended.update(ended.difference(lost))
            self._counts["recorded"] += 1
        return lost

    def fail(self, trials: Sequence[Trial], reason: str, traceback: str | None = None) -> None:
        """Record that trials failed: why in one line, and the whole traceback."""
        self.store.record_failure(self.sweep, [trial.id for trial in trials], reason, traceback, self.owner)
        with self._lock:
            self._held.difference_update(trial.id for trial in trials)
            self._counts["recorded"] += 1

    def stop(self, stops: Sequence[Stop]) -> None:
        """Record that the sweep's rule stopped trials."""
        self.store.record_stops(self.sweep, stops, self.owner, functools.cache(self.alive))
        with self._lock:
            self._held.difference_update(stop.trial for stop in stops)
            self._counts["recorded"] += 1

    def copy(self, copies: Sequence[Copy]) -> None:
        """Record that the sweep's rule replaced configs by copies of others."""
        self.store.record_copies(self.sweep, copies)

    def release(self) -> None:
        """Give up every claim of this process."""
        self.store.release(self.owner)
        self._held.clear()
