"""What is a lane and what is static is found by tracing every compile group."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, init, make_task, rows_of

import jsweep as js
from jsweep.planning import Annotations, make_groups, make_trials


def grouped(task, configs, **annotations):
    return make_groups(task, make_trials(task, configs, 1, 10, None, 240), annotations=Annotations(annotations))


def kinds_of(task, configs, **annotations):
    return {name: str(role.kind) for name, role in grouped(task, configs, **annotations).roles.items()}


def branching(read):
    """An optimizer that looks at momentum in one branch alone; ``read`` does so."""
    return lambda config: optax.sgd(0.1, momentum=read(config)) if config["heavy"] else optax.sgd(0.1)


def final(session, metric="validation/loss"):
    return {score.config_id: score.mean for score in session.ranking(metric)}


def test_numbers_that_trace_are_lanes_and_shapes_are_static(data):
    configs = [{"learning_rate": lr, "l2": 0.1, "width": w} for lr in (0.1, 0.2) for w in (8, 16)]
    found = grouped(make_task(data), configs)
    kinds = {name: role.kind for name, role in found.roles.items()}
    assert kinds == {"learning_rate": "lane", "l2": "lane", "width": "static", "steps": "engine"}
    assert [group.compiled_in for group in found.groups] == [{"width": 8}, {"width": 16}]
    assert "shape" in found.roles["width"].reason
    assert "init (small.py:" in found.roles["width"].reason


def test_a_python_branch_makes_a_name_static_and_the_reason_says_where(data):
    def optimizer(config):
        return optax.sgd(config["learning_rate"], nesterov=True, momentum=0.9 if config["big"] > 1 else 0.5)

    found = grouped(make_task(data, optimizer=optimizer), [{"learning_rate": 0.1, "big": b} for b in (1, 2)])
    assert found.roles["big"].kind == "static"
    assert found.roles["big"].reason.startswith("decides a Python branch in optimizer (test_roles.py:")


def test_a_name_that_could_be_a_lane_is_static_with_a_hint_how(data):
    task = make_task(
        data,
        optimizer=lambda c: optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.1, c["warmup"], 100)),
    )
    found = grouped(task, [{"warmup": n} for n in (5, 10)])
    assert found.roles["warmup"].kind == "static"
    assert "js.schedules.warmup_cosine_decay takes it as a lane" in found.roles["warmup"].reason


def test_strings_are_static_unless_passed_to_select(data):
    def chosen(config, params, x, key):
        activation = js.select(config["activation"], {"relu": jax.nn.relu, "tanh": jnp.tanh})
        return activation(x @ params["w1"]) @ params["w2"]

    def compared(config, params, x, key):
        activation = jax.nn.relu if config["activation"] == "relu" else jnp.tanh
        return activation(x @ params["w1"]) @ params["w2"]

    configs = [{"learning_rate": 0.1, "activation": name} for name in ("relu", "tanh")]
    found = grouped(make_task(data, apply=chosen), configs)
    assert found.roles["activation"].kind == "lane"
    assert len(found.groups) == 1
    found = grouped(make_task(data, apply=compared), configs)
    assert found.roles["activation"].kind == "static"
    assert len(found.groups) == 2
    assert found.roles["activation"].reason.startswith("used as a string")


def test_conditional_names_and_none_make_groups_of_their_own(data):
    configs = [
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "momentum": 0.5},
        {"learning_rate": 0.1, "momentum": 0.7},
    ]
    found = grouped(make_task(data), configs)
    assert found.roles["momentum"].kind == "lane"
    assert sorted(len(group.trials) for group in found.groups) == [1, 2]
    assert (
        kinds_of(make_task(data), [{"learning_rate": 0.1, "momentum": m} for m in (None, 0.5)])["momentum"] == "static"
    )


@pytest.mark.parametrize("name", ["steps", "epochs"])
def test_the_length_of_training_may_be_read_by_the_task(data, name):
    task = make_task(data, optimizer=lambda config: optax.sgd(0.01 / config[name]))
    session = js.sweep(task, js.grid({name: [2, 4]}), evaluate_every=2)
    assert session.prepared.roles[name].kind == "lane"
    losses = [score.mean for score in session.ranking()]
    assert len(set(losses)) == 2


def test_annotations_are_followed_or_refused(data):
    configs = [{"learning_rate": lr} for lr in (0.1, 0.2)]
    found = grouped(make_task(data), configs, learning_rate="static")
    assert found.roles["learning_rate"].kind == "static"
    assert found.roles["learning_rate"].reason == "requested with js.static"
    assert len(found.groups) == 2
    widths = [{"learning_rate": 0.1, "width": w} for w in (8, 16)]
    with pytest.raises(
        js.ConfigError, match="'width' is annotated with js.lane, but cannot be a lane: used as a shape"
    ):
        grouped(make_task(data), widths, width="lane")


def test_a_space_can_annotate(data):
    space = js.Space({"learning_rate": js.static([0.1, 0.2]), "l2": js.lane([0.0, 0.1])})
    assert js.Space.from_json(space.to_json()) == space
    assert js.plan(js.Sweep(make_task(data), js.grid(space) + js.grid(space), steps=2)).programs == 2


def test_a_name_without_effect_is_warned_of(data):
    with pytest.warns(UserWarning, match="no effect .'learning_rat': never read by the task"):
        js.sweep(make_task(data), [{"learning_rate": 0.1, "learning_rat": 0.2}], steps=2)


def test_a_name_that_only_conditions_look_at_is_not_warned_of(data):
    task = make_task(data, optimizer=lambda config: optax.sgd(0.1, momentum=config.get("momentum", 0.0)))
    space = {"heavy": [True, False], "momentum": js.when(heavy=True, then=[0.5, 0.9])}
    js.sweep(task, js.grid(space), steps=2)  # warnings are errors in tests


@pytest.mark.parametrize("order", [[False, True], [True, False]])
@pytest.mark.parametrize("read", [lambda c: c["momentum"], lambda c: c.get("momentum", 0.9)], ids=["item", "get"])
def test_a_name_read_behind_a_branch_reaches_its_trials(data, order, read):
    """Whatever config comes first: three momenta train three trials, equal to those of a task without the branch."""
    momenta = [0.0, 0.5, 0.9]
    space = {"heavy": order, "momentum": momenta}
    session = js.sweep(make_task(data, optimizer=branching(read)), js.grid(space), steps=20)
    losses = {(t.config["heavy"], t.config["momentum"]): curve[-1][1] for t, curve in _curves(session)}
    plain = make_task(data, optimizer=lambda config: optax.sgd(0.1, momentum=config["momentum"]))
    expected = {
        t.config["momentum"]: c[-1][1] for t, c in _curves(js.sweep(plain, js.grid({"momentum": momenta}), steps=20))
    }
    for momentum in momenta:
        assert losses[True, momentum] == pytest.approx(expected[momentum], rel=1e-5)
    assert len({losses[False, momentum] for momentum in momenta}) == 1


def _curves(session):
    curves = session.curves("validation/loss")
    return [(trial, curves[trial.id]) for trial in session.trials()]


def test_more_values_than_any_example_could_show_are_all_trained(data):
    """40 names, of which one leads to other code."""
    names = [f"n{i:02}" for i in range(40)]

    def optimizer(config):
        return optax.sgd(0.1, momentum=config["momentum"]) if config["kind"] == "n39" else optax.sgd(0.1)

    configs = [{"kind": name, "momentum": m} for name in names for m in ((0.0, 0.9) if name == "n39" else (0.9,))]
    session = js.sweep(make_task(data, optimizer=optimizer), configs, steps=10)
    assert all(trial.status == "finished" for trial in session.trials())
    last = [curve[-1][1] for trial, curve in _curves(session) if trial.config["kind"] == "n39"]
    assert last[0] != last[1]
    assert len(session.prepared.groups) == 2  # the 39 other names compute the same


@pytest.mark.parametrize("optimizer", ["by_type", "by_float"])
def test_a_value_whose_tracer_is_thrown_away_is_used_all_the_same(data, optimizer):
    def by_type(config):
        rate = config["learning_rate"]
        return optax.sgd(rate if isinstance(rate, int | float) else 1e-3)

    def by_float(config):
        try:
            return optax.sgd(float(config["learning_rate"]))
        except Exception:
            return optax.sgd(1e-3)

    task = make_task(data, optimizer={"by_type": by_type, "by_float": by_float}[optimizer])
    session = js.sweep(task, js.grid({"learning_rate": [0.01, 0.1]}), steps=10)
    assert session.prepared.roles["learning_rate"].kind == "static"
    plain = js.sweep(
        make_task(data, optimizer=lambda c: optax.sgd(c["learning_rate"])),
        js.grid({"learning_rate": [0.01, 0.1]}),
        steps=10,
    )
    assert final(session) == pytest.approx(final(plain), rel=1e-5)


def test_a_type_check_that_ends_in_the_same_computation_is_warned_of(data):
    def optimizer(config):
        isinstance(config["note"], float)
        return optax.sgd(0.1)

    with pytest.warns(UserWarning, match="no effect .'note': nothing the task computes depends on it"):
        session = js.sweep(make_task(data, optimizer=optimizer), js.grid({"note": [0.1, 0.2]}), steps=5)
    assert len(session.prepared.groups) == 1


@pytest.mark.parametrize(
    "copied",
    [lambda c: c.copy(), lambda c: c | {}, dict, lambda c: {**c}, lambda c: {"learning_rate": c.get("learning_rate")}],
    ids=["copy", "or", "dict", "unpacked", "get"],
)
def test_a_copied_config_is_read_like_the_config(data, copied):
    task = make_task(data, optimizer=lambda config: optax.sgd(copied(config)["learning_rate"]))
    session = js.sweep(task, js.grid({"learning_rate": [0.01, 0.1]}), steps=10)
    assert len(set(final(session).values())) == 2


def test_a_config_passes_through_jit_and_checkpoint(data):
    plain = js.sweep(make_task(data), js.grid({"learning_rate": [0.01, 0.1]}), steps=10)
    for transform in (jax.jit, jax.checkpoint):
        wrapped = transform(apply)
        task = make_task(data, apply=lambda c, p, x, k, wrapped=wrapped: wrapped(c, p, x, None))
        assert final(js.sweep(task, js.grid({"learning_rate": [0.01, 0.1]}), steps=10)) == pytest.approx(
            final(plain), rel=1e-5
        )


def test_lanes_are_typed_like_the_python_numbers_they_stand_for(data):
    """A bfloat16 model stays bfloat16, and momentum rides as a lane beside it."""
    seen = []

    def half_init(config, key):
        return jax.tree.map(lambda a: a.astype(jnp.bfloat16), init(config, key))

    def half(config, params, x, key):
        hidden = jax.nn.relu(x.astype(jnp.bfloat16) @ params["w1"]) * config["scale"]
        seen.append(str(hidden.dtype))
        return (hidden @ params["w2"]).astype(jnp.float32)

    task = make_task(data, init=half_init, apply=half)
    space = {"learning_rate": [0.01, 0.02], "momentum": [0.5, 0.9], "scale": [1.0, 1.5]}
    plan = js.plan(js.Sweep(task, js.grid(space), steps=5))
    assert plan.programs == 1
    assert set(seen) == {"bfloat16"}


def test_a_sweep_that_grows_keeps_the_programs_of_its_trials(data, tmp_path):
    """A whole number rides on as one though fractions, or numbers beyond 32 bits, join it later."""
    task = make_task(data, optimizer=lambda config: optax.sgd(0.05 * 0.9 ** config["n"]))
    options = {"steps": 20, "store": tmp_path / "s.db", "tile": 4}
    before = js.sweep(task, js.grid({"n": [1, 2, 3]}), **options)
    programs, rows = {t.id: t.program for t in before.trials()}, rows_of(before)
    after = js.sweep(task, js.grid({"n": [1, 2, 3, 2.5]}), **options)
    assert rows.items() <= rows_of(after).items()
    assert {t.id: t.program for t in after.trials() if t.id in programs} == programs
    sweep = js.Sweep(task, js.grid({"n": [1, 2, 3, 2.5]}), **options)
    assert all(js.replay(sweep, trial).difference is None for trial in programs)


def test_a_finished_trial_is_never_marked_failed_by_a_later_call(data, tmp_path):
    task = make_task(data, optimizer=branching(lambda config: config["momentum"]))
    sweep = lambda order, seeds: js.Sweep(
        task, js.grid({"heavy": order, "momentum": [0.5, 0.9]}), seeds=seeds, steps=10, store=tmp_path / "s.db"
    )
    js.run(sweep([True, False], 1))
    session = js.run(sweep([False, True], 2))
    assert {trial.status for trial in session.trials()} == {"finished"}


def test_an_error_of_the_task_itself_is_shown_as_it_is(data):
    def broken(config, params, x, key):
        return x @ params["no_such_weight"]

    with pytest.raises(KeyError, match="no_such_weight"):
        grouped(make_task(data, apply=broken), [{"learning_rate": 0.1}])


def test_a_config_that_lacks_what_the_task_reads_is_named(data):
    with pytest.raises(js.ConfigError, match=r"the task reads config\['learning_rate'\].*it has: rate, steps"):
        grouped(make_task(data), [{"rate": 0.1}])


def test_only_the_configs_that_cannot_be_traced_fail(data):
    task = make_task(data, optimizer=branching(lambda config: config["momentum"]))
    with pytest.warns(UserWarning, match="1 of 2 trials failed.*momentum"):
        session = js.sweep(task, [{"heavy": True}, {"heavy": False}], steps=5)
    assert {trial.config["heavy"]: str(trial.status) for trial in session.trials()} == {
        True: "failed",
        False: "finished",
    }
    assert "UnknownNameError" in next(t.traceback for t in session.trials() if t.config["heavy"])


def test_a_step_that_changes_the_state_is_refused(data):
    task = js.Task(
        init=lambda config, key: {"w": jnp.zeros(3)},
        step=lambda config, state, batch, key: ({"w": jnp.zeros(4)}, {}),
        evaluate=lambda config, state, split: {"loss": 0.0},
        data=data,
    )
    with pytest.raises(js.ConfigError, match=r"step turned state\['w'\] from float32\[3\] into float32\[4\]"):
        grouped(task, [{"learning_rate": 0.1}])


def _loss(state, batch):
    outputs = state["activation"](batch[0] @ state["w"])
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean()


def test_what_is_not_an_array_in_a_state_is_carried_along(data, tmp_path):
    def start(config, key):
        return {"w": jnp.zeros((64, 10)), "activation": jnp.tanh, "name": "linear"}

    def step(config, state, batch, key):
        gradient = jax.grad(lambda w: _loss({**state, "w": w}, batch))(state["w"])
        return {**state, "w": state["w"] - config["learning_rate"] * gradient}, {"loss": _loss(state, batch)}

    task = js.Task(start, step, lambda config, state, split: {"loss": _loss(state, split)}, data=data, name="whole")
    session = js.sweep(
        task,
        js.grid({"learning_rate": [0.1, 0.5]}),
        steps=20,
        evaluate_every=10,
        store=tmp_path / "s.db",
        checkpoints="all",
    )
    best = session.best()
    state = best.state()
    assert state["activation"] is jnp.tanh
    assert state["name"] == "linear"
    np.testing.assert_allclose(_loss(state, data.validation), best.values[0], rtol=1e-6)


def threefry(partitionable):
    def noisy(config, params, x, key):
        if key is None:
            return apply(config, params, x, None)
        with jax.threefry_partitionable(partitionable(config)):
            return apply(config, params, x * jax.random.bernoulli(key, 0.5, x.shape), None)

    return noisy


def on_host(function):
    def scaled(config, params, x, key):
        call = lambda: jax.pure_callback(
            function(config), jax.ShapeDtypeStruct((), jnp.float32), vmap_method="sequential"
        )
        return apply(config, params, x, key) * call()

    return scaled


GAINS = {"one": lambda: np.float32(1.0), "two": lambda: np.float32(2.0)}


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ([False, True], threefry(lambda config: config["kind"])),
        (["one", "two"], on_host(lambda config: GAINS[config["kind"]])),
        (["one", "two"], on_host(lambda config: lambda kind=config["kind"]: np.float32(len(kind) + (kind == "two")))),
    ],
)
def test_programs_that_differ_in_more_than_their_operations_are_not_shared(data, values, changed):
    """In how random bits are drawn, or in a function on the host: no operation shows either."""
    task = make_task(data, apply=changed, optimizer=lambda config: optax.sgd(0.1))
    together = final(js.sweep(task, js.grid({"kind": js.static(values)}), steps=5, tile=1))
    apart = [final(js.sweep(task, [{"kind": value}], steps=5, tile=1)) for value in values]
    assert together == apart[0] | apart[1]
    assert len(set(together.values())) == 2


def test_metrics_are_recorded_under_the_names_that_each_config_gives_them(data):
    def evaluate(config, state, split):
        return {"loss": state["w"], config["called"]: 2 * state["w"]}

    task = js.Task(
        lambda config, key: {"w": jnp.zeros(())},
        lambda config, state, batch, key: ({"w": state["w"] + 1}, {}),
        evaluate,
        data=data,
    )
    session = js.sweep(task, js.grid({"called": ["a", "b"]}), steps=3, evaluate_every=3)
    for trial in session.trials():
        mine, other = trial.config["called"], "b" if trial.config["called"] == "a" else "a"
        assert session.curves(f"validation/{mine}")[trial.id] == [(3, 6.0)]
        assert session.curves(f"validation/{other}")[trial.id] == []
