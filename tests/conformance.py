"""What every executor is to do: sweeps whose records on it are compared with those of threads, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
from small import rows_of

import jsweep as js


def make_task():
    """Three numbers and a counter; two programs (``kind``), noise, NaN above one rate, an exception at another."""
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)

    def check(rate):
        if 0.79 < rate < 0.81:
            raise ValueError("a rate of 0.8")
        return np.float32(0)

    def init(config, key):
        return {"w": jax.random.normal(key, (3,)), "key": jax.random.fold_in(key, 1)}

    def step(config, state, batch, key):
        move = config["rate"] * (state["w"] - batch[0].mean(0)) + 0.01 * jax.random.normal(key, (3,))
        move += 0.01 * jax.random.normal(jax.random.fold_in(state["key"], 3), (3,))
        w = state["w"] - (jnp.tanh(move) if config["kind"] == "tanh" else move)
        if config["kind"] == "called":
            shape = jax.ShapeDtypeStruct((), jnp.float32)
            w += jax.pure_callback(check, shape, config["rate"], vmap_method="sequential")
        w = jnp.where(config["rate"] > 0.95, w * jnp.nan, w)
        return {"w": w, "key": state["key"]}, {"loss": jnp.abs(w).sum()}

    def evaluate(config, state, split):
        return {"loss": jnp.abs(state["w"] - split[0].mean(0)).sum()}

    return js.Task(init, step, evaluate, data=js.Splits((x,), (x[:8],), (x[8:16],)), batch_size=8, name="stub")


SPACE = {"rate": js.log_uniform(1e-3, 1.0), "kind": ["plain", "tanh"]}
KINDS = [{"rate": rate, "kind": kind} for kind in ("plain", "tanh") for rate in (0.01, 0.1, 0.5, 1.0)]
LENGTHS = [{"rate": 0.1 * n, "kind": "plain", "steps": 4 * n} for n in range(1, 6)]
OPTIONS = {"steps": 12, "evaluate_every": 3, "seeds": 2, "tile": 4}
RULES = js.rules
SWEEPS = {
    "programs": {"configs": KINDS, "checkpoints": "all"},
    "lengths": {"configs": LENGTHS, "steps": None, "checkpoints": "all"},
    "failing": {"configs": [{"rate": rate, "kind": "called"} for rate in (0.1, 0.2, 0.8)], "tile": 4},
    "halving": {"configs": js.random(SPACE, 9, key=1), "rule": RULES.successive_halving(3)},
    "population": {
        "configs": js.random(SPACE | {"kind": ["plain"]}, 8, key=3),
        "rule": RULES.population_based_training(6, quantile=0.3),
        "steps": 27,
    },
    "tpe": {"configs": js.tpe(SPACE, 12, key=0, batch=6)},
}


def sweep_of(task, name, store=None, **changes):
    """One of `SWEEPS`."""
    return js.Sweep(task, **{**OPTIONS, "store": store, "name": name, **SWEEPS[name], **changes})


def record_of(session):
    """Every score, how each trial ended and in which program, and what was copied."""
    ended = {(t.id, str(t.status), t.done, t.reason, t.nonfinite, t.program, t.width) for t in session.trials()}
    copies = session.lineage().copies if session.prepared.rule and session.prepared.rule.copying else ()
    return rows_of(session), ended, copies


def states_of(session):
    """The final state of every trial, as bytes; its sweep keeps ``checkpoints="all"``."""
    states = {}
    for trial in session.trials():
        leaves = jax.tree.leaves(session.state(trial.id))
        is_key = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
        data = [jax.random.key_data(leaf) if key else leaf for leaf, key in zip(leaves, is_key, strict=True)]
        states[trial.id] = b"".join(np.asarray(leaf).tobytes() for leaf in data)
    return states
