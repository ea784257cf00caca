"""`js.tune` at equal wall clock against Optuna with PyTorch and scikit-learn's halving search, on three real data sets.

    pip install -e '.[peers,experiments]' && python experiments/benchmarks/tune.py --seconds 60 --repetitions 10

Each contestant searches the same space of perceptrons (Adam's rate, hidden units and layers, L2, batch size; at most 60 epochs)
on the same split, in a process of its own, two threads, imports and compilation included in its time. Printed is the test error
of the model that it returns: its mean over repetitions (other splits and seeds), with a 95% bootstrap interval.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np

EPOCHS = 60
WIDTHS, LAYERS, BATCHES = [16, 32, 64, 128], [1, 2], [16, 32, 64]
RATES, PENALTIES = (1e-4, 1e-1), (1e-6, 1e-1)

Part = tuple[np.ndarray, np.ndarray]


def split(name: str, seed: int) -> tuple[Part, Part, Part]:
    """Training, validation and test examples (60, 20, 20%), standardised by the training part."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    parts = ((x, y), (x_val, y_val), (x_test, y_test))
    first, second, third = (((a - mean) / std).astype(np.float32) for a, _ in parts)
    return (first, y), (second, y_val), (third, y_test)


def ours(name: str, seconds: float, seed: int) -> tuple[float, int]:
    import jax
    import optax

    import jsweep as js

    train, validation, test = split(name, seed)
    classes = int(train[1].max()) + 1
    task = js.supervised(
        lambda config, key: js.models.init_mlp(
            key, [train[0].shape[1], *[config["width"]] * config["layers"], classes]
        ),
        lambda config, params, x, key: js.models.apply_mlp(params, x, jax.nn.relu),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.adam(config["learning_rate"]),
        metrics={"accuracy": js.metrics.accuracy},
        data=js.Splits(train, validation, test),
    )
    space = {
        "learning_rate": js.log_uniform(*RATES),
        "l2": js.log_uniform(*PENALTIES),
        "width": WIDTHS,
        "layers": LAYERS,
        "batch_size": BATCHES,
    }
    tuned = js.tune(
        task, space, wall_time=seconds, epochs=EPOCHS, objective="validation/accuracy", key=seed, progress="off"
    )
    return 1 - tuned.test().mean("test/accuracy"), len(tuned.session.ranking())


def torch(name: str, seconds: float, seed: int, pruner: str) -> tuple[float, int]:
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    parts = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in split(name, seed)]
    (x, y), (x_val, y_val), (x_test, y_test) = parts
    best: dict[str, float] = {"accuracy": -1.0, "error": 1.0}

    def accuracy(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(x).argmax(1) == y).float().mean())

    def objective(trial: optuna.Trial) -> float:
        width, layers = trial.suggest_categorical("width", WIDTHS), trial.suggest_categorical("layers", LAYERS)
        sizes = [x.shape[1], *[width] * layers]
        hidden = [m for n, k in pairwise(sizes) for m in (torch.nn.Linear(n, k), torch.nn.ReLU())]
        model = torch.nn.Sequential(*hidden, torch.nn.Linear(width, int(y.max()) + 1))
        batch = trial.suggest_categorical("batch_size", BATCHES)
        adam = torch.optim.Adam(
            model.parameters(),
            lr=trial.suggest_float("learning_rate", *RATES, log=True),
            weight_decay=trial.suggest_float("l2", *PENALTIES, log=True),
        )
        score = 0.0
        for epoch in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(batch):
                adam.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                adam.step()
            score = accuracy(model, x_val, y_val)
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        if score > best["accuracy"]:
            best.update(accuracy=score, error=1 - accuracy(model, x_test, y_test))
        return score

    pruners = {"median": optuna.pruners.MedianPruner(), "hyperband": optuna.pruners.HyperbandPruner(1, EPOCHS, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruners[pruner])
        study.optimize(objective, timeout=seconds - time.process_time(), n_jobs=2)
    return best["error"], len(study.trials)


def sklearn(name: str, seconds: float, seed: int) -> tuple[float, int]:
    """Searches of 9, 18, 36, ... candidates while there is time for the next; the last one's choice counts."""
    from scipy.stats import loguniform
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    train, validation, test = split(name, seed)
    x, y = (np.concatenate(pair) for pair in zip(train, validation))
    fold = PredefinedSplit(np.repeat([-1, 0], [len(train[1]), len(validation[1])]))
    space = {
        "learning_rate_init": loguniform(*RATES),
        "alpha": loguniform(*PENALTIES),
        "hidden_layer_sizes": [(width,) * layers for width in WIDTHS for layers in LAYERS],
        "batch_size": BATCHES,
    }
    error, candidates, searched, spent = 1.0, 9, 0, 0.0
    while time.perf_counter() - begun + 2 * spent < seconds:
        start = time.perf_counter()
        search = HalvingRandomSearchCV(
            MLPClassifier(random_state=seed), space, n_candidates=candidates, resource="max_iter", max_resources=EPOCHS,
            min_resources=max(1, EPOCHS // 27), factor=3, cv=fold, refit=False, random_state=seed, n_jobs=2,
        )  # fmt: skip
        search.fit(x, y)
        best = MLPClassifier(**{**search.best_params_, "random_state": seed, "max_iter": EPOCHS}).fit(*train)
        error, searched, spent = 1 - best.score(*test), candidates, time.perf_counter() - start
        candidates *= 2
    return error, searched


CONTESTANTS: dict[str, Callable[[str, float, int], tuple[float, int]]] = {
    "jsweep tune": ours,
    "Optuna TPE + median, PyTorch": lambda *given: torch(*given, "median"),
    "Optuna TPE + Hyperband, PyTorch": lambda *given: torch(*given, "hyperband"),
    "scikit-learn halving": sklearn,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--data-sets", nargs="+", default=["digits", "breast_cancer", "wine"])
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        print(json.dumps(CONTESTANTS[given.contestant](given.data_sets[0], given.seconds, given.seed)))
        return
    print(
        f"test error (%) after {given.seconds:g} s, {given.repetitions} repetitions (95% interval); configs begun; seconds"
    )
    for name in given.data_sets:
        found: dict[str, list[tuple[float, int, float]]] = {contestant: [] for contestant in CONTESTANTS}
        for seed in range(given.repetitions):
            for contestant, rows in found.items():
                rows.append(measured(contestant, name, given.seconds, seed))
        for contestant, rows in found.items():
            errors, configs, seconds = np.array(rows).T
            drawn = np.random.default_rng(0).choice(100 * errors, (5000, len(errors))).mean(axis=1)
            low, high = np.quantile(drawn, [0.025, 0.975])
            row = f"{100 * errors.mean():6.2f} ({low:.2f} to {high:.2f})"
            print(f"{name:<14}{contestant:<33}{row:<24}{np.median(configs):8.0f}{np.median(seconds):8.1f}", flush=True)


def measured(contestant: str, name: str, seconds: float, seed: int) -> tuple[float, int, float]:
    """The test error, the configs begun and the seconds of a contestant in a process of its own."""
    begun = time.perf_counter()
    options = ["--seconds", str(seconds), "--seed", str(seed), "--data-sets", name]
    command = [sys.executable, __file__, "--contestant", contestant, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{contestant} on {name}: {done.stderr[-2000:]}")
    error, configs = json.loads(done.stdout.splitlines()[-1])
    return error, configs, time.perf_counter() - begun


if __name__ == "__main__":
    main()
