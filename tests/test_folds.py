"""Folds as lanes: cut as stated, and trained and scored as so many separate trainings."""

import numpy as np
import optax
import pytest
from small import apply, init, make_task, optimizer, plain_loop, rows_of

import jsweep as js
from jsweep.planning import identity
from jsweep.storage import Status

CONFIGS = js.grid({"learning_rate": [0.05, 0.1]})


@pytest.fixture(scope="module")
def examples():
    random = np.random.default_rng(3)
    return random.normal(size=(103, 64)).astype(np.float32), random.integers(0, 10, 103)


@pytest.fixture(scope="module")
def session(examples):
    data = js.folds(*examples, k=4, test=0.1)
    return js.sweep(make_task(data), CONFIGS, seeds=2, steps=6, evaluate_every=3, tile=4, name="folded")


def cut(splits):
    return splits.folds.validation, splits.folds.training


@pytest.mark.parametrize("k", [2, 5, 7])
def test_folds_share_out_all_that_is_not_for_test(examples, k):
    splits = js.folds(*examples, k=k, test=0.2, repeats=2)
    validation, training = cut(splits)
    assert len(validation) == 2 * k
    assert len(splits.test[1]) == round(0.2 * 103)
    for repeat in (validation[:k], validation[k:]):
        assert np.array_equal(np.sort(np.concatenate(repeat)), np.arange(len(splits.train[1])))
        assert max(map(len, repeat)) - min(map(len, repeat)) <= 1
    assert any(not np.array_equal(a, b) for a, b in zip(validation[:k], validation[k:]))
    for held, rest in zip(validation, training):
        assert np.array_equal(np.sort(np.concatenate([held, rest])), np.arange(len(splits.train[1])))
    every = np.concatenate([splits.train[0], splits.test[0]])
    assert {tuple(row) for row in every} == {tuple(row) for row in examples[0]}
    again = js.folds(*examples, k=k, test=0.2, repeats=2)
    assert all(np.array_equal(a, b) for a, b in zip(validation, again.folds.validation))


def test_stratified_folds_have_the_sizes_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    y = np.repeat([0, 1, 2], [50, 31, 9])
    splits = js.folds(np.zeros((90, 1)), y, k=4, test=0, stratify=True)
    mine = [np.bincount(splits.train[1][rows]) for rows in splits.folds.validation]
    theirs = [np.bincount(y[rows]) for _, rows in selection.StratifiedKFold(4).split(y, y)]
    np.testing.assert_array_equal(np.sort(mine, axis=0), np.sort(theirs, axis=0))
    assert max(map(sum, mine)) - min(map(sum, mine)) <= 1


def test_groups_stay_together():
    random = np.random.default_rng(0)
    groups = random.integers(0, 30, 400)
    splits = js.folds(groups[:, None].astype(float), groups, k=5, test=0.2, groups=groups)
    held = [set(splits.train[1][rows]) for rows in splits.folds.validation]
    assert sum(map(len, held)) == len(set().union(*held))
    assert not set(splits.test[1]) & set().union(*held)
    sizes = [len(rows) for rows in splits.folds.validation]
    assert max(sizes) - min(sizes) <= max(np.bincount(groups))
    assert 0.15 < len(splits.test[1]) / 400 < 0.25


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"k": 1}, "k=1 is not valid"),
        ({"k": 2.5}, "k=2.5 is not valid"),
        ({"k": 100}, "k=100 is more than the 82 examples"),
        ({"repeats": 0}, "repeats=0 is not valid"),
        ({"test": 1.0}, "test=1.0 is not a fraction"),
        ({"groups": np.arange(103), "stratify": True}, "does not go with groups"),
        ({"groups": np.arange(50)}, "groups has shape"),
        ({"groups": np.arange(103) // 40}, "k=5 is more than the"),
    ],
)
def test_what_cannot_be_cut_is_named(examples, changes, names):
    with pytest.raises(js.ConfigError, match=names):
        js.folds(*examples, **changes)


