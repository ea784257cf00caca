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
    if len(near) < 2:
        return
    needed = _needed(near[0], near[1], LEVEL / (len(complete) - 1))
    tells = f"about {needed} seeds would tell the first from the second" if needed else ""
    seen = (
        f"{len(near) - 1} of the other {len(complete) - 1} configs cannot be told from the best one with "
        f"{near[0].runs}."
    )
    if evidence.confirms:
        yield Finding(
            "too few seeds", seen, f"{tells.capitalize()}." if tells else "Take the simplest or cheapest of them."
        )
        return
    advice = f"js.confirm(session, top={min(len(near), 10)}, seeds=10) trains them under fresh seeds"
    yield Finding("too few seeds", seen + _luck(complete), advice + (f"; {tells}." if tells else "."))


def _luck(complete: Sequence[ConfigScore]) -> str:
    """What the best score owes to having been chosen, in words, where it is more than its own standard error."""
    best = complete[0]
    alike = [score.values for score in complete if score.seeds == best.seeds]
    luck = optimism(np.array(alike), mode=best.mode) if np.isfinite(alike).all() else 0.0
    if not luck > best.standard_error:
        return ""
    return f" Having been chosen by them, its score of {best.mean:.4g} may be too good, by very roughly {luck:.1g}."


def _needed(first: ConfigScore, second: ConfigScore, level: float) -> int | None:
    """The seeds at which a paired one-sided t-test tells two configs apart with a power of 0.8.

    None for more than 1,000, for no more than there are, and for folds, which stay the same however many seeds there are.
    """
    if first.overlap:
        return None
    shared = sorted(set(first.seeds) & set(second.seeds))
    own, others = dict(zip(first.seeds, first.values)), dict(zip(second.seeds, second.values))
    differences = np.array([own[seed] - others[seed] for seed in shared])
    mean = abs(float(differences.mean())) if len(differences) > 1 else 0.0
    if mean == 0:
        return None
    normal = import_optional("scipy.stats", "statistics").norm
    quantiles = normal.ppf(1 - level) + normal.ppf(POWER)
    needed = math.ceil((quantiles * float(differences.std(ddof=1)) / mean) ** 2)
    return needed if len(differences) < needed <= MOST else None
