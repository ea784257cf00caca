import jax
import numpy as np
import pytest

import jsweep as js
from jsweep.data.shuffle import batch_indices
from jsweep.data.splits import check_data


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
        assert np.all(np.abs(np.bincount(part[1], minlength=10) - np.bincount(y, minlength=10) * 0.2) <= 0.5)


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
        ({"validation": 0}, "leaves nothing to choose by"),
        ({"x": np.array([[1.0], [np.nan], [0.0], [0.0]])}, r"x holds nan at index \[1, 0\]"),
        ({"key": -1}, "key=-1 is not a seed"),
    ],
)
def test_bad_splits_are_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(js.JsweepError, match=sentence):
        js.split(**{"x": np.zeros((4, 1)), "y": np.zeros(4), **arguments})


def test_data_given_as_splits_is_checked_too():
    good = (np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(js.JsweepError, match="validation have lengths 3, 4"):
        js.Splits(good, (np.zeros((4, 2)), np.zeros(3)))
    with pytest.raises(js.JsweepError, match=r"train\[0\] holds inf"):
        check_data(js.Splits((np.full((4, 2), np.inf), np.zeros(4)), good))
