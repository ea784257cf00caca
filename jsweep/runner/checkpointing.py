"""Checkpointing: saving the state of tiles while they train, and resuming from it."""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jsweep.engine.carry import Carry, split, stack
from jsweep.engine.tile import Segment
from jsweep.planning import Group, Tile
from jsweep.storage import Checkpoint, Store
from jsweep.storage.arrays import named_arrays, restore
from jsweep.storage.checkpoints import read_checkpoint, remove_checkpoint, write_checkpoint
from jsweep.storage.standing import resumes_from

KEPT = 2  # checkpoints of a tile: if the last one is damaged, there is the one before


@dataclass(frozen=True)
class Checkpointing:
    """Saves and resumes the tiles of a sweep.

    ``policy`` says what is saved: with "running" the state of tiles at their last two segments until they end, with "all"
    also the final state of every trial, with "off" nothing. ``evaluate_every`` are the steps between evaluations. Files lie
    in the store's ``folder``. Workers share one object.
    """

    store: Store
    sweep: int
    policy: Literal["running", "all", "off"]
    evaluate_every: int
    _kept: dict[str, list[Checkpoint]] = field(default_factory=dict, init=False, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.store.folder

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """What a tile's trials resume from: the latest intact checkpoint of all of them, or None for their seeds."""
        ends = {trial.id: trial.steps for trial in tile.trials}
        states = self.store.states(self.sweep, list(ends))
        if states.keys() < ends.keys():
            return None  # one was dropped
        rows = [row for row in self.store.checkpoints(self.sweep) if not ends.keys().isdisjoint(row.trials)]
        for step in sorted({row.step for row in rows}, reverse=True):
            if not all(resumes_from(step, states[t].recorded, end, self.evaluate_every) for t, end in ends.items()):
                continue
            lanes: dict[str, Carry] = {}
            for row in rows:
                if row.step == step:
                    lanes |= self._read(row, group)
            if ends.keys() <= lanes.keys():
                found = [lanes[trial.id] for trial in tile.lanes]
                if len({lane.since for lane in found}) == 1:
                    return stack(found)
        return None

    def save(self, tile: Tile, segment: Segment) -> list[Checkpoint]:
        """Write the files that the policy asks for; their rows are to be recorded with the segment's scores."""
        if self.policy == "off":
            return []
        self.store.check_file()
        carry = segment.carry
        sums = {f"sums.{name}": value for name, value in carry.sums.items()}
        arrays = jax.device_get(
            {**named_arrays(carry.state), **sums, "first_nonfinite_step": carry.first_nonfinite_step}
        )
        texts = {"step": str(carry.step), "since": str(carry.since)}
        written = []
        if not segment.last:
            ids = [trial.id for trial in tile.trials]
            name = tile_id(self.sweep, ids)
            file, sha256 = write_checkpoint(self.folder, name, carry.step, arrays, texts)
            written.append(Checkpoint(name, carry.step, file, sha256, ids, finished=False))
        if self.policy == "all":
            ended = {score.trial for score in segment.scores if score.finished}
            for lane, trial in enumerate(tile.trials):
                if trial.id in ended:
                    own = {name: np.asarray(value[lane]) for name, value in arrays.items()}
                    stem = tile_id(self.sweep, ["finished", trial.id])  # a trial's id may occur in several sweeps
                    file, sha256 = write_checkpoint(self.folder, stem, carry.step, own, texts)
                    written.append(Checkpoint(trial.id, carry.step, file, sha256, [trial.id], finished=True))
        return written

    def outdated(self, tile: Tile, segment: Segment, written: Sequence[Checkpoint]) -> list[Checkpoint]:
        """The tile's checkpoints that are no longer needed: all but the last two, and all of them once it has ended."""
        kept = self._kept.setdefault(tile_id(self.sweep, [trial.id for trial in tile.trials]), [])
        kept += [row for row in written if not row.finished]
        old = kept[:] if segment.last else kept[:-KEPT]
        del kept[: len(old)]
        return old

    def remove(self, rows: Sequence[Checkpoint]) -> None:
        """Remove files that the store no longer names."""
        for row in rows:
            remove_checkpoint(self.folder, row.file)

    def tidy(self, alone: Callable[[], bool]) -> None:
        """Remove the checkpoints of trials that have finished, and files that the store does not name.

        ``alone`` says whether no other process uses the store; nothing is removed otherwise. It is asked after the files
        are listed, so that those of a process that starts meanwhile are not among them.
        """
        files = [*self.folder.glob("*.safetensors"), *self.folder.glob(".*.partial")]
        if not alone():
            return
        self.store.forget_ended_checkpoints(self.sweep)
        named = {row.file for sweep in self.store.sweeps() for row in self.store.checkpoints(sweep.key)}
        for path in files:
            if path.suffix == ".partial":
                path.unlink(missing_ok=True)
            elif path.name not in named:
                remove_checkpoint(self.folder, path.name)

    def _read(self, row: Checkpoint, group: Group) -> dict[str, Carry]:
        """Each trial's part of a checkpoint; nothing if it is of another program, or, with a warning, if it is damaged."""
        found = read_checkpoint(self.folder, row.file, row.sha256)
        if found is None:
            if row not in self.store.checkpoints(self.sweep):
                return {}  # it was outdated meanwhile
            warnings.warn(
                f"the checkpoint {row.file} is missing or damaged: its trials resume from an earlier one, or start again.",
                stacklevel=2,
            )
            return {}
        arrays, texts = found
        if row.finished:
            arrays = {name: value[None] for name, value in arrays.items()}
        state = restore(group.traced.state, arrays)
        sums = {name: arrays.get(f"sums.{name}") for name in group.traced.train_metrics}
        nonfinite = arrays.get("first_nonfinite_step")
        parts = [*jax.tree.leaves(state), *sums.values(), nonfinite]
        if any(part is None or part.ndim == 0 or len(part) < len(row.trials) for part in parts):
            return {}
        if state is None or nonfinite is None or not texts.get("since", "").isdecimal():
            return {}
        carry = Carry(row.step, int(texts["since"]), state, {n: s for n, s in sums.items() if s is not None}, nonfinite)
        return dict(zip(row.trials, split(carry)))


def tile_id(sweep: int, trials: Sequence[str]) -> str:
    """16 hexadecimal digits of a hash of a sweep's key and the ids of a tile's trials."""
    return hashlib.sha256(json.dumps([sweep, *trials]).encode()).hexdigest()[:16]
