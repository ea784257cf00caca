"""What others take for a trial of a model of three numbers: plain JAX in chunks, hyperoptax, and Optuna's bookkeeping alone."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 1024
OPTUNA_TRIALS = {"optuna": 10_000, "optuna-sqlite": 500}  # a trial takes the same however many there are, or longer


def measure(contestant: str, trials: int, folder: str) -> float:
    """Microseconds a trial, programs compiled before."""
    if contestant.startswith("optuna"):
        return _optuna(OPTUNA_TRIALS[contestant], f"sqlite:///{folder}/o.db" if contestant == "optuna-sqlite" else None)
    return {"vmap": _vmap, "hyperoptax": _hyperoptax}[contestant](trials)


def _train(rate: jax.Array, key: jax.Array) -> jax.Array:
    """Two steps of a linear model; its loss on the validation examples."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))

    def loss(params, x):
        return jnp.mean((x @ params["w"] + params["b"] - x[:, 0]) ** 2)

    def step(params, rows):
        gradients = jax.grad(loss)(params, x[rows])
        return jax.tree.map(lambda p, g: p - rate * g, params, gradients), None

    begin, order = jax.random.split(key)
    params = {"w": jax.random.normal(begin, (2,)), "b": jnp.zeros(())}
    params, _ = jax.lax.scan(step, params, jax.random.permutation(order, 64)[:16].reshape(2, 8))
    return loss(params, x)


def _vmap(trials: int) -> float:
    together = jax.jit(jax.vmap(_train, in_axes=(0, None)))
    rates, key = np.linspace(1e-3, 1e-1, trials, dtype=np.float32), jax.random.key(0)
    np.asarray(together(rates[:CHUNK], key))
    begun = time.perf_counter()
    losses = [np.asarray(together(rates[start : start + CHUNK], key)) for start in range(0, trials - CHUNK + 1, CHUNK)]
    _ = rates[np.argmin(np.concatenate(losses))]
    return 1e6 * (time.perf_counter() - begun) / (len(losses) * CHUNK)


def _hyperoptax(trials: int) -> float:
    from hyperoptax import DiscreteSpace, GridSearch

    def run(count: int) -> float:
        begun = time.perf_counter()
        space = {"rate": DiscreteSpace(tuple(np.linspace(1e-3, 1e-1, count).tolist()))}
        state, search = GridSearch.init(space, n_parallel=CHUNK)
        score = lambda key, params: _train(params["rate"], key)
        _, (_, results) = search.optimize(state, jax.random.key(0), score, count // CHUNK)
        jax.block_until_ready(results[0])
        return time.perf_counter() - begun

    few = run(CHUNK)  # compiles as much
    return 1e6 * (run(trials) - few) / (trials - CHUNK)


def _optuna(trials: int, storage: str | None) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    begun = time.perf_counter()
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("learning_rate", 1e-3, 1e-1))
    _ = study.best_params
    return 1e6 * (time.perf_counter() - begun) / trials


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
