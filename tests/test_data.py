"""Splits: what is converted, what is refused, and how examples are divided and ordered."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
import polars
import pytest
import scipy.sparse
from sklearn.model_selection import train_test_split
from small import make_task

import jsweep as js
from jsweep.data.shuffle import CACHE_BYTES, batch_indices, cached_bytes
from jsweep.data.splits import check_data
from jsweep.data.stratify import part_sizes


class Loader:
    """An iterable of batches, like a PyTorch DataLoader."""

    def __iter__(self):
        yield np.zeros((2, 1)), np.zeros(2)


def test_splits_hold_every_example_once(digits):
    x, y = digits
    marked = np.arange(len(x), dtype=np.float32)[:, None]
    splits = js.split(marked, y, validation=0.25, test=0.1, key=jax.random.key(3))
    seen = np.concatenate([part[0][:, 0] for part in (splits.train, splits.validation, splits.test)])
    assert sorted(seen.tolist()) == list(range(len(x)))
    assert [len(part[1]) for part in (splits.train, splits.validation, splits.test)] == [260, 100, 40]


def test_stratified_splits_keep_the_share_of_every_class(digits):
    x, y = digits
    splits = js.split(x, y, validation=0.2, test=0.2, key=1, stratify=True)
    for part in (splits.validation, splits.test):
        assert np.all(np.abs(np.bincount(part[1], minlength=10) - np.bincount(y, minlength=10) * 0.2) < 1)


def test_the_split_depends_on_the_key_alone(digits):
    one, same, other = (js.split(*digits, key=key) for key in (jax.random.key(5), jax.random.key(5), 6))
    assert np.array_equal(one.test[1], same.test[1])
    assert not np.array_equal(one.test[0], other.test[0])


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
def test_every_example_is_seen_once_an_epoch_whatever_the_batch_size(batch_size):
    examples, epochs = 100, 3
    steps = -(-examples * epochs // batch_size)
    stream = batch_indices((1, 2), examples, batch_size, 0, steps).ravel()
    for epoch in range(epochs):
        assert sorted(stream[epoch * examples : (epoch + 1) * examples].tolist()) == list(range(examples))
    assert not np.array_equal(stream[:examples], stream[examples : 2 * examples])


def test_batches_taken_piecewise_are_those_taken_at_once():
    whole = batch_indices((3, 4), 50, 8, 0, 40)
    pieces = [batch_indices((3, 4), 50, 8, start, count) for start, count in ((0, 1), (1, 12), (13, 20), (33, 7))]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(batch_indices((3, 5), 50, 8, 0, 40), whole)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"y": np.zeros(3)}, "x has 4 examples and y has 3"),
        ({"validation": 0.9, "test": 0.5}, "leave none for train"),
        ({"validation": 1.5}, "validation=1.5 is not a fraction"),
        ({"test": "0.2"}, "test='0.2' is not a fraction"),
        ({"test": float("nan")}, "test=nan is not a fraction"),
        ({"validation": 0}, "leaves no examples to select by"),
        ({"x": np.array([[1.0], [np.nan], [0.0], [0.0]])}, r"x holds nan at index \[1, 0\]"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "x has no examples"),
        ({"key": -1}, "key=-1 is not a seed"),
        ({"x": None}, "x is None: pass an array"),
        ({"x": [[1, 2], [3], [4, 5], [6, 7]]}, "x is a list whose parts have different lengths"),
        ({"x": {"a": Loader()}}, r"x\['a'\] is a Loader, which is not an array"),
        ({"x": {}}, "x has no arrays: pass an array, or a dict of arrays"),
        ({"x": Loader()}, r"x is a Loader, which is not an array: .*jsweep.Batches\(make\)"),
        ({"x": scipy.sparse.csr_matrix((4, 2))}, r"x is a sparse csr_matrix: .*x.toarray\(\)"),
        ({"y": np.array(["a", "b", "a", "b"])}, "y has dtype <U1: convert text to numbers"),
        ({"y": np.array([1, None, 2, 3], object)}, "y has dtype object: convert it to one type of numbers"),
        ({"y": np.array(["2020-01-01"] * 4, "datetime64[D]")}, "convert times to numbers"),
        ({"x": np.ma.masked_equal(np.arange(4.0), 2.0)}, "x has 1 masked values: fill them"),
        ({"y": np.array([0, 1, 2, 2**40])}, r"y holds 1099511627776 at index \[3\]: .*int32 does not hold it"),
        ({"x": np.array([0.0, 1e300, 0.0, 0.0])}, r"x holds 1e\+300 at index \[1\]: .*float32 does not hold it"),
    ],
)
def test_bad_splits_are_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.split(**{"x": np.zeros((4, 1)), "y": np.zeros(4), **arguments})


GOOD = (np.zeros((4, 2)), np.zeros(4))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((GOOD, (np.zeros((4, 2)), np.zeros(3))), "validation have lengths 3, 4"),
        ((None, GOOD), "train is None: pass arrays, such as a tuple"),
        ((GOOD, None), "validation is None: pass the examples that select hyperparameters"),
        (((), GOOD), "train has no arrays"),
        ((list(GOOD), GOOD), r"train is a list: pass a tuple of arrays, such as \(x, y\)"),
        ((GOOD, GOOD, list(GOOD)), "test is a list"),
        ((([0.0, 1.0], GOOD[1]), GOOD), r"train\[0\]\[0\] is the float 0.0: pass arrays, such as numpy.asarray"),
        ((Loader(), GOOD), r"train is a Loader, which is not an array: .*jsweep.Batches\(make\)"),
        ((GOOD, Loader()), "validation is a Loader, which is not an array"),
        ((lambda seed, epoch: [GOOD], GOOD), r"train is a function, .*jsweep.Batches\(make\)"),
        (((np.zeros((0, 2)), np.zeros(0)), GOOD), "train has no examples"),
        ((GOOD, (np.zeros((4, 2)), np.float32(1.0))), "validation have lengths 4, none"),
    ],
)
def test_splits_that_are_not_arrays_are_refused_in_one_sentence(parts, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.Splits(*parts)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_values_that_are_not_finite_are_found_in_every_split(part):
    bad = (np.concatenate([np.zeros((70_000, 1)), np.full((1, 1), np.inf)]), np.zeros(70_001))
    splits = js.Splits(**{"train": GOOD, "validation": GOOD, "test": GOOD, part: bad})
    with pytest.raises(js.ConfigError, match=rf"{part}\[0\] holds inf at index \[70000, 0\]: fill or remove"):
        check_data(splits)


class Tensor:
    """What jsweep uses of a PyTorch tensor, which NumPy can read only detached and on the CPU."""

    def __init__(self, array, detached=False, on_cpu=False):
        self.array, self.detached, self.on_cpu = array, detached, on_cpu

    def detach(self):
        return Tensor(self.array, True, self.on_cpu)

    def cpu(self):
        return Tensor(self.array, self.detached, True)

    def __array__(self, dtype=None, copy=None):
        if not (self.detached and self.on_cpu) or self.array is None:
            raise RuntimeError("cannot be converted")
        return self.array


VALUES = np.arange(8.0).reshape(4, 2)


@pytest.mark.parametrize(
    "given",
    [
        pandas.DataFrame(VALUES, columns=["a", "b"], index=[3, 1, 2, 0]),
        polars.DataFrame(VALUES),
        Tensor(VALUES),
        np.ma.masked_array(VALUES),
        VALUES.astype(">f8"),
        jnp.asarray(VALUES),
        VALUES.tolist(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_can_be_converted_holds_the_same_numbers(given):
    splits = js.split(given, np.arange(4), validation=0.25, test=0.25)
    expected = js.split(VALUES, np.arange(4), validation=0.25, test=0.25)
    assert np.array_equal(splits.train[0], expected.train[0])
    assert splits.train[0].dtype.isnative
    if not isinstance(given, list):
        whole = js.Splits((given, np.arange(4)), (given, np.arange(4)))
        assert isinstance(whole.train[0], np.ndarray | jax.Array)
        assert not isinstance(whole.train[0], np.ma.MaskedArray)
        assert whole.train[0].dtype.isnative
        assert np.array_equal(whole.train[0], VALUES)


def test_arrays_that_need_no_conversion_are_not_copied(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 2))
    bfloat16 = jnp.zeros(4, jnp.bfloat16)
    splits = js.Splits({"a": mapped, "b": bfloat16}, {"a": mapped, "b": bfloat16})
    assert splits.train["a"] is mapped
    assert splits.train["b"] is bfloat16


def test_what_cannot_be_converted_without_a_guess_is_refused(tmp_path):
    with pytest.raises(
        js.ConfigError, match=r"train\[0\] is a Tensor that NumPy cannot convert \(cannot be converted\)"
    ):
        js.Splits((Tensor(None), np.zeros(4)), GOOD)
    with pytest.raises(js.ConfigError, match=r"train\[1\] has dtype object"):
        js.Splits((VALUES, pandas.Series([1, "a", None, 2], dtype=object)), GOOD)
    with pytest.raises(js.ConfigError, match=r"train\[0\] is a memory map in the other byte order \(>f4\)"):
        js.Splits((np.memmap(tmp_path / "x", ">f4", "w+", shape=(4, 2)), np.zeros(4)), GOOD)
    with pytest.raises(js.ConfigError, match="x and y have different indexes"):
        js.split(pandas.DataFrame(VALUES), pandas.Series(np.arange(4), index=[3, 2, 1, 0]))


@pytest.mark.parametrize(
    ("y", "validation", "test"),
    [
        (np.repeat(np.arange(100), 8), 0.2, 0.2),
        (np.repeat(np.arange(100), 3), 0.2, 0.2),
        (np.repeat(np.arange(7), [3, 4, 5, 50, 61, 117, 3]), 0.15, 0.11),
        (np.repeat([0.0, 1.0, 2.0], [5, 33, 80]), 0.25, 0.3),
        (np.repeat([False, True], [40, 61]), 0.33, 0.0),
    ],
)
def test_stratified_splits_have_the_sizes_of_scikit_learn_and_each_class_within_one_of_its_share(y, validation, test):
    splits = js.split(np.arange(len(y)), y, validation=validation, test=test, key=4, stratify=True)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    assert sorted(np.concatenate([x for x, _ in parts]).tolist()) == list(range(len(y)))
    rest, sizes = np.arange(len(y)), []
    for size in (test, validation):
        if size:
            n = -(-round(size * len(y) * 1000) // 1000)
            rest, taken = train_test_split(rest, test_size=n, random_state=0)
            sizes.insert(0, len(taken))
    assert [len(part[0]) for part in parts] == [len(rest), *sizes]
    values, counts = np.unique(y, return_counts=True)
    for labels in (part[1] for part in parts):
        found = np.array([(labels == value).sum() for value in values])
        assert np.all(np.abs(found - counts * len(labels) / len(y)) < 1)
        assert labels is not splits.train[1] or found.min() >= 1


def test_a_stratified_split_in_two_has_as_many_of_each_class_as_scikit_learns():
    counts = np.array([3, 4, 5, 50, 61, 118, 7])
    y = np.repeat(np.arange(7), counts)
    ours = js.split(y, y, validation=0.3, test=0.0, stratify=True)
    _, theirs = train_test_split(y, test_size=0.3, stratify=y, random_state=0)
    assert np.array_equal(np.bincount(ours.validation[1]), np.bincount(theirs))


@hypothesis.given(
    st.lists(st.integers(3, 40), min_size=1, max_size=25),
    st.floats(0.01, 0.5),
    st.floats(0.01, 0.45),
    st.integers(0, 9),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_every_class_is_within_one_example_of_its_share_in_every_part(counts, validation, test, seed):
    try:
        sizes = np.array(part_sizes(counts, validation, test, np.random.default_rng(seed)))
    except js.ConfigError:
        return
    assert np.array_equal(sizes.sum(axis=1), counts)
    assert sizes.min() >= 0
    assert sizes[:, 0].min() >= 1
    share = np.array(counts)[:, None] * sizes.sum(axis=0) / sum(counts)
    assert np.abs(sizes - share).max() < 1


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (np.eye(3)[np.arange(30) % 3], r"y has shape \(30, 3\).*y.argmax\(axis=1\) for one-hot classes"),
        (np.arange(30)[:, None] % 3, r"y has shape \(30, 1\).*pass y\[:, 0\]"),
        (np.ones((30, 2)) * 0.5, r"y has shape \(30, 2\).*stratify=False"),
        (np.linspace(0, 1, 30), "y is continuous .*pass stratify=False"),
        (np.arange(30), r"class 0 of y has 1 examples, fewer than the 3 parts of the split \(30 such classes of 30\)"),
        (np.repeat([0, 5], [28, 2]), r"class 5 of y has 2 examples, fewer than the 3 parts"),
    ],
)
def test_what_cannot_be_stratified_is_refused(y, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.split(np.zeros((30, 2)), y, stratify=True)


def test_a_stratified_split_that_would_train_without_a_class_is_refused():
    with pytest.raises(js.ConfigError, match="leave no training example of some classes"):
        js.split(np.zeros(300), np.repeat(np.arange(100), 3), validation=0.45, test=0.4, stratify=True)


def test_permutations_are_kept_up_to_a_bound_in_bytes_and_have_the_same_bits():
    whole = batch_indices((0, 1), 3_000_000, 64, 0, 2)
    for seed in range(14):
        batch_indices((0, seed), 3_000_000, 64, 0, 1)
        assert cached_bytes() <= CACHE_BYTES
    assert np.array_equal(batch_indices((0, 1), 3_000_000, 64, 0, 2), whole)
    bits = np.random.Philox(key=np.array([1, 0], np.uint64))
    assert np.array_equal(whole.ravel(), np.random.Generator(bits).permutation(3_000_000)[:128])


def test_each_epoch_is_a_permutation_of_its_own_key():
    def fresh(epoch):
        return np.random.Generator(np.random.Philox(key=np.array([(7 << 32) | 5, epoch], np.uint64))).permutation(10)

    stream = np.concatenate([fresh(epoch) for epoch in range(9)])
    for start in (3, 0, 17):  # epochs that are kept and ones that are not, in one call
        np.testing.assert_array_equal(
            batch_indices((7, 5), 10, 4, start, 5).ravel(), stream[4 * start : 4 * start + 20]
        )


def test_splits_and_sweeps_are_equal_to_themselves_alone(data):
    again = js.Splits(data.train, data.validation, data.test)
    assert data == data
    assert data != again
    sweeps = [js.Sweep(make_task(data), [{"learning_rate": 0.1}], steps=1, key=jax.random.key(0)) for _ in range(2)]
    assert sweeps[0] != sweeps[1]
    assert len({data, again, *sweeps}) == 4


def seconds_of(apart):
    """Four examples of a column of seconds since 1970, ``apart`` seconds apart, beside one that is constant but for rounding."""
    constant = np.array([0.3, 0.1 + 0.2, 0.3, 0.3])
    return np.column_stack([np.zeros(4), constant, 1.7e9 + apart * np.arange(4.0)])


def regression(data):
    return js.supervised(
        lambda config, key: {"w": jnp.zeros(3)},
        lambda config, params, x, key: x @ params["w"],
        loss=js.losses.squared_error,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=data,
        batch_size=4,
    )


@pytest.mark.parametrize(("apart", "levels"), [(1000.0, 24), (10.0, 1)])
def test_a_column_that_float32_leaves_little_of_is_warned_of(apart, levels):
    """By NumPy: float32 steps by 128 near 1.7e9."""
    x = seconds_of(apart)
    assert np.spacing(np.float32(x[3, 2])) == 128
    sweep = js.Sweep(
        regression(js.Splits((x, np.zeros(4)), (x, np.zeros(4)))), js.grid({"learning_rate": [0.0]}), steps=1
    )
    sentence = rf"train\[0\]\[:, 2\] runs from 1700000000 to 17000\d+, where float32, .* has {levels} values: subtract its mean"
    with pytest.warns(UserWarning, match=sentence):
        plan = js.plan(sweep)
    assert "the examples are float64 and train as float32" in str(plan)


def test_float64_examples_that_float32_tells_apart_are_noted_in_the_plan_alone():
    x = seconds_of(1e5)
    plans = []
    for kind in (np.float64, np.float32):
        data = js.Splits((x.astype(kind), np.zeros(4, kind)), (x.astype(kind), np.zeros(4, kind)))
        plans.append(str(js.plan(js.Sweep(regression(data), js.grid({"learning_rate": [0.0]}), steps=1))))
    assert ["float64" in plan for plan in plans] == [True, False]
