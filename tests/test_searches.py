"""Every search of a sweep: deterministic from its key, inside its space, resumed from wherever it was killed."""

import math
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from small import rows_of

import jsweep as js
from jsweep.search._study import Proposer
from jsweep.storage import Store, open_store
from jsweep.storage.records import Batch, Outcome

DATA = js.Splits((np.ones((8, 1), np.float32),), (np.ones((4, 1), np.float32),))
SPACE = {
    "rate": js.log_uniform(1e-4, 1.0),
    "width": [64, 16, 32],
    "layers": js.int_uniform(1, 4),
    "optimizer": ["sgd", "adam"],
    "momentum": js.when(optimizer="sgd", then=js.uniform(0.0, 0.99), otherwise=js.uniform(0.0, 0.5)),
    "decay": js.when(optimizer="adam", then=[0.9, 0.99, 0.999]),
    "fits": js.constraint(lambda config: config["layers"] * config["width"] <= 128),
}
LISTS = {"rate": [1e-3, 1e-2, 1e-1], "width": [16, 32], "layers": [1, 2], "momentum": [0.0, 0.9], "optimizer": ["sgd"]}


def stub(objective, **modes):
    """A task whose state is one number, its seed's, and whose metrics are a function of the config and of that number."""
    return js.Task(
        init=lambda config, key: 0.01 * jax.random.uniform(key),
        step=lambda config, state, batch, key: (state, {}),
        evaluate=lambda config, state, split: objective(config, state),
        data=DATA,
        batch_size=8,
        name="stub",
        modes={"loss": "min", **modes},
    )


def bowl(config, noise):
    """Least at a rate of 0.01; rates above 0.3 diverge."""
    costs = {"sgd": lambda: 0.3 + 0 * config["rate"], "adam": lambda: 0 * config["rate"]}
    kind = js.select(config["optimizer"], costs)()
    size = config["layers"] / 8 + config["width"] / 256
    loss = (jnp.log10(config["rate"]) + 2) ** 2 + config["momentum"] + config.get("decay", 0.0) + size + kind + noise
    return {"loss": jnp.where(config["rate"] > 0.3, jnp.nan, loss)}


FIXED = {
    "grid": lambda space, n, key=0: js.grid(LISTS)[:n],
    "random": lambda space, n, key=0: js.random(space, n, key=key),
    "sobol": lambda space, n, key=0: js.sobol(space, n, key=key),
    "latin_hypercube": lambda space, n, key=0: js.latin_hypercube(space, n, key=key),
}
BATCHED = {
    "tpe": lambda space, n, key=0: js.tpe(space, n, key=key, batch=6),
    "cma_es": lambda space, n, key=0: js.cma_es(space, n, key=key, batch=6),
    "nsga2": lambda space, n, key=0: js.nsga2(space, n, key=key, batch=6),
    "optuna": lambda space, n, key=0: js.optuna(space, n, key=key, batch=6, sampler=optuna.samplers.RandomSampler),
}
SEARCHES = {**FIXED, **BATCHED}


ONE_PROGRAM = {name: part for name, part in SPACE.items() if name != "decay"} | {"optimizer": js.lane(["sgd", "adam"])}


def sweep_of(search, objective=bowl, n=18, key=0, **options):
    given = {"objective": "validation/loss", "seeds": 2, "steps": 1, "tile": 4, "store": None} | options
    return js.Sweep(stub(objective), SEARCHES[search](ONE_PROGRAM, n, key), **given)


def order_of(session):
    """The configs in the order in which they were recorded."""
    return list(dict.fromkeys(trial.config_id for trial in session.trials()))


@pytest.fixture(scope="module")
def sessions():
    """Each model-based search's sweep, run without interruption."""
    made = {}
    for search in BATCHED:
        compiled = Compiled()
        made[search] = js.run(sweep_of(search), callbacks=[compiled]), compiled
    return made


