"""Estimators for scikit-learn that choose their hyperparameters in a sweep: configs, and folds, are lanes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray, PyTree

from jsweep import losses, metrics
from jsweep._runtime.optional import import_optional
from jsweep.data.arrays import count_examples
from jsweep.data.splits import Folds, Splits
from jsweep.errors import ConfigError
from jsweep.models import apply_mlp, init_mlp
from jsweep.runner.run import run
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.search.grid import grid
from jsweep.search.random import random
from jsweep.space import Configs
from jsweep.space._domains import log_uniform
from jsweep.task.config import Config
from jsweep.task.supervised import supervised

base = import_optional("sklearn.base", "data")
model_selection = import_optional("sklearn.model_selection", "data")
validation = import_optional("sklearn.utils.validation", "data")
multiclass = import_optional("sklearn.utils.multiclass", "data")

SPACE = {"learning_rate": log_uniform(1e-3, 1e-1), "l2": log_uniform(1e-6, 1e-2)}
ROWS = 256  # that are predicted at once, always, so that a row's prediction does not depend on the others

Init = Callable[[Config, PRNGKeyArray, int, int], PyTree]
Apply = Callable[[Config, PyTree, jax.Array, PRNGKeyArray | None], jax.Array]


class _SweepEstimator(base.BaseEstimator):
    """What the two estimators share."""

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        *,
        n: int | None = 16,
        cv: Any = None,
        validation_fraction: float = 0.2,
        hidden_layer_sizes: Sequence[int] = (32,),
        init: Init | None = None,
        apply: Apply | None = None,
        optimizer: Callable[[Config], optax.GradientTransformation] | None = None,
        epochs: float = 50,
        batch_size: int = 32,
        seeds: int = 1,
        refit: bool = True,
        random_state: Any = None,
    ):
        self.space = space
        self.n = n
        self.cv = cv
        self.validation_fraction = validation_fraction
        self.hidden_layer_sizes = hidden_layer_sizes
        self.init = init
        self.apply = apply
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.seeds = seeds
        self.refit = refit
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Any:
        """Choose a config, and train it on all examples unless ``refit=False``.

        Args:
            X: inputs, shape (examples, features).
            y: targets, shape (examples,).
        """
        x, targets, outputs = self._checked(X, y)
        key = int(validation.check_random_state(self.random_state).randint(2**31 - 1))
        splits = self._splits(x, targets, key)
        sizes = x.shape[1], outputs
        session = self._run(splits, sizes, self._configs(key), key, self.seeds)
        best = session.best()
        self.cv_results_ = _cv_results(session, splits.folds)
        self.best_index_ = int(np.argmin(self.cv_results_["rank_test_score"]))
        self.best_params_ = dict(best.config)
        self.best_score_ = float(best.mean)
        self.n_splits_ = 1 if splits.folds is None else splits.folds.count
        if self.refit:
            everything = Splits((x, targets), (x, targets))
            best = self._run(everything, sizes, Configs((best.config,)), key, 1).best()
        self._params = jax.tree.map(np.asarray, best.params())
        return self

    def _run(self, splits: Splits, sizes: tuple[int, int], configs: Configs, key: int, seeds: int) -> Session:
        batch = min(self.batch_size, _least_rows(splits))
        task = supervised(
            lambda config, key: self._init(config, key, *sizes),
            self._apply,
            loss=self._loss,
            optimizer=self.optimizer or _adam,
            data=splits,
            metrics={"score": self._metric},
            batch_size=batch,
            name="sklearn",
        )
        sweep = Sweep(task, configs, objective="validation/score", seeds=seeds, epochs=self.epochs, key=key)
        return run(sweep, progress="off")

    def _configs(self, key: int) -> Configs:
        space = SPACE if self.space is None else self.space
        return grid(space) if self.n is None else random(space, self.n, key=key)

    def _init(self, config: Config, key: PRNGKeyArray, features: int, outputs: int) -> PyTree:
        if self.init is not None:
            return self.init(config, key, features, outputs)
        hidden = config.get("hidden_layer_sizes", tuple(self.hidden_layer_sizes))
        return init_mlp(key, [features, *hidden, outputs])

    def _apply(self, config: Config, params: PyTree, x: jax.Array, key: PRNGKeyArray | None) -> jax.Array:
        if self.apply is not None:
            return self.apply(config, params, x, key)
        return apply_mlp(params, x, dropout=config.get("dropout", 0.0), key=key)

    def _splits(self, x: np.ndarray, y: np.ndarray, key: int) -> Splits:
        if self.cv is None:
            share = self.validation_fraction
            parts = model_selection.train_test_split(
                x, y, test_size=share, random_state=key, stratify=self._strata(y, share)
            )
            return Splits((parts[0], parts[2]), (parts[1], parts[3]))
        splitter = model_selection.check_cv(self.cv, y, classifier=base.is_classifier(self))
        pairs = list(splitter.split(x, y))
        for train, test in pairs:
            if not np.array_equal(np.sort(train), np.setdiff1d(np.arange(len(y)), test)):
                raise ConfigError(
                    f"cv={self.cv!r} leaves examples out of both parts of a split: pass folds, such as cv=5 or a KFold."
                )
        examples = (x, y)
        return Splits(examples, examples, None, Folds(tuple(np.sort(test) for _, test in pairs), len(y)))

    def _outputs(self, X: Any) -> Float[np.ndarray, "examples outputs"]:
        """The model's outputs, in programs of `ROWS` rows."""
        validation.check_is_fitted(self)
        x = np.asarray(validation.validate_data(self, X, reset=False), np.float32)
        config = Config(self.best_params_)
        params = jax.tree.map(jnp.asarray, self._params)
        forward = jax.jit(lambda rows: self._apply(config, params, rows, None))
        padded = np.concatenate([x, np.zeros((-len(x) % ROWS, x.shape[1]), np.float32)])
        parts = [np.asarray(forward(jnp.asarray(part))) for part in padded.reshape(-1, ROWS, x.shape[1])]
        return np.concatenate(parts)[: len(x)]


