"""Kill a sweep with SIGKILL at random moments, go on with it, and compare it to the undisturbed sweep, bit by bit.

    python experiments/faults/kill.py --kills 200

Sweeps are begun anew until there were so many kills. Each has two compile groups, tiles of four lanes, and checkpoints at
every segment. Compared are the whole table of trials and scores, and the final state of every trial.
"""

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from mixed import mixed

from jsweep.runner.run import run
from jsweep.storage.checkpoints import folder_of, from_bytes


def in_a_child(sweep):
    """Start ``sweep`` in a process of its own; this one must not start JAX."""
    child = os.fork()
    if child == 0:
        try:
            run(sweep, progress="off")
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def kill_until_done(sweep, rng, longest, kills_left):
    """Kill and go on; how many kills there were, and how many found work in progress."""
    kills = amid = 0
    while True:
        child = in_a_child(sweep)
        deadline = time.monotonic() + rng.uniform(0.0, longest) if kills < kills_left else float("inf")
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                if status:
                    sys.exit(f"a run ended with status {status}")
                return kills, amid
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                amid += bool(list(folder_of(str(sweep.store)).glob("*.safetensors")))
                break
            time.sleep(0.002)


def contents(store):
    """The record as comparable rows: trials, scores, and every array of every final state."""
    with sqlite3.connect(store) as db:
        trials = db.execute(
            "SELECT id, config, seed, steps, done, status, nonfinite, program, width, digest FROM trials ORDER BY id"
        ).fetchall()
        scores = db.execute(
            "SELECT trials.id, metrics.name, step, value FROM scores JOIN trials ON trials.key = trial "
            "JOIN metrics ON metrics.id = metric ORDER BY 1, 2, 3"
        ).fetchall()
        files = db.execute("SELECT tile, file FROM checkpoints WHERE finished ORDER BY tile").fetchall()
    states = {}
    for trial, file in files:
        arrays, _ = from_bytes((folder_of(str(store)) / file).read_bytes())
        states[trial] = {name: value.tobytes() for name, value in arrays.items()}
    return {"trials": trials, "scores": scores, "states": states}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=160)
    parser.add_argument("--longest", type=float, default=5.0, help="seconds a process lives at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        make = lambda name: mixed(
            Path(folder) / f"{name}.db", given.trials, steps=400, every=20, name="mixed", checkpoints="all"
        )
        os.waitpid(in_a_child(make("whole")), 0)
        whole = contents(Path(folder) / "whole.db")
        kills = amid = sweeps = different = 0
        while kills < given.kills:
            sweep = make(f"killed{sweeps}")
            more, found = kill_until_done(sweep, rng, given.longest, given.kills - kills)
            kills, amid, sweeps = kills + more, amid + found, sweeps + 1
            got = contents(sweep.store)
            for part, rows in whole.items():
                if got[part] != rows:
                    different += 1
                    print(f"sweep {sweeps}: the {part} differ: {len(got[part])} against {len(rows)}")
            left = [p.name for p in folder_of(str(sweep.store)).iterdir() if not p.name.endswith(".safetensors")]
            if left:
                different += 1
                print(f"sweep {sweeps}: left over: {left[:5]}")
    print(
        f"{kills} kills ({amid} with a checkpoint on disk) over {sweeps} sweeps of {len(whole['trials'])} trials, "
        f"{len(whole['scores'])} scores and {len(whole['states'])} final states each: {different} differences"
    )
    sys.exit(1 if different or len(whole["trials"]) != given.trials else 0)


if __name__ == "__main__":
    main()
