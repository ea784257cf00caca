"""What `supervised` trains and records, against NumPy and plain loops with optax, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from small import apply, init, make_task, optimizer, trial_keys
from test_hyperparameters import final_losses

import jsweep as js
from jsweep._runtime.prng import root_key_data
from jsweep.data.shuffle import batch_indices
from jsweep.metrics import Metric


def regression(examples, features=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, features)).astype(np.float32)
    y = (x @ np.arange(1.0, features + 1)[:, None] + 0.3 * rng.normal(size=(examples, 1))).astype(np.float32)
    return x, y


X, Y = regression(400)
SPLITS = js.Splits((X[:300], Y[:300]), (X[300:], Y[300:]))


def linear(config, params, x, key):
    return x @ params["w"]


def linear_task(splits=SPLITS, **changes):
    parts = {
        "init": lambda config, key: {"w": jnp.ones((3, 1)) * jnp.array([[1.0], [-1.0], [0.5]])},
        "apply": linear,
        "loss": lambda outputs, y: ((outputs - y) ** 2).sum(axis=1),
        "optimizer": lambda config: optax.sgd(0.05),
        "data": splits,
        "batch_size": 300,
    }
    return js.supervised(**(parts | changes))


def evaluated(task, params=None, config=None, split=None):
    config = js.Config(config or {})
    state = task.init(config, jax.random.key(0))
    split = jax.tree.map(jnp.asarray, split or task.data.validation)
    return task.evaluate(config, state if params is None else state | {"params": params}, split)


def trained(task, steps, config=None):
    """The state after ``steps`` steps on the whole training split."""
    config = js.Config(config or {})
    state = task.init(config, jax.random.key(0))
    step = jax.jit(lambda state: task.step(config, state, task.data.train, jax.random.key(1)))
    for _ in range(steps):
        state, _ = step(state)
    return state


# Losses and metrics.


def r2(outputs, y):
    return 1 - ((outputs - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def rmse(outputs, y):
    return jnp.sqrt(((outputs - y) ** 2).mean())


@pytest.mark.parametrize("examples", [1, 500, 2048, 2049, 5000])
def test_metrics_are_numpys_at_any_size_of_a_split(examples):
    x = np.sort(regression(examples)[0], axis=0)  # drifting, so that chunks differ
    y = (x.sum(axis=1, keepdims=True) ** 2).astype(np.float32)
    metrics = {
        "r2": Metric(r2, "max", per_example=False),
        "mae": lambda outputs, y: jnp.abs(outputs - y)[:, 0],
        "rmse": Metric(rmse, "min", per_example=False),
    }
    found = evaluated(linear_task(metrics=metrics), split=(x, y))
    assert list(found) == ["loss", "r2", "mae", "rmse"]
    outputs, targets = x.astype(np.float64) @ np.array([[1.0], [-1.0], [0.5]]), y.astype(np.float64)
    squares = ((outputs - targets) ** 2).sum()
    np.testing.assert_allclose(found["loss"], squares / examples, rtol=1e-5)
    np.testing.assert_allclose(found["mae"], np.abs(outputs - targets).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["rmse"], np.sqrt(squares / examples), rtol=1e-5)
    if examples > 1:
        np.testing.assert_allclose(found["r2"], 1 - squares / ((targets - targets.mean()) ** 2).sum(), rtol=1e-4)


def test_a_whole_split_metric_takes_outputs_that_are_trees():
    x, y = regression(3000)
    split = (x, {"value": y, "id": np.arange(3000)})

    def two(config, params, x, key):
        return {"a": x @ params["w"], "b": x[:, 0]}

    largest = Metric(lambda outputs, y: (outputs["b"] * y["id"]).max(), "max", per_example=False)
    loss = lambda outputs, y: (outputs["a"] - y["value"])[:, 0] ** 2
    task = linear_task(js.Splits(split, split), apply=two, loss=loss, metrics={"largest": largest})
    np.testing.assert_allclose(evaluated(task)["largest"], (x[:, 0] * np.arange(3000)).max(), rtol=1e-6)


def test_a_sweep_records_a_whole_split_metric():
    x, y = regression(2500)
    task = linear_task(js.Splits((X, Y), (x, y)), metrics={"r2": Metric(r2, "max", per_example=False)}, batch_size=50)
    result = js.sweep(task, [{"l2": 0.1}, {"l2": 1.0}], steps=10)
    for trial in result.trials():
        outputs = x @ np.asarray(result.params(trial.id)["w"])
        recorded = result.curves("validation/r2")[trial.id][-1][1]
        assert recorded == pytest.approx(float(r2(outputs.astype(np.float64), y.astype(np.float64))), rel=1e-4)


WRONG_SHAPES = {
    "a scalar": (lambda o, y: ((o - y) ** 2).mean(), r"returned shape \(\) for 100 examples.*not their mean"),
    "a column": (lambda o, y: (o - y) ** 2, r"returned shape \(100, 1\) for 100 examples.*\.mean\(axis=1\)"),
    "an image": (
        lambda o, y: jnp.zeros((o.shape[0], 2, 3)),
        r"returned shape \(100, 2, 3\) for 100 examples.*\.mean\(axis=\(1, 2\)\)",
    ),
    "other rows": (lambda o, y: jnp.zeros(7), r"returned shape \(7,\) for 100 examples.*one value per example"),
}


@pytest.mark.parametrize("case", list(WRONG_SHAPES))
@pytest.mark.parametrize("part", ["loss", "metric"])
def test_a_loss_or_metric_of_another_shape_than_one_value_per_example_is_refused(case, part):
    function, sentence = WRONG_SHAPES[case]
    changes = {"loss": function} if part == "loss" else {"metrics": {"metric": function}}
    with pytest.raises(js.ConfigError, match=part + " " + sentence) as caught:
        evaluated(linear_task(**changes))
    assert "outputs (100, 1) and targets (100, 1)" in str(caught.value)
    assert ("per_example=False" in str(caught.value)) == (part == "metric" and "not their mean" in str(caught.value))


def test_a_whole_split_metric_that_is_no_scalar_is_refused():
    metric = Metric(lambda outputs, y: outputs[:, 0], "max", per_example=False)
    with pytest.raises(js.ConfigError, match=r"metric returned shape \(100,\) for the whole split.*return a scalar"):
        evaluated(linear_task(metrics={"metric": metric}))


@pytest.mark.parametrize("part", ["loss", "metric", "whole"])
@pytest.mark.parametrize("column", ["outputs", "targets"])
def test_a_column_against_a_vector_is_refused_with_both_shapes(part, column):
    flat = js.Splits((X[:300], Y[:300, 0]), (X[300:], Y[300:, 0]))
    pairs = lambda outputs, y: ((outputs - y) ** 2).sum(axis=-1)
    own = lambda outputs, y: (outputs.reshape(-1) - y.reshape(-1)) ** 2
    changes = {
        "loss": {"loss": pairs},
        "metric": {"loss": own, "metrics": {"metric": pairs}},
        "whole": {"loss": own, "metrics": {"whole": Metric(lambda o, y: ((o - y) ** 2).mean(), "min", False)}},
    }[part]
    splits = flat
    if column == "targets":
        splits, changes = SPLITS, changes | {"apply": lambda config, params, x, key: (x @ params["w"])[:, 0]}
    shapes = r"\(100, 1\).*\(100,\)" if column == "outputs" else r"\(100,\).*\(100, 1\)"
    with pytest.raises(js.ConfigError, match=f"{part} compares outputs of shape {shapes}.*every pair of examples"):
        evaluated(linear_task(splits, **changes))


def test_a_column_against_a_vector_is_taken_where_the_loss_pairs_them_rightly():
    flat = js.Splits((X[:300], Y[:300, 0]), (X[300:], Y[300:, 0]))
    expected = evaluated(linear_task())["loss"]
    for loss in (
        lambda outputs, y: (outputs.reshape(y.shape) - y) ** 2,
        lambda outputs, y: (outputs[:, 0] - y) ** 2,
        lambda outputs, y: ((outputs - y[:, None]) ** 2)[:, 0],
    ):
        np.testing.assert_allclose(evaluated(linear_task(flat, loss=loss))["loss"], expected, rtol=1e-6)
    unsupervised = linear_task(flat, loss=lambda outputs, y: jnp.square(outputs).sum(axis=1))
    np.testing.assert_allclose(evaluated(unsupervised)["loss"], ((X[300:] @ [1, -1, 0.5]) ** 2).mean(), rtol=1e-5)


def test_means_are_taken_in_float32_where_values_are_shorter():
    x = np.zeros((3000, 3), np.float32)
    x[:, 0] = np.arange(3000) / 3000
    half = lambda outputs, y: outputs[:, 0].astype(jnp.bfloat16)
    whole = Metric(lambda outputs, y: jnp.bfloat16(0.5), "max", per_example=False)
    task = linear_task(js.Splits((x, x), (x, x)), loss=half, metrics={"half": half, "whole": whole})
    found = evaluated(task)
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found["half"], np.asarray(x[:, 0].astype(jnp.bfloat16), np.float64).mean(), rtol=1e-6)
    _, metrics = task.step(js.Config({}), task.init(js.Config({}), jax.random.key(0)), (x, x), jax.random.key(0))
    np.testing.assert_allclose(metrics["loss"], found["half"], rtol=1e-6)


def test_true_and_false_and_whole_numbers_are_averaged_too():
    task = linear_task(
        metrics={"right": lambda o, y: (o > y)[:, 0], "signs": lambda o, y: jnp.sign(y).astype(int)[:, 0]}
    )
    found = evaluated(task)
    np.testing.assert_allclose(found["right"], (X[300:] @ [1, -1, 0.5] > Y[300:, 0]).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["signs"], np.sign(Y[300:, 0]).mean(), rtol=1e-6)


def test_a_loss_may_take_the_config_and_be_partial_or_callable():
    class Weighted:
        def __call__(self, config, outputs, y):
            return config["weight"] * (outputs - y)[:, 0] ** 2

    twice = evaluated(linear_task(loss=Weighted()), config={"weight": 2.0})["loss"]
    np.testing.assert_allclose(twice, 2 * evaluated(linear_task())["loss"], rtol=1e-6)


# Model states.


def normalised_init(config, key):
    return init(config, key), {"mean": jnp.zeros(16), "count": jnp.int32(0)}


def normalised(config, params, state, x, key):
    hidden = x @ params["w1"] + params["b1"]
    mean = state["mean"] if key is None else hidden.mean(axis=0)
    new = {"mean": 0.9 * state["mean"] + 0.1 * mean, "count": state["count"] + 1}
    return jax.nn.relu(hidden - mean) @ params["w2"] + params["b2"], new


def by_hand(data, config, steps):
    """Validation loss, running mean and count of a plain loop with optax, on the batches that the engine takes."""
    for_init, order, _ = trial_keys(jnp.asarray(root_key_data(0)), jnp.uint32(0), jnp.zeros(2, jnp.uint32))
    params, state = normalised_init(config, for_init)
    transform = optimizer(config)
    optimizer_state = transform.init(params)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels

    def loss(params, state, x, y):
        outputs, state = normalised(config, params, state, x, "training")
        return cross_entropy(outputs, y).mean(), state

    words = tuple(int(word) for word in jax.random.key_data(order))
    for rows in batch_indices(words, len(data.train[0]), config["batch_size"], 0, steps):
        gradients, state = jax.grad(loss, has_aux=True)(params, state, data.train[0][rows], data.train[1][rows])
        updates, optimizer_state = transform.update(gradients, optimizer_state, params)
        params = optax.apply_updates(params, updates)
    outputs, _ = normalised(config, params, state, data.validation[0], None)
    return float(cross_entropy(outputs, data.validation[1]).mean()), state


def test_batch_statistics_are_carried_as_in_a_plain_loop_at_any_batch_size(data):
    configs = [{"learning_rate": lr, "batch_size": size} for size in (16, 20, 32) for lr in (0.05, 0.1)]
    task = make_task(data, init=normalised_init, apply=normalised, has_state=True)
    result = js.sweep(task, configs, steps=20, evaluate_every=20)
    assert len({trial.program for trial in result.trials()}) == 3  # padded batches would change the statistics
    for trial in result.trials():
        loss, state = by_hand(data, trial.config, 20)
        assert result.curves("validation/loss")[trial.id][-1][1] == pytest.approx(loss, rel=1e-4)
        kept = result.state(trial.id)["model_state"]
        np.testing.assert_allclose(kept["mean"], state["mean"], rtol=1e-3, atol=1e-5)
        assert kept["count"] == 20  # evaluation leaves the state as it is


def test_a_model_state_that_is_not_returned_as_a_pair_is_refused(data):
    config = js.Config({"learning_rate": 0.1})
    with pytest.raises(
        js.ConfigError, match=r"init returned dict: with has_state=True return the pair \(params, model"
    ):
        make_task(data, has_state=True).init(config, jax.random.key(0))
    task = make_task(data, init=normalised_init, apply=lambda c, p, s, x, key: x, has_state=True)
    with pytest.raises(js.ConfigError, match=r"apply returned .*: with has_state=True return the pair \(outputs, new_"):
        task.step(config, task.init(config, jax.random.key(0)), data.train, jax.random.key(0))


# Optimizers.


def objective(params, l2):
    return jnp.mean((X[:300] @ params["w"] - Y[:300]) ** 2) + l2 / 2 * jnp.sum(params["w"] ** 2)


def plain_optax(transform, steps, l2):
    params = {"w": jnp.array([[1.0], [-1.0], [0.5]])}
    state = transform.init(params)

    @jax.jit
    def step(params, state):
        value, gradients = jax.value_and_grad(objective)(params, l2)
        value_fn = lambda params: objective(params, l2)
        updates, state = optax.with_extra_args_support(transform).update(
            gradients, state, params, value=value, grad=gradients, value_fn=value_fn
        )
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


TRANSFORMS = {
    "polyak": lambda: optax.polyak_sgd(max_learning_rate=1e3),
    "plateau": lambda: optax.chain(optax.sgd(0.3), optax.contrib.reduce_on_plateau(patience=1, cooldown=0)),
    "lbfgs": optax.lbfgs,
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=9)
    ),
}


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_an_optimizer_is_passed_the_objective_whose_gradient_it_gets(name):
    """The penalty included, and the functions that a line search calls."""
    task = linear_task(optimizer=lambda config: TRANSFORMS[name]())
    found = trained(task, 4, {"l2": 0.5})["params"]["w"]
    np.testing.assert_allclose(found, plain_optax(TRANSFORMS[name](), 4, 0.5)[0]["w"], rtol=1e-4)
    assert not np.allclose(found, trained(task, 4, {"l2": 0.0})["params"]["w"], rtol=1e-2)


def test_a_line_search_runs_in_lanes():
    task = linear_task(optimizer=lambda config: optax.lbfgs(memory_size=3))
    result = js.sweep(task, [{"l2": 0.5}, {"l2": 2.0}], steps=6)
    for trial in result.trials():
        exact = np.linalg.solve(X[:300].T @ X[:300] / 150 + trial.config["l2"] * np.eye(3), X[:300].T @ Y[:300] / 150)
        np.testing.assert_allclose(result.params(trial.id)["w"], exact, rtol=1e-3)


def schedule_free(config):
    return optax.contrib.schedule_free_sgd(0.1)


def test_schedule_free_parameters_are_evaluated_where_the_hook_says():
    evaluation = lambda config, state: optax.contrib.schedule_free_eval_params(state["optimizer"], state["params"])
    task = linear_task(optimizer=schedule_free, evaluation_params=evaluation)
    state = trained(task, 5)
    params, transform_state = plain_optax(schedule_free(None), 5, 0.0)
    expected = optax.contrib.schedule_free_eval_params(transform_state, params)["w"]
    found = task.evaluate(js.Config({}), state, SPLITS.validation)["loss"]
    np.testing.assert_allclose(found, ((X[300:] @ expected - Y[300:]) ** 2).mean(), rtol=1e-4)
    assert not np.allclose(found, ((X[300:] @ params["w"] - Y[300:]) ** 2).mean(), rtol=1e-3)


REFUSED_OPTIMIZERS = {
    "schedule-free": (schedule_free, "schedule-free.*evaluation_params=lambda config, state"),
    "chained": (lambda config: optax.chain(optax.clip(1.0), schedule_free(config)), "schedule-free"),
    "lookahead": (lambda config: optax.lookahead(optax.sgd(0.1), 5, 0.5), "lookahead.*write a jsweep.Task"),
    "sam": (lambda config: optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05)), "contrib.sam.*write a jsweep.Task"),
    "no transformation": (lambda config: 0.1, r"optimizer\(config\) returned float: return an optax transformation"),
}


@pytest.mark.parametrize("case", list(REFUSED_OPTIMIZERS))
def test_optimizers_that_would_go_wrong_are_refused(case):
    function, sentence = REFUSED_OPTIMIZERS[case]
    with pytest.raises(js.ConfigError, match=sentence):
        linear_task(optimizer=function).init(js.Config({}), jax.random.key(0))


def decayed(config):
    return optax.chain(optax.add_decayed_weights(config["l2"]), optax.sgd(0.01))


def decayed_later(config):
    return optax.sgd(lambda count: config["l2"] / (1 + count))


@pytest.mark.parametrize("twice", [decayed, decayed_later])
def test_an_l2_that_the_optimizer_reads_too_is_refused(twice):
    with pytest.raises(
        js.ConfigError, match=r'optimizer reads config\["l2"\].*supervised adds that penalty.*weight_decay'
    ):
        js.sweep(linear_task(optimizer=twice), [{"l2": 0.1}], steps=1)


def test_an_l2_that_the_loss_reads_too_is_refused():
    loss = lambda config, outputs, y: (1 + config["l2"]) * (outputs - y)[:, 0] ** 2
    with pytest.raises(js.ConfigError, match=r'loss reads config\["l2"\]'):
        js.sweep(linear_task(loss=loss), [{"l2": 0.1}], steps=1)


def test_an_l2_counts_as_read_where_the_penalty_reads_it():
    result = js.sweep(linear_task(), [{"l2": 0.1}, {"l2": 1.0}], steps=3)
    one, two = final_losses(result)
    assert one != two
    config = js.Config({"l2": 0.1})
    task = linear_task()
    task.step(config, task.init(config, jax.random.key(0)), SPLITS.train, jax.random.key(0))
    assert config.reads == {"l2"}


# Parameters.


@jax.tree_util.register_pytree_node_class
class Module:
    """A model whose activation, name and number of layers are leaves."""

    def __init__(self, w, activation, name, layers):
        self.parts = (w, activation, name, layers)

    def tree_flatten(self):
        return self.parts, None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_leaves_that_are_not_floating_point_arrays_stay_as_they_are():
    start = np.array([[1.0], [-1.0], [0.5]], np.float32)
    module = lambda config, key: Module(jnp.asarray(start), jnp.tanh, "tanh", jnp.arange(3))
    forward = lambda config, m, x, key: m.parts[1](x @ m.parts[0])
    task = linear_task(init=module, apply=forward, optimizer=lambda config: optax.adamw(0.1))
    arrays = linear_task(
        init=lambda config, key: jnp.asarray(start),
        apply=lambda config, w, x, key: jnp.tanh(x @ w),
        optimizer=lambda config: optax.adamw(0.1),
    )
    config, key = js.Config({"l2": 0.1}), jax.random.key(0)
    state, plain = task.init(config, key), arrays.init(config, key)
    for _ in range(3):
        state, metrics = task.step(config, state, SPLITS.train, key)
        plain, expected = arrays.step(config, plain, SPLITS.train, key)
        assert metrics["loss"] == expected["loss"]
    w, activation, name, layers = state["params"].parts
    np.testing.assert_array_equal(w, plain["params"])
    assert (activation, name, layers.tolist()) == (jnp.tanh, "tanh", [0, 1, 2])
    assert task.evaluate(config, state, SPLITS.validation) == arrays.evaluate(config, plain, SPLITS.validation)


class Tensor:
    """An array of another library."""

    def __array__(self):
        return np.zeros(3)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"a": {"w": Tensor()}}, r"params\['a'\]\['w'\] as a .*Tensor: return a JAX or NumPy array"),
        ([jnp.ones(3), np.array(["x"])], r"params\[1\] as a <U1 array"),
        ({"n": jnp.arange(3)}, "no floating-point array among its parameters"),
        ({"f": jnp.tanh}, "no floating-point array among its parameters"),
        (None, "it returned nothing"),
    ],
)
def test_parameters_that_cannot_be_trained_are_refused_by_their_path(params, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        linear_task(init=lambda config, key: params).init(js.Config({}), jax.random.key(0))


# Arguments.


class DataLoader:
    def __iter__(self):
        return iter([])


REFUSED = [
    (
        {"optimizer": optax.sgd(0.1)},
        "optimizer is an optax transformation: pass a function of the config.*lambda config:",
    ),
    ({"loss": "mse"}, "loss is of type str: pass a function"),
    ({"metrics": {"mae": 3}}, r"metrics\['mae'\] is of type int: pass a function"),
    ({"metrics": {"loss": jnp.abs}}, 'metrics has a metric "loss"'),
    ({"data": DataLoader()}, r"data is a DataLoader: .*jsweep\.Batches\(make\)"),
    ({"data": (X, Y)}, r"data is a tuple: pass jsweep.Splits, or split arrays with jsweep\.split\(x, y\)"),
    ({"data": js.Splits(X, X)}, r"data.train is not a pair \(x, y\)"),
    ({"batch_size": 0}, "batch_size=0 is not valid: pass a whole number of at least 1"),
    ({"batch_size": True}, "batch_size=True is not valid"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED)
def test_arguments_of_supervised_are_checked_with_a_sentence(changes, sentence):
    with pytest.raises(js.ConfigError, match=sentence):
        linear_task(**changes)


def test_what_follows_apply_is_passed_by_name():
    with pytest.raises(TypeError, match="positional argument"):
        js.supervised(init, apply, js.losses.softmax_cross_entropy, optimizer, SPLITS)  # pyright: ignore


def test_directions_come_from_metrics_that_have_one():
    metrics = {"r2": Metric(r2, "max", per_example=False), "mae": Metric(jnp.abs, "min"), "plain": jnp.abs}
    assert linear_task(metrics=metrics).modes == {"loss": "min", "r2": "max", "mae": "min"}
    parts = {"init": init, "step": apply, "evaluate": apply, "data": SPLITS}
    assert js.Task(**parts).modes == {"loss": "min"}
    assert js.Task(**parts, modes={"auc": "max"}, batch_size=np.int64(3)).batch_size == 3
    with pytest.raises(js.ConfigError, match=r"modes\['auc'\]='maximum' is not valid"):
        js.Task(**parts, modes={"auc": "maximum"})
    with pytest.raises(js.ConfigError, match="modes names 'validation/auc': leave out the split, as in 'auc'"):
        js.Task(**parts, modes={"validation/auc": "max"})
    with pytest.raises(js.ConfigError, match=r'modes=.auc. is not valid: pass a dict, such as \{"accuracy": "max"\}'):
        js.Task(**parts, modes="auc")
    with pytest.raises(js.ConfigError, match="step is of type NoneType: pass a function"):
        js.Task(**(parts | {"step": None}))


def test_a_task_has_the_name_that_it_is_given_and_equals_itself_alone():
    task = linear_task()
    assert task.name is None
    assert linear_task(name="linear").name == "linear"
    assert task == task
    assert task != linear_task()
    assert len({task, linear_task()}) == 2
    result = js.sweep(task, [{"l2": 0.1}], steps=1)
    assert result.trials()[0].status == "finished"


def noisy(config, batch, key):
    x, y = batch
    return x + config["noise"] * jax.random.normal(key, x.shape), y


def augmented_task(data, **changes):
    parts = {"loss": js.losses.softmax_cross_entropy, "optimizer": optimizer, "data": data, "batch_size": 16}
    return js.supervised(init, apply, **(parts | {"augment": noisy} | changes))


def test_augmentation_is_drawn_anew_at_every_step_and_left_out_of_evaluation(data):
    config = {"learning_rate": 0.1, "noise": 0.5}
    task, plain = augmented_task(data), augmented_task(data, augment=None)
    state, key = task.init(js.Config(config), jax.random.key(0)), jax.random.key(1)
    batch = jax.tree.map(lambda a: a[:16], data.train)
    for step in range(3):
        for_augment, rest = jax.random.split(jax.random.fold_in(key, step))
        expected, _ = plain.step(js.Config(config), state, noisy(config, batch, for_augment), rest)
        state, _ = task.step(js.Config(config), state, batch, jax.random.fold_in(key, step))
        jax.tree.map(np.testing.assert_array_equal, state, expected)
    found, plainly = (each.evaluate(js.Config(config), state, data.validation) for each in (task, plain))
    jax.tree.map(np.testing.assert_array_equal, found, plainly)


def test_augmented_batches_are_padded_only_where_no_example_sees_another(data):
    space = {"learning_rate": [0.1], "noise": [0.0, 0.5], "batch_size": [8, 16]}
    together = js.sweep(augmented_task(data), js.grid(space), steps=6)
    apart = js.sweep(augmented_task(data), js.grid(space | {"batch_size": js.static([8, 16])}), steps=6)
    losses = [
        {t.id: session.curves("validation/loss")[t.id][-1][1] for t in session.trials()}
        for session in (together, apart)
    ]
    assert len(together.prepared.groups) < len(apart.prepared.groups)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    def mixed(config, batch, key):
        return (batch[0] + batch[0][::-1]) / 2, batch[1]

    roles = js.plan(
        js.Sweep(augmented_task(data, augment=mixed), js.grid({"learning_rate": [0.1], "batch_size": [8, 16]}), steps=6)
    ).roles
    assert roles["batch_size"].kind == "static"


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda config, batch, key: batch[0], "augment returned .*return the pair"),
        (lambda config, batch, key: (batch[0][:3], batch[1]), "return as many examples"),
        ("flip", "augment is of type str"),
    ],
)
def test_what_is_no_augmentation_is_named(data, augment, message):
    with pytest.raises(js.ConfigError, match=message):
        js.plan(js.Sweep(augmented_task(data, augment=augment), [{"learning_rate": 0.1}], steps=2))
