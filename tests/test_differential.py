"""Tasks drawn at random: jsweep trains them as a plain loop does, and faults that are put into its planner are found."""

import pytest
from test_faults import ROOT, python


def differential(*arguments):
    return python("differential.py", *arguments, cwd=ROOT / "experiments" / "faults")


@pytest.mark.parametrize("seed", range(2))
def test_drawn_tasks_train_as_decided_all_static_and_by_a_plain_loop_alike(seed):
    found = differential("--tasks", 25, "--seed", seed, "--configs", 2)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "; 0 tasks differ" in found.stdout


def test_every_fault_seeded_into_the_planner_is_found():
    found = differential("--seed-faults")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("found: ") == 4
