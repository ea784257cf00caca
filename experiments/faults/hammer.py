"""Several processes use one store for a minute: sweeps that share trials, and a reader. No trial is lost or trained twice.

    python experiments/faults/hammer.py --processes 4 --seconds 60

Each process runs a sweep that all of them share and a sweep of its own, again and again with more seeds, and counts the
trials that it finished.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mixed import mixed


def worker(store, number, seconds, out):
    """Run sweeps until the time is up, and write down which trials this process finished."""
    from jsweep.runner.run import run
    from jsweep.storage import Store

    finished, record = [], Store.record_segment

    def counted(self, sweep, program, width, scores, *rest):
        lost = record(self, sweep, program, width, scores, *rest)
        finished.extend((sweep, score.trial) for score in scores if score.finished)
        return lost

    Store.record_segment = counted
    until, seeds = time.monotonic() + seconds, 1
    while time.monotonic() < until:
        for name in ("shared", f"own{number}"):
            run(mixed(store, 24 * seeds, steps=40, every=10, name=name, seeds=seeds), progress="off")
        seeds += 1
    out.write_text(json.dumps(finished))


def reader(store, seconds, out):
    """Read rankings until the time is up, and write down how many."""
    from jsweep.errors import StoreError
    from jsweep.results.result import Result
    from jsweep.storage import open_store

    until, reads = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        if store.exists():
            try:
                opened = open_store(store, write=False)
            except StoreError as error:
                if reads or "is not a jsweep store" not in str(error):
                    raise
                continue  # no process has created its tables yet
            with opened:
                for row in opened.sweeps():
                    Result(opened, row.name).ranking("validation/loss")
                    reads += 1
    out.write_text(json.dumps(reads))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "shared.db"
        parts = [
            (lambda n=n: worker(store, n, given.seconds, Path(folder) / f"{n}.json")) for n in range(given.processes)
        ]
        parts.append(lambda: reader(store, given.seconds, Path(folder) / "reads.json"))
        failed = sum(status != 0 for status in in_children(parts))
        finished = Counter()
        for n in range(given.processes):
            finished.update(map(tuple, json.loads((Path(folder) / f"{n}.json").read_text())) if not failed else [])
        sys.exit(report(store, finished, failed, json.loads((Path(folder) / "reads.json").read_text()), given))


def in_children(parts):
    """Call each part in a process of its own; returns their exit statuses."""
    children = []
    for part in parts:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                part()
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(status)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def report(store, finished, failed, reads, given):
    from jsweep.storage import open_store
    from jsweep.storage.integrity import verify

    with open_store(store, write=False) as opened:
        trials = [(row.key, trial) for row in opened.sweeps() for trial in opened.trials(row.key)]
    lost = [trial.id for _, trial in trials if trial.status != "finished"]
    repeated = [trial for trial, count in finished.items() if count > 1]
    unseen = [trial.id for sweep, trial in trials if finished[sweep, trial.id] == 0]
    faults = verify(store).faults
    print(
        f"{given.processes} processes, {given.seconds:.0f} s: {len(trials)} trials recorded, {sum(finished.values())} "
        f"finished by them, {len(lost)} lost, {len(repeated)} trained twice, {len(unseen)} finished by no process; "
        f"{reads} rankings read meanwhile; {failed} processes failed; {len(faults)} faults in the store"
    )
    return int(bool(lost or repeated or unseen or failed or faults))


if __name__ == "__main__":
    main()
