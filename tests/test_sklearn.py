"""Estimators for scikit-learn: its own checks, its scores on the same folds, and choices that can be repeated."""

import pickle

import numpy as np
import optax
import pytest
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import jsweep as js

CLASSIFIER = js.sklearn.SweepClassifier(n=2, epochs=20, random_state=0)
REGRESSOR = js.sklearn.SweepRegressor(n=2, epochs=20, random_state=0)
CHECKS = [  # all of them run in experiments/estimator_checks.py
    "check_estimators_unfitted",
    "check_dont_overwrite_parameters",
    "check_methods_subset_invariance",
    "check_fit2d_1sample",
]


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])
def test_an_estimator_passes_scikit_learns_checks(estimator, check):
    function = getattr(estimator_checks, check)
    name = type(estimator).__name__
    function(name, clone(estimator))


def softmax_regression(**changes):
    """Full-batch gradient descent, where folds are of one size, on what `LogisticRegression` minimises."""
    return js.sklearn.SweepClassifier(
        init=lambda config, key, features, outputs: {"w": np.zeros((features, outputs), np.float32)},
        apply=lambda config, params, x, key: x @ params["w"],
        optimizer=lambda config: optax.sgd(0.5, momentum=0.9),
        batch_size=1000,
        random_state=0,
        **changes,
    )


def test_scores_are_those_of_a_grid_search_on_the_same_folds(iris):
    x, y = iris
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    penalties = [1e-2, 1e-1, 1.0]
    search = js.sklearn.LaneSearchCV(softmax_regression(epochs=1500), {"l2": penalties}, cv=folds).fit(x, y)
    rows = len(x) * 4 / 5  # LogisticRegression's penalty is beside the sum over examples, l2 beside their mean
    exact = GridSearchCV(
        LogisticRegression(fit_intercept=False, tol=1e-8), {"C": [1 / (c * rows) for c in penalties]}, cv=folds
    ).fit(x, y)
    assert search.cv_results_.keys() - {"param_l2"} == exact.cv_results_.keys() - {"param_C"}
    for fold in range(5):
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(search.cv_results_[name], exact.cv_results_[name], atol=1.01 / 30)  # an example
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], exact.cv_results_["mean_test_score"], atol=0.01)
    rows = np.column_stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(5)])
    np.testing.assert_allclose(search.cv_results_["std_test_score"], rows.std(axis=1))
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1
    assert search.best_score_ == pytest.approx(rows.mean(axis=1).max())
    assert (search.predict(x) == exact.predict(x)).mean() > 0.97
    np.testing.assert_allclose(search.predict_proba(x).sum(axis=1), 1)


def test_a_pipeline_is_searched_as_by_a_grid_search_on_the_same_folds(iris):
    """Each fold scales by its own training examples: an example that is far away, alone in one fold, is told apart so."""
    x, y = iris[0] * [1, 10, 100, 1000], iris[1]
    x[7] *= 30
    folds, penalties = StratifiedKFold(5, shuffle=True, random_state=0), [0.1, 1.0]
    pipeline = Pipeline([("scale", StandardScaler()), ("net", softmax_regression(epochs=400))])
    search = js.sklearn.LaneSearchCV(pipeline, {"net__l2": penalties}, cv=folds).fit(x, y)
    plain = Pipeline([("scale", StandardScaler()), ("net", LogisticRegression(fit_intercept=False, tol=1e-8))])
    exact = GridSearchCV(plain, {"net__C": [1 / (c * 120) for c in penalties]}, cv=folds).fit(x, y)
    assert search.cv_results_.keys() - {"param_net__l2"} == exact.cv_results_.keys() - {"param_net__C"}
    for fold in range(5):
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(search.cv_results_[name], exact.cv_results_[name], atol=1e-6)
    assert search.best_params_ == {"net__l2": penalties[exact.best_index_]}
    assert search.cv_results_["params"] == [{"net__l2": penalty} for penalty in penalties]
    assert isinstance(search.best_estimator_, Pipeline)
    np.testing.assert_allclose(search.best_estimator_["scale"].mean_, x.mean(axis=0))
    refitted = plain.set_params(net__C=1 / (search.best_params_["net__l2"] * 150)).fit(x, y)
    np.testing.assert_allclose(search.predict_proba(x), refitted.predict_proba(x), atol=1e-3)
    assert search.score(x, y) == refitted.score(x, y)
    assert is_classifier(search)
    assert search.n_features_in_ == 4


