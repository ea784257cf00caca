"""Seconds from `js.run`, and from the start of the process, to the first recorded score, and what they are spent on.

    python experiments/benchmarks/first_score.py              # three families of models, from a cold and from a warm cache
    python experiments/benchmarks/first_score.py --groups 100 # compile groups: the whole run beside the seconds of compiling

Each run is a process of its own; "cold" begins with an empty compilation cache and "warm" with what a run before it has left.
Columns are medians of interleaved rounds, with their spread. "planned" is when the sweep is traced and checked, "compiled" when
the first program is ready, "first score" when the first segment is recorded. The seconds of tracing, lowering and compiling are
JAX's own, summed over threads that work at the same time; "programs" are those compiled, and not found in the cache.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

WORKLOADS = {
    "digits perceptron": "digits",
    "small convolutional net": "conv",
    "small transformer": "transformer",
}
PHASES = {
    "tracing": "/jax/core/compile/jaxpr_trace_duration",
    "lowering": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "compiling": "/jax/core/compile/backend_compile_duration",
}
COLUMNS = ("imports", "data", "planned", "compiled", "first score", "whole", *PHASES, "programs")


# -- a process that runs a sweep ----------------------------------------------------------------------------------------


def work(name: str, groups: int) -> None:
    """Run one sweep and print when what had happened, in seconds from the start of this process."""
    started = float(os.environ["STARTED"])
    clock = lambda: time.time() - started
    import jax

    import jsweep as js

    at: dict[str, float] = {"imports": clock()}
    sums, counts = dict.fromkeys(PHASES, 0.0), {"compiled": 0, "hits": 0}

    def on_duration(event: str, duration_secs: float, **_: object) -> None:
        for phase, known in PHASES.items():
            sums[phase] += duration_secs if event == known else 0.0
        counts["compiled"] += event == PHASES["compiling"]

    def on_event(event: str, **_: object) -> None:
        counts["hits"] += event == "/jax/compilation_cache/cache_hits"

    _note(at, "planned", clock, "jsweep.runner.training", "run_tiles", before=True)
    _note(at, "compiled", clock, "jsweep.engine.executors.programs", "assembled")
    _note(at, "first score", clock, "jsweep.storage", "Store.record_segment")
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)
    sweep = _many_groups(groups) if groups else _sweep(name)
    at["data"] = clock()
    js.run(sweep, progress="off")
    at["whole"] = clock()
    print(json.dumps({**at, **sums, "programs": counts["compiled"] - counts["hits"]}))


def _note(at: dict[str, float], name: str, clock, module: str, function: str, before: bool = False) -> None:
    """Note when a function of jsweep's is first called, or returns for the first time; a callback would be given a plan first."""
    *owners, function = function.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    real = getattr(owner, function)

    @functools.wraps(real)
    def noted(*args, **kwargs):
        if before:
            at.setdefault(name, clock())
        result = real(*args, **kwargs)
        at.setdefault(name, clock())
        return result

    setattr(owner, function, noted)


def _sweep(name: str):
    import jsweep as js

    if name != "digits":
        from contestants.families import FAMILIES
        from contestants.family_task import sweep

        return sweep(FAMILIES[name](), 32, tile="auto")
    task, _ = _digits()
    space = {"learning_rate": js.logspace(1e-4, 1.0, 64), "l2": [0.0, 1e-4, 1e-3]}
    return js.Sweep(task, js.grid(space), objective="validation/accuracy", steps=1000, evaluate_every=100)


def _many_groups(groups: int):
    """As many compile groups: widths of a perceptron, each with eight learning rates."""
    import jsweep as js

    task, widths = _digits(), [8 + number for number in range(groups)]
    space = {"width": widths, "learning_rate": js.logspace(1e-3, 1.0, 8)}
    return js.Sweep(task[0], js.grid(space), objective="validation/accuracy", steps=300, evaluate_every=100)


def _digits():
    import jax
    import optax
    from sklearn.datasets import load_digits

    import jsweep as js

    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype("float32"), y, validation=0.2, test=0.2, key=0)

    def init(config, key):
        return js.models.init_mlp(key, [64, config.get("width", 32), 10])

    def apply(config, params, x, key):
        return js.models.apply_mlp(params, x, jax.nn.relu)

    task = js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"], momentum=0.9),
        data=data,
        metrics={"accuracy": js.metrics.accuracy},
        name="digits",
    )
    return task, data


# -- the rounds ---------------------------------------------------------------------------------------------------------


def measured(name: str, groups: int, cache: str) -> dict[str, float]:
    """One run in a fresh process with the compilation cache in a folder; its times from the end of what was before."""
    environment = os.environ | {"JSWEEP_CACHE": cache, "STARTED": repr(time.time()), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, os.path.abspath(__file__), "--worker", name, "--groups", str(groups)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found["whole from run"], found["from run"] = found["whole"] - found["data"], found["first score"] - found["data"]
    return found


def shown(values: list[float]) -> str:
    """The median and the spread."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def families(names: list[str], rounds: int) -> None:
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for title in names:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "warm"):
                    found.setdefault((title, state), []).append(measured(WORKLOADS[title], 0, cache))
    for (title, state), runs in found.items():
        print(f"{title}, {state} cache: first score {shown([run['from run'] for run in runs])} s from js.run")
        print("   from the start of the process, in s:", *(f"{n} {_median(runs, n):.2f};" for n in COLUMNS[:6]))
        print("   within, in s of all threads:", *(f"{n} {_median(runs, n):.2f};" for n in PHASES), end=" ")
        print(f"programs compiled {max(run['programs'] for run in runs):.0f}")


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def groups(number: int, rounds: int) -> None:
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                run = measured("digits", number, cache)
                print(
                    f"{number} compile groups, {state} cache: {run['whole from run']:.1f} s in all, the first score after "
                    f"{run['from run']:.1f} s; tracing {run['tracing']:.1f} s, lowering {run['lowering']:.1f} s, compiling "
                    f"{run['compiling']:.1f} s of all threads; {run['programs']:.0f} programs compiled",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=0, help="so many compile groups in place of the families")
    parser.add_argument("--families", default=",".join(WORKLOADS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.groups)
    elif given.groups:
        groups(given.groups, given.rounds)
    else:
        families(given.families.split(","), given.rounds)


if __name__ == "__main__":
    main()
