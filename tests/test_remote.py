"""Executors: the record of a sweep that worker processes train is that of threads to the bit, whatever dies."""

import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from conformance import SWEEPS, make_task, record_of, states_of, sweep_of

import jsweep as js
from jsweep.engine.executors import jobs, remote
from jsweep.engine.placement import default_workers
from jsweep.errors import ConfigError, JsweepError
from jsweep.runner import checkpointing
from jsweep.runner import remote as sending
from jsweep.storage.integrity import verify

TASK = make_task()


@pytest.fixture(scope="module")
def threads():
    """Jobs in threads of this process: all but the processes."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def short_jobs(monkeypatch):
    """A job for every segment."""
    monkeypatch.setattr(remote, "JOB_SECONDS", 0.0)


@pytest.fixture(scope="module")
def plain():
    """The record of each sweep, trained by threads."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = record_of(run(name))
        return known[name]

    return get


def run(name, store=None, callbacks=(), **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* trials failed")
        return js.run(sweep_of(TASK, name, store), callbacks=callbacks, **options)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_record_is_that_of_threads_to_the_bit(name, plain, threads, short_jobs):
    found = run(name, executor=threads)
    assert record_of(found) == plain(name)
    states = {str(trial.status) for trial in found.trials()}
    assert ("failed" in states, "stopped" in states) == (name == "failing", name == "halving")


def test_a_job_may_train_a_whole_tile(plain, threads):
    assert record_of(run("lengths", executor=threads)) == plain("lengths")


class Interrupt(js.Callback):
    """Ends the run at its n-th segment."""

    def __init__(self, after):
        self.left = after

    def on_segment(self, event):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["programs", "lengths", "halving", "tpe"])
def test_an_interrupted_run_goes_on_from_its_record(name, plain, threads, short_jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "LEAST_SECONDS", 0.0)
    store = tmp_path / "record.db"
    ways = [{"executor": threads}, {}, {"executor": threads}]
    for after, way in zip((2, 3, 2), ways, strict=True):
        with pytest.raises(KeyboardInterrupt):
            run(name, store, [Interrupt(after)], **way)
    with run(name, store, executor=threads) as session:
        assert record_of(session) == plain(name)
    assert not verify(store).faults


class Dying:
    """Loses the first results of every so many jobs, trained or not."""

    def __init__(self, executor, every):
        self.executor, self.every, self.count, self.workers = executor, every, 0, 2

    def submit(self, function, /, *args):
        self.count += 1
        if self.count % self.every:
            return self.executor.submit(function, *args)
        lost = Future()
        self.executor.submit(function, *args).add_done_callback(lambda _: lost.set_exception(OSError("worker gone")))
        return lost


def test_the_states_that_are_kept_are_the_same(threads, tmp_path, short_jobs):
    with (
        run("lengths", tmp_path / "plain.db") as one,
        run("lengths", tmp_path / "remote.db", executor=threads) as other,
    ):
        kept = states_of(one)
        assert len(kept) == 10
        assert states_of(other) == kept


def test_jobs_of_workers_that_die_are_done_again(plain, threads, short_jobs):
    assert record_of(run("halving", executor=Dying(threads, 3))) == plain("halving")


def test_a_job_whose_workers_always_die_ends_the_run_and_the_next_goes_on(plain, threads, tmp_path):
    with pytest.raises(JsweepError, match=r"workers died 4 times with the tile of trial \w+ \(OSError: worker gone\)"):
        run("programs", tmp_path / "record.db", executor=Dying(threads, 1))
    with run("programs", tmp_path / "record.db", executor=threads) as session:
        assert record_of(session) == plain("programs")


def test_worker_processes_give_the_same_record(plain):
    """Each is sent the task, which none of them can import, when it says that it lacks it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert record_of(run("programs", executor=executor)) == plain("programs")
        process = next(iter(executor._processes.values()))
        process.kill()
        process.join()
        with pytest.raises(JsweepError, match="the executor takes no more jobs"):
            run("programs", executor=executor)


PROCESS = """
import pickle, sys
import jsweep as js
js.configure()
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from conformance import make_task, record_of, sweep_of
with js.distributed() as executor:
    if executor is not None:
        found = record_of(js.run(sweep_of(make_task(), "halving"), executor=executor))
        open(sys.argv[3], "wb").write(pickle.dumps((executor.workers, found)))
"""


def test_processes_of_jax_distributed_give_the_same_record(plain, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", PROCESS, address]
    processes = [subprocess.Popen([*command, n, str(tmp_path / "found")], env=environment) for n in "01"]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    workers, found = pickle.loads((tmp_path / "found").read_bytes())
    assert workers == 2 * len(default_workers())
    assert found == plain("halving")
    with pytest.raises(ConfigError, match=r"call jax.distributed.initialize\(\) in every process"), js.distributed():
        pass


def test_a_worker_in_another_environment_is_refused(threads, monkeypatch):
    here = sending.describe_environment()
    answers = iter([here | {"processor": "another"}])
    monkeypatch.setattr(sending, "describe_environment", lambda: next(answers, here))
    with pytest.raises(JsweepError, match=r"its environment is not the driver's \(processor another, now"):
        run("programs", executor=threads)
    answers = iter([here | {"processor": "another"}])
    assert run("programs", executor=threads, any_environment=True).trials()


class Unsteady:
    """A factor that is another one wherever it is unpickled."""

    def __init__(self, factor):
        self.factor = factor

    def __reduce__(self):
        return Unsteady, (self.factor + 1,)


def test_a_worker_that_would_train_another_computation_is_refused(threads):
    factor = Unsteady(2)
    task = js.Task(
        lambda config, key: TASK.init(config, key)["w"] * factor.factor,
        lambda config, w, batch, key: (w - config["rate"] * w, {}),
        lambda config, w, split: {"loss": (w**2).sum()},
        data=TASK.data,
    )
    with pytest.raises(JsweepError, match="tracing the task on a worker gives another computation"):
        js.run(js.Sweep(task, [{"rate": 0.1}], steps=2), executor=threads)


def test_what_cannot_be_used_is_refused_before_anything_is_compiled(threads, monkeypatch):
    sweep = sweep_of(TASK, "programs")
    refused = [
        ({"executor": "ray"}, "executor is a str: pass a concurrent.futures.Executor"),
        ({"executor": ProcessPoolExecutor(1, multiprocessing.get_context("fork"))}, "executor forks this process"),
        ({"executor": Dying(threads, 1), "workers": 0}, "workers=0 is not valid"),
        ({"workers": 2}, "workers=2 is a number, which only an executor takes"),
    ]
    for options, message in refused:
        with pytest.raises(ConfigError, match=message):
            js.run(sweep, **options)
    nobody = Dying(threads, 1)
    del nobody.workers
    with pytest.raises(ConfigError, match="does not say how many workers it has: pass workers="):
        js.run(sweep, executor=nobody)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(js.MissingExtraError, match=r"pip install 'jsweep\[executors\]'"):
        js.run(sweep, executor=threads)


def test_the_test_split_does_not_travel(threads):
    class Spy:
        workers, parcels = 1, ()

        def submit(self, function, /, *args):
            self.parcels = *self.parcels, *(each for each in args[2:4] if each is not None)
            return threads.submit(function, *args)

    spy = Spy()
    with jobs._lock:
        jobs._tasks.clear()
        jobs._parts.clear()
    assert run("programs", executor=spy).trials()
    task = jobs._unpack(next(each for each in spy.parcels if any(known.startswith(each.id) for known in jobs._tasks)))
    assert task.data.test is None
    assert (task.data.train[0] == TASK.data.train[0]).all()