class Compiled(js.Callback):
    def __init__(self):
        self.programs, self.started, self.ended = [], [], []

    def on_start(self, plan):
        self.started.append(plan)

    def on_compiled(self, event):
        self.programs.append(event.fingerprint)

    def on_end(self, error):
        self.ended.append(error)


def proposals(search, batches=4, count=6, begin_again=False):
    """Batches that a search proposes, told the losses of a bowl; ``begin_again`` as after a kill at the end of each."""
    told = [Batch([], [])]
    proposer = Proposer(search, ["min"], count)
    for _ in range(batches):
        proposer = Proposer(search, ["min"], count) if begin_again else proposer
        configs = proposer.propose(told, count)
        losses = [abs(math.log10(config["rate"]) + 2) + config["momentum"] for config in configs]
        told.append(Batch(configs, [Outcome((math.nan if loss > 1.5 else loss,)) for loss in losses]))
    return told


@pytest.mark.parametrize("search", SEARCHES)
def test_every_config_is_of_the_space(search):
    if search in BATCHED:
        configs = [config for batch in proposals(BATCHED[search](SPACE, 24)) for config in batch.configs]
    else:
        configs = list(FIXED[search](SPACE, 24))
    assert len(js.configs(configs)) == 24
    for config in configs:
        assert 1e-4 <= config["rate"] <= 1.0
        assert type(config["rate"]) is float
        assert (config["width"], type(config["layers"])) in [(16, int), (32, int), (64, int)]
        assert config["layers"] * config["width"] <= 128
        if search != "grid":
            assert ("decay" in config) == (config["optimizer"] == "adam")
            assert list(config) == [name for name in SPACE if name in config]
            assert 0.0 <= config["momentum"] <= (0.99 if config["optimizer"] == "sgd" else 0.5)


@pytest.mark.parametrize("search", BATCHED)
def test_proposals_are_the_same_wherever_a_search_begins_again(search):
    made = BATCHED[search](SPACE, 24)
    once = [list(batch.configs) for batch in proposals(made)]
    assert [list(batch.configs) for batch in proposals(made, begin_again=True)] == once
    assert [list(batch.configs) for batch in proposals(BATCHED[search](SPACE, 24, key=1))] != once


@pytest.mark.parametrize("search", BATCHED)
def test_a_search_compiles_what_is_planned_and_nothing_more_for_its_later_batches(sessions, search):
    session, heard = sessions[search]
    assert len(heard.programs) == heard.started[0].programs == 1
    assert sum(group.trials for group in heard.started[0].groups) == len(session.trials()) == 36
    assert (len(heard.started), heard.ended) == (1, [None])


@pytest.mark.parametrize("search", ["tpe", "nsga2"])
def test_killed_at_every_batch_and_resumed_a_search_ends_as_if_it_was_not(sessions, search, tmp_path, monkeypatch):
    sweep = sweep_of(search, store=tmp_path / "record.db")
    monkeypatch.setattr(Store, "add_batch", _killed(Store.add_batch, after=True))
    monkeypatch.setattr(Store, "tell_batch", _killed(Store.tell_batch, after=False))
    kills = 0
    while True:
        try:
            again = js.run(sweep)
            break
        except Killed:
            kills += 1
    assert kills == 7  # what it began with, three proposals, three outcomes
    assert order_of(again) == order_of(sessions[search][0])
    assert rows_of(again) == rows_of(sessions[search][0])


class Killed(BaseException):
    pass


def _killed(method, after):
    """A method of the store that kills its process before or after its first call for each batch."""
    seen = set()

    def dying(store, sweep, number, *arguments):
        first = number not in seen
        seen.add(number)
        if after or not first:
            method(store, sweep, number, *arguments)
        if first:
            raise Killed

    return dying


def test_neither_tiles_nor_workers_nor_the_order_of_seeds_change_what_is_proposed(sessions):
    other = js.run(sweep_of("tpe", tile=4, seeds=[1, 0]), workers=jax.local_devices()[:1], progress="plain")
    assert order_of(other) == order_of(sessions["tpe"][0])


