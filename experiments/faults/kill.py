"""Kill processes with SIGKILL at random times, start them again, and compare their record with an uninterrupted one, bit by bit.

    python experiments/faults/kill.py --kills 200
    python experiments/faults/kill.py --kills 200 --processes 2 --sweeps 2
    python experiments/faults/kill.py --kills 60 --tile 1024 --trials 4096 --steps 200 --longest 20

Each process runs all sweeps of the record, each in an order of its own. New records are begun until there have been as many kills
as asked for. Each sweep has two compile groups, tiles of four lanes unless said, and a checkpoint at every segment. All trials,
all scores and the final state of every trial are compared; a process that ends with an error or does not end is a fault.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from mixed import mixed

import jsweep as js
from jsweep.runner import checkpointing
from jsweep.runner.run import run
from jsweep.storage.checkpoints import folder_of, from_bytes

checkpointing.LEAST_SECONDS = 0.0  # a checkpoint at every segment, however short


LONGEST_RUN = 600.0  # seconds after the last kill within which a process must have ended


def in_a_child(sweeps):
    """Run ``sweeps`` one after the other in a process of their own. This process must not start JAX."""
    child = os.fork()
    if child == 0:
        try:
            for sweep in sweeps:
                run(sweep, progress="off").close()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def kill_until_done(orders, rng, longest, kills_left):
    """Run processes, one for each order of the sweeps, and kill them, until all of them have ended.

    Returns the number of kills, and of those that left a checkpoint to resume from.
    """
    folder = folder_of(str(orders[0][0].store))
    children = {in_a_child(order): order for order in orders}
    kills = resumable = 0
    next_kill = last_kill = time.monotonic()
    while children:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            del children[ended]
            if status:
                end_all(children, f"a run ended with status {status}")
        now = time.monotonic()
        if now - last_kill > LONGEST_RUN:
            end_all(children, "a run does not end")
        if children and kills < kills_left and now > next_kill:
            child = rng.choice(list(children))
            order = children.pop(child)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            resumable += any(folder.glob("*.safetensors"))
            children[in_a_child(order)] = order
            next_kill, last_kill = now + rng.uniform(0.0, longest) / len(orders), now
        time.sleep(0.002)
    return kills, resumable


def end_all(children, why):
    for child in children:
        os.kill(child, signal.SIGKILL)
    sys.exit(why)


def contents(store):
    """A store as comparable rows: trials, scores, and every array of every final state."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        trials = db.execute(
            "SELECT sweeps.name, trials.id, config, seed, steps, done, status, nonfinite, programs.digest, programs.width, "
            "trials.digest FROM trials JOIN sweeps ON sweeps.id = sweep JOIN programs ON programs.id = program ORDER BY 1, 2"
        ).fetchall()
        scores = db.execute(
            "SELECT sweeps.name, trials.id, metrics.name, step, value FROM scores JOIN trials ON trials.key = trial "
            "JOIN metrics ON metrics.id = metric JOIN sweeps ON sweeps.id = sweep ORDER BY 1, 2, 3, 4"
        ).fetchall()
        files = db.execute(
            "SELECT name, tile, file, trials FROM checkpoints JOIN sweeps ON id = sweep WHERE finished"
        ).fetchall()
    arrays_of = functools.cache(lambda file: from_bytes((folder_of(str(store)) / file).read_bytes())[0])
    states = {}
    for sweep, trial, file, members in files:
        lane = json.loads(members).index(trial)
        states[sweep, trial] = {name: value[lane].tobytes() for name, value in arrays_of(file).items()}
    return {"trials": trials, "scores": scores, "states": states}


def faults_of(store, undisturbed):
    """In what a store differs from the undisturbed one, and what lies about beside it."""
    got, faults = contents(store), []
    for part, rows in undisturbed.items():
        if got[part] != rows:
            faults.append(f"the {part} differ: {len(got[part])} against {len(rows)}")
    left = [path.name for path in folder_of(str(store)).iterdir() if path.suffix != ".safetensors"]
    if left:
        faults.append(f"left over: {left[:5]}")
    return faults + [str(fault) for fault in js.verify(store).faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sweeps", type=int, default=1, help="sweeps of one record")
    parser.add_argument("--trials", type=int, default=160, help="of each sweep")
    parser.add_argument("--tile", type=int, default=4, help="lanes of a tile")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--longest", type=float, default=5.0, help="longest time in seconds before a process is killed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    names = [f"mixed{number}" for number in range(given.sweeps)]

    def orders(store, processes):
        sweeps = [
            mixed(store, given.trials, given.steps, every=20, name=name, tile=given.tile, checkpoints="all")
            for name in names
        ]
        return [sweeps[n % len(sweeps) :] + sweeps[: n % len(sweeps)] for n in range(processes)]

    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "uninterrupted.db"
        os.waitpid(in_a_child(orders(first, 1)[0]), 0)
        undisturbed = contents(first)
        kills = resumable = records = different = 0
        while kills < given.kills:
            store = Path(folder) / f"killed{records}.db"
            more, found = kill_until_done(orders(store, given.processes), rng, given.longest, given.kills - kills)
            kills, resumable, records = kills + more, resumable + found, records + 1
            for fault in faults_of(store, undisturbed):
                different += 1
                print(f"record {records}: {fault}")
    print(
        f"{kills} kills ({resumable} with a checkpoint on disk) of {given.processes} processes over {records} records of "
        f"{given.sweeps} sweeps, {len(undisturbed['trials'])} trials, {len(undisturbed['scores'])} scores and "
        f"{len(undisturbed['states'])} final states each: {different} differences"
    )
    sys.exit(1 if different or len(undisturbed["trials"]) != given.trials * given.sweeps else 0)


if __name__ == "__main__":
    main()
