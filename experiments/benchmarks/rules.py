"""What rules save on experiments/halving.py: 512 configs x 3 seeds of a perceptron on digits, with and without them.

    python experiments/benchmarks/rules.py [--rounds 3]
    python experiments/benchmarks/rules.py --decisions          # 100,000 trials with a stub in place of training

Rounds interleave: each runs the whole sweep and then every rule, in memory, programs from the compilation cache. Shown are
medians of the seconds with their range, the share of the steps, and how the config that each chose (at the last step) did in
the whole sweep: its mean validation loss over seeds there, and the standard error of the best.
"""

import argparse
import hashlib
import math
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import halving
import numpy as np

import jsweep as js
from jsweep.runner.judge import Judge, make_rows
from jsweep.storage.records import Trial

FIRST = halving.FIRST
RULES = {
    "no rule": None,
    "successive halving": js.rules.successive_halving(FIRST),
    "Hyperband": js.rules.hyperband(FIRST),
    "asynchronous halving": js.rules.asynchronous_halving(FIRST, wave=64),
    "median stopping": js.rules.median_stopping(),
    "percentile 25": js.rules.percentile(25),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decisions", action="store_true", help="time the rules alone, on 100,000 trials")
    given = parser.parse_args()
    if given.decisions:
        decisions()
        return
    task, configs = halving.task(), halving.configs()
    found: dict[str, list[tuple[float, js.Session]]] = {name: [] for name in RULES}
    for number in range(given.rounds + 1):  # the first fills the caches
        for name, rule in RULES.items():
            sweep = js.Sweep(task, configs, seeds=3, steps=halving.STEPS, evaluate_every=FIRST, rule=rule, tile=16)
            begun = time.perf_counter()
            session = js.run(sweep)
            if number:
                found[name].append((time.perf_counter() - begun, session))
            elif rule is not None:
                session.close()
    report(found)


def report(found: dict[str, list[tuple[float, js.Session]]]) -> None:
    """One row for each rule."""
    whole = found["no rule"][0][1]
    scores = {score.config_id: score for score in whole.ranking()}
    best, all_seconds = whole.best(), statistics.median(seconds for seconds, _ in found["no rule"])
    print(f"the whole sweep's best: {best.mean:.4f}, standard error {best.standard_error:.4f}")
    for name, runs in found.items():
        seconds = sorted(one for one, _ in runs)
        trials = runs[0][1].trials()
        steps = sum(trial.done for trial in trials) / sum(trial.steps for trial in trials)
        chosen = scores[runs[0][1].best().config_id]
        middle = statistics.median(seconds)
        print(
            f"{name:22} {middle:6.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}), {middle / all_seconds:6.1%} of the time, "
            f"{steps:6.1%} of the steps; chose {chosen.mean:.4f}, {(chosen.mean - best.mean) / best.standard_error:+.2f} "
            "standard errors from the best",
            flush=True,
        )


def decisions(configs: int = 100_000, steps: int = 81) -> None:
    """The time (of a core) of rule and judge, without training, for a trial of each of so many configs."""
    ids = [hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(configs)]
    trials = [Trial(own, own, {}, 0, steps) for own in ids]
    quality = dict(zip(ids, np.random.default_rng(0).random(configs)))
    for rule in (js.rules.successive_halving(1), js.rules.hyperband(1), js.rules.asynchronous_halving(1, wave=1024)):
        spent, waves = -time.thread_time(), 0
        judge = Judge(rule, make_rows(trials, 1, "config"), np.zeros(2, np.uint32), "min")
        at = dict.fromkeys(ids, 0)
        while going := judge.advance():
            spent, waves = spent + time.thread_time(), waves + 1
            scores = [(t, s, quality[t] + 1 / s) for t, until in going.items() for s in range(at[t] + 1, until + 1)]
            at |= going
            spent -= time.thread_time()
            for trial, step, score in scores:
                judge.record(trial, step, score, math.isfinite(score))
        spent += time.thread_time()
        print(f"{rule.name}: {waves} waves, {1e6 * spent / configs:.1f} us a trial", flush=True)


if __name__ == "__main__":
    main()
