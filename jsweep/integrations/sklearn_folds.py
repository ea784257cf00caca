"""Scikit-learn's folds as jsweep's, with what each part is transformed by, and a sweep's scores as `GridSearchCV` has them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jsweep._runtime.optional import import_optional
from jsweep.data.splits import Folds, Splits
from jsweep.data.transform import Rows
from jsweep.errors import ConfigError
from jsweep.runner.session import Session
from jsweep.space import Configs

base = import_optional("sklearn.base", "data")
utils = import_optional("sklearn.utils", "data")

Part = tuple[Rows, Rows]
"""The rows that train and those that validate."""
Matrix = Float[np.ndarray, "_rows features"]
Inputs = Callable[[Part], tuple[Matrix, Matrix]]
"""The inputs of the two parts of a split, transformed by what is fitted on the first."""
Targets = Callable[[Rows], np.ndarray]
"""All targets, transformed by what is fitted on some."""


class Prepared:
    """What the steps of a pipeline before its last make of examples, fitted on the part that trains each time.

    Args:
        steps: a pipeline of those steps.
        x: inputs as the user gave them.
        y: the same of targets.
    """

    def __init__(self, steps: Any, x: Any, y: Any):
        self._steps, self._x, self._y = steps, x, y
        self.fitted: list[Any] = []

    def everything(self) -> tuple[Any, Any]:
        """The steps fitted on all examples, and these transformed."""
        steps = base.clone(self._steps)
        return steps, steps.fit_transform(self._x, self._y)

    def part(self, part: Part, features: int) -> tuple[Matrix, Matrix]:
        """Both parts of a split; ConfigError unless they have as many features as all examples have."""
        (x, held), (y, _) = ([utils._safe_indexing(each, rows) for rows in part] for each in (self._x, self._y))
        steps = base.clone(self._steps)
        made = tuple(utils.check_array(values) for values in (steps.fit_transform(x, y), steps.transform(held)))
        self.fitted.append(steps)
        if made[0].shape[1] != features:
            raise ConfigError(
                f"the pipeline's steps make {made[0].shape[1]} features in a fold and {features} of all examples: let them make "
                "the same number, such as by a fixed number of components or categories."
            )
        return np.asarray(made[0], np.float32), np.asarray(made[1], np.float32)


def in_folds(parts: Sequence[Part], inputs: Inputs, targets: Targets) -> Splits:
    """Folds whose inputs and targets are transformed by what each fits: the examples are held once a fold.

    Raises:
        ConfigError: unless the two parts of each split are all examples.
    """
    xs, ys = [], []
    for part in parts:
        order = np.argsort(np.concatenate(part), kind="stable")
        xs.append(np.concatenate(inputs(part))[order])
        ys.append(targets(part[0]))
    examples = np.concatenate(xs), np.concatenate(ys)
    return Splits(examples, examples, None, Folds(tuple(test for _, test in parts), len(ys[0]), transformed=True))


def cv_results(session: Session, folds: Folds | None, prefix: str) -> dict[str, Any]:
    """The scores of all configs, in their order, under the keys of ``GridSearchCV``; names are given the prefix."""
    count = 1 if folds is None else folds.count
    scores = {score.config_id: score for score in session.ranking()}
    configs = session.prepared.sweep.configs
    assert isinstance(configs, Configs)
    values = np.full((len(configs), count), np.nan)
    for row, identity in enumerate(configs.ids):
        score = scores[identity]
        if score.complete:
            by_fold = [
                [v for s, v in zip(score.seeds, score.values, strict=True) if s % count == f] for f in range(count)
            ]
            values[row] = np.mean(by_fold, axis=1)
    seconds = float(session.row.settings.get("seconds", 0.0)) / max(1, len(session.trials()))
    rows = [with_prefix(row, prefix) for row in configs]
    found: dict[str, Any] = {
        "mean_fit_time": np.full(len(rows), seconds),
        "std_fit_time": np.zeros(len(rows)),
        "mean_score_time": np.zeros(len(rows)),
        "std_score_time": np.zeros(len(rows)),
    }
    for name in dict.fromkeys(name for row in rows for name in row):
        column = np.ma.MaskedArray(np.empty(len(rows), object), mask=True)
        for place, row in enumerate(rows):
            if name in row:
                column[place] = row[name]
        found[f"param_{name}"] = column
    found["params"] = rows
    found |= {f"split{fold}_test_score": values[:, fold] for fold in range(count)}
    found["mean_test_score"], found["std_test_score"] = values.mean(axis=1), values.std(axis=1)
    means = np.nan_to_num(found["mean_test_score"], nan=-np.inf)
    found["rank_test_score"] = np.array([1 + (means > mean).sum() for mean in means], np.int32)
    return found


def with_prefix(config: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A config whose names have the prefix of a pipeline's step."""
    return {prefix + name: value for name, value in config.items()}