def test_each_fold_trains_as_a_plain_loop_on_its_own_examples(session, examples):
    """The 93 examples make folds of 24 and 23, each evaluated on its own."""
    data = session.prepared.sweep.task.data
    (x, y), losses = data.train, session.curves("validation/loss")
    assert len(session.prepared.groups) == 2
    for trial in session.trials():
        seed, fold = divmod(trial.seed, 4)
        held, rest = (rows[fold] for rows in cut(data))
        apart = js.Splits((x[rest], y[rest]), (x[held], y[held]))
        expected = plain_loop(apart, {"learning_rate": trial.config["learning_rate"]}, seed, 6)
        assert losses[trial.id][-1][1] == pytest.approx(expected, rel=1e-5)


def test_a_config_is_judged_over_seeds_and_folds(session):
    best = session.ranking()[0]
    assert len(best.values) == 8
    assert best.mean == pytest.approx(np.mean(best.values))
    ratio = np.mean([len(held) / len(rest) for held, rest in zip(*cut(session.prepared.sweep.task.data))])
    assert best.standard_error == pytest.approx(np.std(best.values, ddof=1) * np.sqrt(1 / 8 + ratio))
    tested = session.test()
    assert len(tested.scores["test/accuracy"]) == 8


def test_each_example_is_scored_by_the_model_that_has_not_seen_it(session):
    right = session.examples("validation/accuracy")
    data, best = session.prepared.sweep.task.data, session.best("validation/accuracy")
    assert right.shape == (2, len(data.validation[1]))
    assert set(np.unique(right)) <= {0.0, 1.0}
    by_fold = [right[seed // 4, data.folds.validation[seed % 4]].mean() for seed in best.seeds]
    assert by_fold == pytest.approx(best.values)
    other = session.ranking("validation/accuracy")[1]
    assert session.examples("validation/accuracy", config=other.config_id[:8]).mean() == pytest.approx(
        other.mean, abs=0.01
    )
    for name, message in (("train/loss", "measured on the training examples"), ("validation/f1", "validation/f1")):
        with pytest.raises(js.ConfigError, match=message):
            session.examples(name)
    with pytest.raises(js.ConfigError, match="is the id of 0 configs"):
        session.examples(config="zz")


def test_a_metric_of_a_whole_split_has_no_value_for_an_example(examples):
    spread = js.metrics.Metric(lambda outputs, y: outputs.std(), mode="max", per_example=False)
    task = js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=optimizer,
        metrics={"spread": spread},
        data=js.split(*examples),
        batch_size=16,
    )
    found = js.sweep(task, CONFIGS, steps=2)
    assert found.examples("validation/loss").shape == (1, 21)
    with pytest.raises(js.ConfigError, match="has no value for a single example"):
        found.examples("validation/spread")


def standardised(x, y):
    mean, scale = x.mean(axis=0), x.std(axis=0)
    return lambda inputs: (inputs - mean) / scale


def test_a_transformation_is_fitted_on_what_trains(examples):
    x, y = examples
    plain, scaled = (js.split(x, y, key=3, transform=transform) for transform in (None, standardised))
    mean, scale = plain.train[0].mean(axis=0), plain.train[0].std(axis=0)
    for part in ("train", "validation", "test"):
        (raw, labels), (found, kept) = getattr(plain, part), getattr(scaled, part)
        np.testing.assert_array_equal(found, (raw - mean) / scale)
        np.testing.assert_array_equal(kept, labels)
    np.testing.assert_array_equal(scaled.transforms[0](plain.test[0]), scaled.test[0])


def test_each_fold_fits_its_own_transformation(examples, tmp_path):
    """Trained, validated and tested as by so many separate sweeps of data that one fold transformed."""
    x, y = examples[0] * np.geomspace(0.1, 10, 64, dtype=np.float32), examples[1]
    plain, folded = (js.folds(x, y, k=3, test=0.2, repeats=2, transform=each) for each in (None, standardised))
    assert repr(folded) == repr(plain) == "Splits(train=82, validation=82, test=21, 6 folds)"
    options = {"seeds": 2, "steps": 6, "evaluate_every": 3}
    session = js.sweep(make_task(folded), CONFIGS, store=tmp_path / "s.db", **options)
    scores = {(t.config_id, *divmod(t.seed, 6)): session.curves("validation/loss")[t.id] for t in session.trials()}
    best = session.best("validation/loss")
    tested = dict(zip(best.seeds, session.test("validation/loss").scores["test/loss"]))
    for fold, (held, rest) in enumerate(zip(*cut(plain))):
        fitted = standardised(plain.train[0][rest], None)
        apart = js.Splits(
            (fitted(plain.train[0][rest]), plain.train[1][rest]),
            (fitted(plain.train[0][held]), plain.train[1][held]),
            (fitted(plain.test[0]), plain.test[1]),
        )
        alone = js.sweep(make_task(apart), CONFIGS, **options)
        curves = alone.curves("validation/loss")
        for trial in alone.trials():
            mine = scores[trial.config_id, trial.seed, fold]
            assert [value for _, value in mine] == pytest.approx([value for _, value in curves[trial.id]], rel=1e-5)
        chosen = js.sweep(make_task(apart), js.configs([best.config]), **options)
        for seed, value in enumerate(chosen.test("validation/loss").scores["test/loss"]):
            assert tested[seed * 6 + fold] == pytest.approx(value, rel=1e-5)
    right = session.examples("validation/accuracy", config=best.config_id)
    assert right.shape == (4, 82)
    assert not np.isnan(right).any()
    assert js.replay(session, session.trials()[7].id).difference is None


@pytest.mark.parametrize(
    ("transform", "names"),
    [
        (lambda x, y: lambda inputs: (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), "alone than among others"),
        (lambda x, y: lambda inputs: inputs[:2], "makes 2 inputs of"),
        (lambda x, y: lambda inputs: inputs * np.inf, "holds -?inf"),
        (lambda x, y: x, "returned a ndarray"),
        (3, "transform is a int"),
        (lambda x, y: lambda inputs: inputs[:, : int(1e3 * abs(x.mean())) % 50 + 1], "in one fold and of"),
    ],
)
def test_what_is_no_transformation_is_named(examples, transform, names):
    with pytest.raises(js.ConfigError, match=names):
        js.folds(*examples, transform=transform)


def test_scikit_learns_scalers_are_named_with_their_fix(examples):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    with pytest.raises(js.ConfigError, match=r"pass transform=lambda x, y: scaler\.fit\(x\)\.transform"):
        js.split(*examples, transform=preprocessing.StandardScaler())
    data = js.split(*examples, transform=lambda x, y: preprocessing.StandardScaler().fit(x).transform)
    np.testing.assert_allclose(data.train[0].mean(axis=0), 0, atol=1e-6)


def test_the_ledger_knows_test_examples_however_they_are_transformed_and_ordered(examples):
    x, y = examples
    plain, scaled = (js.split(x, y, key=3, transform=transform) for transform in (None, standardised))
    turned = js.Splits(plain.train, plain.validation, (plain.test[0][::-1], plain.test[1][::-1]))
    others = js.split(x, y, key=4)
    assert identity.test_hash(plain) == identity.test_hash(scaled) == identity.test_hash(turned)
    assert identity.test_hash(plain) != identity.test_hash(others)
    one, two = (js.folds(x, y, k=3, key=5, transform=transform) for transform in (None, standardised))
    assert identity.test_hash(one) == identity.test_hash(two)


def test_inputs_and_targets_may_be_dicts_and_the_labels_given(examples):
    x, y = examples
    inputs, targets = {"image": x, "size": x[:, :1]}, {"class": y, "value": x[:, 0]}
    for cut_up in (js.split, js.folds):
        plain, made = cut_up(x, y, stratify=y % 2), cut_up(inputs, targets, stratify=y % 2)
        for part in ("train", "validation", "test"):
            (found, labels), (expected, classes) = getattr(made, part), getattr(plain, part)
            np.testing.assert_array_equal(found["image"], expected)
            np.testing.assert_array_equal(found["size"], expected[:, :1])
            np.testing.assert_array_equal(labels["class"], classes)
    shares = [np.mean(part["class"] % 2) for _, part in (made.train, made.test)]
    assert shares == pytest.approx([np.mean(y % 2)] * 2, abs=0.05)
    scaled = js.folds(inputs, targets, transform=lambda x, y: lambda z: {"both": z["image"] * z["size"]})
    assert scaled.train[0]["both"].shape == (5 * 82, 64)
    with pytest.raises(js.ConfigError, match="stratify=True needs y to be one array"):
        js.split(inputs, targets, stratify=True)
    with pytest.raises(js.ConfigError, match="stratify has shape"):
        js.folds(inputs, targets, stratify=y[:5])
    with pytest.raises(js.ConfigError, match="have lengths 103, 104"):
        js.split({"a": x, "b": np.zeros(104)}, y)


@pytest.mark.parametrize("labels", [{}, {"stratify": True}, {"groups": np.arange(103) // 4}])
def test_nested_folds_test_every_example_once(examples, labels):
    x, y = np.arange(103.0)[:, None], examples[1] % 3
    cut_apart = js.nested_folds(x, y, k=3, outer=4, **labels)
    tested = [set(splits.test[0][:, 0]) for splits in cut_apart]
    assert sum(map(len, tested)) == 103 == len(set().union(*tested))
    for splits, out in zip(cut_apart, tested):
        assert set(splits.train[0][:, 0]) == set(range(103)) - out
        assert splits.folds.count == 3
        held = [set(splits.train[0][rows, 0]) for rows in splits.folds.validation]
        assert set().union(*held) == set(range(103)) - out
        if "groups" in labels:
            every = [{int(row) // 4 for row in part} for part in (*held, out)]
            assert sum(map(len, every)) == len(set().union(*every))
    with pytest.raises(js.ConfigError, match="outer=1 is not valid"):
        js.nested_folds(x, y, outer=1)
    with pytest.raises(js.ConfigError, match="outer=104 is more than the 103 examples"):
        js.nested_folds(x, y, outer=104)


def test_folds_are_replayed_and_confirmed_to_the_bit(session, tmp_path):
    assert js.replay(session, session.trials()[5].id).difference is None
    fresh = js.confirm(session, top=1, seeds=1)
    assert sorted(fresh.session.ranking()[0].seeds) == [8, 9, 10, 11]


def test_other_folds_are_another_sweep(examples, tmp_path):
    run = lambda key: js.sweep(
        make_task(js.folds(*examples, k=3, key=key)), CONFIGS, steps=2, store=tmp_path / "s.db", name="folded"
    )
    first = rows_of(run(0))
    assert rows_of(run(0)) == first
    with pytest.raises(js.IncompatibleSweepError, match="other data"):
        run(1)


def test_rules_and_streams_know_folds(examples, tmp_path):
    """A rule stops a config's folds together; mapped examples are streamed, to the same bits."""
    mapped = []
    for name, array in zip("xy", examples):
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    folded = js.folds(*examples, k=3, test=0)
    streamed = js.Splits(tuple(mapped), tuple(mapped), None, folded.folds)
    options = {"seeds": 1, "steps": 9, "evaluate_every": 3, "tile": 4}
    mine, plain = (
        js.sweep(make_task(data), js.grid({"learning_rate": [0.01, 0.02, 0.1, 0.2]}), **options)
        for data in (js.Splits(examples, examples, None, folded.folds), streamed)
    )
    assert rows_of(mine) == rows_of(plain)
    ruled = js.sweep(
        make_task(folded),
        js.grid({"learning_rate": [1e-4, 0.2, 0.1, 0.05]}),
        rule=js.rules.successive_halving(3),
        **options,
    )
    ends = {}
    for trial in ruled.trials():
        ends.setdefault(trial.config_id, set()).add((trial.status, trial.done))
    assert all(len(found) == 1 for found in ends.values())
    assert Status.STOPPED in {status for found in ends.values() for status, _ in found}


def test_the_optimizers_numbers_ride_beside_folds(examples):
    data = js.folds(*examples, k=3)
    task = make_task(data, optimizer=lambda config: optax.sgd(config["learning_rate"], config["momentum"]))
    space = {"learning_rate": [0.05], "momentum": [0.5, 0.9], "batch_size": [8, 16]}
    decided = js.sweep(task, js.grid(space), steps=4, tile=4)
    static = js.sweep(task, js.grid({name: js.static(values) for name, values in space.items()}), steps=4, tile=1)
    losses = [
        {t.id: session.curves("validation/loss")[t.id][-1][1] for t in session.trials()}
        for session in (decided, static)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
