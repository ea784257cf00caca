"""Whether the lanes of a tile share their batches: tiles of one seed, for which the examples are gathered once.

Layers then multiply one batch by the weights of all lanes at once. A program keeps the form it was first trained in, so
that a sweep that grows leaves its old trials bit-equal.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import jax

from jsweep.planning.assignment import RecordedRoles
from jsweep.planning.groups import Group
from jsweep.storage.records import Trial

FULL_TILE = 16  # lanes; the widest that is guessed
MOST_LANES_A_TRIAL = 1.1  # as tiles of one seed may leave lanes empty


def programs_that_share(groups: Iterable[Group], wanted: bool | None, recorded: RecordedRoles) -> frozenset[str]:
    """The digests of the programs whose lanes share their batches.

    Never those with batch sizes in lanes. Of the others those that did in the record; and of programs that it does not have
    all or none as ``wanted``, or where that is None those whose trials fill tiles of one seed each.
    """
    parts: dict[str, list[Group]] = {}
    for group in groups:
        parts.setdefault(group.identity.digest, []).append(group)
    return frozenset(digest for digest, members in parts.items() if _share(digest, members, wanted, recorded))


def _share(digest: str, groups: Sequence[Group], wanted: bool | None, recorded: RecordedRoles) -> bool:
    if any("batch_size" in group.lanes for group in groups):
        return False
    if digest in recorded.programs:
        return digest in recorded.shared
    return (
        all(not group.traced.convolves and _fill_tiles(group.trials) for group in groups) if wanted is None else wanted
    )


def _fill_tiles(trials: Sequence[Trial]) -> bool:
    """Whether tiles of one seed leave few lanes empty; an accelerator is filled by the trials of all seeds together."""
    counts = Counter(trial.seed for trial in trials).values()
    lanes = sum(-(-count // FULL_TILE) * FULL_TILE for count in counts)
    return len(counts) == 1 or (jax.default_backend() == "cpu" and lanes <= MOST_LANES_A_TRIAL * len(trials))
