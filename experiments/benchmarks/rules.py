"""What rules save: 512 configs x 3 seeds of a perceptron on three real data sets, with and without them.

    python experiments/benchmarks/rules.py [--data digits breast_cancer wine] [--repetitions 10]
    python experiments/benchmarks/rules.py --decisions          # 100,000 trials with a stub in place of training

A repetition has a split and configs of its own; it trains the whole sweep and then every contestant, in memory, one after the
other, programs from the compilation cache. TPE proposes as many configs from the same space, in three batches. Shown are
medians over repetitions with their range: the seconds, and their share of the whole sweep's; the share of the steps; and how
far the config that each chose (at the last step) is from the whole sweep's best in validation loss, in standard errors of
that best (for a config of the sweep by its scores there), with a 95% bootstrap interval of the mean; and in how many
repetitions it is within one.
"""

import argparse
import hashlib
import math
import statistics
import time
from dataclasses import dataclass

import jax
import numpy as np
import optax
from sklearn import datasets

import jsweep as js
from jsweep.runner.judge import Judge, make_rows
from jsweep.storage.records import Trial

STEPS, FIRST, CONFIGS, SEEDS = 2430, 30, 512, 3  # rungs after 30, 90, 270 and 810 steps
SPACE = {
    "learning_rate": js.log_uniform(1e-3, 3.0),
    "momentum": js.uniform(0.0, 0.99),
    "l2": js.log_uniform(1e-6, 1e-1),
}
HALVING = js.rules.successive_halving(FIRST)
SPARSE = 90  # steps between evaluations where no rung asks for more
RULES = {
    "no rule": None,
    "successive halving": HALVING,
    "Hyperband": js.rules.hyperband(FIRST),
    "asynchronous halving": js.rules.asynchronous_halving(FIRST, wave=64),
    "median stopping": js.rules.median_stopping(),
    "percentile 25": js.rules.percentile(25),
    "TPE + halving": HALVING,
}


@dataclass(frozen=True)
class Found:
    """What a contestant took and chose: ``gap`` is in standard errors of the whole sweep's best."""

    seconds: float
    time: float
    steps: float
    gap: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["digits", "breast_cancer", "wine"])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--decisions", action="store_true", help="time the rules alone, on 100,000 trials")
    given = parser.parse_args()
    if given.decisions:
        decisions()
        return
    print(f"jax {jax.__version__}")
    for name in given.data:
        repeat(name, 0)  # fills the caches
        report(name, [repeat(name, number) for number in range(1, given.repetitions + 1)])


def task_of(name: str, seed: int) -> js.Task:
    """A perceptron of 32 units under SGD with momentum and a cosine schedule."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)).astype(np.float32)
    return js.supervised(
        lambda config, key: js.models.init_mlp(key, [x.shape[1], 32, int(y.max()) + 1]),
        lambda config, params, x, key: js.models.apply_mlp(params, x),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(
            js.schedules.cosine_decay(config["learning_rate"], decay_steps=STEPS), momentum=config["momentum"]
        ),
        data=js.split(x, y.astype(np.int32), validation=0.3, key=seed, stratify=True),
        name=name,
    )


def repeat(name: str, seed: int) -> dict[str, Found]:
    """Each contestant, once, on the same split."""
    task, drawn, found = task_of(name, seed), js.random(SPACE, CONFIGS, key=seed), {}
    scores, best, whole = {}, None, 0.0
    for contestant, rule in RULES.items():
        configs = js.tpe(SPACE, CONFIGS, key=seed, batch=-(-CONFIGS // 3)) if "TPE" in contestant else drawn
        every = SPARSE if rule is None or rule.rungs is None else FIRST
        sweep = js.Sweep(task, configs, seeds=SEEDS, steps=STEPS, evaluate_every=every, rule=rule, tile=16)
        begun = time.perf_counter()
        session = js.run(sweep)
        seconds = time.perf_counter() - begun
        if best is None:
            scores, best, whole = {score.config_id: score for score in session.ranking()}, session.best(), seconds
        trials, chosen = session.trials(), session.best()
        steps = sum(trial.done for trial in trials) / sum(trial.steps for trial in trials)
        mean = scores.get(chosen.config_id, chosen).mean
        found[contestant] = Found(seconds, seconds / whole, steps, (mean - best.mean) / best.standard_error)
        session.close()
    return found


def report(name: str, repetitions: list[dict[str, Found]]) -> None:
    """One row for each contestant."""
    print(f"{name}: {CONFIGS} configs x {SEEDS} seeds, {len(repetitions)} repetitions")
    rng = np.random.default_rng(0)
    for contestant in RULES:
        runs = [repetition[contestant] for repetition in repetitions]
        shares, gaps = sorted(run.time for run in runs), np.array([run.gap for run in runs])
        low, high = np.quantile(rng.choice(gaps, (10_000, len(gaps))).mean(axis=1), [0.025, 0.975])
        print(
            f"  {contestant:22} {statistics.median(run.seconds for run in runs):6.2f} s, "
            f"{statistics.median(shares):6.1%} of the time ({shares[0]:.1%} to {shares[-1]:.1%}), "
            f"{statistics.median(run.steps for run in runs):6.1%} of the steps; "
            f"{gaps.mean():+.2f} standard errors ({low:+.2f} to {high:+.2f}), within one: {(gaps <= 1).sum()}",
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
