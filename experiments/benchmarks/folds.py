"""Cross-validation: folds as lanes against scikit-learn's `cross_validate` and Optuna's loop over PyTorch models, one run.

    pip install -e '.[peers,experiments]' && python experiments/benchmarks/folds.py

The same configs (Adam's rate and L2) of a perceptron, the same five stratified folds of handwritten digits, inputs standardised
by what trains in each fold; two threads each. Seconds are of a process of its own, imports left out, compiling included; medians
of the rounds with the lowest and highest, and the best config's accuracy over the folds.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

BATCH, HIDDEN, K = 32, 64, 5
Configs = list[dict[str, float]]


def configs(count: int) -> Configs:
    random = np.random.default_rng(0)
    rates, penalties = 10 ** random.uniform(-4, -1, count), 10 ** random.uniform(-6, -2, count)
    return [{"learning_rate": float(rate), "l2": float(penalty)} for rate, penalty in zip(rates, penalties)]


def examples() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


def ours(count: int, epochs: int) -> tuple[float, float]:
    import jax
    import optax
    from sklearn.preprocessing import StandardScaler

    import jsweep as js

    js.configure()
    jax.numpy.zeros(1).block_until_ready()
    begun = time.perf_counter()
    data = js.folds(
        *examples(), k=K, test=0, stratify=True, key=0, transform=lambda x, y: StandardScaler().fit(x).transform
    )
    task = js.supervised(
        lambda config, key: js.models.init_mlp(key, [64, HIDDEN, 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x, jax.nn.relu),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.adam(config["learning_rate"]),
        metrics={"accuracy": js.metrics.accuracy},
        data=data,
        batch_size=BATCH,
    )
    session = js.sweep(task, configs(count), epochs=epochs, objective="validation/accuracy")
    return session.best().mean, time.perf_counter() - begun


def sklearn(count: int, epochs: int) -> tuple[float, float]:
    from sklearn.model_selection import StratifiedKFold, cross_validate
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    x, y = examples()
    scores = []
    for config in configs(count):
        options = {"learning_rate_init": config["learning_rate"], "alpha": config["l2"], "batch_size": BATCH}
        model = MLPClassifier((HIDDEN,), max_iter=epochs, tol=0.0, n_iter_no_change=epochs, random_state=0, **options)
        folds = StratifiedKFold(K, shuffle=True, random_state=0)
        found = cross_validate(make_pipeline(StandardScaler(), model), x, y, cv=folds, n_jobs=2)
        scores.append(found["test_score"].mean())
    return float(max(scores)), time.perf_counter() - begun


def torch(count: int, epochs: int) -> tuple[float, float]:
    import optuna
    import torch
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    begun = time.perf_counter()
    x, y = examples()
    splits = list(StratifiedKFold(K, shuffle=True, random_state=0).split(x, y))

    def accuracy(config: dict[str, float], training: np.ndarray, held: np.ndarray) -> float:
        scale = StandardScaler().fit(x[training]).transform
        inputs, targets = torch.from_numpy(scale(x[training])), torch.from_numpy(y[training]).long()
        model = torch.nn.Sequential(torch.nn.Linear(64, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10))
        adam = torch.optim.Adam(model.parameters(), lr=config["learning_rate"], weight_decay=config["l2"])
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(BATCH):
                adam.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
                adam.step()
        with torch.no_grad():
            return float((model(torch.from_numpy(scale(x[held]))).argmax(1).numpy() == y[held]).mean())

    def objective(trial: optuna.Trial) -> float:
        config = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "l2": trial.suggest_float("l2", 1e-6, 1e-2, log=True),
        }
        return float(np.mean([accuracy(config, *rows) for rows in splits]))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for config in configs(count):
        study.enqueue_trial(config)
    study.optimize(objective, n_trials=count, n_jobs=2)
    return float(study.best_value), time.perf_counter() - begun


CONTESTANTS: dict[str, Callable[[int, int], tuple[float, float]]] = {
    "jsweep, folds as lanes": ours,
    "scikit-learn cross_validate": sklearn,
    "Optuna, PyTorch": torch,
}


def measured(contestant: str, count: int, epochs: int) -> tuple[float, float]:
    options = ["--contestant", contestant, "--configs", str(count), "--epochs", str(epochs)]
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{contestant}: {done.stderr[-2000:]}")
    accuracy, seconds = json.loads(done.stdout.splitlines()[-1])
    return accuracy, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        print(json.dumps(CONTESTANTS[given.contestant](given.configs, given.epochs)))
        return
    found: dict[str, list[tuple[float, float]]] = {contestant: [] for contestant in CONTESTANTS}
    for _ in range(given.rounds):
        for contestant, rows in found.items():
            rows.append(measured(contestant, given.configs, given.epochs))
    own = np.median([seconds for _, seconds in found["jsweep, folds as lanes"]])
    print(
        f"{given.configs} configs x {K} folds, {given.epochs} epochs: seconds (lowest to highest), ratio, best accuracy"
    )
    for contestant, rows in found.items():
        accuracies, seconds = np.array(rows).T
        spread = f"{np.median(seconds):7.2f} ({seconds.min():.2f} to {seconds.max():.2f})"
        print(f"{contestant:<30}{spread:<26}{np.median(seconds) / own:6.1f}{np.median(accuracies):9.4f}")


if __name__ == "__main__":
    main()
