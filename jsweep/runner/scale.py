"""How long a sweep takes on more workers, or in shards: estimates from the seconds of its tiles and of its programs."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

WORTHWHILE = 0.5  # of a worker's time that trains what one worker would train, below which more of them do not pay


@dataclass(frozen=True)
class Load:
    """A compile group's work for one worker: seconds to compile its program, tiles, seconds of a tile, trials in a tile."""

    compile_seconds: float
    tiles: int
    tile_seconds: float
    trials: int
    width: int


@dataclass(frozen=True)
class Shards:
    """What the longest of some shards does.

    Attributes:
        count: how many shards there are.
        trials: its trials.
        programs: the programs that it compiles.
        compile_seconds: for compiling them, with an empty cache.
        seconds: from its start to its end.
    """

    count: int
    trials: int
    programs: int
    compile_seconds: float
    seconds: float

    def __str__(self) -> str:
        of_it = f", {self.compile_seconds:.0f} s of it compiling" if self.compile_seconds >= 1 else ""
        return (
            f"in {self.count} shards: about {self.seconds:.0f} s for the longest{of_it} ({self.trials} trials, "
            f"{self.programs} programs)"
        )


def seconds_on(loads: Sequence[Load], workers: int) -> float:
    """When the last tile ends where each worker compiles the programs that it needs, with an empty cache."""
    free: list[tuple[float, int]] = [(0.0, worker) for worker in range(workers)]
    compiled: list[set[int]] = [set() for _ in free]
    for number, load in enumerate(loads):
        for _ in range(load.tiles):
            begin, worker = heapq.heappop(free)
            compiling = 0.0 if number in compiled[worker] else load.compile_seconds
            compiled[worker].add(number)
            heapq.heappush(free, (begin + compiling + load.tile_seconds, worker))
    return max(end for end, _ in free)


def workers_that_pay(loads: Sequence[Load], most: int = 1024) -> int:
    """The most workers, of 1, 2, 4, ..., of whose time at least `WORTHWHILE` trains what one worker would train."""
    alone, found = seconds_on(loads, 1), 1
    while 2 * found <= most and alone / (2 * found * seconds_on(loads, 2 * found)) >= WORTHWHILE:
        found *= 2
    return found


def longest_shard(loads: Sequence[Load], shards: int, workers: int) -> Shards:
    """The longest of some shards, which are consecutive shares of the trials, on machines of so many workers."""
    total = sum(load.trials for load in loads)
    found = []
    for number in range(shards):
        first, end = number * total // shards, (number + 1) * total // shards
        seconds, compiling, programs, before = 0.0, 0.0, 0, 0
        for load in loads:
            mine = min(end, before + load.trials) - max(first, before)
            before += load.trials
            if mine > 0:
                programs, compiling = programs + 1, compiling + load.compile_seconds
                seconds += -(-mine // load.width) * load.tile_seconds / workers
        found.append(Shards(shards, end - first, programs, compiling, compiling + seconds))
    return max(found, key=lambda shard: shard.seconds)
