"""Writing a store: one SQLite file, each change one transaction."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from jsweep.errors import StoreError
from jsweep.storage import recording, transitions
from jsweep.storage.connection import connect
from jsweep.storage.paths import resolve, shown
from jsweep.storage.queries import insert, number_of, parts, read_states
from jsweep.storage.reader import COUNTS
from jsweep.storage.records import (
    Checkpoint,
    Copy,
    JsonObject,
    Score,
    Stop,
    SweepRecord,
    Trial,
    by_column,
    now,
)
from jsweep.storage.rows import configs_of, dump
from jsweep.storage.standing import ENDED, TrialState, Wanted
from jsweep.storage.transitions import Alive
from jsweep.storage.writer import StoreWriter

T = TypeVar("T")
_AT_ONCE = 4096  # trials whose rows are made before they are entered


def open_store(path: str | os.PathLike[str] | None, write: bool = True) -> "Store":
    """Open a store; use it as a context manager, or close it.

    Args:
        path: The store's file, as `jsweep.storage.paths.resolve` reads it; None for a store in memory.
        write: Whether it will be written. A file that does not exist is then created.

    Returns:
        The open store.

    Raises:
        ConfigError: If ``path`` is not the path of a file.
        StoreError: If the file cannot be opened, is damaged, or is not a store of this format.
    """
    file = resolve(path)
    return Store(connect(file, shown(path), write=write), shown(path), file)


class Store(StoreWriter):
    """An open store, made by `open_store`. Every method that writes is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str, file: Path | None):
        super().__init__(connection, path, file)
        # Of trials that were claimed here: the open row's key, by sweep and id.
        self._claimed: dict[int, dict[str, int]] = {}

    def add_sweep(self, name: str, task: str, identity: JsonObject, settings: JsonObject) -> SweepRecord:
        """Record a new sweep.

        Args:
            name: The sweep's name in the store.
            task: The task's name.
            identity: What must be equal when the sweep is run again.
            settings: How the sweep is read: metrics, objective, modes, roles.

        Returns:
            The sweep as recorded; the one that another process has added under this name, if there is one.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO sweeps (name, task, identity, settings, created) VALUES (?, ?, ?, ?, ?)",
                (name, task, dump(identity), dump(settings), now()),
            )
            row = self.sweep(name)
            assert row is not None
            return row

    def merge_settings(self, known: SweepRecord, merge: Callable[[JsonObject], JsonObject]) -> SweepRecord | None:
        """Change the settings of a sweep.

        Args:
            known: The sweep as it was read before.
            merge: From its settings as they are now to what they become.

        Returns:
            The sweep as recorded now; None, and nothing has changed, if it is not as it was read before.
        """
        with self._transaction():
            found = self.sweep(known.name)
            if found is None or _settled(known) != _settled(found):
                return None
            settings = dump(merge(found.settings))
            if settings != dump(found.settings):
                self._db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (settings, found.key))
            return self.sweep(known.name)

    def ask_to_stop(self, name: str, alive: Alive) -> int:
        """Ask the processes that train a sweep to stop at the end of their current segments.

        Args:
            name: The sweep's name.
            alive: Whether the process of a name is running.

        Returns:
            How many processes train it.

        Raises:
            StoreError: If there is no such sweep, or no process trains it now.
        """
        with self._transaction():
            sweep = self._named(name)
            owners = {state.open.owner for state in self.states(sweep.key).values()} - {None}
            training = sum(alive(owner) for owner in owners if owner is not None)
            if not training:
                raise StoreError(f"no process trains the sweep {name!r} in {self.path} now: there is nothing to stop.")
            self._db.execute(
                "UPDATE sweeps SET settings = json_set(settings, '$.stop_requests', "
                "COALESCE(json_extract(settings, '$.stop_requests'), 0) + 1) WHERE id = ?",
                (sweep.key,),
            )
            return training

    def add_trials(self, sweep: int, trials: Iterable[Trial]) -> None:
        """Record trials as waiting; those that are recorded already stay as they are."""
        with self._transaction():
            if self._db.execute("SELECT 1 FROM sweeps WHERE id = ?", (sweep,)).fetchone() is None:
                return  # it was dropped
            for some in parts([*trials], _AT_ONCE):
                named = ([getattr(trial, name) for trial in some] for name in ("id", "config_id", "seed", "steps"))
                into = "INSERT OR IGNORE INTO trials (sweep, id, config_id, seed, steps, config)"
                insert(self._db, into, [[sweep] * len(some), *named, configs_of(some)])

    def claim(
        self,
        sweep: int,
        wanted: Mapping[str, Wanted],
        owner: str,
        environment: JsonObject,
        alive: Alive,
        seen: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Make ``owner`` the owner of the free ones among trials, so that of two processes only one trains each.

        Args:
            sweep: The sweep's key.
            wanted: What is wanted of each trial, by id.
            owner: The name of the running process, from `jsweep.storage.locks.owner`.
            environment: What they will be trained under.
            alive: Whether the process of a name is running.
            seen: The keys of trials as `untouched` gave them, which spares reading the rows of those that still are.

        Returns:
            The ids that were claimed, in the order of ``wanted``.
        """
        with self._transaction():
            place = number_of(self._db, "environments", described=dump(environment))
            claimed = transitions.claim(self._db, sweep, wanted, owner, place, alive, seen or {})
        with self._lock:
            self._claimed.setdefault(sweep, {}).update(claimed)
        return [*claimed]

    def release(self, owner: str) -> None:
        """Give up the trials that ``owner`` holds, and extensions of which it has trained nothing."""
        with self._transaction():
            transitions.release(self._db, owner)
            self._claimed.clear()

    def record_segment(
        self,
        sweep: int,
        program: str,
        width: int,
        scores: Sequence[Score],
        checkpoints: Sequence[Checkpoint] = (),
        outdated: Sequence[Checkpoint] = (),
        owner: str | None = None,
        alive: Alive = lambda _: True,
    ) -> list[str]:
        """Record one segment of a tile, of the trials that are ``owner``'s.

        Args:
            sweep: The sweep's key.
            program: The fingerprint of the tile's program.
            width: The lanes of the tile.
            scores: The scores at the segment's end.
            checkpoints: Checkpoints whose files have been written.
            outdated: Checkpoints to forget; their files may be removed afterwards.
            owner: The process that trained the tile; None where trials are not claimed.
            alive: Whether the process of a name is running.

        Returns:
            The ids of the trials whose scores were not entered: they were dropped, or belong to another process now.

        Raises:
            StoreError: If ``owner`` counts as dead, so that another process may have removed the files of ``checkpoints``.
        """
        columns = by_column(scores)
        with self._transaction():
            if owner is not None and not alive(owner):
                raise StoreError(
                    f"the lock file {owner}.owner of this process was removed from {str(self.folder)!r}, so other processes "
                    "take it for dead and nothing more is recorded: leave such files alone, and run the sweep again."
                )
            claimed = self._claimed.setdefault(sweep, {})
            number = self._number("programs", digest=program, width=width)
            metric_id = lambda name: self._number("metrics", name=name)
            lost: list[str] = []
            for some in columns:
                keys = recording.open_keys(self._db, sweep, some.trials, claimed)
                entered, ended = recording.record(self._db, keys, some, owner, number, metric_id)
                lost += [trial for trial in some.trials if trial not in entered]
                self._seal(ended)
            if not lost or len(lost) < len(scores):
                transitions.name_checkpoints(self._db, sweep, checkpoints)
            transitions.forget_checkpoints(self._db, sweep, outdated)
        for trial in chain(lost, *(some.ended for some in columns)):
            claimed.pop(trial, None)
        return lost

    def record_stops(self, sweep: int, stops: Sequence[Stop], owner: str, alive: Alive) -> None:
        """Mark trials as stopped by the sweep's rule.

        Args:
            sweep: The sweep's key.
            stops: The trials, each with its steps and why.
            owner: The process that asks.
            alive: Whether the process of a name is running; trials that another one holds stay as they are.
        """
        with self._transaction():
            states = read_states(self._db, sweep, [stop.trial for stop in stops])
            self._seal(transitions.stop(self._db, states, stops, owner, alive))

    def _named(self, name: str) -> SweepRecord:
        """The sweep of a name; StoreError where there is none."""
        sweep = self.sweep(name)
        if sweep is None:
            raise StoreError(f"there is no sweep {name!r} in {self.path}: it has {', '.join(self.names()) or 'none'}.")
        return sweep

    def stop_configs(self, name: str, starts: Sequence[str]) -> int:
        """Stop configs where their record stands, whichever process trains them, which leaves them at its next segment's end.

        Args:
            name: The sweep's name.
            starts: The ids of the configs, or how they begin.

        Returns:
            How many trials were stopped.

        Raises:
            StoreError: If there is no such sweep or config, or one has ended or finished and is given more steps.
        """
        with self._transaction():
            row = self._named(name)
            members: dict[str, list[str]] = {}
            for trial in self.trials(row.key):
                members.setdefault(trial.config_id, []).append(trial.id)
            chosen = {_one_config(name, start, members): None for start in starts}
            states = {config: read_states(self._db, row.key, members[config]) for config in chosen}
            for config, rows in states.items():
                if all(state.own.status in ENDED for state in rows.values()):
                    raise StoreError(f"config {config} of {name!r} has ended: there is nothing of it to stop.")
            keys = transitions.stop_by_user(self._db, [state for rows in states.values() for state in rows.values()])
            self._seal(keys)
        return len(keys)

    def record_copies(self, sweep: int, copies: Sequence[Copy]) -> None:
        """Record that configs go on from copies of others, all at once."""
        with self._transaction():
            transitions.copy(self._db, sweep, copies)

    def add_clone(self, sweep: int, source: str, values: Mapping[str, int | float | str]) -> None:
        """Record that a config was added to a sweep: a copy of another one with some values changed."""
        with self._transaction():
            transitions.append(self._db, sweep, "clones", [source, dict(values)])

    def record_failure(
        self,
        sweep: int,
        trials: Iterable[str],
        reason: str,
        traceback: str | None = None,
        owner: str | None = None,
    ) -> None:
        """Mark trials of ``owner`` as failed. Their scores so far stay; trials that have finished stay finished.

        Args:
            sweep: The sweep's key.
            trials: The ids of the trials.
            reason: Why they failed, in one line.
            traceback: The whole traceback of the error, if there is one.
            owner: The process that trained them; None where trials are not claimed.
        """
        with self._transaction():
            states = read_states(self._db, sweep, list(trials))
            transitions.fail(self._db, states.values(), owner, reason, traceback)

    def drop(self, name: str, trials: Sequence[str] | None, alive: Alive) -> tuple[int, list[Checkpoint]]:
        """Remove trials and their scores, or a whole sweep; the ledger stays.

        Args:
            name: The sweep's name.
            trials: The ids of the trials; None removes the sweep.
            alive: Whether the process of a name is running.

        Returns:
            How many trials were removed, and the checkpoints that were forgotten, whose files may be removed.

        Raises:
            StoreError: If there is no such sweep or trial, or a living process trains one of them.
        """
        with self._transaction():
            row = self.sweep(name)
            if row is None:
                names = ", ".join(r.name for r in self.sweeps()) or "none"
                raise StoreError(f"there is no sweep {name!r} in {self.path}: it has {names}.")
            states = read_states(self._db, row.key, trials)
            _check_idle(name, states, trials, alive)
            outdated = transitions.drop(self._db, row.key, states)
            if trials is None:
                outdated += self.checkpoints(row.key)
                transitions.forget_checkpoints(self._db, row.key, outdated)
                self._db.execute("DELETE FROM batches WHERE sweep = ?", (row.key,))
                self._db.execute("DELETE FROM sweeps WHERE id = ?", (row.key,))
        return len(states), outdated

    def forget_ended_checkpoints(self, sweep: int) -> None:
        """Forget the checkpoints of tiles that there is nothing to train of; their files may be removed afterwards."""
        with self._transaction():
            rows = transitions.unfinished_checkpoints(self._db, sweep)
            members = [*dict.fromkeys(trial for row in rows for trial in row.trials if trial)]
            states = read_states(self._db, sweep, members)
            idle = {trial for trial, state in states.items() if state.idle}
            ended = [row for row in rows if idle.issuperset(filter(None, row.trials))]
            transitions.forget_checkpoints(self._db, sweep, ended)

    def forget_superseded_checkpoints(self, sweep: int, kept: int) -> list[Checkpoint]:
        """Forget the checkpoints of tiles whose every trial has ended, or has ``kept`` later ones; returns them."""
        with self._transaction():
            states = read_states(self._db, sweep)
            found: dict[str, int] = {}
            superseded = []
            rows = transitions.unfinished_checkpoints(self._db, sweep)
            for row in sorted(rows, key=lambda row: -row.step):
                open_ = [trial for trial in row.trials if trial in states and not states[trial].idle]
                if all(found.get(trial, 0) >= kept for trial in open_):
                    superseded.append(row)
                found |= {trial: found.get(trial, 0) + 1 for trial in row.trials}
            transitions.forget_checkpoints(self._db, sweep, superseded)
        return superseded

    def _seal(self, keys: Sequence[int]) -> None:
        """Enter the digests of trials that have ended."""
        digests = self._digests(keys)
        self._db.executemany("UPDATE trials SET digest = ? WHERE key = ?", ((d, key) for key, d in digests.items()))


def _one_config(name: str, start: str, known: Iterable[str]) -> str:
    """The config whose id begins so; StoreError unless there is exactly one."""
    found = [config for config in known if start and config.startswith(start)]
    if len(found) != 1:
        raise StoreError(
            f"{start!r} matches {len(found)} configs of {name!r}: pass the id of one, as in jsweep show {name} --json."
        )
    return found[0]


def _settled(row: SweepRecord) -> tuple[int, JsonObject, JsonObject]:
    """What of a sweep's row a plan depends on."""
    return row.key, row.identity, {name: value for name, value in row.settings.items() if name not in COUNTS}


def _check_idle(sweep: str, states: Mapping[str, TrialState], asked: Sequence[str] | None, alive: Alive) -> None:
    """Raise StoreError where a trial that is to be dropped is not there, or is being trained."""
    for trial in asked or ():
        if trial not in states:
            raise StoreError(f"there is no trial {trial!r} in {sweep!r}: pass ids from jsweep show {sweep} --json.")
    for trial, state in states.items():
        holder = state.open.owner
        if holder is not None and alive(holder):
            raise StoreError(f"trial {trial} is being trained by another process: stop that process first.")