def test_two_processes_at_one_search_propose_one_sequence(sessions, tmp_path):
    sweep = sweep_of("tpe", store=tmp_path / "record.db")
    found, errors = [], []

    def train():
        try:
            found.append(rows_of(js.run(sweep)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [rows_of(sessions["tpe"][0])] * 2


@pytest.mark.parametrize("search", BATCHED)
def test_a_config_that_diverges_is_told_and_never_the_best(sessions, search):
    session = sessions[search][0]
    ranking = session.ranking()
    diverged = [score.config["rate"] > 0.3 for score in ranking]
    assert sum(diverged) < 18
    assert diverged == [not score.complete for score in ranking]
    told = [outcome.values for batch in session._store.batches(session.row.key) for outcome in batch.told or []]
    means = {score.config_id: score.mean for score in ranking}
    assert list(map(str, told)) == [str((means[identity],)) for identity in order_of(session)]


@pytest.mark.parametrize("search", BATCHED)
def test_ties_and_a_single_config_are_searched_too(search):
    for n in (1, 13):
        proposer, told = Proposer(BATCHED[search](LISTS, n), ["min"], 6), [Batch([], [])]
        for count in (1,) if n == 1 else (6, 6, 1):
            configs = proposer.propose(told, count)
            told.append(Batch(configs, [Outcome((1.0,))] * count))
        assert len(js.configs([config for batch in told for config in batch.configs])) == n


def test_tpe_finds_better_configs_than_random_search_on_a_bowl():
    space = {"x": js.uniform(-1.0, 1.0), "y": js.uniform(-1.0, 1.0)}
    height = lambda config: config["x"] ** 2 + config["y"] ** 2
    lowest = []
    for key in range(3):
        proposer, told = Proposer(js.tpe(space, 60, key=key), ["min"], 10), [Batch([], [])]
        for _ in range(6):
            configs = proposer.propose(told, 10)
            told.append(Batch(configs, [Outcome((height(config),)) for config in configs]))
        lowest.append(min(height(config) for batch in told for config in batch.configs))
    drawn = [min(map(height, js.random(space, 60, key=key))) for key in range(3)]
    assert np.median(lowest) < np.median(drawn) / 2


def test_a_small_space_is_searched_to_its_end_without_repetition():
    for search in (js.tpe(LISTS, 24, key=0), js.optuna(LISTS, 24, key=0, sampler=optuna.samplers.GridSampler)):
        if search.kind == "optuna":
            points = {"rate": [0, 1, 2], "width": [0, 1], "layers": [0, 1], "momentum": [0, 1]}
            make = lambda module, seed, batch, points=points: module.samplers.GridSampler(points, seed=seed)
            object.__setattr__(search, "make", make)
        proposer, told = Proposer(search, ["min"], 5), [Batch([], [])]
        for count in (5, 5, 5, 5, 4):
            configs = proposer.propose(told, count)
            told.append(Batch(configs, [Outcome((config["rate"],)) for config in configs]))
        assert {js.configs([c]).ids[0] for batch in told for c in batch.configs} == set(js.grid(LISTS).ids)


def test_a_failed_config_is_told_as_the_worst_and_the_search_goes_on():
    def failing(config, noise):
        if config["width"] == 64:
            raise ValueError("too wide")
        return {"loss": config["rate"] + config["width"] + noise}

    space = {"rate": js.uniform(0.0, 1.0), "width": js.static([16, 32, 64])}
    with pytest.warns(UserWarning, match="trials failed, the first .* too wide"):
        session = js.sweep(stub(failing), js.tpe(space, 24, key=0, batch=8), steps=1)
    batches = session._store.batches(session.row.key)
    assert [len(batch.configs) for batch in batches] == [0, 8, 8, 8]
    for batch in batches[1:]:
        for config, outcome in zip(batch.configs, batch.told or [], strict=True):
            assert math.isnan(outcome.values[0]) == (config["width"] == 64)


# What Optuna is told, and what it is asked


def test_tpe_is_optunas(monkeypatch):
    """The configs of a batch are those that Optuna's own study proposes after the same trials."""
    space = {
        "x": js.uniform(0.0, 1.0),
        "n": js.int_uniform(1, 9),
        "c": ["a", "b", "c"],
        "lr": js.log_uniform(1e-3, 1.0),
    }
    search = js.tpe(space, 40, key=3, batch=20)
    first = Proposer(search, ["max"], 20).propose([Batch([], [])], 20)
    scores = [config["x"] - config["n"] for config in first]
    second = Proposer(search, ["max"], 20).propose(
        [Batch([], []), Batch(first, [Outcome((score,)) for score in scores])], 20
    )
    seeds = []
    sampler = lambda seed: seeds.append(seed) or optuna.samplers.TPESampler(seed=seed)
    object.__setattr__(search, "make", lambda module, seed, batch: sampler(seed))
    Proposer(search, ["max"], 20).propose([Batch([], []), Batch(first, [Outcome((s,)) for s in scores])], 1)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seeds[0]))
    distributions = {
        "x": optuna.distributions.FloatDistribution(0.0, 1.0),
        "n": optuna.distributions.IntDistribution(1, 9),
        "c": optuna.distributions.CategoricalDistribution([0, 1, 2]),
        "lr": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True),
    }
    for config, score in zip(first, scores, strict=True):
        params = {**config, "c": "abc".index(config["c"])}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
    for config in second:
        asked = study.ask(distributions).params
        assert config["c"] == "abc"[asked["c"]]
        assert config["n"] == asked["n"]
        np.testing.assert_allclose([config["x"], config["lr"]], [asked["x"], asked["lr"]], rtol=1e-9)


