"""How long `import jsweep.schedules` takes beside `import optax`, each in a fresh process, in interleaved rounds.

python experiments/benchmarks/import_time.py [ROUNDS]
"""

import statistics
import subprocess
import sys
import time

MODULES = ("optax", "jsweep.schedules")


def seconds(module: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - begun


def main(rounds: int) -> None:
    for module in MODULES:
        seconds(module)  # files into the page cache
    times = {module: [] for module in MODULES}
    for turn in range(rounds):
        for module in MODULES if turn % 2 == 0 else reversed(MODULES):
            times[module].append(seconds(module))
    for module, found in times.items():
        print(f"import {module:18} median {statistics.median(found):.3f} s  from {min(found):.3f} to {max(found):.3f}")
    ratios = [ours / theirs for ours, theirs in zip(times["jsweep.schedules"], times["optax"])]
    print(f"ratio {statistics.median(ratios):.3f}  from {min(ratios):.3f} to {max(ratios):.3f} over {rounds} rounds")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
