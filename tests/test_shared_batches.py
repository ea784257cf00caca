"""Tiles of one seed, whose lanes share their batches: taken where nothing is lost, and kept as they are recorded."""

from dataclasses import replace

import pytest
from small import make_task, rows_of

import jsweep as js
from jsweep.engine.tile_size import for_few
from jsweep.runner.prepare import prepare
from jsweep.runner.replay import replay_many

FEW, MANY = ([{"learning_rate": 0.01 * number} for number in range(1, count + 1)] for count in (5, 16))


@pytest.fixture
def task(data):
    return make_task(data)


def shares(task, configs, **options):
    return [group.shared for group in prepare(js.Sweep(task, configs, steps=20, **options)).groups]


@pytest.mark.parametrize(
    ("configs", "options", "expected"),
    [
        (FEW, {}, True),  # one seed: all lanes see the same batches
        (FEW, {"seeds": 3}, False),  # tiles of one seed would be two thirds empty
        (MANY, {"seeds": 3}, True),
        (MANY, {"seeds": 3, "rule": js.rules.successive_halving(first=5)}, False),  # which leaves few trials of a seed
        (FEW, {"rule": js.rules.successive_halving(first=5)}, True),
        (FEW, {"tile": 4}, False),  # fresh records of a given width are equal however many trials there are
        (FEW, {"tile": 4, "share_batches": True}, True),
        (FEW, {"share_batches": False}, False),
        (FEW, {"pairing": "independent"}, False),
        (js.grid({"learning_rate": [0.1, 0.2], "batch_size": js.lane([16, 32])}), {}, False),
    ],
)
def test_batches_are_shared_where_tiles_of_one_seed_lose_nothing(task, configs, options, expected):
    assert set(shares(task, configs, **options)) == {expected}


def test_tiles_of_one_seed_are_no_wider_than_half_empty(task):
    (group,) = prepare(js.Sweep(task, FEW, seeds=4, steps=20, share_batches=True)).groups
    assert for_few(16, group) == 8
    assert group.count_tiles(8) == len(group.tiles(8)) == 4


@pytest.mark.parametrize(("first", "shared"), [(1, True), (3, False)])
def test_a_record_keeps_its_form_as_it_grows(task, tmp_path, first, shared):
    sweep = js.Sweep(task, FEW, seeds=first, steps=20, evaluate_every=10, store=tmp_path / "s.db", checkpoints="all")
    before = rows_of(js.run(sweep))
    grown = replace(sweep, configs=MANY, seeds=first + 1)  # anew it would take the other form, or may
    session = js.run(grown)
    assert session.row.settings["shared"] == ([session.trials()[0].program] if shared else [])
    assert [group.shared for group in session.prepared.groups] == [shared]
    assert before.items() <= rows_of(session).items()
    trials = session.trials()
    ids = [trials[0].id, next(trial.id for trial in trials if trial.seed == first)]  # an old trial and a new one
    for neighbours in (True, False):
        assert [found.difference for found in replay_many(session, ids, neighbours=neighbours)] == [None, None]
    longer = js.run(replace(grown, steps=30))  # from the checkpoints of trials of all seeds
    alone = js.sweep(
        task, MANY, seeds=first + 1, steps=30, evaluate_every=10, share_batches=shared, tile=trials[0].width
    )
    assert rows_of(alone, ["validation/loss"]).items() <= rows_of(longer).items()


def test_sweeps_of_one_record_choose_each_for_itself(task, tmp_path):
    options = {"steps": 20, "store": tmp_path / "s.db"}
    one = js.sweep(task, FEW, name="one", **options)
    two = js.sweep(task, FEW, name="two", seeds=3, **options)
    assert [len(session.row.settings["shared"]) for session in (one, two)] == [1, 0]
    assert one.trials()[0].program == two.trials()[0].program
    assert not any(found.difference for found in replay_many(one, [one.trials()[0].id]))


def test_another_choice_by_name_is_another_sweep(task, tmp_path):
    sweep = js.Sweep(task, FEW, steps=20, store=tmp_path / "s.db")
    js.run(sweep)
    with pytest.raises(js.IncompatibleSweepError, match="share_batches"):
        js.run(replace(sweep, share_batches=False))