def test_trials_that_a_rule_stopped_are_told_as_pruned():
    told = [Batch([], [])]
    proposer = Proposer(js.tpe({"x": js.uniform(0.0, 1.0)}, 60, key=0), ["min"], 12)
    for _ in range(5):
        configs = proposer.propose(told, 12)
        told.append(Batch(configs, [Outcome((c["x"],), None if c["x"] < 0.5 else 3) for c in configs]))
    early, late = ([config["x"] for config in batch.configs] for batch in (told[1], told[-1]))
    assert np.median(late) < np.median(early) / 2


# An earlier sweep


def test_a_search_started_from_an_earlier_sweep_is_told_its_scores_first(tmp_path):
    earlier = tmp_path / "earlier.db"
    js.run(sweep_of("random", n=30, store=earlier))
    with js.open(earlier) as before:
        search = js.tpe(ONE_PROGRAM, 6, key=0, batch=6, start_from=before)
        sweep = js.Sweep(stub(bowl), search, seeds=2, steps=1, tile=4, store=tmp_path / "new.db")
        session = js.run(sweep)
        means = {score.config_id: score.mean for score in before.ranking()}
    start, proposed = session._store.batches(session.row.key)
    assert [math.isnan(outcome.values[0]) for outcome in start.told or []] == [c["rate"] > 0.3 for c in start.configs]
    assert len(start.configs) == len(means) == 30
    assert list(proposed.configs) == Proposer(search, ["min"], 6).propose([start], 6)
    cold = Proposer(search, ["min"], 6).propose([Batch([], [])], 6)
    assert list(proposed.configs) != cold
    again = js.run(sweep)  # the earlier record is not read again
    assert rows_of(again) == rows_of(session)


