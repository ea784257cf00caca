"""(h) hyperoptax: its grid search over ``fn(key, params) -> scalar``, in parallel as its documentation shows."""

import time

import jax
from contestants.jax_plain import _train
from contestants.workloads import Workload
from hyperoptax import DiscreteSpace, GridSearch


def grid_search(w: Workload):
    train = _train(w)
    space = {"rate": DiscreteSpace(tuple(w.rates))}

    def one_round():
        state, search = GridSearch.init(space, n_parallel=w.lanes)
        begun = time.perf_counter()
        _, (_, results) = search.optimize(state, jax.random.key(0), lambda key, params: train(params["rate"], key), 1)
        losses = [float(v) for v in jax.block_until_ready(results[0])]
        return (time.perf_counter() - begun) / w.lanes, losses

    return one_round
