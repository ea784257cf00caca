"""Rankings by what trials ended with, beside the definition in plain Python, on records drawn at random."""

import contextlib
import math
import random
import sqlite3
import statistics

import pytest

import jsweep as js
from jsweep.storage import open_store
from jsweep.storage.records import Trial

METRICS = ("train/loss", "validation/loss", "validation/accuracy")
VALUES = (0.25, 0.5, 1.0, 1.0, 1.5, -2.0, 1e308, math.nan, math.inf)


def drawn(path, seed):
    """A record of some configs under one to three seeds, in any state; what of it was recorded where."""
    rng = random.Random(seed)
    trials, facts = [], {}
    for config in range(rng.randint(1, 12)):
        for lane in rng.sample(range(5), rng.choice((1, 1, 2, 3))):
            trials.append(Trial(f"t{config}-{lane}", f"c{config}", {"n": config}, lane, rng.choice((20, 20, 40))))
    rng.shuffle(trials)
    settings = {"metrics": METRICS, "objective": {"metric": METRICS[2], "mode": "max"}, "roles": {}, "modes": {}}
    with open_store(path) as store:
        row = store.add_sweep("drawn", "task", {}, settings)
        store.add_trials(row.key, trials)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executemany("INSERT INTO metrics (name) VALUES (?)", ((name,) for name in METRICS))
        for trial in trials:
            status = rng.choice(("finished",) * 6 + ("stopped", "running", "failed", "waiting"))
            done = {"finished": trial.steps, "waiting": 0}.get(status, 10)
            scores = {name: rng.choice(VALUES[: rng.choice((6, 7, 9))]) for name in METRICS if rng.random() < 0.95}
            facts[trial.id] = (trial, status, done, scores)
            nonfinite = done if done and not all(map(math.isfinite, scores.values())) else None  # as a store enters it
            row = (status, done, nonfinite, trial.id)
            db.execute("UPDATE trials SET status = ?, done = ?, nonfinite = ? WHERE id = ?", row)
            for name, value in scores.items() if done else ():
                db.execute(
                    "INSERT INTO scores SELECT (SELECT key FROM trials WHERE id = ?), "
                    "(SELECT id FROM metrics WHERE name = ?), ?, ?",
                    (trial.id, name, done, None if math.isnan(value) else value),
                )
        db.commit()
    return facts


def by_definition(facts, metric, sign):
    """Each config's id, mean, whether it is complete, and its step; best first."""
    configs = {}
    for fact in facts.values():
        configs.setdefault(fact[0].config_id, []).append(fact)
    found = []
    for config, members in configs.items():
        cut = any(status == "stopped" for _, status, _, _ in members)
        step = min(done for *_, done, _ in members) if cut else max(trial.steps for trial, *_ in members)
        values, healthy = [], True
        for trial, status, done, scores in sorted(members, key=lambda fact: fact[0].seed):
            end = done if status == "stopped" else trial.steps
            there = status in ("finished", "stopped") and (not cut or end == step)
            values.append(scores.get(metric, math.nan) if there and done else math.nan)
            losses = [scores.get(name, 0.0) for name in ("train/loss", "validation/loss")]
            healthy &= not there or all(math.isfinite(value) for value in losses)
        finite = all(math.isfinite(value) for value in values)
        mean = statistics.mean(values) if finite else math.nan
        complete = finite and healthy and all(status == "finished" for _, status, *_ in members)
        shown = complete or (cut and finite)
        place = (not complete, not shown, 0 if complete else -step, sign * mean if shown else 0.0)
        found.append((place, (config, mean, complete, step)))
    return [what for _, what in sorted(found, key=lambda pair: pair[0])]


@pytest.mark.parametrize("seed", range(60))
def test_a_ranking_is_what_its_definition_says(tmp_path, seed):
    facts = drawn(tmp_path / "s.db", seed)
    with js.open(tmp_path / "s.db", "drawn") as result:
        for metric, sign in ((js.maximize("validation/accuracy"), -1), (js.minimize("validation/loss"), 1)):
            ranking = result.ranking(metric)
            expected = by_definition(facts, metric.metric, sign)
            assert [(s.config_id, s.complete, s.step) for s in ranking] == [(c, ok, at) for c, _, ok, at in expected]
            for score, (_, mean, *_) in zip(ranking, expected, strict=True):
                assert score.mean == pytest.approx(mean, rel=1e-15, nan_ok=True)
                members = sorted(
                    (f for f in facts.values() if f[0].config_id == score.config_id), key=lambda f: f[0].seed
                )
                assert score.trials == tuple(trial.id for trial, *_ in members)
                assert score.seeds == tuple(trial.seed for trial, *_ in members)
                assert score.config == members[0][0].config
            assert ranking[:2] == list(ranking)[:2] or any(math.isnan(score.mean) for score in ranking[:2])


def test_a_ranking_outlives_its_record(tmp_path):
    facts = drawn(tmp_path / "s.db", 3)
    with js.open(tmp_path / "s.db", "drawn") as result:
        ranking, best = result.ranking(), result.best()
    assert ranking[0] == best
    assert {trial for score in ranking for trial in score.trials} == facts.keys()
