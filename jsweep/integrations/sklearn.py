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
from jsweep.data.transform import Rows
from jsweep.errors import ConfigError
from jsweep.integrations.sklearn_folds import Part, Prepared, cv_results, in_folds, with_prefix
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
pipeline = import_optional("sklearn.pipeline", "data")
utils = import_optional("sklearn.utils", "data")

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
        return self._fit(X, y, None, "")

    def _fit(self, X: Any, y: Any, prepared: Prepared | None, prefix: str) -> Any:
        """`fit`, with the inputs of each part as a pipeline's steps prepare them, and with what its names begin with."""
        x, targets, outputs = self._checked(X, y)
        key = int(validation.check_random_state(self.random_state).randint(2**31 - 1))
        parts = self._parts(x, targets, key)
        splits = self._splits(x, targets, parts, prepared)
        sizes = x.shape[1], outputs
        session = self._run(splits, sizes, self._configs(key), key, self.seeds)
        best = session.best()
        self.cv_results_ = cv_results(session, splits.folds, prefix)
        self.best_index_ = int(np.argmin(self.cv_results_["rank_test_score"]))
        self.best_params_ = with_prefix(dict(best.config), prefix)
        self.best_score_ = float(best.mean)
        self.n_splits_ = len(parts)
        trained = np.arange(len(targets)) if self.refit else parts[0][0]
        if self.refit:
            everything = (x, self._targets(targets, trained))
            best = self._run(Splits(everything, everything), sizes, Configs((best.config,)), key, 1).best()
        self._config, self._params = dict(best.config), jax.tree.map(np.asarray, best.params())
        self._note_units(targets[trained])
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

    def _parts(self, x: np.ndarray, y: np.ndarray, key: int) -> list[Part]:
        """The rows that train and those that validate, of each fold, or of the one split where there are none."""
        if self.cv is None:
            share = self.validation_fraction
            rows, strata = np.arange(len(y)), self._strata(y, share)
            return [tuple(model_selection.train_test_split(rows, test_size=share, random_state=key, stratify=strata))]
        splitter = model_selection.check_cv(self.cv, y, classifier=base.is_classifier(self))
        pairs = [(np.sort(train), np.sort(test)) for train, test in splitter.split(x, y)]
        for train, test in pairs:
            if not np.array_equal(train, np.setdiff1d(np.arange(len(y)), test)):
                raise ConfigError(
                    f"cv={self.cv!r} leaves examples out of both parts of a split: pass folds, such as cv=5 or a KFold."
                )
        return pairs

    def _splits(self, x: np.ndarray, y: np.ndarray, parts: Sequence[Part], prepared: Prepared | None) -> Splits:
        inputs = lambda part: (x[part[0]], x[part[1]])
        if prepared is not None:
            inputs = lambda part: prepared.part(part, x.shape[1])
        if self.cv is None:
            (part,) = parts
            targets = self._targets(y, part[0])
            train, held_out = inputs(part)
            return Splits((train, targets[part[0]]), (held_out, targets[part[1]]))
        if prepared is None and not self._transforms_targets:
            examples = (x, y)
            return Splits(examples, examples, None, Folds(tuple(test for _, test in parts), len(y)))
        return in_folds(parts, inputs, lambda rows: self._targets(y, rows))

    def _outputs(self, X: Any) -> Float[np.ndarray, "examples outputs"]:
        """The model's outputs, in programs of `ROWS` rows."""
        validation.check_is_fitted(self)
        x = np.asarray(validation.validate_data(self, X, reset=False), np.float32)
        config = Config(self._config)
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

    def _targets(self, y: np.ndarray, rows: Rows) -> np.ndarray:
        return y

    def _note_units(self, trained: np.ndarray) -> None:
        pass

    _transforms_targets = False
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

    The model is trained on the squared error of targets that are standardised by their mean and standard deviation in training,
    in each fold by those of its own.
    Arguments and attributes are those of `SweepClassifier`.
    """

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
        x, y = validation.validate_data(self, X, y, y_numeric=True)
        return np.asarray(x, np.float32), np.asarray(y, np.float64), 1

    def _strata(self, y: np.ndarray, share: float) -> None:
        return None

    def _targets(self, y: np.ndarray, rows: Rows) -> np.ndarray:
        mean, scale = _mean_and_scale(y[rows])
        return ((y - mean) / scale).astype(np.float32)

    def _note_units(self, trained: np.ndarray) -> None:
        self._mean, self._scale = _mean_and_scale(trained)

    _transforms_targets = True

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
        estimator: a `SweepClassifier` or `SweepRegressor`, whose model, epochs and batch size it takes, or a ``Pipeline`` whose
            last step is one. The steps before are then fitted on the training part of each fold, as by ``GridSearchCV``.
        param_grid: names and lists of values, of which all combinations are trained; with ``n`` any space. Those of a
            pipeline's last step begin with its name, as in ``net__learning_rate``.
        cv: folds, as scikit-learn takes them.
        n: configs drawn at random in place of all.
        refit: whether the chosen config is trained on all examples.

    Attributes:
        best_estimator_: the estimator, or the pipeline, with the chosen config.
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
        steps, last, prefix = _steps_and_last(self.estimator)
        given = {"space": _without_prefix(self.param_grid, prefix), "cv": self.cv, "n": self.n, "refit": self.refit}
        net = base.clone(last).set_params(**given)
        found, before = net, []
        if len(steps):
            X, y = utils.indexable(X, y)
            prepared = Prepared(steps, X, y)
            fitted, transformed = prepared.everything()
            net._fit(transformed, y, prepared, prefix)
            before = (fitted if self.refit else prepared.fitted[0]).steps
        else:
            net._fit(X, y, None, prefix)
        if prefix:
            found = base.clone(self.estimator)
            found.steps = [*before, (prefix.removesuffix("__"), net)]
        self.best_estimator_ = found
        for name in ("best_params_", "best_score_", "best_index_", "cv_results_", "n_splits_"):
            setattr(self, name, getattr(net, name))
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(found, name):
                setattr(self, name, getattr(found, name))
        return self

    def __sklearn_tags__(self) -> Any:
        """Those of a classifier or a regressor, as the estimator is: by them scikit-learn stratifies folds."""
        tags, own = super().__sklearn_tags__(), utils.get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags, tags.regressor_tags = own.classifier_tags, own.regressor_tags
        return tags

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


def _steps_and_last(estimator: Any) -> tuple[Any, "_SweepEstimator", str]:
    """A pipeline's steps before the last, that one, and what its names begin with; nothing before an estimator alone."""
    is_pipeline = isinstance(estimator, pipeline.Pipeline)
    last = estimator.steps[-1][1] if is_pipeline else estimator
    if not isinstance(last, _SweepEstimator):
        what = f"a Pipeline that ends with a {type(last).__name__}" if is_pipeline else f"a {type(last).__name__}"
        raise ConfigError(
            f"estimator is {what}: pass a SweepClassifier or SweepRegressor, with init= and apply= for a model of your own, or a "
            "Pipeline that ends with one."
        )
    return (estimator[:-1], last, f"{estimator.steps[-1][0]}__") if is_pipeline else ((), last, "")


def _without_prefix(space: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """A space of the names of a pipeline's last step, without the prefix; ConfigError for other names."""
    for name in space if prefix else ():
        if not name.startswith(prefix):
            raise ConfigError(
                f"param_grid names {name!r}, which is no parameter of the last step: begin those with {prefix!r}, and set what "
                "the steps before take in the pipeline, or search it with GridSearchCV."
            )
    return {name.removeprefix(prefix): values for name, values in space.items()} if prefix else space


def _mean_and_scale(y: np.ndarray) -> tuple[float, float]:
    return float(y.mean()), float(y.std()) or 1.0


def _least_rows(splits: Splits) -> int:
    """The training examples, of the smallest fold where there are folds."""
    return count_examples(splits.train, "train") if splits.folds is None else min(map(len, splits.folds.training))


def _adam(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.get("learning_rate", 1e-2))
