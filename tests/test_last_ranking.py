"""Rankings by what trials ended with, beside the definition in plain Python, on records drawn at random."""

import contextlib
import math
import random
import sqlite3
import statistics

import pytest

import jsweep as js
from jsweep.storage import open_store
from jsweep.storage.records import Score, Trial
from jsweep.storage.standing import Wanted

METRICS = ("train/loss", "validation/loss", "validation/accuracy")
VALUES = (0.25, 0.5, 1.0, 1.0, 1.5, -2.0, 1e308, math.nan, math.inf)


def drawn(path, seed, alike=False):
    """A record of some configs under one to three seeds, in any state; what of it was recorded where.

    ``alike``: under one seed, all of them finished after 20 steps and most scores finite.
    """
    rng = random.Random(seed)
    trials, facts = [], {}
    for config in range(rng.randint(1, 12)):
        for lane in [7] if alike else rng.sample(range(5), rng.choice((1, 1, 2, 3))):
            steps = 20 if alike else rng.choice((20, 20, 40))
            trials.append(Trial(f"t{config}-{lane}", f"c{config}", {"n": config}, lane, steps))
    rng.shuffle(trials)
    settings = {"metrics": METRICS, "objective": {"metric": METRICS[2], "mode": "max"}, "roles": {}, "modes": {}}
    with open_store(path) as store:
        row = store.add_sweep("drawn", "task", {}, settings)
        store.add_trials(row.key, trials)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executemany("INSERT INTO metrics (name) VALUES (?)", ((name,) for name in METRICS))
        for trial in trials:
            status = (
                "finished" if alike else rng.choice(("finished",) * 6 + ("stopped", "running", "failed", "waiting"))
            )
            done = {"finished": trial.steps, "waiting": 0}.get(status, 10)
            most = lambda: 9 if rng.random() < 0.02 else 7 if alike else rng.choice((6, 7, 9))
            there = lambda: rng.random() < (0.99 if alike else 0.95)
            scores = {name: rng.choice(VALUES[: most()]) for name in METRICS if there()}
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


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_a_ranking_is_what_its_definition_says(tmp_path, seed, alike):
    facts = drawn(tmp_path / "s.db", seed, alike)
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


def test_trials_that_end_alike_are_ranked_without_what_lies_beside_them(tmp_path):
    with open_store(tmp_path / "s.db") as store:
        sweeps = [store.add_sweep(name, "task", {}, {"metrics": METRICS[1:2]}) for name in ("one", "two")]
        losses = {"one": (0.5, 0.25, 0.75), "two": (0.125, 0.0625, 0.375)}
        for place in range(3):  # in turn, so that neither has keys that follow one another
            for sweep in sweeps:
                trial = Trial(f"t{place}", f"c{place}", {"n": place}, 0, 20)
                store.add_trials(sweep.key, [trial])
                score = Score(trial.id, 20, {METRICS[1]: losses[sweep.name][place]}, None, True)
                store.record_segment(sweep.key, "p", 1, [score])
    for name, values in losses.items():
        with js.open(tmp_path / "s.db", name) as result:
            ranking = result.ranking(js.minimize(METRICS[1]))
            assert [(score.config_id, score.mean) for score in ranking] == [(f"c{i}", values[i]) for i in (1, 0, 2)]
    with open_store(tmp_path / "s.db") as store:
        js.drop(tmp_path / "s.db", "two")
        wanted = {"t1": Wanted(40)}
        assert store.claim(sweeps[0].key, wanted, "a" * 32, {}, lambda _: True) == ["t1"]  # an extension, of no score
    with js.open(tmp_path / "s.db", "one") as result:
        assert [score.mean for score in result.ranking(js.minimize(METRICS[1]))] == [0.25, 0.5, 0.75]


def test_a_ranking_outlives_its_record(tmp_path):
    facts = drawn(tmp_path / "s.db", 3)
    with js.open(tmp_path / "s.db", "drawn") as result:
        ranking, best = result.ranking(), result.best()
    assert ranking[0] == best
    assert {trial for score in ranking for trial in score.trials} == facts.keys()
