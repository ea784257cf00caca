"""Workers: programs that must run alone do, a call that hangs is reported, and callbacks follow the record."""

import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from small import apply, make_task
from threadpoolctl import threadpool_info

import jsweep as js
from jsweep.engine import tile_size
from jsweep.engine.carry import Carry, clone, merge, split, stack, take
from jsweep.engine.compiling import compile_program
from jsweep.engine.concurrency import Program, lapack_hangs, uses_lapack
from jsweep.engine.events import dispatch, dispatched
from jsweep.engine.executors.watchdog import FIRST_SECONDS, LEAST_SECONDS, TIMES_LONGEST, Watchdog
from jsweep.engine.tile import Segment
from jsweep.planning import Tile
from jsweep.runner.prepare import prepare
from jsweep.storage.records import Score, Trial

GAUSSIAN_PROCESS = """
import sys
import jax, jax.numpy as jnp, numpy as np
import jsweep as js
from jsweep.engine.tile_size import measure_width
from jsweep.engine.placement import default_workers
from jsweep.runner.prepare import prepare
js.configure(cache=False)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(512, 8)).astype(np.float32), rng.normal(size=512).astype(np.float32)

def likelihood(scale, x, y):
    z = x * jnp.exp(scale)
    kernel = jnp.exp(-0.5 * jnp.square(z[:, None] - z[None]).sum(-1)) + 0.5 * jnp.eye(len(x))
    factor = jnp.linalg.cholesky(kernel)
    weights = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    return 0.5 * jnp.square(weights).sum() + jnp.log(jnp.diag(factor)).sum()

def step(config, scale, batch, key):
    value, gradient = jax.value_and_grad(likelihood)(scale, *batch)
    return scale - config["learning_rate"] * gradient, {"loss": value}

task = js.Task(
    lambda config, key: jnp.zeros(8),
    step,
    lambda config, scale, split: {"loss": likelihood(scale, *split)},
    data=js.Splits((x, y), (x[:64], y[:64])),
    batch_size=64,
)
sweep = js.Sweep(task, [{"learning_rate": 1e-4 * n} for n in range(1, 13)], steps=60, evaluate_every=20, tile=4)
workers = default_workers()[:1] * 2
if sys.argv[1] == "train":
    print(len(js.run(sweep, progress='off', workers=workers).trials()))
else:
    print(measure_width(task, prepare(sweep).groups[0], workers))
"""


@pytest.mark.parametrize("what", ["train", "measure"])
def test_programs_with_factorisations_end_with_two_workers(what, tmp_path):
    command = [sys.executable, "-c", GAUSSIAN_PROCESS, what]
    environment = os.environ | {"JSWEEP_CACHE": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=600)
    assert int(done.stdout) >= 1


@pytest.mark.parametrize(("seconds", "widest"), [(0.1, 4), (1e-6, 4096)])
def test_measuring_ends_where_wider_tiles_cannot_pay(data, tmp_path, monkeypatch, seconds, widest):
    """Beside steps of a tenth of a second nothing is left to save, and thousands of lanes would take minutes to say so."""
    monkeypatch.setenv("JSWEEP_CACHE", str(tmp_path))
    configs = js.grid({"learning_rate": np.geomspace(1e-3, 1e-1, 4096).tolist()})
    prepared = prepare(js.Sweep(make_task(data), configs, steps=1))
    timed = []

    def timing(program, group, width, train, workers):
        timed.append(width)
        return lambda: seconds / (1 + width / 1e6)  # a lane's step: ever wider is ever so little faster

    monkeypatch.setattr(tile_size, "lower_train", lambda *_: None)
    monkeypatch.setattr(tile_size, "compile_program", lambda *_: None)
    monkeypatch.setattr(tile_size, "timing", timing)
    width = tile_size.measure_width(prepared.setting.task, prepared.groups[0], jax.devices()[:1])
    assert timed == [2**power for power in range(widest.bit_length())]
    assert width == widest


