"""Losses and metrics against optax, scikit-learn and NumPy in float64, and what they refuse."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

import jsweep as js
from jsweep.metrics import Metric

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0.0, 5.0, (7, 10)).astype(np.float32)
CLASSES = np.array([0, 9, 3, 3, 5, 1, 0], np.int32)
N = 500
SCORES = RANDOM.normal(size=N).round(1).astype(np.float32)  # rounded, so that many are equal
LABELS = (RANDOM.normal(size=N) + SCORES > 0.3).astype(np.int32)
MULTILABEL = (RANDOM.normal(size=(N, 4)) > 0.5).astype(np.int32)
MULTILOGITS = (MULTILABEL - 0.5 + RANDOM.normal(size=(N, 4))).astype(np.float32)
SEVEN_CLASSES = RANDOM.integers(0, 7, N).astype(np.int32)
SEVEN_LOGITS = (RANDOM.normal(size=(N, 9)) + 1.5 * np.eye(9)[SEVEN_CLASSES]).astype(np.float32)  # two never occur
TARGETS = RANDOM.normal(3.0, 2.0, (N, 2)).astype(np.float32)
OUTPUTS = (TARGETS + RANDOM.normal(size=(N, 2)) * [0.5, 2.0]).astype(np.float32)


def in_float64(name, *arrays):
    return getattr(sklearn.metrics, name)(
        *(np.asarray(a, np.float64 if a.dtype.kind == "f" else a.dtype) for a in arrays)
    )


def test_cross_entropy_and_its_gradient_are_those_of_optax():
    theirs = lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, CLASSES)
    ours = lambda logits: js.losses.softmax_cross_entropy(logits, jnp.asarray(CLASSES))
    np.testing.assert_allclose(ours(LOGITS), theirs(LOGITS), rtol=1e-6, atol=1e-6)
    gradient = lambda loss: jax.grad(lambda logits: loss(logits).sum())(LOGITS)
    np.testing.assert_allclose(gradient(ours), gradient(theirs), rtol=1e-5, atol=1e-7)


def test_cross_entropy_holds_for_logits_of_any_size():
    logits = jnp.array([[1e4, 0.0], [-1e4, 0.0], [1e4, 0.0]])
    np.testing.assert_allclose(js.losses.softmax_cross_entropy(logits, jnp.array([0, 0, 1])), [0.0, 1e4, 1e4])


@pytest.mark.parametrize(
    ("dtype", "classes"),
    [("int8", 128), ("int8", 200), ("uint8", 256), ("uint8", 300), ("int16", 300), ("uint16", 300), ("uint32", 300)],
)
def test_integer_targets_of_any_width_mean_the_same(dtype, classes):
    logits = jnp.asarray(RANDOM.normal(size=(6, classes)), jnp.float32)
    y = np.array([0, 3, 17, 43, 90, 127])
    narrow, wide = jnp.asarray(y, dtype), jnp.asarray(y, jnp.int32)
    for function in (
        js.losses.softmax_cross_entropy,
        js.metrics.accuracy,
        js.metrics.top_k_accuracy(50),
        js.metrics.macro_f1_score,
        js.metrics.perplexity,
    ):
        assert np.array_equal(function(logits, narrow), function(logits, wide))
        assert np.isfinite(function(logits, narrow)).all()


def test_integer_targets_of_regressions_are_read_as_numbers():
    y = jnp.array([0, 200, 255], jnp.uint8)
    outputs = jnp.array([1.0, 199.0, 0.0])
    np.testing.assert_array_equal(js.losses.squared_error(outputs, y), [1.0, 1.0, 255.0**2])
    np.testing.assert_array_equal(js.metrics.absolute_error(outputs.astype(jnp.bfloat16), y)[2], 255.0)


@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_out_of_range_gives_nan(target):
    targets = jnp.asarray(CLASSES).at[2].set(target)
    for function in (js.losses.softmax_cross_entropy, js.metrics.accuracy, js.metrics.top_k_accuracy(3)):
        assert np.flatnonzero(np.isnan(function(jnp.asarray(LOGITS), targets))).tolist() == [2]
    for metric in (js.metrics.macro_f1_score, js.metrics.perplexity):
        assert np.isnan(metric(jnp.asarray(LOGITS), targets))


@pytest.mark.parametrize("target", [-1, 2])
def test_a_binary_target_out_of_range_gives_nan(target):
    outputs, targets = jnp.array([1.0, -2.0, 3.0]), jnp.array([1, 0, target])
    for function in (js.losses.sigmoid_binary_cross_entropy, js.metrics.binary_accuracy):
        assert np.flatnonzero(np.isnan(function(outputs, targets))).tolist() == [2]
    for function in (js.metrics.f1_score, js.metrics.roc_auc):
        assert np.isnan(function(outputs, targets))
    for function in (js.losses.multilabel_cross_entropy, js.metrics.multilabel_accuracy, js.metrics.subset_accuracy):
        assert np.flatnonzero(np.isnan(function(outputs[:, None], targets[:, None]))).tolist() == [2]


def test_no_metric_is_finite_for_outputs_that_are_nan():
    nan = jnp.full((4, 3), jnp.nan)
    for metric in (js.metrics.accuracy, js.metrics.top_k_accuracy(2), js.metrics.macro_f1_score, js.metrics.perplexity):
        assert np.isnan(metric(nan, jnp.array([0, 1, 2, 0]))).all()
    for name in ("binary_accuracy", "f1_score", "roc_auc"):
        assert np.isnan(getattr(js.metrics, name)(nan[:, 0], jnp.array([0, 1, 1, 0]))).all()
    for name in ("absolute_error", "root_mean_squared_error", "r2_score", "correlation", "multilabel_accuracy"):
        assert np.isnan(getattr(js.metrics, name)(nan, jnp.eye(4, 3))).all()


def test_smoothing_is_cross_entropy_of_smoothed_labels():
    labels = optax.smooth_labels(jax.nn.one_hot(CLASSES, 10), 0.2)
    expected = optax.softmax_cross_entropy(LOGITS, labels)
    found = js.losses.smoothed_softmax_cross_entropy(0.2)(jnp.asarray(LOGITS), jnp.asarray(CLASSES))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("outputs_shape", [(N,), (N, 1)])
@pytest.mark.parametrize("targets_shape", [(N,), (N, 1)])
def test_binary_cross_entropy_is_the_log_loss(outputs_shape, targets_shape):
    values = js.losses.sigmoid_binary_cross_entropy(SCORES.reshape(outputs_shape), LABELS.reshape(targets_shape))
    assert values.shape == (N,)
    probabilities = 1 / (1 + np.exp(-SCORES.astype(np.float64)))
    np.testing.assert_allclose(values.mean(), sklearn.metrics.log_loss(LABELS, probabilities), rtol=1e-6)


def test_multilabel_cross_entropy_is_the_mean_log_loss_of_the_labels():
    values = js.losses.multilabel_cross_entropy(MULTILOGITS, MULTILABEL)
    probabilities = 1 / (1 + np.exp(-MULTILOGITS.astype(np.float64)))
    expected = -np.where(MULTILABEL == 1, np.log(probabilities), np.log(1 - probabilities)).mean(axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


METRICS = {
    "accuracy": ((SEVEN_LOGITS, SEVEN_CLASSES), in_float64("accuracy_score", SEVEN_CLASSES, SEVEN_LOGITS.argmax(1))),
    "binary_accuracy": ((SCORES, LABELS), in_float64("accuracy_score", LABELS, SCORES > 0)),
    "multilabel_accuracy": ((MULTILOGITS, MULTILABEL), 1 - in_float64("hamming_loss", MULTILABEL, MULTILOGITS > 0)),
    "subset_accuracy": ((MULTILOGITS, MULTILABEL), in_float64("accuracy_score", MULTILABEL, MULTILOGITS > 0)),
    "absolute_error": ((OUTPUTS, TARGETS), in_float64("mean_absolute_error", TARGETS, OUTPUTS)),
    "root_mean_squared_error": ((OUTPUTS, TARGETS), in_float64("root_mean_squared_error", TARGETS, OUTPUTS)),
    "r2_score": ((OUTPUTS, TARGETS), in_float64("r2_score", TARGETS, OUTPUTS)),
    "correlation": (
        (OUTPUTS, TARGETS),
        np.mean([np.corrcoef(OUTPUTS[:, i].astype(float), TARGETS[:, i].astype(float))[0, 1] for i in range(2)]),
    ),
    "f1_score": ((SCORES, LABELS), in_float64("f1_score", LABELS, SCORES > 0)),
    "macro_f1_score": (
        (SEVEN_LOGITS, SEVEN_CLASSES),
        sklearn.metrics.f1_score(SEVEN_CLASSES, SEVEN_LOGITS.argmax(1), average="macro"),
    ),
    "roc_auc": ((SCORES, LABELS), in_float64("roc_auc_score", LABELS, SCORES)),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_that_of_scikit_learn_or_numpy_in_float64(name):
    (outputs, targets), expected = METRICS[name]
    for outputs_given, targets_given in ((outputs, targets), (jnp.asarray(outputs), jnp.asarray(targets))):
        found = jax.jit(getattr(js.metrics, name))(outputs_given, targets_given)
        assert found.shape == ((N,) if getattr(js.metrics, name).per_example else ())
        np.testing.assert_allclose(found.mean(), expected, rtol=2e-6)


@pytest.mark.parametrize("k", [1, 3, np.int64(8)])
def test_top_k_accuracy_is_that_of_scikit_learn(k):
    expected = sklearn.metrics.top_k_accuracy_score(SEVEN_CLASSES, SEVEN_LOGITS, k=int(k), labels=np.arange(9))
    assert js.metrics.top_k_accuracy(k)(SEVEN_LOGITS, SEVEN_CLASSES).mean() == pytest.approx(expected)


def test_whole_split_metrics_hold_in_lanes_and_in_a_large_split():
    rows = 50_000
    time = np.linspace(-1, 1, rows)
    y = (100 + time + 0.2 * RANDOM.normal(size=rows)).astype(np.float32)  # drifts, far from zero
    outputs = (100 + np.stack([time, 0.5 * time])).astype(np.float32)
    labels, scores = (y > 100).astype(np.int32), (outputs - 100).astype(np.float32)
    lanes = lambda metric, outputs, y: jax.jit(jax.vmap(metric, in_axes=(0, None)))(outputs, y)
    for lane in range(2):
        assert lanes(js.metrics.r2_score, outputs, y)[lane] == pytest.approx(
            in_float64("r2_score", y, outputs[lane]), abs=2e-4
        )
        auc = lanes(js.metrics.roc_auc, scores, labels)[lane]
        assert auc == pytest.approx(in_float64("roc_auc_score", labels, scores[lane]), rel=1e-5)


def test_metrics_of_degenerate_splits_are_those_of_scikit_learn_or_nan():
    constant, other = jnp.full(4, 2.0), jnp.array([1.0, 2.0, 3.0, 2.0])
    assert js.metrics.r2_score(constant, constant) == sklearn.metrics.r2_score(constant, constant) == 1.0
    assert js.metrics.r2_score(other, constant) == sklearn.metrics.r2_score(constant, other) == 0.0
    none = jnp.zeros(4, jnp.int32)
    assert js.metrics.f1_score(-other, none) == sklearn.metrics.f1_score(none, none, zero_division=0.0) == 0.0
    assert np.isnan(js.metrics.roc_auc(other, none))
    assert np.isnan(js.metrics.correlation(other, constant))


def test_perplexity_is_exp_of_the_mean_log_loss_of_all_tokens():
    logits, tokens = RANDOM.normal(size=(6, 5, 11)).astype(np.float32), RANDOM.integers(0, 11, (6, 5)).astype(np.int32)
    wide = logits.astype(np.float64)
    losses = np.log(np.exp(wide).sum(-1)) - np.take_along_axis(wide, tokens[..., None], -1)[..., 0]
    assert js.metrics.perplexity(logits, tokens) == pytest.approx(np.exp(losses.mean()), rel=1e-6)
    padded = tokens.copy()
    padded[:, 3:] = padded[0] = -1
    kept = padded >= 0
    for ignoring in (
        js.metrics.masked_perplexity(ignore=-1)(logits, padded),
        jnp.exp(js.metrics.masked(js.losses.softmax_cross_entropy, ignore=-1)(logits, padded)),
    ):
        assert ignoring == pytest.approx(np.exp(losses[kept].mean()), rel=1e-6)


def test_masked_losses_leave_out_the_ignored_positions():
    logits = RANDOM.normal(size=(3, 4, 5)).astype(np.float32)
    targets = np.array([[1, 2, 3, 4], [0, 1, -1, -1], [-1, -1, -1, -1]], np.int32)
    per_token = np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, np.maximum(targets, 0)))
    kept = targets >= 0
    sums = (per_token * kept).sum(axis=1)
    by_example = js.losses.masked(js.losses.softmax_cross_entropy, ignore=-1)
    by_token = js.losses.masked(js.losses.softmax_cross_entropy, ignore=-1, tokens=2.0)
    np.testing.assert_allclose(by_example(logits, targets), sums / [4, 2, 1], rtol=1e-5)
    np.testing.assert_allclose(by_token(logits, targets).mean(), per_token[kept].mean(), rtol=1e-5)
    gradient = jax.grad(lambda logits: by_token(logits, targets).sum())(logits)
    assert np.array_equal(np.abs(gradient).sum(axis=-1) > 0, kept)


def test_masked_metrics_weigh_every_kept_position_the_same():
    logits = RANDOM.normal(size=(3, 4, 5)).astype(np.float32)
    targets = np.array([[1, 2, 3, 4], [0, 1, 9, 9], [9, 9, 9, 9]], np.int32)
    masked = js.metrics.masked(js.metrics.accuracy, ignore=9)
    assert (masked.mode, masked.per_example) == ("max", False)
    expected = (logits.argmax(-1) == targets)[targets != 9].mean()
    assert masked(logits, targets) == pytest.approx(expected)


def test_masked_macro_f1_is_that_of_scikit_learn_over_the_kept_positions():
    logits = RANDOM.normal(size=(6, 9, 5)).astype(np.float32)
    targets = RANDOM.integers(0, 4, (6, 9)).astype(np.int32)  # class 4 occurs among predictions alone
    targets[:, 5:] = -1
    kept, predicted = targets >= 0, logits.argmax(-1)
    metric = js.metrics.masked_macro_f1_score(ignore=-1)
    assert (metric.mode, metric.per_example) == ("max", False)
    expected = sklearn.metrics.f1_score(targets[kept], predicted[kept], average="macro")
    assert metric(logits, targets) == pytest.approx(expected, rel=1e-6)
    logits[0, 0] = np.nan
    assert np.isnan(metric(logits, targets))


def test_parts_of_outputs_keep_what_their_metric_is():
    outputs, targets = {"value": OUTPUTS, "class": SCORES}, {"value": TARGETS, "class": LABELS}
    loss = js.losses.of_part("value", js.losses.squared_error)
    np.testing.assert_array_equal(loss(outputs, targets), js.losses.squared_error(OUTPUTS, TARGETS))
    for metric in (js.metrics.binary_accuracy, js.metrics.f1_score):
        part = js.metrics.of_part("class", metric)
        assert (part.mode, part.per_example) == (metric.mode, metric.per_example)
        np.testing.assert_array_equal(part(outputs, targets), metric(SCORES, LABELS))
    with pytest.raises(js.ConfigError, match=r"of_part\('size', ...\) got outputs that are a dict of 'value', 'class'"):
        js.metrics.of_part("size", js.metrics.f1_score)(outputs, targets)
    with pytest.raises(js.ConfigError, match="got targets that are a ndarray"):
        js.losses.of_part("value", js.losses.squared_error)(outputs, TARGETS)


def test_weighted_losses_and_metrics_multiply_by_the_weights():
    weights = RANDOM.uniform(size=N).astype(np.float32)
    values = ((OUTPUTS - TARGETS) ** 2).sum(axis=1)
    loss, metric = js.losses.weighted(js.losses.squared_error), js.metrics.weighted(js.metrics.binary_accuracy)
    np.testing.assert_allclose(loss(OUTPUTS, (TARGETS, weights)), values * weights, rtol=1e-5)
    expected = sklearn.metrics.accuracy_score(LABELS, SCORES > 0, sample_weight=weights)
    assert metric(SCORES, (LABELS, weights)) == pytest.approx(expected, rel=1e-5)
    assert (metric.mode, metric.per_example) == ("max", False)


def test_outputs_of_bfloat16_are_averaged_in_float32():
    x = jnp.asarray(RANDOM.uniform(1, 2, (2, 4096)), jnp.bfloat16)
    exact = np.asarray(x, np.float64)
    values = js.losses.squared_error(x, jnp.zeros((2, 4096), jnp.bfloat16))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, (exact**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(js.metrics.absolute_error(x, jnp.zeros((2, 4096))), exact.mean(axis=1), rtol=1e-5)
    logits = js.losses.softmax_cross_entropy(x, jnp.array([0, 1]))
    np.testing.assert_allclose(logits, js.losses.softmax_cross_entropy(jnp.asarray(x, jnp.float32), jnp.array([0, 1])))


COLUMN, VECTOR = jnp.zeros((6, 1)), jnp.zeros(6)
WHOLE = jnp.zeros(6, jnp.int32)


@pytest.mark.parametrize(
    ("function", "outputs", "targets", "sentence"),
    [
        (
            js.losses.squared_error,
            COLUMN,
            VECTOR,
            r"outputs of shape \(6, 1\) and targets of shape \(6,\).*targets\[..., None\]",
        ),
        (js.losses.squared_error, VECTOR, COLUMN, r"\(6,\) and targets of shape \(6, 1\).*such as targets\[..., 0\]"),
        (js.metrics.absolute_error, COLUMN, VECTOR, r"absolute_error got outputs of shape \(6, 1\)"),
        (js.metrics.r2_score, COLUMN, VECTOR, r"r2_score got outputs of shape \(6, 1\)"),
        (js.metrics.root_mean_squared_error, COLUMN, VECTOR, "pass arrays of the same shape"),
        (js.losses.squared_error, jnp.zeros(()), jnp.zeros(()), "first axis is the batch"),
        (
            js.losses.squared_error,
            {"mean": VECTOR},
            VECTOR,
            "squared_error got outputs that are a dict: pass one array",
        ),
        (js.losses.multilabel_cross_entropy, jnp.zeros((6, 3)), VECTOR, r"\(6, 3\) and targets of shape \(6,\)"),
        (
            js.losses.sigmoid_binary_cross_entropy,
            jnp.zeros((6, 3)),
            VECTOR,
            "multilabel_cross_entropy for several labels",
        ),
        (js.losses.sigmoid_binary_cross_entropy, jnp.zeros((2, 3)), VECTOR, r"\(2, 3\) and targets of shape \(6,\)"),
        (js.losses.softmax_cross_entropy, COLUMN, WHOLE, "one logit per example: use jsweep.losses.sigmoid_binary"),
        (
            js.losses.softmax_cross_entropy,
            jnp.zeros((6, 3)),
            COLUMN,
            r"targets of shape \(6, 1\): pass .*targets\[..., 0\]",
        ),
        (js.losses.softmax_cross_entropy, jnp.zeros((6, 3)), jnp.zeros((6, 3)), r"targets.argmax\(axis=-1\)"),
        (js.losses.softmax_cross_entropy, jnp.zeros((6, 3)), VECTOR, r"targets of type float32: .*targets.astype"),
        (js.metrics.accuracy, COLUMN, WHOLE, "one logit per example: use jsweep.metrics.binary_accuracy"),
        (js.metrics.accuracy, VECTOR, WHOLE, "use jsweep.metrics.binary_accuracy"),
        (js.metrics.accuracy, jnp.zeros((6, 2)), WHOLE[:, None], r"targets of shape \(6, 1\)"),
        (js.metrics.binary_accuracy, jnp.zeros((6, 2)), WHOLE, "use jsweep.metrics.accuracy"),
        (js.metrics.top_k_accuracy(4), jnp.zeros((6, 3)), WHOLE, "k=4 is more than the 3 classes"),
        (
            js.metrics.masked_perplexity(ignore=-1),
            jnp.zeros((6, 3)),
            WHOLE.astype("uint8"),
            "ignore=-1 is not a value of uint8",
        ),
        (
            js.metrics.masked(js.losses.squared_error, ignore=0),
            jnp.zeros((6, 3)),
            jnp.zeros((6, 3)),
            "one value per target",
        ),
        (js.losses.weighted(js.losses.squared_error), VECTOR, VECTOR, r"pass \(targets, weights\)"),
        (js.metrics.weighted(js.metrics.absolute_error), VECTOR, (VECTOR, COLUMN), "pass one weight per value"),
    ],
)
def test_arguments_that_do_not_belong_together_are_refused_with_both_shapes_and_the_fix(
    function, outputs, targets, sentence
):
    with pytest.raises(js.ConfigError, match=sentence):
        function(outputs, targets)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Metric(js.metrics.accuracy, mode="maximize"), "mode='maximize' is not valid: pass \"max\""),
        (lambda: Metric("accuracy", mode="max"), "function='accuracy' is not callable"),
        (lambda: Metric(js.metrics.accuracy, mode="max", per_example="yes"), "per_example='yes' is not valid"),
        (lambda: js.metrics.top_k_accuracy(0), "k=0 is not valid: pass a whole number of at least 1"),
        (lambda: js.metrics.top_k_accuracy(2.0), "k=2.0 is not valid"),
        (lambda: js.metrics.masked(js.metrics.perplexity, ignore=0), "metric of the whole split.*masked_perplexity"),
        (lambda: js.losses.masked(js.losses.softmax_cross_entropy, ignore=float("nan")), "ignore=nan is not valid"),
        (lambda: js.losses.masked(js.losses.softmax_cross_entropy, ignore=0, tokens=0), "tokens=0 is not valid"),
    ],
)
def test_bad_settings_of_losses_and_metrics_are_refused(make, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        make()


CALLS = {
    **{name: (getattr(js.metrics, name), *arguments) for name, (arguments, _) in METRICS.items()},
    "squared_error": (js.losses.squared_error, OUTPUTS, TARGETS),
    "cross_entropy": (js.losses.softmax_cross_entropy, SEVEN_LOGITS, SEVEN_CLASSES.astype("uint8")),
    "smoothed": (js.losses.smoothed_softmax_cross_entropy(0.1), SEVEN_LOGITS, SEVEN_CLASSES),
    "binary": (js.losses.sigmoid_binary_cross_entropy, SCORES, LABELS),
    "multilabel": (js.losses.multilabel_cross_entropy, MULTILOGITS, MULTILABEL),
    "masked": (js.losses.masked(js.losses.softmax_cross_entropy, ignore=2), SEVEN_LOGITS, SEVEN_CLASSES),
    "masked_metric": (js.metrics.masked(js.metrics.accuracy, ignore=2), SEVEN_LOGITS, SEVEN_CLASSES),
    "masked_perplexity": (js.metrics.masked_perplexity(ignore=2), SEVEN_LOGITS, SEVEN_CLASSES),
    "top_k": (js.metrics.top_k_accuracy(3), SEVEN_LOGITS, SEVEN_CLASSES.astype("uint32")),
    "weighted": (js.losses.weighted(js.losses.squared_error), OUTPUTS, (TARGETS, LABELS)),
    "weighted_metric": (js.metrics.weighted(js.metrics.absolute_error), OUTPUTS, (TARGETS, LABELS)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_losses_and_metrics_promote_no_type_and_no_rank_silently(name, dtype):
    function, outputs, targets = CALLS[name]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert function(jnp.asarray(outputs, dtype), jax.tree.map(jnp.asarray, targets)).dtype == jnp.float32


def test_recorded_metrics_are_those_of_scikit_learn_at_any_size_of_the_split():
    rows = 5_000
    x = np.stack([np.linspace(-1, 1, rows), RANDOM.normal(size=rows)], axis=1).astype(np.float32)
    y = (x[:, 0] + RANDOM.normal(size=rows) > 0).astype(np.int32)  # classes drift over the split
    names = ("binary_accuracy", "f1_score", "roc_auc", "root_mean_squared_error", "r2_score", "correlation")
    task = js.supervised(
        lambda config, key: {"w": jnp.zeros(2), "b": jnp.zeros(())},
        lambda config, params, x, key: x @ params["w"] + params["b"],
        loss=js.losses.sigmoid_binary_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=js.Splits((x, y), (x, y)),
        metrics={name: getattr(js.metrics, name) for name in names},
    )
    result = js.sweep(task, [{"learning_rate": rate} for rate in (0.01, 0.1)], steps=20, evaluate_every=20)
    for trial in result.trials():
        params = result.params(trial.id)
        scores = x.astype(np.float64) @ np.asarray(params["w"], np.float64) + float(params["b"])
        expected = {
            "binary_accuracy": sklearn.metrics.accuracy_score(y, scores > 0),
            "f1_score": sklearn.metrics.f1_score(y, scores > 0),
            "roc_auc": sklearn.metrics.roc_auc_score(y, scores),
            "root_mean_squared_error": sklearn.metrics.root_mean_squared_error(y, scores),
            "r2_score": sklearn.metrics.r2_score(y, scores),
            "correlation": np.corrcoef(y, scores)[0, 1],
        }
        for name in names:
            ((_, recorded),) = result.curves(f"validation/{name}")[trial.id]
            assert recorded == pytest.approx(expected[name], rel=2e-4), name


def test_shipped_metrics_know_their_direction_and_can_be_pickled():
    modes = {name: value.mode for name, value in vars(js.metrics).items() if isinstance(value, Metric)}
    smaller = {name for name, mode in modes.items() if mode == "min"}
    assert smaller == {"absolute_error", "root_mean_squared_error", "perplexity"}
    assert set(modes.values()) == {"min", "max"}
    for name in modes:
        assert pickle.loads(pickle.dumps(getattr(js.metrics, name))) == getattr(js.metrics, name)
    assert js.metrics.top_k_accuracy(3).mode == "max"
