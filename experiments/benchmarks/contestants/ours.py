"""(c) jsweep: a sweep with its record in memory; after the first round nothing is compiled or measured again."""

import time

from contestants import jax_models
from contestants.workloads import BATCH, Workload, digits

import jsweep as js

_EVALUATED = 64  # a small validation split, as the others evaluate nothing


def sweep(w: Workload, tile="measure"):
    x, y = digits()
    init, apply = jax_models.make(w)
    task = js.supervised(
        lambda config, key: init(key),
        lambda config, params, x, key: apply(params, x),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: jax_models.optimizer(w, config["learning_rate"]),
        data=js.Splits((x, y), (x[:_EVALUATED], y[:_EVALUATED])),
        batch_size=BATCH,
        name=w.name,
    )
    configs = [{"learning_rate": rate} for rate in w.rates]
    return js.Sweep(task, configs, steps=w.steps, evaluate_every=w.steps, tile=tile)


def lanes(w: Workload):
    """Rounds through the engine: programs compiled once, then every round trains all trials from their seeds."""
    import threading

    from jsweep.engine.events import Trained
    from jsweep.engine.executors.threads import run
    from jsweep.engine.placement import default_workers
    from jsweep.runner.prepare import prepare
    from jsweep.runner.remaining import Remaining, divide

    prepared = prepare(sweep(w))
    workers = default_workers()
    left = frozenset(trial.id for trial in prepared.trials)
    work = divide(Remaining(prepared, left), workers)

    def one_round():
        seconds, losses = 0.0, {}
        begun = None
        for event in run(prepared.setting, work, workers, threading.Event()):
            if begun is None:  # the first event: the program is there
                begun = time.perf_counter()
            if isinstance(event, Trained):
                losses |= {score.trial: score.metrics["train/loss"] for score in event.segment.scores}
        assert begun is not None
        seconds = time.perf_counter() - begun
        return seconds / w.lanes, list(losses.values())

    return one_round


def end_to_end(w: Workload) -> dict[str, float]:
    """A whole sweep in this process, compilation and all: seconds to its first scores and to its end, programs compiled.

    Imports are not counted for anyone.
    """
    from jax import monitoring

    from jsweep.storage import Store

    times, misses = [], []
    record = Store.record_segment

    def recorded(self, *args):
        lost = record(self, *args)
        times.append(time.perf_counter())
        return lost

    Store.record_segment = recorded
    monitoring.register_event_listener(
        lambda name, **_: misses.append(name) if name.endswith("/cache_misses") else None
    )
    made = sweep(w, tile="auto")
    begun = time.perf_counter()
    js.run(made)
    return {"first": times[0] - begun, "seconds": time.perf_counter() - begun, "compiled": len(misses)}