@pytest.mark.parametrize(
    ("trials", "workers", "width"),
    [
        (10_000, 2, 64),
        (256, 2, 64),
        (32, 2, 16),  # 64 lanes of which 32 are empty would be one worker's alone
        (32, 1, 32),
        (3, 2, 2),
        (1, 2, 1),
    ],
)
def test_the_width_is_the_one_in_which_the_trials_end_first(trials, workers, width):
    microseconds = {1: 3.3, 2: 2.2, 4: 2.1, 8: 1.9, 16: 1.3, 32: 1.25, 64: 1.1, 128: 1.2}
    assert tile_size._fastest(microseconds, trials, workers) == width


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (jnp.linalg.cholesky, True),
        (jnp.linalg.eigh, True),
        (jnp.linalg.qr, True),
        (jnp.linalg.svd, True),
        (jax.scipy.linalg.expm, True),
        (lambda x: jax.lax.fori_loop(0, 3, lambda i, a: jnp.linalg.inv(a), x), True),
        (lambda x: jnp.tanh(x @ x), False),
    ],
)
def test_programs_with_lapack_are_found(function, calls):
    lowered = jax.jit(jax.vmap(function)).lower(jnp.ones((2, 3, 3)))
    assert uses_lapack(lowered, "cpu") == calls
    assert not uses_lapack(lowered, "gpu")


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.11.1", "0.12.0.1"])
def test_lapack_hangs_in_jaxlib_before_0_11_1(version, monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", version)
    assert lapack_hangs() == (version in ("0.10.2", "0.11.0"))


def test_programs_with_lapack_call_it_in_their_own_thread():
    program = compile_program(jax.jit(jnp.linalg.cholesky).lower(jnp.eye(3)), jax.devices()[0])
    program(jnp.eye(3))
    threads = [library["num_threads"] for library in threadpool_info() if "/scipy.libs/" in library["filepath"]]
    assert threads == [1] * len(threads)


def test_programs_that_run_alone_never_overlap():
    inside, most, lock = 0, 0, threading.Lock()

    def call():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.01)
        with lock:
            inside -= 1
        return jnp.zeros(1)

    programs = [Program(call, True), Program(call, True)]
    threads = [threading.Thread(target=lambda p=p: [p() for _ in range(5)]) for p in programs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_call_that_does_not_end_is_reported_once_with_its_program():
    now = [0.0]
    watchdog = Watchdog(lambda: now[0])
    with watchdog.watch("width=64"):
        now[0] += FIRST_SECONDS - 1  # nothing to compare with yet
        assert watchdog.report() == []
        now[0] += 2
        assert "width=64" in watchdog.report()[0]
        assert watchdog.report() == []
    with watchdog.watch("width=8"):
        now[0] += 10.0
        watchdog.finished_call()
        now[0] += 10.0 * TIMES_LONGEST - 1
        assert watchdog.report() == []
        now[0] += 2
        (report,) = watchdog.report()
        assert "[width=8] has been running for 501 s, and took at most 10.0 s before" in report
        assert "tile=1" in report
    with watchdog.watch("width=4"):
        watchdog.finished_call()
        now[0] += LEAST_SECONDS - 1
        assert watchdog.report() == []
    now[0] += 1e6  # nothing runs
    assert watchdog.report() == []


def test_a_worker_that_hangs_is_reported_by_the_run(monkeypatch):
    from jsweep.engine.executors import threads, watchdog

    monkeypatch.setattr(watchdog, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(threads, "POLL_SECONDS", 0.01)
    data = js.Splits(np.zeros((4, 1), np.float32), np.zeros((2, 1), np.float32))

    def wait(x):
        threading.Event().wait(0.5)
        return x

    def step(config, state, batch, key):
        return jax.pure_callback(wait, jax.ShapeDtypeStruct((), jnp.float32), state, vmap_method="sequential"), {}

    task = js.Task(
        lambda config, key: jnp.float32(0), step, lambda config, state, split: {"loss": state}, data=data, batch_size=4
    )
    with pytest.warns(UserWarning, match=r"a call of the program \[all\] has been running for"):
        js.run(js.Sweep(task, [{}], steps=1, tile=1), progress="off")


def make_carry(step, values, width=3):
    values = jnp.asarray(values, jnp.float32)
    return Carry(step, 10, width, {"w": jnp.stack([values, 2 * values], 1)}, {"loss": values}, values.astype(jnp.int32))


def assert_equal(one, other):
    assert one.position == other.position
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lanes_of_a_carry_are_taken_apart_and_put_together_unchanged():
    carry = make_carry(20, [1, 2, 3])
    assert carry.lanes == 3
    assert_equal(stack(split(carry)), carry)
    assert_equal(stack([take(carry, 2), take(carry, 0)]), make_carry(20, [3, 1]))
    assert_equal(merge([make_carry(20, [1]), make_carry(20, [2, 3])]), carry)
    assert_equal(clone(carry, [0, 0, 2, 1]), make_carry(20, [1, 1, 3, 2]))
    on_host = jax.device_get(carry)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(stack(split(on_host))))


@pytest.mark.parametrize("join", [stack, merge])
@pytest.mark.parametrize("other", [make_carry(30, [2]), make_carry(20, [2], width=4)])
def test_lanes_at_different_steps_or_of_different_widths_do_not_share_a_carry(join, other):
    carries = [make_carry(20, [1]), other]
    with pytest.raises(ValueError, match="lanes at 2 different positions cannot share a carry"):
        join([take(c, 0) for c in carries] if join is stack else carries)


def trained(trial, step, last):
    score = Score(trial, step, {"validation/loss": 0.5}, None, last)
    tile = Tile((Trial(trial, "c", {}, 0, 20),), 1)
    return js.Trained(0, tile, Segment((score,), make_carry(step, [1]), last, 10), "f")


EVENTS = [
    js.Compiled(0, 4, "f"),
    trained("a", 10, False),
    js.Halved(0, 2),
    trained("a", 20, True),
    js.Failed(0, (), ValueError("no")),
]


def test_callbacks_receive_the_events_they_ask_for():
    class Noted(js.Callback):
        def __init__(self):
            self.seen = []

        def on_compiled(self, event):
            self.seen.append(event)

        def on_segment(self, event):
            self.seen.append(event)

        def on_trial(self, trial, scores):
            self.seen.append((trial.id, scores))

        def on_failed(self, event):
            self.seen.append(event)

        def on_halved(self, event):
            self.seen.append(event)

    noted = Noted()
    for event in EVENTS:
        dispatch(event, [js.Callback(), noted])  # the first one ignores everything
    assert noted.seen == [*EVENTS[:4], ("a", {"validation/loss": 0.5}), EVENTS[4]]


def test_an_error_in_a_callback_ends_a_run_after_what_was_trained_is_recorded():
    class Fails(js.Callback):
        def on_segment(self, event):
            raise RuntimeError("the plot has no window")

    recorded, stop = [], threading.Event()

    def record():
        for event in dispatched(EVENTS, [Fails()], stop):
            assert stop.is_set() == (len(recorded) > 1)
            recorded.append(event)

    with pytest.raises(RuntimeError, match="the plot has no window"):
        record()
    assert recorded == EVENTS


@pytest.mark.parametrize("tile", ["measure", "auto"])
def test_a_function_on_the_host_is_not_handed_data_that_there_is_not(data, monkeypatch, tile):
    """As it would be where widths of tiles are measured, which a large sweep does by itself."""
    monkeypatch.setattr("jsweep.engine.tile_size.WORTH_MEASURING", 0.0)
    seen = []

    def looked_at(config, params, x, key):
        jax.debug.callback(lambda total: seen.append(float(total)), x.sum())
        return apply(config, params, x, key)

    js.sweep(make_task(data, apply=looked_at), [{"learning_rate": 0.1}], steps=2, tile=tile)
    assert len(seen) == 4  # two batches, the validation split twice
    assert 0.0 not in seen
