"""Checkpointing: saving the state of tiles while they train, and resuming from it."""

import contextlib
import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from jsweep.engine.carry import Carry, from_arrays, split, stack, to_arrays
from jsweep.engine.tile import Segment
from jsweep.errors import StoreError
from jsweep.planning import Group, Tile
from jsweep.storage import Checkpoint, Store
from jsweep.storage.checkpoints import file_name, owner_of, read_checkpoint, remove_checkpoint, write_checkpoint
from jsweep.storage.locks import has_owners, is_alive, remove_dead
from jsweep.storage.records import ended_among
from jsweep.storage.standing import resumes_from

KEPT = 2  # checkpoints of a tile: if the last one is damaged, there is the one before
LEAST_SECONDS = 1.0  # of training between two checkpoints of a tile, as writing one waits for the disk


@dataclass(frozen=True)
class Checkpointing:
    """Saves and resumes the tiles of a sweep.

    ``policy`` says what is saved: with "running" the state of tiles that train for long, at the last two segments before
    which they trained for `LEAST_SECONDS`, until they end; with "all" also the final state of every trial; with "off"
    nothing. ``evaluate_every`` are the steps between evaluations. Files lie in the store's ``folder``, each under a name of
    its own that begins with ``owner``, the name of this process. Workers share one object.
    """

    store: Store
    sweep: int
    policy: Literal["running", "all", "off"]
    evaluate_every: int
    owner: str
    _kept: dict[str, list[Checkpoint]] = field(default_factory=dict, init=False, repr=False)
    _since: dict[str, float] = field(default_factory=dict, init=False, repr=False)  # by tile: its start, or last saving
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.store.folder

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """What a tile's trials resume from: the latest intact checkpoint of all of them, or None for their seeds.

        A checkpoint of tiles of another width is of another program.
        """
        self._since[self._id(tile)] = time.monotonic()
        ends = {trial.id: trial.steps for trial in tile.trials}
        if not self.store.has_checkpoints(self.sweep):
            return None
        states = self.store.states(self.sweep, list(ends))
        if states.keys() < ends.keys():
            return None  # one was dropped
        if not any(state.recorded for state in states.values()):
            return None
        lived = {trial.id for path in tile.past.values() for trial in (each.trial for each in path)}
        rows = self.store.checkpoints_of(self.sweep, [*ends, *lived - ends.keys()])
        for step in sorted({row.step for row in rows}, reverse=True):
            if not all(resumes_from(step, states[t].recorded, end, self.evaluate_every) for t, end in ends.items()):
                continue
            lanes = self._lanes([row for row in rows if row.step == step], group)
            there = replace(tile, trials=tile.before(step))
            if all(trial.id in lanes for trial in there.trials):
                found = [lanes[trial.id] for trial in there.lanes]
                if {(lane.since, lane.width) for lane in found} == {(found[0].since, tile.width)}:
                    return stack(found)
        return None

    def save(self, tile: Tile, segment: Segment, stopping: bool) -> list[Checkpoint]:
        """Write the files that the policy asks for; their rows are to be recorded with the segment's scores.

        Args:
            tile: the tile.
            segment: where it stands.
            stopping: whether it is not trained any further now.
        """
        name, now = self._id(tile), time.monotonic()
        running = not segment.last and (stopping or now - self._since.get(name, now) >= LEAST_SECONDS)
        finished = {*ended_among(segment.scores)} if self.policy == "all" else set()
        if self.policy == "off" or not (running or finished):
            return []
        self.store.check_file()
        arrays = to_arrays(segment.carry)
        written = []
        if running:
            ids = [trial.id for trial in tile.trials]
            written.append(self._write(name, segment.carry, ids, arrays))
            self._since[name] = time.monotonic()
        if finished:
            lanes = [lane for lane, trial in enumerate(tile.trials) if trial.id in finished]
            ids = [tile.trials[lane].id for lane in lanes]
            one = self._write("", segment.carry, ids, {name: value[lanes] for name, value in arrays.items()})
            written += [Checkpoint(trial, one.step, one.file, one.sha256, ids, finished=True) for trial in ids]
        return written

    def outdated(self, tile: Tile, segment: Segment, written: Sequence[Checkpoint]) -> list[Checkpoint]:
        """The tile's checkpoints that are no longer needed: all but the last two, and all of them once it has ended."""
        kept = self._kept.setdefault(self._id(tile), [])
        kept += [row for row in written if not row.finished]
        old = kept[:] if segment.last else kept[:-KEPT]
        del kept[: len(old)]
        return old

    def remove(self, rows: Sequence[Checkpoint]) -> None:
        """Remove files that the store no longer names."""
        for row in rows:
            remove_checkpoint(self.folder, row.file)

    def forget_superseded(self) -> None:
        """Remove what no trial needs once a rule has put the trials into other tiles."""
        self.remove(self.store.forget_superseded_checkpoints(self.sweep, KEPT))

    def _write(self, tile: str, carry: Carry, trials: list[str], arrays: Mapping[str, np.ndarray]) -> Checkpoint:
        name, step = file_name(self.owner, next(self._numbers)), carry.step
        sha256 = write_checkpoint(self.folder, name, arrays, carry.position, trials)
        return Checkpoint(tile, step, name, sha256, trials, finished=False)

    def _lanes(self, rows: Sequence[Checkpoint], group: Group) -> dict[str, Carry]:
        """The carry of each trial that these checkpoints are kept for, each file being read once."""
        found: dict[str, Carry] = {}
        for file in dict.fromkeys(row.file for row in rows):
            own = [row for row in rows if row.file == file]
            members = {trial for row in own for trial in row.members}
            found |= {trial: carry for trial, carry in self._read(own[0], group).items() if trial in members}
        return found

    def _read(self, row: Checkpoint, group: Group) -> dict[str, Carry]:
        """Each trial's part of a checkpoint; nothing if it is of another program, or, with a warning, if it is damaged."""
        found = read_checkpoint(self.folder, row)
        if found is None:
            if row.file in self.store.checkpoint_files():  # else it was outdated meanwhile
                warnings.warn(
                    f"the checkpoint {row.file} is missing or damaged: its trials resume from an earlier one, or start again.",
                    stacklevel=2,
                )
            return {}
        carry = from_arrays(*found, group.traced.state, group.traced.train_metrics)
        return {} if carry is None or carry.lanes < len(row.trials) else dict(zip(row.trials, split(carry)))

    def _id(self, tile: Tile) -> str:
        return tile_id(self.sweep, [trial.id for trial in tile.trials])


