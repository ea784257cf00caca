"""Whether the seeds suffice to tell the best configs apart."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep.results.contenders import contenders
from jsweep.results.diagnostics.evidence import Evidence, Finding
from jsweep.results.ranking import ConfigScore
from jsweep.results.statistics.luck import optimism

POWER, LEVEL = 0.8, 0.05
MOST = 1_000


def too_few_seeds(evidence: Evidence) -> Iterator[Finding]:
    """Other configs may be as good as the best, for all that its seeds can tell."""
    complete = evidence.complete
    if len(complete) < 2:
        return
    if len(evidence.best.values) < 2:
        yield Finding(
            "too few seeds",
            "Every config has one seed, so nothing tells a better config from a lucky one.",
            "Train with seeds=3 or more, or confirm the best configs: js.confirm(session, top=5, seeds=10).",
        )
        return
    near = contenders(complete)
    if len(near) > 1:
        needed = _needed(near[0], near[1])
        yield Finding(
            "too few seeds",
            f"{len(near) - 1} of the other {len(complete) - 1} configs cannot be told from the best one with "
            f"{len(near[0].values)} seeds." + _luck(complete),
            f"js.confirm(session, top={min(len(near), 10)}, seeds=10) trains them under fresh seeds"
            + (f"; about {needed} seeds would tell the first from the second." if needed else "."),
        )


def _luck(complete: Sequence[ConfigScore]) -> str:
    """What the best score owes to having been chosen, in words, where it is worth saying."""
    best = complete[0]
    alike = [score.values for score in complete if score.seeds == best.seeds]
    luck = optimism(np.array(alike), mode=best.mode) if np.isfinite(alike).all() else 0.0
    return f" Its score of {best.mean:.4g} is about {luck:.2g} better than fresh seeds would give." if luck > 0 else ""


def _needed(first: ConfigScore, second: ConfigScore) -> int | None:
    """The seeds at which a paired t-test tells two configs apart with a power of 0.8; None for more than 1,000."""
    shared = sorted(set(first.seeds) & set(second.seeds))
    own, others = dict(zip(first.seeds, first.values)), dict(zip(second.seeds, second.values))
    differences = np.array([own[seed] - others[seed] for seed in shared])
    mean = abs(float(differences.mean())) if len(differences) > 1 else 0.0
    if mean == 0:
        return None
    normal = import_optional("scipy.stats", "statistics").norm
    quantiles = normal.ppf(1 - LEVEL / 2) + normal.ppf(POWER)
    needed = math.ceil((quantiles * float(differences.std(ddof=1)) / mean) ** 2)
    return max(needed, 2) if needed <= MOST else None
