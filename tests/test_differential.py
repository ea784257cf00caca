"""Tasks drawn at random: jsweep trains them as a plain loop does, and faults that are put into its planner are found."""

import jax
import jax.numpy as jnp
import pytest
from test_faults import ROOT, python

import jsweep as js
from jsweep.errors import ConfigError


def differential(*arguments):
    return python("differential.py", *arguments, cwd=ROOT / "experiments" / "faults")


@pytest.mark.parametrize("seed", range(2))
def test_drawn_tasks_train_as_decided_all_static_and_by_a_plain_loop_alike(seed):
    found = differential("--tasks", 10, "--seed", seed, "--configs", 2)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "; 0 tasks differ" in found.stdout


def test_every_fault_seeded_into_the_planner_is_found():
    found = differential("--seed-faults")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("found: ") == 4


@pytest.mark.parametrize("other", [lambda x: x.astype(jnp.bfloat16), lambda x: x[:1], lambda x: x.sum()])
def test_options_that_would_go_on_as_other_arrays_are_not_chosen_in_a_lane(other):
    with pytest.raises(
        ConfigError, match=r"the options return (bfloat16 and float32|\(1?,?\) and \(2,\)): return arrays of equal"
    ):
        jax.jit(lambda place: js.select(place, {"other": other, "same": lambda x: x})(jnp.ones(2)))(0)