def test_an_earlier_sweep_of_another_space_is_refused_and_of_a_wider_one_told_in_part(tmp_path):
    wide = {**LISTS, "rate": js.log_uniform(1e-4, 1.0)}
    narrow = {**wide, "rate": js.log_uniform(1e-2, 1.0)}
    js.sweep(stub(bowl), js.random(wide, 20, key=0), steps=1, store=tmp_path / "earlier.db")
    with js.open(tmp_path / "earlier.db") as before:
        with pytest.raises(js.ConfigError, match="start_from='stub' has no ended config in the space of tpe"):
            js.sweep(stub(bowl), js.tpe({**LISTS, "rate": js.uniform(2.0, 3.0)}, 6, key=0, start_from=before), steps=1)
        with pytest.warns(UserWarning, match="of the 20 configs of 'stub' have not ended or are not in the space"):
            session = js.sweep(stub(bowl), js.tpe(narrow, 2, key=0, batch=1, start_from=before), steps=1)
        inside = {score.config_id for score in before.ranking() if score.config["rate"] >= 1e-2}
    start = session._store.batches(session.row.key)[0]
    assert set(js.configs(start.configs).ids) == inside
    assert 0 < len(inside) < 20


# Several objectives


def two(config, noise):
    return {"loss": bowl(config, noise)["loss"], "size": config["layers"] * 1.0 * config["width"]}


def dominates(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def test_nsga2_searches_several_objectives_and_pareto_is_the_front(tmp_path):
    objectives = ["validation/loss", js.minimize("validation/size")]
    sweep = js.Sweep(
        stub(two),
        js.nsga2(ONE_PROGRAM, 32, key=0, batch=8),
        objective=objectives,
        steps=1,
        store=tmp_path / "record.db",
    )
    session = js.run(sweep)
    losses = {s.config_id: s.mean for s in session.ranking()}
    sizes = {s.config_id: s.mean for s in session.ranking(objectives[1])}
    points = {name: (loss, sizes[name]) for name, loss in losses.items() if math.isfinite(loss)}
    expected = {n for n, p in points.items() if not any(dominates(other, p) for other in points.values())}
    found = session.pareto()
    assert {point.config_id for point in found} == expected
    assert [point.means["validation/loss"] for point in found] == sorted(losses[n] for n in expected)
    assert session.best().config_id == found[0].config_id
    with js.open(tmp_path / "record.db") as result:
        assert [point.config_id for point in result.pareto()] == [point.config_id for point in found]
        larger = result.pareto("validation/loss", js.maximize("validation/size"))
        assert {point.config_id for point in larger} != expected
    assert "validation/size" in str(found[0])


def test_pareto_leaves_diverged_configs_out_and_keeps_equal_ones():
    both = lambda config, noise: {
        "loss": config["a"] * 1.0,
        "size": jnp.where(config["b"] > 1, jnp.nan, -config["a"] * 1.0),
    }
    session = js.sweep(stub(both, size="min"), js.grid({"a": [0, 1, 2], "b": [0, 1, 2]}), steps=1)
    front = session.pareto("validation/loss", "validation/size")
    assert sorted((point.config["a"], point.config["b"]) for point in front) == [
        (a, b) for a in range(3) for b in range(2)
    ]
    with pytest.raises(js.ConfigError, match="pareto weighs 1 objectives: pass two or more"):
        session.pareto("validation/loss")


# Resumed, planned, read


def test_a_search_that_is_asked_for_more_goes_on_where_it_was(sessions, tmp_path):
    record = tmp_path / "record.db"
    js.run(sweep_of("tpe", n=12, store=record))
    session = js.run(sweep_of("tpe", store=record))
    assert rows_of(session) == rows_of(sessions["tpe"][0])
    with_more_seeds = js.run(sweep_of("tpe", store=record, seeds=3))
    assert order_of(with_more_seeds) == order_of(session)
    assert len(with_more_seeds.trials()) == 54


def test_a_search_is_planned_attached_replayed_and_resumed_as_any_sweep(tmp_path):
    sweep = sweep_of("tpe", n=12, store=tmp_path / "record.db")
    assert sum(group.trials for group in js.plan(sweep).groups) == 24
    session = js.resume(sweep) if js.run(sweep) else None
    assert js.plan(sweep).groups == ()
    longer = js.plan(sweep_of("tpe", n=18, store=tmp_path / "record.db"))
    assert (longer.finished, sum(group.trials for group in longer.groups)) == (24, 12)
    with js.attach(sweep) as attached:
        assert attached.best().config == session.best().config
        assert js.replay(sweep, attached.trials()[-1].id).difference is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda space, key: js.tpe(space, 6, key=1, batch=6), "by a search with other key"),
        (lambda space, key: js.tpe(space, 6, key=0, batch=3), "by a search with other batch"),
        (lambda space, key: js.nsga2(space, 6, key=0), "by a search with other kind"),
        (lambda space, key: js.tpe({**space, "layers": [1, 2]}, 6, key=0), "by a search with other space"),
    ],
)
def test_another_search_under_the_same_name_is_refused(tmp_path, change, words):
    record = tmp_path / "record.db"
    if not record.exists():
        js.run(sweep_of("tpe", n=6, store=record, seeds=1))
    with pytest.raises(js.IncompatibleSweepError, match=words):
        js.run(js.Sweep(stub(bowl), change(ONE_PROGRAM, 0), steps=1, store=record))
    with open_store(record, write=False) as store:
        assert len(store.batches(1)) == 2


