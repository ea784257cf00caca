"""What executors cost beside the threads of one process, and how many workers one driver keeps busy.

    python experiments/benchmarks/executors.py                # threads, processes and Ray at tiles of 0.1, 1 and 10 s
    python experiments/benchmarks/executors.py --driver       # the driver alone, with simulated workers

A tile sleeps for its time, on two workers each way; the first run of each way, which starts processes and compiles, is not
counted. Simulated workers answer after a tile's time without training; the driver claims, records and decides as always.
"""

import argparse
import functools
import heapq
import multiprocessing
import os
import pickle
import statistics
import tempfile
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jsweep as js
from jsweep.engine.executors.jobs import Done, Piece, Saved
from jsweep.engine.placement import default_workers
from jsweep.storage.records import Score

WORKERS = 2
TILES = {0.1: 40, 1.0: 12, 10.0: 4}


def sleeping(seconds):
    """A task whose every step takes some seconds of sleep."""

    def sleep(x):
        time.sleep(seconds)
        return np.asarray(x)

    def step(config, state, batch, key):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(sleep, shape, state + config["rate"], vmap_method="sequential"), {}

    data = js.Splits((np.ones((8, 1), np.float32),), (np.ones((4, 1), np.float32),))
    init, evaluate = lambda config, key: jnp.zeros(()), lambda config, state, split: {"loss": state}
    return js.Task(init, step, evaluate, data=data, batch_size=8, name="sleeping")


def sweep_of(task, trials, store=None, **options):
    configs = [{"rate": 0.001 * n} for n in range(1, trials + 1)]
    given = {"steps": 1, "evaluate_every": 1, "tile": 1, "store": store, "name": "load"}
    return js.Sweep(task, configs, **(given | options))


def seconds_of(sweep, **way):
    begun = time.perf_counter()
    js.run(sweep, progress="off", **way)
    return time.perf_counter() - begun


def overheads(rounds, tiles):
    workers = (default_workers() * WORKERS)[:WORKERS]
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as processes:
        ways = {"threads": {"workers": workers}, "processes": {"executor": processes}}
        try:
            import ray

            ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            ways["ray"] = {"executor": js.ray()}
        except ImportError:
            print("Ray is not installed")
        for seconds in tiles:
            sweep = sweep_of(sleeping(seconds), TILES[seconds])
            warm = sweep_of(sweep.task, WORKERS + 1)
            times = {name: [] for name in ways}
            for way in ways.values():
                seconds_of(warm, **way)
            for _ in range(rounds):
                for name, way in ways.items():
                    times[name].append(seconds_of(sweep, **way))
            plain = statistics.median(times["threads"])
            for name, taken in times.items():
                each = statistics.median(taken)
                print(
                    f"tiles of {seconds:g} s, {TILES[seconds]} on {WORKERS} workers: {name} {each:.2f} s "
                    f"({min(taken):.2f} to {max(taken):.2f}), {each / plain - 1:+.1%} against threads"
                )


class Simulated:
    """Workers that answer each job after some seconds, in one thread."""

    def __init__(self, workers, seconds, metrics, state_bytes):
        self.workers, self.seconds, self.metrics = workers, seconds, metrics
        self.state = np.zeros(max(1, state_bytes // 4), np.float32)
        self.jobs, self.changed, self.number = [], threading.Condition(), 0
        self.begun = self.ended = 0.0  # seconds of this process's cores at the first job and at the last answer
        threading.Thread(target=self._answer, daemon=True).start()

    def put(self, value):
        return functools.partial(lambda: value)

    def submit(self, function, /, *args):
        future = Future()
        with self.changed:
            self.number += 1
            self.begun = self.begun or time.process_time()
            heapq.heappush(self.jobs, (time.monotonic() + self.seconds, self.number, future, args[-1]))
            self.changed.notify()
        return future

    def _answer(self):
        while True:
            with self.changed:
                while not self.jobs:
                    self.changed.wait()
                due, _, future, job = self.jobs[0]
                if due > time.monotonic():
                    self.changed.wait(due - time.monotonic())
                    continue
                heapq.heappop(self.jobs)
            future.set_result(self._done(pickle.loads(job)))
            self.ended = time.process_time()

    def _done(self, job):
        tile = job.tile
        step = tile.trials[0].steps
        values = dict.fromkeys(self.metrics, 0.5)
        scores = tuple(Score(trial.id, step, values, None, True) for trial in tile.trials)
        saved = Saved(step, 0, {"state": self.state}) if self.state.nbytes > 4 else None
        return Done((Piece(scores, step, 0, True, step * len(tile.trials), saved),), "0" * 16)


def driver(workers, lanes, tiles):
    task = sleeping(0.0)
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (0.0, 10.0):
            count = tiles if seconds == 0.0 else min(tiles, 3 * workers)
            sweep = sweep_of(task, count * lanes, Path(folder) / f"{seconds:g}.db", tile=lanes, checkpoints="off")
            executor = Simulated(workers, seconds, ("validation/loss",), 0)
            taken = seconds_of(sweep, executor=executor)
            used = executor.ended - executor.begun
            ideal = seconds * -(-count // workers)
            print(
                f"{workers} simulated workers, {count} tiles of {lanes} lanes and {seconds:g} s: {taken:.1f} s in all "
                f"(the workers' part {ideal:.1f} s), {1e3 * used / count:.2f} ms of the driver's core a tile, "
                f"which keeps {count / used:.0f} workers busy at tiles of 1 s and {10 * count / used:.0f} at tiles of 10 s"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiles", type=float, nargs="+", default=[*TILES], choices=[*TILES])
    parser.add_argument("--driver", action="store_true")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--count", type=int, default=2000, help="tiles")
    given = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    js.configure()
    if given.driver:
        driver(given.workers, given.lanes, given.count)
    else:
        overheads(given.rounds, given.tiles)


if __name__ == "__main__":
    main()
