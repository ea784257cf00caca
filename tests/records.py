"""Stores with given scores, for tests of what is read from them: nothing is trained."""

import itertools

from jsweep.results.result import Result
from jsweep.space import config_id
from jsweep.storage import Trial, open_store
from jsweep.storage.records import Score, Stop

LOSS, ACCURACY = "validation/loss", "validation/accuracy"
MODES = {"loss": "min", "accuracy": "max"}
SETTINGS = {"metrics": ["train/loss", LOSS, ACCURACY], "objective": {"metric": LOSS, "mode": "min"}, "modes": MODES}


def trial_of(config, seed, steps):
    """A trial with an id that is as long as a real one."""
    own = config_id(config)
    return Trial(id=f"{own[:10]}{seed:06x}", config_id=own, config=config, seed=seed, steps=steps)


def record(trials, name="made", settings=SETTINGS, path=None):
    """A store and the result of one sweep in it.

    ``trials`` lists (config, seed, curve), where a curve maps steps to metrics, and the last step is the trial's last;
    an exception in place of a curve is a trial that failed; None one that waits.
    """
    store = open_store(path)
    row = store.add_sweep(name, name, {}, settings)
    lengths = [max(curve) for _, _, curve in trials if isinstance(curve, dict)]
    for config, seed, curve in trials:
        ends = isinstance(curve, dict)
        trial = trial_of(config, seed, max(curve) if ends else max(lengths, default=5))
        store.add_trials(row.key, [trial])
        if isinstance(curve, Exception):
            store.record_failure(row.key, [trial.id], f"{type(curve).__name__}: {curve}")
        for step, metrics in curve.items() if ends else ():
            score = Score(trial.id, step, metrics, None, step == trial.steps)
            store.record_segment(row.key, "program", 1, [score])
    return store, Result(store, name)


def last_scores(table):
    """Trials of five steps with given last losses and accuracies: {(rate, seed): (loss, accuracy)}."""
    return [
        ({"rate": rate}, seed, {5: {LOSS: loss, ACCURACY: accuracy}})
        for (rate, seed), (loss, accuracy) in table.items()
    ]


def curves(values, steps, metric=LOSS):
    """Trials of configs {"rate": i} from an array of shape (configs, seeds, evaluations)."""
    configs, seeds, _ = values.shape
    return [
        ({"rate": i}, s, {step: {metric: float(v)} for step, v in zip(steps, values[i, s])})
        for i, s in itertools.product(range(configs), range(seeds))
    ]


def halved(configs, losses, steps=(3, 9, 27), metric=LOSS):
    """A store and the result of configs of one seed of which a third goes on after each of ``steps`` but the last.

    ``losses`` has shape (configs, evaluations); those after a config's end are not recorded.
    """
    store = open_store(None)
    row = store.add_sweep("halved", "halved", {}, SETTINGS)
    going = list(range(len(configs)))
    trials = [trial_of(config, 0, steps[-1]) for config in configs]
    store.add_trials(row.key, trials)
    for place, step in enumerate(steps):
        scores = [Score(trials[i].id, step, {metric: float(losses[i, place])}, None, step == steps[-1]) for i in going]
        store.record_segment(row.key, "program", 1, scores)
        order = sorted(going, key=lambda i: losses[i, place])
        going, out = order[: max(1, len(order) // 3)], order[max(1, len(order) // 3) :]
        if step != steps[-1]:
            stops = [Stop(trials[i].id, step, f"stopped at step {step}") for i in out]
            store.record_stops(row.key, stops, "me", lambda _: False)
    return store, Result(store, "halved")
