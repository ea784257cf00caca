"""Model-based searches: configs proposed in batches, from the scores of those before, by Optuna's samplers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Literal, Protocol, SupportsIndex

from jsweep._runtime.optional import import_optional
from jsweep._runtime.prng import Key, generator, key_data
from jsweep.errors import ConfigError
from jsweep.search.random import check_n, drawn_names, random
from jsweep.space._configs import Configs
from jsweep.space._numbers import whole_number
from jsweep.space._space import Space, SpaceLike, as_space

LANES = 64  # trials that a batch has where it is not said: a few tiles on a few cores
ROUNDS = 8  # batches that a search has at least where it is not said

Kind = Literal["tpe", "gp", "cma_es", "nsga2", "optuna"]


class Earlier(Protocol):
    """A recorded sweep, as `jsweep.open` returns it."""

    @property
    def name(self) -> str: ...
    def ranking(self, metric: Any = None) -> Sequence[Any]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Search:
    """What proposes a sweep's configs while it runs: made by `tpe`, `gp`, `cma_es`, `nsga2` and `optuna`.

    A `Sweep` takes it in place of configs. Each batch is told to a study in the order of its configs before the next is
    asked for, so that the proposals follow from the key and the scores alone, whatever the timing and the number of
    workers and processes.
    """

    kind: Kind
    space: Space
    n: int
    key: Key
    batch: int | None
    start_from: Earlier | None
    make: Callable[[ModuleType, int, int], Any] = field(repr=False)
    """The sampler for Optuna, a seed and the configs of a batch."""

    def __post_init__(self) -> None:
        key_data(self.key)
        if self.batch is not None:
            object.__setattr__(self, "batch", whole_number("batch", self.batch, 1))
        if self.start_from is not None and not callable(getattr(self.start_from, "ranking", None)):
            raise ConfigError(
                f"start_from is a {type(self.start_from).__name__}: pass an earlier sweep's result, as in "
                "start_from=js.open('sweeps.db', 'digits')."
            )
        assert len(self.drawn) == self.n  # or refused: the space has fewer configs

    def __repr__(self) -> str:
        batch = "" if self.batch is None else f", batch={self.batch}"
        return f"{self.n} configs by {self.kind}{batch}, from {self.space!r}"

    def __len__(self) -> int:
        return self.n

    @cached_property
    def drawn(self) -> Configs:
        """As many configs drawn at random: what is planned with, and what a sampler that repeats itself is helped with."""
        return random(self.space, self.n, key=self.key)

    @property
    def remembers(self) -> bool:
        """Whether the sampler has a state of its own beside the study's scores, which asking anew from the start restores."""
        return self.kind not in ("tpe", "gp")

    @property
    def learns_from_ended(self) -> bool:
        """Whether the sampler waits for generations of configs that were trained to their end."""
        return self.kind in ("cma_es", "nsga2")

    def batch_for(self, seeds: int) -> int:
        """The configs of a batch: as asked for, else so many that their trials fill some tiles, of eight batches or more."""
        if self.batch is not None:
            return self.batch
        return max(1, min(math.ceil(LANES / seeds), math.ceil(self.n / ROUNDS)))

    def seed(self, asked: int) -> int:
        """The seed of a sampler that proposes after ``asked`` configs; one that remembers is made once, before the first."""
        return int(generator(self.key, self.kind, 0 if self.remembers else asked).integers(2**31))


def tpe(
    space: SpaceLike,
    n: SupportsIndex,
    *,
    key: Key,
    batch: SupportsIndex | None = None,
    start_from: Earlier | None = None,
) -> Search:
    """A tree-structured Parzen estimator: configs that are likelier among the good than among the others.

    Optuna's ``TPESampler``, multivariate, with a constant liar inside a batch (Bergstra et al. 2011; Watanabe 2023). The
    first ten configs or, where that is more, the first batch are drawn at random.

    Args:
        space: names and what they take, as `Space` takes them. Samplers see a list of numbers in ascending order, other
            lists as categories, and no weights.
        n: how many configs, 1 to 10,000,000.
        key: a JAX key, or an integer; proposals follow from it and from the scores.
        batch: configs proposed at once (default: 64 divided by the seeds, and an eighth of ``n`` at most). Fewer learn more
            from each, more keep all lanes busy.
        start_from: an earlier sweep's result (`open`), whose configs in this space are told to the study before it is
            first asked.

    Returns:
        A search, for `Sweep` in place of configs.

    Raises:
        ConfigError: for an ``n``, a ``key`` or a ``batch`` that is not valid, and if the space has fewer configs.

    >>> import jsweep as js
    >>> js.tpe({"learning_rate": js.log_uniform(1e-4, 1.0)}, 256, key=0, batch=32)
    256 configs by tpe, batch=32, from Space
      learning_rate: log_uniform(1e-4, 1)
    """
    make = lambda optuna, seed, batch: optuna.samplers.TPESampler(seed=seed)
    return _search("tpe", space, n, key, batch, start_from, make)


