"""Twelve schedule families x 32 learning rates x 5 seeds on handwritten digits: 1,920 trials of one compiled program.

python experiments/schedule_families.py       # trains, prints the families' best, draws schedule_families.png
"""

import numpy as np
import optax
from sklearn.datasets import load_digits

import jsweep as js
from jsweep import schedules

STEPS, HIDDEN = 600, 32


def families(rate):
    """Each family with a setting in common use; ``rate`` is its first, or its peak, value."""
    return {
        "constant": schedules.constant(rate),
        "step": schedules.step_decay(rate, STEPS // 4, factor=0.5),
        "exponential": schedules.exponential_decay(rate, STEPS, decay_rate=0.01),
        "linear": schedules.linear(rate, 0.0, transition_steps=STEPS),
        "polynomial": schedules.polynomial(rate, 0.0, power=2.0, transition_steps=STEPS),
        "cosine": schedules.cosine_decay(rate, STEPS),
        "restarts": schedules.cosine_restarts(rate, STEPS // 7, period_multiplier=2.0),
        "inverse sqrt": schedules.warmup_inverse_sqrt(0.0, rate, warmup_steps=STEPS // 20),
        "one-cycle": schedules.cosine_onecycle(STEPS, rate),
        "warm-up cosine": schedules.warmup_cosine_decay(0.0, rate, warmup_steps=STEPS // 20, decay_steps=STEPS),
        "warm-up stable": schedules.warmup_stable_decay(
            0.0, rate, warmup_steps=STEPS // 20, stable_steps=STEPS * 3 // 4, decay_steps=STEPS // 5, tail="1-sqrt"
        ),
        "REX": schedules.rex(rate, STEPS),
    }


def init(config, key):
    return js.models.init_mlp(key, [64, HIDDEN, HIDDEN, 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x)


def optimizer(config):
    return optax.sgd(schedules.select(config["schedule"], families(config["learning_rate"])), momentum=0.9)


def sweep():
    x, y = load_digits(return_X_y=True)
    data = js.split((x / 16).astype(np.float32), y.astype(np.int32), validation=0.2, test=0.2, key=0, stratify=True)
    loss = js.losses.softmax_cross_entropy
    metrics = {"accuracy": js.metrics.accuracy}
    task = js.supervised(
        init, apply, loss=loss, optimizer=optimizer, data=data, metrics=metrics, name="schedule families"
    )
    space = {"schedule": list(families(0.1)), "learning_rate": js.logspace(1e-3, 1.0, 32)}
    return js.Sweep(task, js.grid(space), seeds=5, steps=STEPS, store="schedule_families.db")


if __name__ == "__main__":
    from jsweep.results.plots import plot_best

    result = js.run(sweep())
    programs = {trial.program for trial in result.trials()}
    best = {}
    for score in result.ranking("validation/loss"):
        best.setdefault(score.config["schedule"], score)
    print(f"{len(result.trials())} trials, {len(programs)} compiled program")
    for name, score in best.items():
        print(f"{name}: {score}")
    print("drawn:", plot_best(result, "schedule", "schedule_families.png"))