def test_a_search_begun_without_one_or_with_another_objective_is_refused(tmp_path):
    record = tmp_path / "record.db"
    js.run(sweep_of("random", n=2, store=record, seeds=1))
    with pytest.raises(js.IncompatibleSweepError, match="was begun without a search"):
        js.run(sweep_of("tpe", n=6, store=record, seeds=1))


def test_the_default_batch_fills_some_tiles_and_leaves_eight_rounds():
    space = {"x": js.uniform(0.0, 1.0)}
    assert [js.tpe(space, n, key=0).batch_for(seeds) for n, seeds in ((1024, 1), (1024, 3), (64, 1), (3, 5))] == [
        *(64, 22, 8),
        1,
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: js.tpe(LISTS, 25, key=0), "n=25 is too many: the space gave 24 different configs"),
        (lambda: js.tpe(LISTS, 0, key=0), "n=0 is not valid"),
        (lambda: js.tpe(LISTS, 5, key=0, batch=0), "batch=0 is not valid"),
        (lambda: js.tpe(LISTS, 5, key="a"), "key='a' is not a key"),
        (lambda: js.tpe(LISTS, 5, key=0, start_from="old.db"), "start_from is a str: pass an earlier sweep's result"),
        (
            lambda: js.optuna(LISTS, 5, key=0, sampler=optuna.samplers.RandomSampler(seed=1)),
            r"sampler is a RandomSampler that is made already: pass its class",
        ),
        (
            lambda: js.run(
                js.Sweep(
                    stub(two, size="min"),
                    js.cma_es(LISTS, 5, key=0),
                    objective=["validation/loss", "validation/size"],
                    steps=1,
                )
            ),
            "cma_es takes one objective",
        ),
        (lambda: js.Sweep(stub(bowl), js.tpe(LISTS, 5, key=0), objective=[], steps=1), "is empty or repeats a metric"),
        (lambda: js.Sweep(stub(bowl), js.tpe(LISTS, 5, key=0), objective=3, steps=1), "objective=3 is not a metric"),
    ],
)
def test_a_mistake_in_a_search_is_refused_in_one_sentence(make, words, monkeypatch):
    monkeypatch.setattr("jsweep.search.random._FRUITLESS", 1000)
    with pytest.raises(js.ConfigError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("search", "missing", "extra"),
    [(js.tpe, "optuna", "optuna"), (js.gp, "torch", "gp"), (js.cma_es, "cmaes", "optuna")],
)
def test_an_extra_that_is_missing_is_named_before_anything_is_trained(search, missing, extra, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(
        js.MissingExtraError, match=rf"package {missing} is not installed: pip install 'jsweep\[{extra}\]'"
    ):
        js.sweep(stub(bowl), search(LISTS, 5, key=0), steps=1)
