"""What a trial costs beside its arithmetic: many trials of a model of three numbers, from the space to the ranking.

    python experiments/benchmarks/machinery.py [--trials 10000,100000] [--stores none,file] [--tile 1024] [--beside vmap,...]

Each size and store is measured in a process of its own, compilations cached before. Printed are microseconds a trial: the
grid, the run and what of it is planning, claiming, recording and training (threads overlap, so these do not add up to the
run), then resuming the finished sweep, attaching to it, ranking and showing it, in the same process and opened afresh; memory
a trial at the end and at the peak; and the bytes of the record a trial and metric. Beside it, a trial of the same model
by a jitted ``vmap`` in chunks, which records nothing, and by hyperoptax, and Optuna's asking and telling alone, which trains
nothing (in memory, and in SQLite); the last two need the peers extra.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

METRICS = 2
PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "contestants", "machinery_peers.py")


def measure(trials: int, store: str | None, tile: int) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jsweep as js
    from jsweep.engine import tile as engine_tile
    from jsweep.runner import training as runner
    from jsweep.runner.checkpointing import Checkpointing
    from jsweep.storage import Store

    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)

    def init(config, key):
        return {"w": jax.random.normal(key, (2,)), "b": jnp.zeros(())}

    def loss(params, batch):
        return jnp.mean((batch[0] @ params["w"] + params["b"] - batch[1]) ** 2)

    def step(config, state, batch, key):
        value, gradients = jax.value_and_grad(loss)(state, batch)
        return jax.tree.map(lambda p, g: p - config["learning_rate"] * g, state, gradients), {"loss": value}

    data = js.Splits((x, x[:, 0]), (x, x[:, 0]))
    evaluate = lambda config, state, split: {"loss": loss(state, split)}
    task = js.Task(init, step, evaluate, data=data, batch_size=8, name="tiny")
    make = lambda rates, where: js.Sweep(
        task, js.grid({"learning_rate": rates.tolist()}), steps=2, evaluate_every=2, tile=tile, store=where, name="tiny"
    )
    js.run(make(np.linspace(0.2, 0.3, 4 * tile), None))  # compiles

    spent: dict[str, float] = {}
    parts = (
        ("prepare", runner, "prepare"),
        ("claim", Store, "claim"),
        ("record", Store, "record_segment"),
        ("checkpoint", Checkpointing, "save"),
        ("train", engine_tile, "_train_to"),
        ("train", engine_tile, "_start"),
        ("train", engine_tile, "_evaluate"),
        ("states", Store, "states"),
        ("trials", Store, "trials"),
    )
    for name, owner, function in parts:
        setattr(owner, function, _timed(name, getattr(owner, function), spent))

    before, found = _resident(), {}

    def timed(name, call):
        begun = time.perf_counter()
        made = call()
        found[name] = 1e6 * (time.perf_counter() - begun) / trials
        return made

    sweep = timed("grid", lambda: make(np.linspace(1e-3, 1e-1, trials), store))
    session = timed("run", lambda: js.run(sweep))
    found |= {f"  {name}": 1e6 * seconds / trials for name, seconds in sorted(spent.items(), key=lambda kv: -kv[1])}
    found["memory_bytes"] = (_resident() - before) / trials
    best = timed("rank", session.best)
    timed("show", lambda: str(session))
    if store is not None:
        session.close()
        again = timed("resume", lambda: js.run(make(np.linspace(1e-3, 1e-1, trials), store)))
        again.close()
        opened = timed("open", lambda: js.open(store, "tiny"))
        assert timed("rank, opened", opened.best).config == best.config
        opened.close()
        found["record_bytes_a_metric"] = os.path.getsize(store) / trials / METRICS
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / trials
    return found


def _timed(name, function, spent):
    def wrapped(*args, **kwargs):
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

    return wrapped


def _resident() -> int:
    """Bytes that the process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="10000,100000")
    parser.add_argument("--stores", default="none,file", help="none, file or both")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--beside", default="", help="vmap, hyperoptax, optuna, optuna-sqlite")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        trials, store = given.one
        print(json.dumps(measure(int(trials), store or None, given.tile)))
        return
    columns = {}
    for trials in map(int, given.trials.split(",")):
        for kind in given.stores.split(","):
            with tempfile.TemporaryDirectory() as folder:
                store = os.path.join(folder, "record.db") if kind == "file" else ""
                command = [sys.executable, os.path.abspath(__file__), "--one", str(trials), store]
                columns[f"{trials} {kind}"] = json.loads(last_line([*command, "--tile", str(given.tile)]))
    print(f"{'microseconds a trial':22}", *(f"{title:>14}" for title in columns))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        shown = (f"{column[name]:14.1f}" if name in column else f"{'':14}" for column in columns.values())
        print(f"{name:22}", *shown)
    for contestant in filter(None, given.beside.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, PEERS, contestant, str(max(map(int, given.trials.split(",")))), folder]
            print(f"{contestant:22} {float(last_line(command)):14.1f}")


def last_line(command: list[str]) -> str:
    """The last line that a command prints; where it fails, this process ends with what it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
