"""Time and peak memory from 256 to 16,384 trials of one sweep, each in a fresh process, the record on disk.

python experiments/benchmarks/scaling.py [--sizes 256,1024,4096,16384] [--steps 100] [--rounds 3]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def sweep_of(trials: int, steps: int, store: str):
    import dataclasses

    from contestants import ours
    from contestants.workloads import Workload

    made = ours.sweep(Workload("scaling", "mlp", 16, trials, steps, "adam"), tile=16)
    return dataclasses.replace(made, store=store)


def measure(trials: int, steps: int) -> None:
    """In a process of its own: train, then print seconds and the process's peak memory in MB."""
    import jsweep as js

    with tempfile.TemporaryDirectory() as folder:
        made = sweep_of(trials, steps, os.path.join(folder, "s.db"))
        begun = time.perf_counter()
        js.run(made)
        print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="256,1024,4096,16384")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.steps)
        return
    sizes = [int(size) for size in given.sizes.split(",")]
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    for _ in range(given.rounds + 1):
        for size in sizes:
            command = [sys.executable, os.path.abspath(__file__), "--measure", str(size), "--steps", str(given.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, memory = (float(v) for v in done.stdout.split())
            found[size].append((seconds, memory))
    medians = {}
    for size, rounds in found.items():
        seconds, memory = zip(*rounds[1:])  # the first fills the compilation cache
        medians[size] = statistics.median(seconds), statistics.median(memory)
        print(
            f"{size:6} trials {medians[size][0]:8.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  "
            f"{1e3 * medians[size][0] / size:6.3f} ms a trial  {medians[size][1]:6.0f} MB at its peak"
        )
    least, most = min(sizes), max(sizes)
    each = (medians[most][0] - medians[least][0]) / (most - least)
    start = medians[least][0] - each * least
    off = max(abs(seconds / (start + each * size) - 1) for size, (seconds, _) in medians.items())
    memory = [memory for _, memory in medians.values()]
    print(f"a straight line of {start:.2f} s and {1e3 * each:.3f} ms a trial: farthest {off:.0%} off;", end=" ")
    print(f"memory: largest {max(memory) / min(memory) - 1:.0%} above smallest")


if __name__ == "__main__":
    main()