def test_a_pipeline_s_last_model_may_be_that_of_a_fold():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    steps = make_column_transformer((StandardScaler(), ["bmi", "bp"]), ("passthrough", ["s5"]))
    net = js.sklearn.SweepRegressor(epochs=10, random_state=0)
    pipeline = Pipeline([("columns", steps), ("net", net)])
    folds = KFold(3)
    search = js.sklearn.LaneSearchCV(pipeline, {"net__learning_rate": [3e-2]}, cv=folds, refit=False).fit(x, y)
    train, held_out = next(folds.split(x))
    np.testing.assert_allclose(
        search.best_estimator_["columns"].named_transformers_["standardscaler"].mean_,
        x.iloc[train][["bmi", "bp"]].mean(),
    )
    assert search.cv_results_["split0_test_score"] == pytest.approx(
        search.score(x.iloc[held_out], y.iloc[held_out]), rel=1e-4
    )


def test_a_choice_can_be_repeated_pickled_and_used_in_a_pipeline(iris):
    x, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    space = {"learning_rate": js.log_uniform(1e-3, 1e-1), "hidden_layer_sizes": [(8,)], "dropout": [0.0, 0.1]}
    estimator = js.sklearn.SweepClassifier(space, n=4, epochs=20, seeds=2, random_state=3)
    first, second = (clone(estimator).fit(x, names) for _ in range(2))
    assert first.best_params_ == second.best_params_
    np.testing.assert_array_equal(first.predict_proba(x), second.predict_proba(x))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict(x), first.predict(x))
    np.testing.assert_array_equal(first.predict(x[:1]), first.predict(x)[:1])
    assert first.score(x, names) > 0.9
    assert set(first.predict(x)) == set(names)
    assert clone(estimator).set_params(random_state=4).fit(x, names).best_params_ != first.best_params_
    piped = make_pipeline(StandardScaler(), clone(estimator).set_params(seeds=1))
    assert cross_val_score(piped, x, names, cv=2).mean() > 0.8


def test_a_regressor_predicts_in_the_units_of_its_targets():
    x, y = load_diabetes(return_X_y=True)
    space = {"learning_rate": [1e-3, 1e-2], "l2": [1e-3]}
    estimator = js.sklearn.SweepRegressor(space, n=None, cv=3, epochs=30, random_state=0)
    fitted = estimator.fit(StandardScaler().fit_transform(x), 100 * y + 1e4)
    predicted = fitted.predict(StandardScaler().fit_transform(x))
    assert 1e4 < predicted.mean() < 1e4 + 100 * y.max()
    assert 0.3 < fitted.best_score_ < fitted.score(StandardScaler().fit_transform(x), 100 * y + 1e4)


def test_what_cannot_be_used_is_said(iris):
    with pytest.raises(js.ConfigError, match="leaves examples out of both parts"):
        js.sklearn.SweepClassifier(cv=ShuffleSplit(2, train_size=0.3, test_size=0.3)).fit(*iris)
    with pytest.raises(js.ConfigError, match="estimator is a LogisticRegression: pass a SweepClassifier"):
        js.sklearn.LaneSearchCV(LogisticRegression(), {"C": [1.0]}).fit(*iris)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", js.sklearn.SweepClassifier())])
    for name in ("scale__with_mean", "learning_rate"):
        with pytest.raises(js.ConfigError, match=f"names '{name}', .* begin those with 'net__'"):
            js.sklearn.LaneSearchCV(pipeline, {name: [1.0]}).fit(*iris)
    with pytest.raises(js.ConfigError, match="a Pipeline that ends with a LogisticRegression"):
        js.sklearn.LaneSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"C": [1.0]}).fit(*iris)
    varying = Pipeline([("components", PCA(0.9)), ("net", js.sklearn.SweepClassifier())])
    uneven = np.random.default_rng(0).normal(size=(24, 4)) * np.repeat([[9, 1, 1, 1], [1, 1, 1, 1]], 12, axis=0)
    with pytest.raises(js.ConfigError, match="features in a fold and"):
        js.sklearn.LaneSearchCV(varying, {"net__l2": [1.0]}, cv=KFold(2)).fit(uneven, np.arange(24) % 2)
    with pytest.raises(ValueError, match="y has 1 class"):
        js.sklearn.SweepClassifier().fit(iris[0], np.zeros(150))
    with pytest.warns(UserWarning, match="'learning_rte': never read"):
        js.sklearn.SweepClassifier({"learning_rte": [0.1]}, n=None).fit(*iris)
