"""Replay every trial of a sweep that was interrupted and run in different ways, and count those that are bit-equal.

    python experiments/faults/replay_all.py --trials 520

The sweep is run in three parts, with different tile widths, orders and numbers of workers, and is interrupted and resumed.
Then each trial is trained again in its recorded tile width, among its neighbours and among copies of itself.
"""

import argparse
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
from mixed import mixed

import jsweep as js
from jsweep.runner.replay import replay_many
from jsweep.storage import Store


def interrupted(sweep, segments, **options):
    """Run a sweep and stop it, as a crash would, after ``segments`` recorded segments."""
    record, count = Store.record_segment, [0]

    def counted(self, *arguments):
        count[0] += 1
        if count[0] > segments:
            raise KeyboardInterrupt
        return record(self, *arguments)

    Store.record_segment = counted
    try:
        js.run(sweep, progress="off", **options)
    except KeyboardInterrupt:
        pass
    finally:
        Store.record_segment = record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=520)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = mixed(Path(folder) / "mixed.db", given.trials, steps=60, every=20, tile=8)
        shuffled = list(sweep.configs)
        random.Random(0).shuffle(shuffled)
        third = len(shuffled) // 3
        js.run(replace(sweep, configs=shuffled[:third], tile=4), progress="off", workers=jax.devices())
        interrupted(replace(sweep, configs=shuffled[: 2 * third], tile=16), 20)
        interrupted(sweep, 30, workers=jax.devices() * 3)
        result = js.run(sweep, progress="off")
        print(js.verify(sweep.store))
        ids = [trial.id for trial in result.trials()]
        widths = sorted({trial.width for trial in result.trials()})
        different = 0
        for neighbours in (True, False):
            found = replay_many(result, ids, neighbours=neighbours)
            unequal = [one for one in found if one.difference is not None]
            different += len(unequal)
            beside = "their neighbours" if neighbours else "copies of themselves"
            print(f"{len(found) - len(unequal)} of {len(found)} trials bit-equal beside {beside}, in tiles of {widths}")
            for one in unequal[:3]:
                print(" ", one)
    sys.exit(1 if different or len(ids) < given.trials else 0)


if __name__ == "__main__":
    main()
