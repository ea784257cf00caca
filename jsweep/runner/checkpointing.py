"""What a sweep keeps while it runs: claims on trials, so that several processes share a record, and checkpoints."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.engine.carry import Carry
from jsweep.engine.tile import Segment
from jsweep.planning import Group, Tile
from jsweep.storage import Checkpoint, Store
from jsweep.storage.arrays import _named, restore
from jsweep.storage.checkpoints import read_checkpoint, remove_checkpoint, write_checkpoint
from jsweep.storage.locks import is_alive, others_alive
from jsweep.storage.records import Trial

KEPT = 2  # checkpoints of a tile: should the last be damaged, there is the one before


class RecordKeeper:
    """Claims trials in a record for ``owner``, and keeps checkpoints in ``folder``."""

    def __init__(self, store: Store, sweep: int, owner: str, folder: Path, policy: str, environment: Mapping[str, Any]):
        self._store, self._sweep, self.owner, self.folder = store, sweep, owner, folder
        self._policy, self._environment = policy, environment
        self._kept: dict[str, list[Checkpoint]] = {}
        self.retried: set[str] = set()  # trials that failed in an earlier run, to be tried once more

    def may_take(self, owner: str | None, status: str, trial: str = "") -> bool:
        """Whether a trial in this state is this process's for the taking."""
        if status == "finished" or (status == "failed" and trial not in self.retried):
            return False
        return owner in (None, self.owner) or not is_alive(self.folder, owner)

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        ids = [trial.id for trial in trials]
        mine = set(self._store.claim(self._sweep, ids, self.owner, self._environment, self.may_take))
        self.retried -= mine
        return tuple(trial for trial in trials if trial.id in mine)

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """The latest sound checkpoint that has all of a tile's trials; None: they start from their seeds."""
        wanted = {trial.id for trial in tile.trials}
        rows = [row for row in self._store.checkpoints(self._sweep) if wanted & set(row.trials)]
        for step in sorted({row.step for row in rows}, reverse=True):
            lanes: dict[str, Any] = {}
            for row in rows:
                if row.step == step:
                    lanes |= self._lanes_of(row, group)
            if wanted <= lanes.keys():
                carry = _stacked([lanes[trial.id] for trial in tile.lanes], step)
                if carry is not None:
                    return carry
        return None

    def save(self, tile: Tile, segment: Segment) -> list[Checkpoint]:
        """Write what the policy asks for; the rows that name the files are recorded with the segment's scores."""
        if self._policy == "off":
            return []
        carry, written = segment.carry, []
        host = (
            _named(carry.state) | {f"sums.{n}": v for n, v in carry.sums.items()} | {"bad": carry.first_nonfinite_step}
        )
        host = jax.device_get(host)
        texts = {"step": str(carry.step), "since": str(carry.since)}
        if not segment.last:
            ids = [trial.id for trial in tile.trials]
            written.append(self._write(tile_id(self._sweep, ids), carry.step, host, texts, ids, False))
        if self._policy == "all":
            ended = {score.trial for score in segment.scores if score.finished}
            for lane, trial in enumerate(tile.trials):
                if trial.id in ended:
                    own = {name: value[lane] for name, value in host.items()}
                    written.append(self._write(trial.id, carry.step, own, texts, [trial.id], True))
        return written

    def outdated(self, tile: Tile, segment: Segment, written: Sequence[Checkpoint]) -> list[Checkpoint]:
        """The checkpoints that a segment's end makes superfluous: all but the last two, and all of a tile that ended."""
        kept = self._kept.setdefault(tile_id(self._sweep, [trial.id for trial in tile.trials]), [])
        kept += [row for row in written if not row.finished]
        old = kept[:] if segment.last else kept[:-KEPT]
        del kept[: len(old)]
        return old

    def remove(self, rows: Sequence[Checkpoint]) -> None:
        """Remove files that the record no longer names."""
        for row in rows:
            remove_checkpoint(self.folder, row.file)

    def tidy(self) -> None:
        """Where no other process works on the record: remove checkpoints of ended trials, and files nobody names."""
        if others_alive(self.folder, self.owner):
            return
        finished = {trial.id for trial in self._store.trials(self._sweep) if trial.status == "finished"}
        rows = self._store.checkpoints(self._sweep)
        over = [row for row in rows if not row.finished and finished.issuperset(row.trials)]
        self._store.forget_checkpoints(self._sweep, over)
        named = {row.file for sweep in self._store.sweeps() for row in self._store.checkpoints(sweep.key)}
        for path in self.folder.glob("*.safetensors"):
            if path.name not in named:
                remove_checkpoint(self.folder, path.name)
        for path in self.folder.glob(".*.partial"):
            path.unlink(missing_ok=True)

    def _write(
        self, tile: str, step: int, arrays: Mapping[str, Any], texts: Mapping[str, str], ids: list[str], finished: bool
    ) -> Checkpoint:
        file, sha256 = write_checkpoint(self.folder, tile, step, arrays, texts)
        return Checkpoint(tile, step, file, sha256, ids, finished)

    def _lanes_of(self, row: Checkpoint, group: Group) -> dict[str, Any]:
        """Each trial's (since, state, sums, bad) in a checkpoint; empty, with a warning, where it is damaged."""
        found = read_checkpoint(self.folder, row.file, row.sha256)
        if found is None:
            warnings.warn(
                f"the checkpoint {row.file} is missing or damaged: its trials go on from an earlier one, or their start.",
                stacklevel=2,
            )
            return {}
        arrays, texts = found
        if row.finished:
            arrays = {name: value[None] for name, value in arrays.items()}
        state = restore(group.traced.state, arrays)
        sums = {name: arrays[f"sums.{name}"] for name in group.traced.train_metrics if f"sums.{name}" in arrays}
        if state is None or len(sums) != len(group.traced.train_metrics):
            return {}  # of another program
        since = int(texts["since"])
        return {
            trial: (since, *jax.tree.map(lambda a, i=lane: a[i], (state, sums, arrays["bad"])))
            for lane, trial in enumerate(row.trials)
        }


def _stacked(picked: Sequence[Any], step: int) -> Carry | None:
    """Lanes as one carry; None where their means began at different steps."""
    if len({lane[0] for lane in picked}) > 1:
        return None
    state, sums, bad = jax.tree.map(_stack, *(lane[1:] for lane in picked))
    return Carry(step, picked[0][0], state, sums, bad)


def _stack(*leaves: Any) -> Any:
    return jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)


def tile_id(sweep: int, trials: Sequence[str]) -> str:
    """16 hex digits of a sweep's key and the ids of a tile's trials."""
    return hashlib.sha256(json.dumps([sweep, *trials]).encode()).hexdigest()[:16]
