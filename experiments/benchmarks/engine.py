"""jsweep's engine beside the usual ways to train many small models, in one run.

    python experiments/benchmarks/engine.py [--workloads mlp128-sgd,...] [--only a,b,c,...] [--rounds 5] [--json FILE]
    python experiments/benchmarks/engine.py --end-to-end          # from a cold cache, compilation and all

Each contestant lives in a process of its own, set up as its users set it up, and trains one round at a time when told to,
so that rounds interleave and never overlap. Shown are medians with their spread: milliseconds a trial, floating-point
work a second, its share of the machine's float32 GEMM peak measured between the rounds, and the time relative to jsweep's. A
row is marked wrong where its best lane has not learned.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from contestants.workloads import WORKLOADS

CONTESTANTS = {
    "a": ("loop over a jitted run", "jax_plain", "solo"),
    "b": ("plain jit(vmap)", "jax_plain", "vmapped"),
    "c": ("jsweep", "ours", "lanes"),
    "d": ("PyTorch eager", "torch_peers", "eager"),
    "e": ("torch.func ensemble", "torch_peers", "ensemble"),
    "f": ("scikit-learn grid search", "sklearn_peer", "grid_search"),
    "g": ("Optuna + PyTorch", "torch_peers", "optuna_study"),
    "h": ("hyperoptax", "hyperoptax_peer", "grid_search"),
}
STEADY = ["mlp16-adam", "mlp64-adam", "mlp128-sgd", "mlp256-adam", "cnn-adam", "transformer-adam"]
LEARNED = 1.5  # nats: where guessing gives 2.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(STEADY), help=f"of {', '.join(WORKLOADS)}")
    known = ", ".join(f"{letter} ({title})" for letter, (title, *_) in CONTESTANTS.items())
    parser.add_argument(
        "--only", default=",".join(CONTESTANTS), help=f"contestants: {known}; d to h need the peers extra"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--end-to-end", action="store_true", help="256 trials of mlp32-adam from a cold cache")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        serve(*given.worker)
        return
    names, letters = given.workloads.split(","), given.only.split(",")
    for unknown in [n for n in names if n not in WORKLOADS] + [k for k in letters if k not in CONTESTANTS]:
        parser.error(f"{unknown!r} is no workload or contestant: choose of {', '.join([*WORKLOADS, *CONTESTANTS])}")
    rows = (
        end_to_end(given.rounds) if given.end_to_end else [r for n in names for r in steady(n, letters, given.rounds)]
    )
    if given.json:
        with open(given.json, "w") as file:
            json.dump(rows, file, indent=2)


# -- a contestant's process -------------------------------------------------------------------------------------------


def serve(letter: str, workload: str) -> None:
    """Run one round for each line on standard input; answer with a line of JSON."""
    _, module, function = CONTESTANTS[letter]
    try:
        one_round = getattr(importlib.import_module(f"contestants.{module}"), function)(WORKLOADS[workload])
    except (ImportError, NotImplementedError) as error:
        print(json.dumps({"left_out": str(error)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        seconds, losses = one_round()
        print(json.dumps({"seconds": seconds, "loss": min(v for v in losses if v == v)}), flush=True)


class Contestant:
    """A process that trains a round when asked."""

    def __init__(self, letter: str, workload: str):
        command = [sys.executable, os.path.abspath(__file__), "--worker", letter, workload]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.letter, self.times, self.loss = letter, [], float("nan")
        first = self._answer()
        self.left_out = first.get("left_out") or (None if first.get("ready") else "its process failed")

    def round(self, keep: bool) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.loss = answer["loss"]
        if keep:
            self.times.append(answer["seconds"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {}


# -- steady state -----------------------------------------------------------------------------------------------------


def steady(name: str, letters: list[str], rounds: int) -> list[dict]:
    """Interleaved rounds of all contestants on one workload, after a first that compiles and warms up."""
    workload = WORKLOADS[name]
    contestants = [Contestant(letter, name) for letter in letters]
    running = [c for c in contestants if c.left_out is None]
    peaks = []
    try:
        for turn in range(rounds + 1):
            for contestant in running:
                contestant.round(keep=turn > 0)
            peaks.append(gemm_peak())
    finally:
        for contestant in contestants:
            contestant.close()
    peak = statistics.median(peaks)
    print(f"\n{name}: {workload.lanes} lanes, {workload.steps} steps; GEMM peak {peak / 1e9:.0f} GF/s", end="")
    print(f" ({min(peaks) / 1e9:.0f} to {max(peaks) / 1e9:.0f}), {rounds} rounds")
    ours = next((statistics.median(c.times) for c in running if c.letter == "c"), float("nan"))
    rows = []
    for contestant in contestants:
        title = f"({contestant.letter}) {CONTESTANTS[contestant.letter][0]}"
        if contestant.left_out is not None:
            print(f"  {title:28} left out: {contestant.left_out}")
            continue
        median = statistics.median(contestant.times)
        rate = workload.flops_a_step * workload.steps / median
        wrong = "" if contestant.loss < LEARNED else "  WRONG: has not learned"
        print(
            f"  {title:28} {1e3 * median:9.2f} ms a trial ({1e3 * min(contestant.times):.2f} to "
            f"{1e3 * max(contestant.times):.2f})  {rate / 1e9:6.1f} GF/s  {rate / peak:5.0%} of peak  "
            f"{median / ours:6.2f} x jsweep{wrong}"
        )
        rows.append(
            {
                "workload": name,
                "contestant": contestant.letter,
                "seconds_a_trial": contestant.times,
                "gflops": rate / 1e9,
                "peak_gflops": peak / 1e9,
                "times_jsweep": median / ours,
                "loss": contestant.loss,
            }
        )
    return rows


def gemm_peak() -> float:
    """Floating-point operations a second of a large float32 matrix product in NumPy, best of three."""
    import numpy as np

    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - begun)
    return 2 * 2048**3 / best


# -- end to end -------------------------------------------------------------------------------------------------------

OURS = """
import sys, json; sys.path.insert(0, {folder!r})
from contestants import ours
from contestants.workloads import WORKLOADS
print(json.dumps(ours.end_to_end(WORKLOADS["mlp32-adam"])))
"""


def end_to_end(rounds: int) -> list[dict]:
    """256 trials of the width-32 perceptron: jsweep from a cold cache and from a warm one, beside Optuna + PyTorch."""
    name = "mlp32-adam"
    lanes = WORKLOADS[name].lanes
    optuna = Contestant("g", name)
    cold, warm, theirs = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_sweep_in(cache))
            warm.append(_sweep_in(cache))
        if optuna.left_out is None:
            optuna.round(keep=True)
            theirs.append({"seconds": optuna.times[-1] * lanes})
    optuna.close()
    base = statistics.median(found["seconds"] for found in cold)
    print(
        f"\n{name} end to end: {lanes} trials of {WORKLOADS[name].steps} steps, {rounds} rounds (Optuna: 2 trials, scaled)"
    )
    rows = {"jsweep, cold cache": cold, "jsweep, warm cache": warm, "Optuna + PyTorch": theirs}
    for title, found in rows.items():
        if not found:
            print(f"  {title:22} left out: {optuna.left_out}")
            continue
        seconds = [one["seconds"] for one in found]
        median = statistics.median(seconds)
        print(
            f"  {title:22} {median:8.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  {median / base:6.2f} x jsweep cold",
            end="",
        )
        if "first" in found[0]:
            first = [one["first"] for one in found]
            print(
                f"; first scores after {statistics.median(first):.2f} s ({min(first):.2f} to {max(first):.2f})", end=""
            )
            print(f", programs compiled: {max(one['compiled'] for one in found)}", end="")
        print()
    return [{"workload": name, "contestant": title, "rounds": found} for title, found in rows.items()]


def _sweep_in(cache: str) -> dict[str, float]:
    script = OURS.format(folder=os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "JSWEEP_CACHE": cache}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
