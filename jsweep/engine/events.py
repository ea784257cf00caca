"""What happens while tiles train, as values."""

from dataclasses import dataclass
from typing import Any

from jsweep.engine.tile import Segment
from jsweep.planning import Tile
from jsweep.storage.records import Trial


@dataclass(frozen=True)
class Compiled:
    """A group's tile program was compiled: its number among the groups, and the fingerprint of its text."""

    group: int
    width: int
    fingerprint: str


@dataclass(frozen=True)
class Trained:
    """A tile reached a segment's end; ``saved`` is what the keeper made of it."""

    group: int
    tile: Tile
    segment: Segment
    fingerprint: str
    saved: Any


@dataclass(frozen=True)
class Failed:
    """Trials could not be trained, and why."""

    group: int
    trials: tuple[Trial, ...]
    error: Exception


@dataclass(frozen=True)
class Halved:
    """A tile did not fit the memory; its trials go on in tiles of ``width``."""

    group: int
    width: int


Event = Compiled | Trained | Failed | Halved
