"""Training examples that come from the user's own loader: every trial sees its seed's batches, and sees them again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, init, make_task, rows_of, trial_keys

import jsweep as js
from jsweep._runtime.prng import root_key_data

CONFIGS = [{"learning_rate": rate} for rate in (0.01, 0.03, 0.1)]


def loader(train, size=32):
    """An epoch of shuffled batches; the last one is short."""
    x, y = train

    def make(seed, epoch):
        order = np.random.default_rng([seed, epoch]).permutation(len(y))
        for start in range(0, len(y), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]

    return make


@pytest.fixture
def task(data):
    return make_task(js.Splits(js.Batches(loader(data.train), examples=240), data.validation, data.test))


def losses_of_a_plain_loop(data, rate, seed, steps):
    """Plain optax over the batches that the seed draws."""
    x, y = data.train
    for_init, order, _ = trial_keys(jnp.asarray(root_key_data(0)), jnp.uint32(seed), jnp.zeros(2, jnp.uint32))
    one, two = (int(word) for word in jax.random.key_data(order))
    batches = js.Batches(loader((x, y))).draw((one << 32) | two)
    params = init({}, for_init)
    transform = optax.sgd(rate, momentum=0.9)
    state, losses = transform.init(params), []

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(apply({}, params, x, None), y).mean()

    for _ in range(steps):
        value, gradients = jax.value_and_grad(loss)(params, *map(jnp.asarray, next(batches)))
        updates, state = transform.update(gradients, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return losses


def test_a_trial_trains_on_the_batches_of_its_seed(data, task):
    result = js.sweep(task, CONFIGS, seeds=2, steps=24, evaluate_every=1, tile=4)
    for trial in result.trials():
        expected = losses_of_a_plain_loop(data, trial.config["learning_rate"], trial.seed, 24)
        found = [value for _, value in result.curves("train/loss")[trial.id]]
        np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_windows_tiles_and_other_lanes_do_not_change_a_trial(task, monkeypatch):
    options = {"steps": 30, "evaluate_every": 10, "tile": 4}
    whole = rows_of(js.sweep(task, CONFIGS, seeds=3, **options))
    assert rows_of(js.sweep(task, CONFIGS[1:], seeds=[2, 0], **options)).items() <= whole.items()
    monkeypatch.setattr("jsweep.engine.input_pipeline.WINDOW_BYTES", 40_000)  # a few steps a window
    assert rows_of(js.sweep(task, CONFIGS, seeds=3, **options)) == whole


def test_training_continues_in_the_middle_of_an_epoch(task, tmp_path):
    options = {"seeds": 2, "evaluate_every": 5, "tile": 4, "checkpoints": "all"}
    js.sweep(task, CONFIGS, steps=10, store=tmp_path / "s.db", **options)
    longer = js.sweep(task, CONFIGS, steps=25, store=tmp_path / "s.db", **options)
    assert rows_of(longer) == rows_of(js.sweep(task, CONFIGS, steps=25, **options))
    assert longer.test().scores["test/loss"]  # trained again from the seed, and bit-equal to the record


def test_a_budget_in_epochs_needs_their_length(data, task):
    assert {trial.steps for trial in js.sweep(task, CONFIGS, epochs=2).trials()} == {15}
    endless = make_task(js.Splits(js.Batches(loader(data.train)), data.validation))
    with pytest.raises(js.JsweepError, match=r"epochs=2 needs the length of an epoch: pass steps, or jsweep\.Batches"):
        js.Sweep(endless, CONFIGS, epochs=2) and js.plan(js.Sweep(endless, CONFIGS, epochs=2))


def test_what_cannot_be_trained_on_is_refused(data, task):
    with pytest.raises(js.JsweepError, match="batch_size=16 is swept, and data.train comes in batches of 32"):
        js.plan(js.Sweep(task, [{"learning_rate": 0.1, "batch_size": 16}], steps=4))
    with pytest.raises(js.JsweepError, match=r"make\(0, 0\) of Batches gives no batch"):
        js.Batches(lambda seed, epoch: [])
    with pytest.raises(js.JsweepError, match="validation is Batches, and only train may be"):
        js.Splits(data.train, task.data.train)
    x, y = data.train
    grows = js.Batches(lambda seed, epoch: [(x[:8], y[:8]), (x[:9], y[:9])])
    with pytest.raises(js.ConfigError, match=r"a batch has arrays float32\[9, 64\].*same shapes and types"):
        js.plan(js.Sweep(make_task(js.Splits(grows, data.validation)), CONFIGS[:1], steps=4))


def test_a_trial_fails_where_a_later_batch_has_another_shape(data):
    x, y = data.train
    grows = js.Batches(lambda seed, epoch: iter([(x[:8], y[:8])] * 3 + [(x[:9], y[:9])]))
    with pytest.warns(UserWarning, match=r"a batch has arrays float32\[9, 64\].*same shapes and types"):
        result = js.sweep(make_task(js.Splits(grows, data.validation)), CONFIGS[:1], steps=6)
    assert result.trials()[0].status == "failed"


def test_other_batches_are_another_sweep(data, tmp_path):
    def sweep(batches):
        return js.sweep(make_task(js.Splits(batches, data.validation)), CONFIGS, steps=4, store=tmp_path / "s.db")

    sweep(js.Batches(loader(data.train)))
    with pytest.raises(js.JsweepError, match="was made with other data"):
        sweep(js.Batches(loader(data.train, 16)))


def test_a_loader_that_gives_other_batches_again_is_refused(data):
    draws = np.random.default_rng(0)

    def make(seed, epoch):
        yield data.train[0][draws.permutation(240)[:32]], data.train[1][:32]

    with pytest.raises(js.JsweepError, match="gives another first batch when it is called again"):
        js.Batches(make)


def test_a_loader_that_can_be_read_once_is_refused(data):
    once = iter([(data.train[0][:32], data.train[1][:32])])
    with pytest.raises(js.JsweepError, match="gives another first batch when it is called again"):
        js.Batches(lambda seed, epoch: once)


def test_batches_need_a_function(data):
    with pytest.raises(js.JsweepError, match="make is a generator: pass a function"):
        js.Batches(loader(data.train)(0, 0))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda seed: [],
            r"make takes \(seed\): pass a function that can be called with two arguments, seed and epoch",
        ),
        (lambda seed, epoch: None, r"make\(0, 0\) of Batches returned a NoneType: return an iterable of batches"),
        (lambda seed, epoch: [[np.zeros((2, 3)), np.zeros(2)]], r"the first batch is a list: pass a tuple of arrays"),
        (lambda seed, epoch: [None], "the first batch is None"),
        (lambda seed, epoch: [(np.zeros((2, 3)), np.array(["a", "b"]))], r"the first batch\[1\] has dtype <U1"),
        (lambda seed, epoch: [(np.zeros((2, 3)), np.zeros(3))], "the first batch have lengths 2, 3"),
    ],
)
def test_a_function_that_does_not_return_batches_is_refused(make, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        js.Batches(make)


@pytest.mark.parametrize("examples", [0, -3, 2.0, True, "240"])
def test_the_number_of_examples_is_a_whole_number(data, examples):
    assert js.Batches(loader(data.train), examples=np.int64(240)).examples == 240
    with pytest.raises(js.ConfigError, match=r"examples=.* is not valid: pass a whole number of at least 1"):
        js.Batches(loader(data.train), examples=examples)


def test_a_first_batch_with_nan_is_refused_before_training(data):
    bad = js.Batches(lambda seed, epoch: [(np.full((32, 64), np.nan, np.float32), data.train[1][:32])])
    with pytest.raises(js.ConfigError, match=r"train\[0\] holds nan at index \[0, 0\]"):
        js.plan(js.Sweep(make_task(js.Splits(bad, data.validation)), CONFIGS, steps=4))


def test_a_short_batch_before_the_end_of_an_epoch_is_refused(data):
    x, y = data.train

    def make(seed, epoch):
        for rows in (slice(0, 32), slice(32, 40), slice(40, 72)):
            yield x[rows], y[rows]

    batches = js.Batches(make).draw(0)
    next(batches)
    with pytest.raises(js.JsweepError, match="has 8 examples, not 32, and more follow"):
        next(batches)


class Indexed:
    """An epoch that can be indexed, as a Grain MapDataset can, and that counts what is read."""

    read = 0

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        if not 0 <= index < len(self.batches):
            raise IndexError(index)
        Indexed.read += 1
        return self.batches[index]


@pytest.mark.parametrize("size", [32, 48])
def test_epochs_that_can_be_indexed_are_taken_up_in_their_middle(data, size):
    """240 examples: 32 leave a short batch, 48 none. The same batches as read one by one, from any step on."""
    streamed = js.Batches(loader(data.train, size))
    indexed = js.Batches(lambda seed, epoch: Indexed(list(streamed.make(seed, epoch))))
    for start in range(0, 40, 3):
        Indexed.read = 0
        expected, found = streamed.draw(7, start), indexed.draw(7, start)
        for _ in range(9):
            jax.tree.map(np.testing.assert_array_equal, next(found), next(expected))
        assert Indexed.read <= 9 + 2 * (2 + (start + 9) // (240 // size))


def test_missing_batches_of_an_index_are_refused(data):
    x, y = data.train
    holes = js.Batches(lambda seed, epoch: Indexed([(x[:8], y[:8]), None, (x[8:16], y[8:16])]))
    with pytest.raises(js.ConfigError, match="a batch is None"):
        [next(stream) for stream in [holes.draw(0)] for _ in range(2)]