def tile_id(sweep: int, trials: Sequence[str]) -> str:
    """16 hexadecimal digits of a hash of a sweep's key and the ids of a tile's trials."""
    return hashlib.sha256(json.dumps([sweep, *trials]).encode()).hexdigest()[:16]


def tidy(store: Store, sweep: int, alive: Callable[[str], bool], owner: str | None = None) -> None:
    """Forget the checkpoints of trials that have finished, and remove files that nobody needs.

    Those are files of this process, which trains nothing now, and of dead ones, that the store does not name. Whose a
    file is its name says, and a name is never used again: neither a process that starts meanwhile nor one that ends
    can lose a file by this.

    Args:
        store: a store in a file.
        sweep: the sweep's key.
        alive: whether the process of a name is running.
        owner: this process's name, if it has one.
    """
    files = {path.name: owner_of(path.name) for path in store.folder.glob("*.safetensors")}
    ended = {name for name in set(files.values()) if name and (name == owner or not alive(name))}
    store.forget_ended_checkpoints(sweep)
    named = store.checkpoint_files()
    for file, name in files.items():
        if name in ended and file not in named:
            remove_checkpoint(store.folder, file)
    remove_dead(store.folder)


def tidy_ended(store: Store, sweep: int) -> None:
    """Remove what processes have left that were killed after they had recorded the last segment of a sweep."""
    if store.file is not None and has_owners(store.folder):
        with contextlib.suppress(StoreError):  # a store that cannot be written stays as it is
            tidy(store, sweep, partial(is_alive, store.folder))