def gp(
    space: SpaceLike,
    n: SupportsIndex,
    *,
    key: Key,
    batch: SupportsIndex | None = None,
    start_from: Earlier | None = None,
) -> Search:
    """Bayesian optimization with a Gaussian process: the configs of the largest expected improvement.

    Optuna's ``GPSampler``, which counts the configs of a batch that are proposed already; it needs PyTorch
    (``pip install 'jsweep[gp]'``). Conditional names are drawn independently.

    Args:
        space: as in `tpe`, as are the others.
        n: see `tpe`.
        key: see `tpe`.
        batch: see `tpe`.
        start_from: see `tpe`.

    Returns:
        A search, for `Sweep` in place of configs.

    Raises:
        ConfigError: as `tpe`.
    """
    make = lambda optuna, seed, batch: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
    return _search("gp", space, n, key, batch, start_from, make)


def cma_es(space: SpaceLike, n: SupportsIndex, *, key: Key, batch: SupportsIndex | None = None) -> Search:
    """The covariance matrix adaptation evolution strategy, for spaces of numbers (Hansen 2016).

    Optuna's ``CmaEsSampler``. A batch is a generation, unless it is smaller than the usual one (``4 + 3 log d`` for ``d``
    names); the first batch is drawn at random. Names that are conditional or not numbers are drawn independently. An earlier
    sweep is of no use to it.

    Args:
        space: as in `tpe`, as are the others.
        n: see `tpe`.
        key: see `tpe`.
        batch: see `tpe`.

    Returns:
        A search, for `Sweep` in place of configs.

    Raises:
        ConfigError: as `tpe`.
    """
    dimensions = len(drawn_names(as_space(space)))

    def make(optuna: ModuleType, seed: int, batch: int) -> Any:
        usual = 4 + math.floor(3 * math.log(max(dimensions, 1)))
        return optuna.samplers.CmaEsSampler(seed=seed, popsize=max(batch, usual), warn_independent_sampling=False)

    return _search("cma_es", space, n, key, batch, None, make)


def nsga2(space: SpaceLike, n: SupportsIndex, *, key: Key, batch: SupportsIndex | None = None) -> Search:
    """The genetic algorithm NSGA-II, for several objectives (Deb et al. 2002): see ``objective`` of `Sweep`.

    Optuna's ``NSGAIISampler``. A batch is a generation, and at least eight configs are. An earlier sweep is of no use to it.

    Args:
        space: as in `tpe`, as are the others.
        n: see `tpe`.
        key: see `tpe`.
        batch: see `tpe`.

    Returns:
        A search, for `Sweep` in place of configs.

    Raises:
        ConfigError: as `tpe`.
    """
    make = lambda optuna, seed, batch: optuna.samplers.NSGAIISampler(seed=seed, population_size=max(batch, 8))
    return _search("nsga2", space, n, key, batch, None, make)


def optuna(
    space: SpaceLike,
    n: SupportsIndex,
    *,
    sampler: Callable[..., Any],
    key: Key,
    batch: SupportsIndex | None = None,
    start_from: Earlier | None = None,
) -> Search:
    """A search by any sampler of Optuna's interface.

    Args:
        space: as in `tpe`, as are the others.
        n: see `tpe`.
        sampler: a sampler's class, which is given ``seed=``, or a function from a seed to a sampler. A sampler that is made
            already is refused: a resumed sweep has to begin with a new one.
        key: see `tpe`.
        batch: see `tpe`.
        start_from: see `tpe`.

    Returns:
        A search, for `Sweep` in place of configs.

    Raises:
        ConfigError: as `tpe`, and for a ``sampler`` that is neither a class nor a function.
    """
    if not callable(sampler):
        raise ConfigError(
            f"sampler is a {type(sampler).__name__} that is made already: pass its class, or a function from a seed to a "
            f"sampler, as in sampler=lambda seed: {type(sampler).__name__}(seed=seed)."
        )
    make = lambda module, seed, batch: sampler(seed=seed) if isinstance(sampler, type) else sampler(seed)
    return _search("optuna", space, n, key, batch, start_from, make)


def _search(
    kind: Kind,
    space: SpaceLike,
    n: SupportsIndex,
    key: Key,
    batch: SupportsIndex | None,
    start_from: Earlier | None,
    make: Callable[[ModuleType, int, int], Any],
) -> Search:
    return Search(kind, as_space(space), check_n(n), key, batch, start_from, make)  # pyright: ignore[reportArgumentType]


def import_optuna(kind: Kind) -> ModuleType:
    """Optuna, with what the search needs beside it; MissingExtraError, which names the extra, where that is missing."""
    optuna = import_optional("optuna", "optuna")
    for needed, package in (("gp", "torch"), ("cma_es", "cmaes")):
        if kind == needed:
            import_optional(package, "gp" if kind == "gp" else "optuna")
    return optuna
