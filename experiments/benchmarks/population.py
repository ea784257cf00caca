"""Population-based training against random search and fixed schedules at equal steps, on handwritten digits.

    python experiments/benchmarks/population.py [--repetitions 10] [--picture lineage.png]

A repetition draws 16 configs (learning rate, momentum, L2) and trains them under one seed, by SGD for 600 steps: with constant
learning rates (random search), with rates that fall along a cosine or a line, and as a population that copies and changes them
every 30 steps. Each contestant chooses by validation loss at the end; what it chose is tested once. All repetitions are paired:
the same configs, split, initialisation and batches. Shown are means of the test loss and its difference from random search, with
95% t-intervals over the repetitions.
"""

import argparse
import time

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js
from jsweep import schedules
from jsweep.results.plots import plot_lineage

CONFIGS, STEPS, EVERY = 16, 600, 30
SPACE = {
    "learning_rate": js.log_uniform(1e-3, 1.0),
    "momentum": js.uniform(0.0, 0.99),
    "l2": js.log_uniform(1e-6, 1e-1),
}
SCHEDULES = {
    "random search": schedules.constant,
    "cosine decay": lambda rate: schedules.cosine_decay(rate, decay_steps=STEPS),
    "linear decay": lambda rate: schedules.linear(rate, 0.0, transition_steps=STEPS),
}
POPULATION = "population-based training"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--picture", help="where to draw the lineage of the first repetition's population")
    given = parser.parse_args()
    validation: dict[str, list[float]] = {name: [] for name in (*SCHEDULES, POPULATION)}
    test: dict[str, list[float]] = {name: [] for name in validation}
    begun = time.perf_counter()
    for repetition in range(given.repetitions):
        for name in validation:
            session = js.run(sweep(name, repetition))
            validation[name].append(session.best().mean)
            test[name].append(session.test().mean("test/loss"))
            if name == POPULATION and repetition == 0 and given.picture:
                print("drawn:", plot_lineage(session, "learning_rate", given.picture))
    print(f"jax {jax.__version__}, {given.repetitions} repetitions, {time.perf_counter() - begun:.0f} s")
    print(f"| {CONFIGS} configs, {STEPS} steps | validation loss | test loss | test loss less that of random search |")
    print("|---|---|---|---|")
    for name, losses in test.items():
        less = "" if name == "random search" else with_interval(np.subtract(losses, test["random search"]), "+")
        print(f"| {name} | {np.mean(validation[name]):.4f} | {with_interval(losses)} | {less} |", flush=True)


def sweep(name: str, repetition: int) -> js.Sweep:
    """One contestant's sweep in one repetition, kept in memory."""
    rule = js.rules.population_based_training(EVERY) if name == POPULATION else None
    return js.Sweep(
        task(SCHEDULES.get(name, schedules.constant), repetition),
        js.random(SPACE, CONFIGS, key=repetition),
        seeds=[repetition],
        steps=STEPS,
        evaluate_every=EVERY,
        rule=rule,
        tile=CONFIGS // 2,
    )


def task(schedule, repetition: int) -> js.Task:
    x, y = load_digits(return_X_y=True)
    images, labels = (x / 16).astype(np.float32), y.astype(np.int32)
    return js.supervised(
        lambda config, key: js.models.init_mlp(key, [64, 32, 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(schedule(config["learning_rate"]), momentum=config["momentum"]),
        data=js.split(images, labels, validation=0.2, test=0.2, key=repetition, stratify=True),
        name="digits-population",
    )


def with_interval(values, sign: str = "") -> str:
    """A mean with its 95% interval."""
    interval = js.statistics.mean_interval(values)
    return f"{np.mean(values):{sign}.4f} ({interval.low:{sign}.4f} to {interval.high:{sign}.4f})"


if __name__ == "__main__":
    main()
