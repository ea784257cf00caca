"""Where lanes wait, on the host, between the segments at whose ends a rule decides."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import jax

from jsweep.engine.carry import Carry, clone, gather
from jsweep.engine.persistence import Checkpointing
from jsweep.engine.tile import Segment
from jsweep.planning import Group, Tile
from jsweep.storage.records import Checkpoint


@dataclass(frozen=True)
class Parking:
    """Checkpointing that also keeps in memory every lane whose tile has trained ``until`` a decision.

    New tiles are gathered from these lanes, whichever tiles they were in; a lane that is not there, as in a run that
    resumes, comes from its checkpoint. Workers share one object.
    """

    checkpointing: Checkpointing
    _lanes: dict[str, tuple[Carry, int]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """What the tile goes on from."""
        with self._lock:
            lanes = [self._lanes[trial.id] for trial in tile.lanes if trial.id in self._lanes]
        positions = {carry.position for carry, _ in lanes}
        if len(lanes) == tile.width and len(positions) == 1 and positions.pop().width == tile.width:
            return gather(lanes)
        return self.checkpointing.resume(group, tile)

    def save(self, tile: Tile, segment: Segment, stopping: bool) -> Sequence[Checkpoint]:
        """Save a segment, and keep its lanes if a decision follows; what was kept of them before is given up."""
        ids, step = [trial.id for trial in tile.trials], segment.carry.step
        kept: dict[str, tuple[Carry, int]] = {}
        if step == tile.until:
            carry = jax.tree.map(lambda leaf: leaf if _is_key(leaf) else jax.device_get(leaf), segment.carry)
            kept = {trial.id: (carry, lane) for lane, trial in enumerate(tile.trials) if trial.steps > step}
        with self._lock:
            for trial in ids:
                self._lanes.pop(trial, None)
            self._lanes.update(kept)
        return self.checkpointing.save(tile, segment, stopping or step == tile.until)

    def copy(self, sources: Mapping[str, str]) -> None:
        """Let trials go on from other trials' lanes; without one of a source its own is given up."""
        with self._lock:
            found = {trial: self._lanes.get(source) for trial, source in sources.items()}
            for trial, lane in found.items():
                self._lanes.pop(trial, None)
                if lane is not None:
                    self._lanes[trial] = lane

    def forget(self, trials: Iterable[str]) -> None:
        """Give up the lanes of trials that go no further, and the memory of tiles of which few lanes are left."""
        with self._lock:
            for trial in trials:
                self._lanes.pop(trial, None)
            kept: dict[int, list[str]] = {}
            for trial, (carry, _) in self._lanes.items():
                kept.setdefault(id(carry), []).append(trial)
            for members in kept.values():
                carry = self._lanes[members[0]][0]
                if 2 * len(members) <= carry.lanes:
                    smaller = clone(carry, [self._lanes[trial][1] for trial in members])
                    self._lanes.update({trial: (smaller, lane) for lane, trial in enumerate(members)})


def _is_key(leaf: object) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
