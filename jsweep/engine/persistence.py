"""What workers ask of a sweep's record: which trials are theirs, and the checkpoints to resume from."""

from collections.abc import Sequence
from typing import Protocol

from jsweep.engine.carry import Carry
from jsweep.engine.tile import Segment
from jsweep.planning import Group, Tile
from jsweep.storage.records import Checkpoint, Trial


class Claims(Protocol):
    """Divides trials among processes. Called from several threads; its errors end the sweep, unlike those of a tile."""

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """Those of ``trials`` that this process is to train, in the same order."""
        ...

    def lost(self, trials: tuple[Trial, ...]) -> bool:
        """Whether none of some trials that were claimed is this process's to train any more."""
        ...


class Checkpointing(Protocol):
    """Saves and restores tiles. Called from several threads; its errors end the sweep, unlike those of a tile."""

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """The carry of all of a tile's lanes to resume from; None to start from the seeds."""
        ...

    def save(self, tile: Tile, segment: Segment, stopping: bool) -> Sequence[Checkpoint]:
        """Save the end of a segment, after which training may be ``stopping``; the checkpoints that the record is to name."""
        ...


class NoClaims:
    """Every trial is this process's."""

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        return trials

    def lost(self, trials: tuple[Trial, ...]) -> bool:
        return False


class NoCheckpointing:
    """Nothing is saved."""

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        return None

    def save(self, tile: Tile, segment: Segment, stopping: bool) -> Sequence[Checkpoint]:
        return ()