class SweepClassifier(base.ClassifierMixin, _SweepEstimator):
    """A classifier whose hyperparameters are chosen in a sweep.

    The model is a perceptron trained by Adam on the softmax cross-entropy, or your own. Configs train together as lanes, and so
    do folds, where ``cv`` is given. The config of the best mean accuracy is trained again on all examples. Inputs are taken as
    they are: put a ``StandardScaler`` before, in a ``Pipeline``.

    Args:
        space: names and what they take, as `jsweep.Space` takes them (default: ``learning_rate`` and ``l2``). The perceptron
            reads ``learning_rate``, ``l2``, ``dropout`` and ``hidden_layer_sizes``, the engine ``batch_size`` and ``epochs``.
        n: configs drawn at random; None for the whole grid of a space of lists.
        cv: folds, as scikit-learn takes them: a number, or a splitter each of whose splits has all examples. None validates
            on ``validation_fraction`` of the examples.
        validation_fraction: the fraction of the examples for validation where there are no folds.
        hidden_layer_sizes: the perceptron's hidden layers, where configs do not say.
        init: ``init(config, key, features, outputs) -> params`` of a model of your own.
        apply: its ``apply(config, params, x, key) -> outputs`` of shape (batch, outputs); ``key`` is None in prediction.
        optimizer: ``optimizer(config)``, any optax transformation (default: Adam).
        epochs: how long each config trains, where it does not say.
        batch_size: the same of batches; with fewer examples, all of them.
        seeds: trainings of each config under different seeds, over which scores are averaged.
        refit: whether the chosen config is trained on all examples; else the model of the first seed (and fold) predicts.
        random_state: as in scikit-learn; an integer makes everything reproducible.

    Attributes:
        best_params_: the chosen config.
        best_score_: its mean validation accuracy.
        cv_results_: scores as of ``GridSearchCV``; ``mean_fit_time`` is a lane's share of the sweep's time.
        classes_: the labels.
    """

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
        x, y = validation.validate_data(self, X, y)
        multiclass.check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has 1 class, {self.classes_[0]!r}: a classifier needs two or more.")
        return np.asarray(x, np.float32), codes.astype(np.int32), len(self.classes_)

    def _strata(self, y: np.ndarray, share: float) -> np.ndarray | None:
        counts = np.bincount(y)
        fits = counts.min() >= 2 and len(counts) <= min(int(share * len(y)), len(y) - int(share * len(y)))
        return y if fits else None

    _loss = staticmethod(losses.softmax_cross_entropy)
    _metric = metrics.accuracy

    def predict_proba(self, X: Any) -> Float[np.ndarray, "examples classes"]:
        """The probability of each class, in the order of ``classes_``; X has shape (examples, features)."""
        logits = self._outputs(X).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example, shape (examples,)."""
        places = self.predict_proba(X).argmax(axis=1)
        return self.classes_[places]


class SweepRegressor(base.RegressorMixin, _SweepEstimator):
    """A regressor whose hyperparameters are chosen in a sweep, by the mean coefficient of determination.

    The model is trained on the squared error of targets that are standardised by their mean and standard deviation in training.
    Arguments and attributes are those of `SweepClassifier`.
    """

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
        x, y = validation.validate_data(self, X, y, y_numeric=True)
        y = np.asarray(y, np.float64)
        self._mean, self._scale = float(y.mean()), float(y.std()) or 1.0
        return np.asarray(x, np.float32), ((y - self._mean) / self._scale).astype(np.float32), 1

    def _strata(self, y: np.ndarray, share: float) -> None:
        return None

    @staticmethod
    def _loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.squared_error(outputs[:, 0], targets)

    _metric = metrics.Metric(lambda outputs, y: metrics.r2_score(outputs[:, 0], y), mode="max", per_example=False)

    def predict(self, X: Any) -> Float[np.ndarray, " examples"]:
        """The target of each example, shape (examples,)."""
        return self._outputs(X)[:, 0].astype(np.float64) * self._scale + self._mean


class LaneSearchCV(base.MetaEstimatorMixin, base.BaseEstimator):
    """``GridSearchCV`` in lanes: every config of a grid on every fold at once.

    Args:
        estimator: a `SweepClassifier` or `SweepRegressor`, whose model, epochs and batch size it takes.
        param_grid: names and lists of values, of which all combinations are trained; with ``n`` any space.
        cv: folds, as scikit-learn takes them.
        n: configs drawn at random in place of all.
        refit: whether the chosen config is trained on all examples.

    Attributes:
        best_estimator_: the estimator with the chosen config.
        best_params_, best_score_, best_index_, cv_results_, n_splits_: as of ``GridSearchCV``.
    """

    def __init__(
        self, estimator: Any, param_grid: Mapping[str, Any], *, cv: Any = 5, n: int | None = None, refit: bool = True
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.cv = cv
        self.n = n
        self.refit = refit

    def fit(self, X: Any, y: Any) -> "LaneSearchCV":
        """Train all configs on all folds; X has shape (examples, features), y (examples,)."""
        if not isinstance(self.estimator, _SweepEstimator):
            raise ConfigError(
                f"estimator is a {type(self.estimator).__name__}: pass a SweepClassifier or SweepRegressor, with init= and "
                "apply= for a model of your own."
            )
        given = {"space": self.param_grid, "cv": self.cv, "n": self.n, "refit": self.refit}
        found = base.clone(self.estimator).set_params(**given).fit(X, y)
        self.best_estimator_ = found
        for name in ("best_params_", "best_score_", "best_index_", "cv_results_", "n_splits_", "n_features_in_"):
            setattr(self, name, getattr(found, name))
        return self

    @property
    def classes_(self) -> np.ndarray:
        """The labels, of a classifier."""
        return self.best_estimator_.classes_

    def predict(self, X: Any) -> np.ndarray:
        """What the best estimator predicts."""
        validation.check_is_fitted(self)
        return self.best_estimator_.predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The best estimator's probabilities, of a classifier."""
        validation.check_is_fitted(self)
        return self.best_estimator_.predict_proba(X)

    def score(self, X: Any, y: Any) -> float:
        """The best estimator's score."""
        validation.check_is_fitted(self)
        return self.best_estimator_.score(X, y)


def _least_rows(splits: Splits) -> int:
    """The training examples, of the smallest fold where there are folds."""
    return count_examples(splits.train, "train") if splits.folds is None else min(map(len, splits.folds.training))


def _adam(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.get("learning_rate", 1e-2))


def _cv_results(session: Session, folds: Folds | None) -> dict[str, Any]:
    """The scores of all configs, in their order, under the keys of ``GridSearchCV``."""
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
    rows = list(configs)
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
