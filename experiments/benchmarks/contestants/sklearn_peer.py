"""(f) scikit-learn: GridSearchCV over MLPClassifier on all cores, one fit a config on a fixed split, no refit."""

import os
import time
import warnings

import numpy as np
from contestants.workloads import BATCH, Workload, digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier


def grid_search(w: Workload):
    if w.model != "mlp":
        raise NotImplementedError("scikit-learn has perceptrons only")
    x, y = digits()
    lanes, epochs = min(w.lanes, 8), max(1, round(w.steps * BATCH / len(y)))
    os.environ["PYTHONWARNINGS"] = "ignore"  # its workers warn that max_iter was reached, which is the point
    warnings.simplefilter("ignore", ConvergenceWarning)
    net = MLPClassifier(
        (w.width, w.width),
        solver=w.optimizer,
        batch_size=BATCH,
        max_iter=epochs,
        alpha=0.0,
        tol=0.0,
        n_iter_no_change=10**6,
    )
    fold = np.full(len(y) + 64, -1)
    fold[len(y) :] = 0  # the training rows stay in every fit
    bx, by = np.concatenate([x, x[:64]]), np.concatenate([y, y[:64]])
    rates = {"learning_rate_init": w.rates[-lanes:]}

    def one_round():
        search = GridSearchCV(net, rates, cv=PredefinedSplit(fold), n_jobs=os.cpu_count(), refit=False)
        begun = time.perf_counter()
        search.fit(bx, by)
        seconds = time.perf_counter() - begun
        trained = epochs * -(-len(y) // BATCH)
        return seconds / lanes * w.steps / trained, [1 - float(search.best_score_)]

    return one_round
