"""Transformed targets: fitted on what trains, compared with scikit-learn's TransformedTargetRegressor and NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_validate
from sklearn.preprocessing import StandardScaler

import jsweep as js


@pytest.fixture(scope="module")
def examples():
    """90 rows whose targets are far from zero and skewed."""
    random = np.random.default_rng(5)
    x = random.normal(size=(90, 3))
    return x, np.exp(x @ [0.5, -0.3, 0.2] + 3 + 0.3 * random.normal(size=90)) + 100


def standardised(y):
    mean, scale = y.mean(), y.std()
    return lambda y: (y - mean) / scale, lambda outputs: outputs * scale + mean


def in_logarithms(regressor):
    """A model of standardised logarithms, in scikit-learn."""
    inner = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp)


def log_standardised(y):
    forward, inverse = standardised(np.log(y))
    return lambda y: forward(np.log(y)), lambda outputs: jnp.exp(inverse(outputs))


def ridge_task(data, **changes):
    """Ridge regression by full-batch gradient descent, to convergence."""
    parts = {
        "loss": lambda outputs, y: jnp.square(outputs[:, 0] - y),
        "metrics": {
            "mae": js.metrics.Metric(lambda outputs, y: abs(outputs[:, 0] - y), mode="min"),
            "r2": js.metrics.Metric(
                lambda outputs, y: js.metrics.r2_score(outputs[:, 0], y), mode="max", per_example=False
            ),
        },
        "batch_size": 60,
    }
    return js.supervised(
        lambda config, key: {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)},
        lambda config, params, x, key: x @ params["w"] + params["b"],
        optimizer=lambda config: optax.sgd(0.2, momentum=0.5),
        data=data,
        **(parts | changes),
    )


CONFIGS = js.configs([{"l2": 0.1}, {"l2": 1.0}])


def test_scores_are_those_of_transformed_target_regressor_on_the_same_folds(examples):
    data = js.folds(*examples, k=3, test=0, key=1, target_transform=log_standardised)
    session = js.sweep(ridge_task(data), CONFIGS, steps=150, objective="validation/mae")
    plain = js.folds(*examples, k=3, test=0, key=1)
    every = np.arange(90)
    cv = [(np.setdiff1d(every, rows), rows) for rows in plain.folds.held_out]
    for l2 in (0.1, 1.0):
        theirs = cross_validate(
            in_logarithms(Ridge(60 * l2 / 2)), *plain.train, cv=cv, scoring=["neg_mean_absolute_error", "r2"]
        )
        for name, expected in (("mae", -theirs["test_neg_mean_absolute_error"]), ("r2", theirs["test_r2"])):
            mine = next(s for s in session.ranking(f"validation/{name}") if s.config["l2"] == l2)
            np.testing.assert_allclose(mine.values, expected, rtol=2e-4)
    errors = session.examples("validation/mae")
    assert errors.shape == (1, 90)
    assert errors.mean() == pytest.approx(session.best().mean)


def test_the_test_split_is_scored_in_the_units_of_its_targets(examples):
    for cut, changes, batch in ((js.split, {}, 54), (js.folds, {"k": 3, "test": 0.2}, 48)):
        data = cut(*examples, key=2, target_transform=standardised, **changes)
        plain = cut(*examples, key=2, **changes)
        session = js.sweep(ridge_task(data, batch_size=batch), CONFIGS[:1], steps=150, objective="validation/mae")
        tested = session.test().scores["test/mae"]
        rows = [np.arange(len(plain.train[1]))] if plain.folds is None else plain.folds.training
        for score, train, fitted in zip(tested, rows, data.target_transforms, strict=True):
            model = TransformedTargetRegressor(Ridge(len(train) * 0.05), transformer=StandardScaler())
            predicted = model.fit(plain.train[0][train], plain.train[1][train]).predict(plain.test[0])
            assert len(train) == batch
            assert score == pytest.approx(abs(predicted - plain.test[1]).mean(), rel=2e-4)
            np.testing.assert_allclose(fitted.forward(plain.train[1][train]).mean(), 0, atol=1e-6)


def test_without_an_inverse_metrics_see_what_the_loss_sees(examples):
    data = js.split(*examples, key=2, target_transform=lambda y: lambda y: y - 100)
    np.testing.assert_allclose(data.train[1], js.split(*examples, key=2).train[1] - 100)
    session = js.sweep(ridge_task(data, metrics={"off": lambda outputs, y: y}, batch_size=9), CONFIGS[:1], steps=1)
    score = session.ranking(js.minimize("validation/off"))[0]
    assert score.mean == pytest.approx(data.validation[1].mean())


def test_augmenting_and_inputs_of_a_fold_go_with_targets(examples):
    """Both transformations at once; what augments sees the targets of the loss."""
    seen = []

    def augment(config, batch, key):
        seen.append(type(batch[1]))
        return batch

    scale = lambda x, y: StandardScaler().fit(x).transform
    data = js.folds(*examples, k=3, test=0.1, transform=scale, target_transform=standardised)
    both = js.sweep(ridge_task(data, augment=augment, batch_size=9), CONFIGS, steps=5, objective="validation/mae")
    assert all(not issubclass(kind, tuple) for kind in seen)
    assert np.isfinite(both.best().values).all()
    assert len(both.test().scores["test/mae"]) == 3
    assert repr(data) == "Splits(train=81, validation=81, test=9, 3 folds)"


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (3, "target_transform is a int: pass a function of the training targets"),
        (lambda y: y, "returned ndarray: return a function that maps targets"),
        (lambda y: (np.log, 3), "returned ufunc, int"),
        (lambda y: lambda y: y - y.mean(), "alone than among others: .* in target_transform\\(y\\)"),
        (lambda y: lambda y: np.log(y - y), "the targets that target_transform makes holds -inf"),
        (lambda y: (np.log, np.exp), "cannot be traced by JAX"),
        (lambda y: (np.log, jnp.square), "does not take its targets back"),
        (lambda y: (np.log, jnp.exp if y.min() > 104.43 else None), "an inverse in some folds only"),
    ],
)
def test_what_is_no_transformation_of_targets_is_named(examples, transform, sentence):
    with np.errstate(all="ignore"), pytest.raises(js.ConfigError, match=sentence):
        js.folds(*examples, test=0, target_transform=transform)


def test_targets_without_their_inverse_are_refused(examples):
    data = js.split(*examples, target_transform=standardised)
    with pytest.raises(js.ConfigError, match="target_transforms=data.target_transforms"):
        js.Splits(data.train, data.validation)
    js.Splits(data.train, data.validation, target_transforms=data.target_transforms)
