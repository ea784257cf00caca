"""A task of three numbers for tests of rules, and how a run of it is interrupted and compared."""

from concurrent.futures import Future

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import rows_of

import jsweep as js
from jsweep.engine.events import Compiled
from jsweep.engine.executors.programs import Programs


def stub_task():
    """A state of three numbers, two programs (``kind``), noise of its own, NaN for one rate."""
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)

    def init(config, key):
        return {"w": jax.random.normal(key, (3,))}

    def step(config, state, batch, key):
        move = config["rate"] * (state["w"] - batch[0].mean(0)) + 0.01 * jax.random.normal(key, (3,))
        w = state["w"] - (jnp.tanh(move) if config["kind"] == "tanh" else move)
        w = jnp.where(config["rate"] > 0.95, w * jnp.nan, w)
        return {"w": w}, {"loss": jnp.abs(w).sum()}

    def evaluate(config, state, split):
        return {"loss": jnp.abs(state["w"] - split[0].mean(0)).sum()}

    return js.Task(init, step, evaluate, data=js.Splits((x,), (x[:8],)), batch_size=8, name="stub")


@pytest.fixture(scope="module", autouse=True)
def remembered_programs():
    """Programs of the module's task are compiled once in all, as every run here has the same ones."""
    compile_one, known = Programs._compile, {}

    def remembered(self, number, width, device):
        key = (self._setting.task, self._work[number].group.key, width, device)
        if key not in known:  # a future; one that was cancelled will not do for others
            found = compile_one(self, number, width, device)
            known[key] = found.result()
            return found
        self._emit(Compiled(number, width, known[key][1]))
        found = Future()
        found.set_result(known[key])
        return found

    Programs._compile = remembered
    yield
    Programs._compile = compile_one


def outcome(session):
    """Every score, and how each trial ended."""
    return rows_of(session), {(t.id, str(t.status), t.done, t.reason) for t in session.trials()}


class Interrupting(js.Callback):
    """Ends the run at its n-th segment or decision."""

    def __init__(self, after):
        self.left = after

    def on_segment(self, event):
        self.count()

    def on_stopped(self, event):
        self.count()

    def on_copied(self, event):
        self.count()

    def count(self):
        self.left -= 1
        if self.left < 0:
            raise InterruptedError
