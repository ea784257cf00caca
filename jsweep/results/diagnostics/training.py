"""Checks of how trials trained: divergence, curves that still improve, and curves that turned."""

from collections.abc import Iterator

import numpy as np

from jsweep.results.diagnostics.evidence import Evidence, Finding, gain
from jsweep.results.statistics.intervals import mean_interval

SHARE = 0.5  # of configs that diverged
RELEVANT = 0.05  # of what the best config gained in all


def few_finite(evidence: Evidence) -> Iterator[Finding]:
    """Half of the configs or more became NaN or infinite."""
    count, configs = len(evidence.diverged), len(evidence.ranking)
    if count < SHARE * configs:
        return
    yield Finding(
        "few finite",
        f"{count} of {configs} configs became NaN or infinite under some seed{_above(evidence)}.",
        "Try smaller learning rates, a warm-up or gradient clipping.",
    )


def still_improving(evidence: Evidence) -> Iterator[Finding]:
    """The best config gained something worth having in the last quarter of its evaluations, under every seed it can tell."""
    scores = gain(evidence.curve, evidence.best.mode)
    count = scores.shape[1]
    if count < 4 or not np.isfinite(scores).all():
        return
    since = count - 1 - max(count // 4, 1)
    if _grows(scores[:, -1] - scores[:, since], scores) and _rising(scores.mean(axis=0)[since:]):
        yield Finding(
            "still improving",
            f"The best config was still improving at its last step ({evidence.steps[-1]}).",
            "Train longer, and check whether the order of the configs changes.",
        )


def overfitting(evidence: Evidence) -> Iterator[Finding]:
    """The best config was better before its last step, while its training loss went on falling."""
    scores = gain(evidence.curve, evidence.best.mode)
    if scores.shape[1] < 3 or not np.isfinite(scores).all():
        return
    top = int(scores.mean(axis=0).argmax())
    loss = evidence.training[:, [top, -1]]
    falls = np.isfinite(loss).all() and loss[:, 1].mean() < loss[:, 0].mean()
    if falls and _grows(scores[:, top] - scores[:, -1], scores):
        yield Finding(
            "overfitting",
            f"The best config was best at step {evidence.steps[top]} and got worse until step {evidence.steps[-1]}, while "
            "its training loss fell.",
            'Select with at="best", regularise more, or train for fewer steps.',
        )


def _grows(gains: np.ndarray, scores: np.ndarray) -> bool:
    """Whether gains by seed are above 0 beyond their interval, and relevant beside the gain of the whole run."""
    whole = float(scores.mean(axis=0).max() - scores.mean(axis=0)[0])
    low = mean_interval(gains).low if len(gains) > 1 else float(gains[0])
    return low > 0 and float(gains.mean()) > RELEVANT * whole


def _rising(curve: np.ndarray) -> bool:
    return bool((np.diff(curve) > 0).all())


def _above(evidence: Evidence) -> str:
    """Where divergence begins, where it is a matter of one number: ", all with learning_rate above 0.3"."""
    for name in evidence.numeric(least=2):
        by = [(score.config.get(name), score.config_id in evidence.diverged) for score in evidence.ranking]
        diverged = [value for value, gone in by if gone and value is not None]
        finite = [value for value, gone in by if not gone and value is not None]
        if finite and len(diverged) == len(evidence.diverged) and min(diverged) > max(finite):
            return f", all of those with {name} above {max(finite):.3g}"
    return ""
