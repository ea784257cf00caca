"""A model sharded over a mesh within its tile: in processes of their own, whose CPU is taken for four devices."""

import os
import subprocess
import sys

TASK = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, jax.numpy as jnp, numpy as np, optax, pytest, sys
import jsweep as js
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

js.configure()
MESH = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
random = np.random.default_rng(0)
x = random.normal(size=(200, 16)).astype(np.float32)
data = js.split(x, (x[:, 0] > 0).astype(np.int32))


def task_of(mesh):
    put = lambda a, *spec: a if mesh is None else jax.lax.with_sharding_constraint(a, NamedSharding(mesh, P(*spec)))

    def init(config, key):
        one, two = jax.random.split(key)
        return {"one": put(jax.random.normal(one, (16, 64)) / 4, None, "model"),
                "two": put(jax.random.normal(two, (64, 2)) / 8, "model", None)}

    def apply(config, params, x, key):
        hidden = jax.nn.relu(put(x, "data") @ params["one"])
        return put(hidden, "data", "model") @ params["two"]

    return js.supervised(init, apply, loss=js.losses.softmax_cross_entropy, data=data, batch_size=16, mesh=mesh, name="m",
                         optimizer=lambda config: optax.adam(config["learning_rate"]))


def sweep_of(mesh, store=":memory:", steps=20, rates=(0.01, 0.03), **options):
    configs = js.grid({"learning_rate": list(rates)})
    return js.Sweep(task_of(mesh), configs, **({"seeds": 2, "evaluate_every": 5, "steps": steps, "store": store} | options))


curves = lambda session: dict(session.curves("validation/loss"))
"""


def run(script, *arguments):
    source = TASK + script
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", source, *map(str, arguments)]
    found = subprocess.run(command, timeout=300, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


def test_a_model_over_a_mesh_is_sharded_and_trains_as_on_one_device(tmp_path):
    run(
        """
session, plain = js.run(sweep_of(MESH, sys.argv[1])), js.run(sweep_of(None))
assert {trial.width for trial in session.trials()} == {1}
for trial, pairs in curves(session).items():
    np.testing.assert_allclose(pairs, curves(plain)[trial], rtol=1e-5)
assert js.replay(session, session.trials()[1].id).difference is None
tested, alone = session.test().scores["test/loss"], plain.test().scores["test/loss"]
np.testing.assert_allclose(tested, alone, rtol=1e-5)
state = session.best().state()  # trained again, over the mesh
for leaf in (*jax.tree.leaves(state["params"]), state["optimizer"][0].mu["one"]):
    assert len(leaf.addressable_shards) == 4 and leaf.addressable_shards[0].data.size == leaf.size // 2, leaf.sharding
params, others = session.best().params(), plain.best().params()
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, others)
ruled = dict(seeds=1, rates=(1e-4, 0.01, 0.03, 0.1), rule=js.rules.successive_halving(5))
one, two = (js.run(sweep_of(MESH, checkpoints=kept, **ruled)) for kept in ("running", "all"))
assert curves(one) == curves(two) and len({len(pairs) for pairs in curves(one).values()}) > 1
""",
        tmp_path / "s.db",
    )


def test_over_a_mesh_sweeps_are_resumed_to_the_bit_and_other_meshes_refused(tmp_path):
    """In three processes: one that ends after its first segments, one that goes on, and one beside them."""
    ended = """
class Die(js.Callback):
    def on_segment(self, event):
        if event.segment.carry.step >= 10:
            os._exit(0)
js.run(sweep_of(MESH, sys.argv[1]), callbacks=[Die()])
"""
    whole = """
session = js.run(sweep_of(MESH, sys.argv[1]))
print({trial: [(step, value.hex()) for step, value in pairs] for trial, pairs in curves(session).items()})
"""
    run(ended, tmp_path / "killed.db")
    assert run(whole, tmp_path / "killed.db") == run(whole, tmp_path / "whole.db")
    run(
        """
with pytest.raises(js.IncompatibleSweepError, match="made with other mesh"):
    js.run(sweep_of(None, sys.argv[1]))
with pytest.raises(js.ConfigError, match="tile=4 and the task has a mesh"):
    js.run(sweep_of(MESH, tile=4))
with pytest.raises(js.ConfigError, match="workers is given and the task has a mesh"):
    js.run(sweep_of(MESH), workers=jax.local_devices())
with pytest.raises(js.ConfigError, match="executor is given and the task has a mesh"):
    js.run(sweep_of(MESH), executor=__import__("concurrent.futures").futures.ThreadPoolExecutor(2))
with pytest.raises(js.ConfigError, match="mesh is a int"):
    task_of(3)
with pytest.raises(js.ConfigError, match="on= predicts for one device"):
    js.plan(sweep_of(MESH), on="h100")
plan = js.plan(sweep_of(MESH))
assert plan.groups[0].width == 1 and plan.workers == 1
""",
        tmp_path / "whole.db",
    )
