"""Sweeps trained by several processes under `jax.distributed`, compared bit by bit with those of one process.

    python experiments/faults/distributed.py --processes 2 4

Each number of processes trains every sweep of `tests/conformance.py`: several programs, lengths, failures, rules, TPE.
"""

import argparse
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

WORKER = """
import sys, pickle, warnings
sys.path.insert(0, {tests!r})
import jsweep as js
js.configure()
import jax
from jsweep.engine.executors import remote
remote.JOB_SECONDS = 0.0  # a job for every segment
jax.distributed.initialize({address!r}, num_processes={count}, process_id=int(sys.argv[1]))
from conformance import SWEEPS, make_task, record_of, sweep_of
warnings.simplefilter("ignore")
found = {{}}
with js.distributed() as executor:
    if executor is not None:
        for name in SWEEPS:
            found[name] = record_of(js.run(sweep_of(make_task(), name), executor=executor))
        with open({result!r}, "wb") as file:
            pickle.dump((executor.workers, found), file)
"""


def trained_by(count, folder):
    """The workers, and the record of every sweep, under so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    result = Path(folder) / f"{count}.pickle"
    tests = str(Path(__file__).parents[2] / "tests")
    script = WORKER.format(tests=tests, address=address, count=count, result=str(result))
    processes = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(count)]
    ended = [process.wait(timeout=600) for process in processes]
    if any(ended):
        sys.exit(f"{count} processes: one failed")
    return pickle.loads(result.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    given = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from conformance import SWEEPS, make_task, record_of, sweep_of

    import jsweep as js

    warnings.simplefilter("ignore")
    task = make_task()
    alone = {name: record_of(js.run(sweep_of(task, name))) for name in SWEEPS}
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for count in given.processes:
            begun = time.perf_counter()
            workers, found = trained_by(count, folder)
            differ = [name for name in SWEEPS if found[name] != alone[name]]
            different += len(differ)
            scores = sum(len(record[0]) for record in found.values())
            seconds = time.perf_counter() - begun
            print(
                f"{count} processes, {workers} workers: {len(found)} sweeps, {scores} scores, {len(differ)} sweeps differ "
                f"{differ or ''}({seconds:.0f} s)"
            )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
