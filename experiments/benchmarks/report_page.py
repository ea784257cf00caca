"""Time and size of the page of synthetic sweeps: 100, 10,000 and 100,000 trials of 100 evaluations.

Where Chromium is installed each page is opened in it, without a GPU: printed are the seconds until its charts are drawn, and the
milliseconds from selecting a config to the second frame after it, medians of three.
"""

import argparse
import contextlib
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jsweep as js
from jsweep.space import config_id
from jsweep.storage import Trial, open_store
from jsweep.storage.records import Score

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from chromium import PROGRAM, Browser

LOSS = "validation/loss"
SETTINGS = {"metrics": [LOSS], "objective": {"metric": LOSS, "mode": "min"}, "modes": {"loss": "min"}}
BATCH = 5000
FRAMES = "requestAnimationFrame(() => requestAnimationFrame(done))"
CHOOSE = f"new Promise((done) => {{ choose(7); {FRAMES}; }})"
CHOOSE = f"(async () => {{ const begun = performance.now(); await {CHOOSE}; return performance.now() - begun; }})()"


def write(path: Path, trials: int, evaluations: int, seeds: int = 2) -> None:
    """A record of a sweep of ``trials`` trials, ``seeds`` to a config, with a loss at each of ``evaluations`` steps."""
    rng = np.random.default_rng(0)
    steps = [10 * (place + 1) for place in range(evaluations)]
    members = [trial for index in range(0, trials, seeds) for trial in _trial(rng, index, seeds, steps[-1])][:trials]
    losses = rng.uniform(0.1, 1, (len(members), 1)) + 1 / np.sqrt(np.array(steps))
    with open_store(path) as store:
        row = store.add_sweep("synthetic", "synthetic", {}, SETTINGS)
        store.add_trials(row.key, members)
        for start in range(0, trials, BATCH):
            chunk = zip(members[start : start + BATCH], losses[start:, -1])
            scores = [Score(trial.id, steps[-1], {LOSS: float(value)}, None, True) for trial, value in chunk]
            store.record_segment(row.key, "program", 1, scores)
        keys = [trial.key for trial in store.trials(row.key)]
    # The library records a segment at a time, which would take most of an hour for ten million scores.
    earlier = ((key, step, float(value)) for key, own in zip(keys, losses) for step, value in zip(steps[:-1], own))
    with contextlib.closing(sqlite3.connect(path)) as db:
        insert = "INSERT INTO scores (trial, metric, step, value) SELECT ?, id, ?, ? FROM metrics WHERE name = ?"
        db.executemany(insert, ((*score, LOSS) for score in earlier))
        db.commit()


def _trial(rng: np.random.Generator, index: int, seeds: int, steps: int) -> list[Trial]:
    config = {
        "learning_rate": float(10 ** rng.uniform(-5, 0)),
        "width": int(2 ** rng.integers(4, 10)),
        "optimizer": str(rng.choice(["sgd", "adam", "lion"])),
        "dropout": float(rng.uniform(0, 0.6)),
    }
    own = config_id(config)
    return [Trial(f"{own[:10]}{index + seed:06x}", own, config, seed, steps) for seed in range(seeds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--evaluations", type=int, default=100)
    arguments = parser.parse_args()
    for trials in arguments.trials:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.db"
            write(path, trials, arguments.evaluations)
            start = time.perf_counter()
            page = js.report(path, path=Path(folder) / "report.html")
            seconds = time.perf_counter() - start
            print(
                f"{trials:7,} trials x {arguments.evaluations}: {seconds:6.1f} s, {len(page.html) / 1e6:.1f} MB",
                opened(Path(folder) / "report.html"),
                flush=True,
            )


def opened(file: Path) -> str:
    """How fast a page is in Chromium, in words; nothing where that is not installed."""
    if PROGRAM is None:
        return ""
    ready, chosen = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
            start = time.perf_counter()
            browser.open(file, 1200, 900)
            ready.append(time.perf_counter() - start)
            chosen.append(browser.ask(CHOOSE))
    return f"ready after {np.median(ready):.1f} s, selects in {np.median(chosen):.0f} ms"


if __name__ == "__main__":
    main()
