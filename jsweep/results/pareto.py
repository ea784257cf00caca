"""The Pareto front: the configs of which no other is better in one objective and as good in all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jsweep.results.ranking import ConfigScore
from jsweep.space import format_config


@dataclass(frozen=True)
class ParetoPoint:
    """A config on the Pareto front, and its score by each objective, in their order."""

    config_id: str
    config: Mapping[str, Any]
    scores: tuple[ConfigScore, ...]

    @property
    def means(self) -> dict[str, float]:
        """Its mean over seeds by metric."""
        return {score.metric: score.mean for score in self.scores}

    def __str__(self) -> str:
        means = ", ".join(f"{metric} {mean:.5g}" for metric, mean in self.means.items())
        return f"{means}: {format_config(self.config)}"


def front(rankings: Sequence[Sequence[ConfigScore]]) -> list[ParetoPoint]:
    """The configs that no other dominates, the best by the first objective first.

    Args:
        rankings: by each objective, the scores of the same configs. Those that are not complete by all are left out.
    """
    by_config = [{score.config_id: score for score in ranking} for ranking in rankings]
    rows = [tuple(scores[name] for scores in by_config) for name in by_config[0]]
    complete = [row for row in rows if all(score.complete for score in row)]
    if not complete:
        return []
    costs = np.array([[score.mean if score.mode == "min" else -score.mean for score in row] for row in complete])
    kept: list[int] = []
    for row in np.lexsort(costs.T[::-1]).tolist():  # what dominates a row comes before it
        others = costs[kept]
        if not ((others <= costs[row]).all(axis=1) & (others < costs[row]).any(axis=1)).any():
            kept.append(row)
    return [ParetoPoint(complete[row][0].config_id, complete[row][0].config, complete[row]) for row in kept]
