"""What is a lane and what is a compile group is found by tracing."""

import jax
import jax.numpy as jnp
import optax
import pytest
from small import apply, init, make_task

import jsweep as js
from jsweep.planning import make_groups, make_trials


def roles_of(task, configs, told=None):
    trials = make_trials(task, configs, 1, 10, None, 240)
    groups, roles, _ = make_groups(task, trials, told)
    return groups, {name: role.kind for name, role in roles.items()}, roles


def test_numbers_that_trace_are_lanes_and_shapes_are_groups(data):
    configs = [{"learning_rate": lr, "l2": 0.1, "width": w} for lr in (0.1, 0.2) for w in (8, 16)]
    groups, kinds, roles = roles_of(make_task(data), configs)
    assert kinds == {"learning_rate": "lane", "l2": "lane", "width": "static", "steps": "engine"}
    assert [dict(group.static) for group in groups] == [{"width": 8}, {"width": 16}]
    assert "shape" in roles["width"].reason
    assert "init (small.py:" in roles["width"].reason


def test_a_python_branch_makes_a_group_and_the_reason_says_so(data):
    def optimizer(config):
        return optax.sgd(config["learning_rate"], nesterov=True, momentum=0.9 if config["big"] > 1 else 0.5)

    _, kinds, roles = roles_of(make_task(data, optimizer=optimizer), [{"learning_rate": 0.1, "big": b} for b in (1, 2)])
    assert kinds["big"] == "static"
    assert roles["big"].reason.startswith("decides a Python branch in optimizer (test_roles.py:")


def test_strings_are_groups_unless_handed_to_select(data):
    def chosen(config, params, x, key):
        activation = js.select(config["activation"], {"relu": jax.nn.relu, "tanh": jnp.tanh})
        return activation(x @ params["w1"]) @ params["w2"]

    def compared(config, params, x, key):
        activation = jax.nn.relu if config["activation"] == "relu" else jnp.tanh
        return activation(x @ params["w1"]) @ params["w2"]

    configs = [{"learning_rate": 0.1, "activation": name} for name in ("relu", "tanh")]
    groups, kinds, _ = roles_of(make_task(data, apply=chosen), configs)
    assert kinds["activation"] == "lane"
    assert len(groups) == 1
    groups, kinds, roles = roles_of(make_task(data, apply=compared), configs)
    assert kinds["activation"] == "static"
    assert len(groups) == 2
    assert roles["activation"].reason.startswith("used as a string")


def test_conditional_names_and_none_make_groups_of_their_own(data):
    configs = [
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "momentum": 0.5},
        {"learning_rate": 0.1, "momentum": 0.7},
    ]
    groups, kinds, _ = roles_of(make_task(data), configs)
    assert kinds["momentum"] == "lane"
    assert sorted(len(group.trials) for group in groups) == [1, 2]
    _, kinds, _ = roles_of(make_task(data), [{"learning_rate": 0.1, "momentum": m} for m in (None, 0.5)])
    assert kinds["momentum"] == "static"


def test_steps_may_be_read_by_the_task_though_no_space_names_them(data):
    def optimizer(config):
        return optax.sgd(config["learning_rate"] / config["steps"])

    groups, kinds, _ = roles_of(make_task(data, optimizer=optimizer), [{"learning_rate": 0.1}])
    assert kinds["steps"] == "lane"
    assert "steps" in groups[0].lanes


def test_what_the_user_decides_holds(data):
    configs = [{"learning_rate": lr} for lr in (0.1, 0.2)]
    groups, kinds, _ = roles_of(make_task(data), configs, {"learning_rate": "static"})
    assert kinds["learning_rate"] == "static"
    assert len(groups) == 2
    with pytest.raises(js.JsweepError, match="'width' was given as a lane but cannot be one: used as a shape"):
        roles_of(make_task(data), [{"learning_rate": 0.1, "width": w} for w in (8, 16)], {"width": "lane"})


def test_a_space_can_decide(data):
    space = js.Space({"learning_rate": js.static([0.1, 0.2]), "l2": js.lane([0.0, 0.1])})
    assert js.Space.from_json(space.to_json()) == space
    assert "(compiled in)" in repr(space)
    plan = js.plan(js.Sweep(make_task(data), js.grid(space) + js.grid(space), steps=2))
    assert plan.programs == 2
    assert plan.roles["learning_rate"].reason == "told so by static"


def test_a_name_the_task_never_reads_is_told(data):
    with pytest.warns(UserWarning, match="never reads 'learning_rat'"):
        js.sweep(make_task(data), [{"learning_rate": 0.1, "learning_rat": 0.2}], steps=2)


def test_an_error_of_the_task_itself_is_shown_as_it_is(data):
    def broken(config, params, x, key):
        return x @ params["no_such_weight"]

    with pytest.raises(KeyError, match="no_such_weight"):
        roles_of(make_task(data, apply=broken), [{"learning_rate": 0.1}])


def test_a_config_that_lacks_what_the_task_reads_is_told(data):
    with pytest.raises(js.JsweepError, match=r"the task reads config\['learning_rate'\].*it has: rate, steps"):
        roles_of(make_task(data), [{"rate": 0.1}])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": lambda outputs, y: jnp.mean(outputs)}, "return one value per example"),
        ({"init": lambda config, key: {**init(config, key), "w1": jnp.zeros((64, 16), jnp.bfloat16)}}, None),
    ],
)
def test_the_contract_of_the_task_is_checked(data, changes, sentence):
    if sentence is None:
        roles_of(make_task(data, **changes), [{"learning_rate": 0.1}])
    else:
        with pytest.raises(js.JsweepError, match=sentence):
            roles_of(make_task(data, apply=apply, **changes), [{"learning_rate": 0.1}])


def test_a_step_that_changes_the_state_is_refused(data):
    task = js.Task(
        init=lambda config, key: {"w": jnp.zeros(3)},
        step=lambda config, state, batch, key: ({"w": jnp.zeros(4)}, {}),
        evaluate=lambda config, state, split: {"loss": 0.0},
        data=data,
    )
    with pytest.raises(js.JsweepError, match=r"step turned state\['w'\] from float32\[3\] into float32\[4\]"):
        roles_of(task, [{"learning_rate": 0.1}])
