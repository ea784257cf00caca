"""How long `js.merge` takes: records of 10,000 trials each, made without training, into one.

    python experiments/benchmarks/merging.py [--shards 64] [--trials 10000]

Printed are the seconds for an eighth, a quarter, half and all of the records, each merged by one call: where merging is linear,
microseconds a trial stay the same. Last comes the record's size.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import jsweep as js
from jsweep.space import config_id
from jsweep.storage import Trial, open_store
from jsweep.storage.records import Score

METRICS = ("train/loss", "validation/loss", "validation/accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--trials", type=int, default=10_000, help="of a shard")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = [made(Path(folder) / f"{shard}.db", shard, given.trials) for shard in range(given.shards)]
        out = Path(folder) / "none.db"
        for share in (8, 4, 2, 1):
            out, some = Path(folder) / f"merged-{share}.db", parts[: max(1, given.shards // share)]
            begun = time.perf_counter()
            found = js.merge(out, some)
            spent = time.perf_counter() - begun
            print(f"{len(some):3} records: {spent:6.1f} s, {1e6 * spent / found.trials:5.0f} us a trial", flush=True)
        total = given.shards * given.trials
        print(f"{total} trials of {len(METRICS)} scores: {out.stat().st_size / total:.0f} bytes a trial")


def made(path: Path, shard: int, trials: int) -> Path:
    """A record of finished trials of one step."""
    values = np.random.default_rng(shard).normal(size=(trials, len(METRICS)))
    with open_store(path) as store:
        sweep = store.add_sweep("stub", "stub", {}, {"metrics": list(METRICS)}).key
        rows = []
        for place in range(trials):
            config = {"rate": shard + place / trials}
            own = config_id(config)
            rows.append(Trial(f"{own[:10]}{0:06x}", own, config, 0, 1))
        store.add_trials(sweep, rows)
        scores = [
            Score(row.id, 1, dict(zip(METRICS, map(float, own), strict=True)), None, True)
            for row, own in zip(rows, values, strict=True)
        ]
        store.record_segment(sweep, "stub", 1, scores)
    return path


if __name__ == "__main__":
    main()
