"""A number in a lane computes what the Python number does that it stands for, or is no lane."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, init, make_task

import jsweep as js
from jsweep import schedules
from jsweep.planning import make_groups, make_trials


def role_of(data, name, values, optimizer, **parts):
    task = make_task(data, optimizer=optimizer, **parts)
    configs = [{name: value} for value in values]
    return make_groups(task, make_trials(task, configs, 1, 10, None, 240)).roles[name]


STATIC = {  # what Python makes of the number, and a lane does not
    "a power by a negative whole number": ([-4, -3], lambda n: 10**n),
    "a power by a whole number below 0 in one config of many": ([3, 2, 1, 0, -1], lambda n: 1e-3 * 10**n),
    "a power beyond 32 bits": ([30, 33], lambda n: 1e-12 * 2**n),
    "a product beyond 32 bits": ([3, 10], lambda n: n * 10**9 * 1e-12),
    "a square beyond 32 bits in one config": ([3, 10**5, 4], lambda n: 1e-12 * (n * n)),
    "a shift beyond 32 bits": ([1, 2], lambda n: 1e-12 * (n << 33)),
    "a sum of truth values": ([False, True], lambda n: 0.01 * (n + n)),
    "the inverse of a truth value": ([True, False], lambda n: 0.01 * (2 + ~n)),
    "a number that a lane takes for 0": ([1e-46, 3e-46], lambda n: n * 1e44),
    "a product that passes through 0": ([0.5, 1.0], lambda n: 1e-40 * n * 1e38),
    "a difference that is rounded away": ([1e-3, 1e-9], lambda n: 0.1 * (1 - (1 - n))),
    "a quotient rounded to the next whole number": ([0.1, 0.3], lambda n: 0.01 * (n // 0.1)),
    "the text of one whole number of three": ([1, 2, 3], lambda n: {"2": 0.09}.get(str(n), 0.01) * n),
    "a type and a value in the middle of a list": (
        [0.01, 0.02, 0.03],
        lambda n: n * (2.0 if isinstance(n, float) and n == 0.02 else 1.0),
    ),
    "a type and a size that few of many values have": (
        [float(rate) for rate in np.linspace(0.01, 0.1, 20)],
        lambda n: n * (2.0 if isinstance(n, float) and n > 0.098 else 1.0),
    ),
    "a type check": ([0.01, 0.02], lambda n: n * (2.0 if isinstance(n, float) else 1.0)),
    "a type check that adds an operation": (
        [0.01, 0.02],
        lambda n: n if isinstance(n, jax.Array) else lambda count: n * (count + 1),
    ),
}
LANES = {
    "a power of a float": ([-4, -3], lambda n: 10.0**n),
    "a quotient": ([50, 100], lambda n: 1 / n),
    "whole quotients and remainders": ([-5, 10], lambda n: 0.01 * (n // 3 + n % 3)),
    "whole numbers and floats": ([1, 2.5], lambda n: 0.01 * n),
    "a truth value": ([True, False], lambda n: 0.01 * n),
    "a comparison": ([True, False], lambda n: 0.01 * (n == 1)),
    "a difference near 1": ([0.99, 0.9999], lambda n: 0.1 * (1 - n)),
    "a small number": ([1e-30, 1e-20], lambda n: n * 1e18),
    "a schedule": ([5, 100], lambda n: schedules.warmup_cosine_decay(0.0, 0.1, warmup_steps=n, decay_steps=2 * n)),
    "joined schedules": (
        [0.1, 0.2],
        lambda n: schedules.join([schedules.constant(n), schedules.cosine_decay(n, decay_steps=9)], [4]),
    ),
    "a loop": ([0.1, 0.2], lambda n: jax.lax.fori_loop(0, 3, lambda i, x: x + n, 0.0)),
    "a branch": ([0.1, 0.2], lambda n: jax.lax.cond(jnp.asarray(n) > 0.15, lambda: n, lambda: 2 * n)),
}


@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")  # by Python 3.12 and newer
@pytest.mark.parametrize("use", STATIC)
def test_a_number_that_would_not_be_pythons_is_static(data, use):
    values, rate = STATIC[use]
    role = role_of(data, "n", values, lambda config: optax.sgd(rate(config["n"])))
    assert role.kind == "static"
    assert "as a Python number" in role.reason


@pytest.mark.parametrize("use", LANES)
def test_a_number_that_is_pythons_is_a_lane(data, use):
    values, rate = LANES[use]
    assert role_of(data, "n", values, lambda config: optax.sgd(rate(config["n"]))).kind == "lane"


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda n: optax.adam(0.1, b1=n, b2=1 - n / 100, eps=1e-8 * n),
        lambda n: optax.adamw(n, weight_decay=n),
        lambda n: optax.rmsprop(0.1, decay=n, momentum=n),
        lambda n: optax.novograd(0.1, b1=n, weight_decay=n),
        lambda n: optax.chain(optax.clip_by_global_norm(n), optax.adaptive_grad_clip(n), optax.ema(n), optax.sgd(n)),
        lambda n: js.select_optimizer("adam", {"adam": optax.adam(n), "sgd": optax.sgd(n, momentum=n)}),
        lambda n: optax.chain(optax.sgd(n), schedules.reduce_on_plateau(factor=n, patience=2)),
    ],
)
def test_the_numbers_of_optimizers_are_lanes(data, optimizer):
    assert role_of(data, "n", [0.5, 0.9], lambda config: optimizer(config["n"])).kind == "lane"


def test_the_numbers_of_a_model_and_a_loss_are_lanes(data):
    def model(config, params, x, key):
        if key is not None:
            x = x * jax.random.bernoulli(key, 1 - config["n"], x.shape) / (1 - config["n"])
        return jax.nn.leaky_relu(jax.checkpoint(lambda x: apply({}, params, x * config["n"], None))(x), config["n"])

    loss = lambda config, outputs, y: config["n"] * js.losses.softmax_cross_entropy(outputs, y) ** (1 + config["n"])
    assert role_of(data, "n", [0.1, 0.5], lambda config: optax.sgd(0.1), apply=model, loss=loss).kind == "lane"


def test_every_power_of_ten_trains_with_its_own_rate(data):
    task = make_task(data, optimizer=lambda config: optax.sgd(10 ** config["exponent"]))
    mine = js.sweep(task, js.grid({"exponent": [-3, -2, -1]}), steps=5)
    plain = js.sweep(
        make_task(data, optimizer=lambda c: optax.sgd(c["rate"])), js.grid({"rate": [1e-3, 1e-2, 1e-1]}), steps=5
    )
    by_rate = {round(np.log10(score.config["rate"])): score.mean for score in plain.ranking()}
    for score in mine.ranking():
        np.testing.assert_allclose(score.mean, by_rate[score.config["exponent"]], rtol=1e-5)


def test_a_number_that_is_asked_for_as_a_lane_and_would_be_another_one_is_refused(data):
    task = make_task(data, optimizer=lambda config: optax.sgd(10 ** config["n"]))
    with pytest.raises(
        js.ConfigError, match=r"'n' is annotated with js.lane, but cannot be a lane: makes -?0.00?01 as a Python"
    ):
        js.plan(js.Sweep(task, js.grid({"n": js.lane([-4, -3])}), steps=5))


def test_other_numbers_stay_lanes_beside_one_that_cannot_be(data):
    task = make_task(data, optimizer=lambda config: optax.sgd(config["rate"] * 10 ** config["n"], momentum=config["m"]))
    configs = js.grid({"rate": [0.1, 0.2], "n": [-2, -1], "m": [0.5, 0.9]})
    roles = make_groups(task, make_trials(task, configs, 1, 10, None, 240)).roles
    assert {name: str(roles[name].kind) for name in ("rate", "n", "m")} == {"rate": "lane", "n": "static", "m": "lane"}


def test_a_whole_number_that_is_an_index_only_as_a_python_number_is_static(data):
    """The first value takes the same part of the array as a lane would."""

    def optimizer(config):
        n = config["n"]
        place = n - 1 if isinstance(n, int) else 0
        return optax.sgd(0.1 / n, momentum=jnp.asarray([config["momentum"], 0.2])[place])

    task = make_task(data, optimizer=optimizer)
    rows = [{"n": n, "momentum": 0.9} for n in (1, 2)]
    decided = js.sweep(task, rows, steps=4)
    assert decided.prepared.roles["n"].kind == "static"
    alone = js.sweep(task, js.grid({"n": js.static([1, 2]), "momentum": [0.9]}), steps=4)
    means = [{score.config["n"]: score.mean for score in each.ranking()} for each in (decided, alone)]
    assert means[0] == pytest.approx(means[1], rel=1e-6)


def test_a_weight_that_is_one_in_one_config_is_a_lane():
    def step(config, state, batch, key):
        weights = jnp.where(batch[1] > 0, config["weight"], 1.0)
        return state - config["rate"] * (weights * batch[0]).mean(), {"loss": state}

    data = js.Splits((np.ones(8, np.float32), np.arange(8) % 2), (np.ones(4, np.float32), np.arange(4) % 2))
    task = js.Task(
        lambda config, key: jnp.float32(0), step, lambda config, state, split: {"loss": state}, data=data, batch_size=4
    )
    space = {"weight": [1.0, 2.0, 5.0], "rate": [0.1, 0.2]}
    roles = js.plan(js.Sweep(task, js.grid(space), steps=2, evaluate_every=2)).roles
    assert (roles["weight"].kind, roles["rate"].kind) == ("lane", "lane")


def keeping(kept):
    """An ``init`` that keeps something of a config where only the model looks for it, and such a model."""
    holder = SimpleNamespace()

    def init_and_keep(config, key):
        holder.kept = kept(config["n"])
        return init(config, key)

    return {"init": init_and_keep, "apply": lambda *args: apply(*args) * (1.0 * holder.kept)}


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(lambda n: 10**n, id="what it computed"),
        pytest.param(lambda n: 2.0 if isinstance(n, int) else 1.0, id="what it saw of the type"),
        pytest.param(lambda n: 2.0 if isinstance(n, int) and n == -2 else 1.0, id="what it saw of one number"),
    ],
)
def test_a_number_that_reaches_the_model_through_an_object_is_static(data, kept):
    """The model reads nothing of the config, so that its trace could be taken for the same with every number."""
    rate = lambda config: optax.sgd(-0.01 * config["n"])
    assert role_of(data, "n", [-3, -2, -1], rate, **keeping(kept)).kind == "static"


def test_a_number_that_evaluation_sees_in_what_is_no_array_of_the_state_is_static():
    """Only the second of three numbers makes another function, which is neither an array nor read from the config."""

    def init(config, key):
        factor = 2.0 if isinstance(config["n"], float) and config["n"] == 0.02 else 1.0
        return {"w": config["n"] * jnp.ones(()), "scale": lambda x: factor * x}

    pairs = (np.ones(8, np.float32), np.ones(8, np.float32))
    task = js.Task(
        init,
        lambda config, state, batch, key: (state, {"loss": state["w"]}),
        lambda config, state, split: {"loss": state["scale"](state["w"])},
        data=js.Splits(pairs, pairs),
        batch_size=4,
    )
    configs = [{"n": value} for value in (0.01, 0.02, 0.03)]
    assert make_groups(task, make_trials(task, configs, 1, 10, None, 8)).roles["n"].kind == "static"
