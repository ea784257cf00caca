"""The configs that a sweep cannot tell from its best one."""

import math
from collections.abc import Sequence

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.results.statistics.intervals import check_confidence


def contenders(ranking: Sequence[ConfigScore], confidence: float = 0.95) -> list[ConfigScore]:
    """The best config and those not significantly worse, best first.

    A config is left out where a paired one-sided t-test over the shared seeds says that it is worse than the best, at
    level ``(1 - confidence) / (configs - 1)``. By that division (Bonferroni's) the set holds the truly best config with
    probability ``confidence`` at least, whichever config came out best, for normal differences. Over folds the test is
    corrected for the examples that their trainings share (Nadeau and Bengio, 2003). Few seeds leave many
    contenders: that is what they can tell.

    Args:
        ranking: The configs, best first, as `Result.ranking` gives them; incomplete ones are left out.
        confidence: How often the set should hold the truly best config, between 0 and 1.

    Returns:
        The contenders' scores.

    Raises:
        ConfigError: No config is complete, or ``confidence`` is not between 0 and 1.
    """
    check_confidence(confidence)
    complete = [score for score in ranking if score.complete]
    if not complete:
        raise ConfigError("no config is complete, so none is best: finish the sweep first.")
    best, level = complete[0], (1 - confidence) / max(len(complete) - 1, 1)
    return [best, *(score for score in complete[1:] if not _worse(score, best, level))]


def _worse(score: ConfigScore, best: ConfigScore, level: float) -> bool:
    """Whether a paired one-sided t-test says at ``level`` that ``score`` is worse than ``best``."""
    own, others = dict(zip(score.seeds, score.values)), dict(zip(best.seeds, best.values))
    shared = sorted(own.keys() & others.keys())
    if len(shared) < 2:
        return False
    losses = np.array([own[seed] - others[seed] for seed in shared]) * (1 if best.mode == "min" else -1)
    mean, error = float(losses.mean()), float(losses.std(ddof=1)) * math.sqrt(1 / len(losses) + best.overlap)
    if error == 0:
        return mean > 0
    student = import_optional("scipy.stats", "statistics").t
    return mean / error > float(student.ppf(1 - level, len(losses) - 1))
