"""Kill a sweep with SIGKILL at random times, resume it, and compare it with an uninterrupted sweep, bit by bit.

    python experiments/faults/kill.py --kills 200

New sweeps are started until there have been as many kills as asked for. Each sweep has two compile groups, tiles of four
lanes, and a checkpoint at every segment. All trials, all scores and the final state of every trial are compared.
"""

import argparse
import contextlib
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

from jsweep.runner import checkpointing
from jsweep.runner.run import run
from jsweep.storage.checkpoints import folder_of, from_bytes

checkpointing.LEAST_SECONDS = 0.0  # a checkpoint at every segment, however short


def in_a_child(sweep):
    """Start ``sweep`` in a process of its own. This process must not start JAX."""
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
    """Kill and resume a sweep until it ends; the number of kills, and of those that left a checkpoint to resume from."""
    kills = resumable = 0
    while True:
        child = in_a_child(sweep)
        deadline = time.monotonic() + rng.uniform(0.0, longest) if kills < kills_left else float("inf")
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                if status:
                    sys.exit(f"a run ended with status {status}")
                return kills, resumable
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                resumable += bool(list(folder_of(str(sweep.store)).glob("*.safetensors")))
                break
            time.sleep(0.002)


def contents(store):
    """A store as comparable rows: trials, scores, and every array of every final state."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        trials = db.execute(
            "SELECT id, config, seed, steps, done, status, nonfinite, program, width, digest FROM trials ORDER BY id"
        ).fetchall()
        scores = db.execute(
            "SELECT trials.id, metrics.name, step, value FROM scores JOIN trials ON trials.key = trial "
            "JOIN metrics ON metrics.id = metric ORDER BY 1, 2, 3"
        ).fetchall()
        files = db.execute("SELECT tile, file, trials FROM checkpoints WHERE finished ORDER BY tile").fetchall()
    states = {}
    for trial, file, members in files:
        arrays, _ = from_bytes((folder_of(str(store)) / file).read_bytes())
        lane = json.loads(members).index(trial)
        states[trial] = {name: value[lane].tobytes() for name, value in arrays.items()}
    return {"trials": trials, "scores": scores, "states": states}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=160)
    parser.add_argument("--longest", type=float, default=5.0, help="longest time in seconds before a process is killed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        make = lambda name: mixed(
            Path(folder) / f"{name}.db", given.trials, steps=400, every=20, name="mixed", checkpoints="all"
        )
        os.waitpid(in_a_child(make("uninterrupted")), 0)
        undisturbed = contents(Path(folder) / "uninterrupted.db")
        kills = resumable = sweeps = different = 0
        while kills < given.kills:
            sweep = make(f"killed{sweeps}")
            more, found = kill_until_done(sweep, rng, given.longest, given.kills - kills)
            kills, resumable, sweeps = kills + more, resumable + found, sweeps + 1
            got = contents(sweep.store)
            for part, rows in undisturbed.items():
                if got[part] != rows:
                    different += 1
                    print(f"sweep {sweeps}: the {part} differ: {len(got[part])} against {len(rows)}")
            left = [p.name for p in folder_of(str(sweep.store)).iterdir() if not p.name.endswith(".safetensors")]
            if left:
                different += 1
                print(f"sweep {sweeps}: left over: {left[:5]}")
    print(
        f"{kills} kills ({resumable} with a checkpoint on disk) over {sweeps} sweeps of {len(undisturbed['trials'])} trials, "
        f"{len(undisturbed['scores'])} scores and {len(undisturbed['states'])} final states each: {different} differences"
    )
    sys.exit(1 if different or len(undisturbed["trials"]) != given.trials else 0)


if __name__ == "__main__":
    main()
