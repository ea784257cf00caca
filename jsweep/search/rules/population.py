"""Population-based training: the worst configs go on from a copy of the best ones' states, with changed hyperparameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.search._where import Filter
from jsweep.search.rules._columns import Budgets, KeyData, Scores, Sources, means_after, reached
from jsweep.search.rules._rule import GO, Copying, Rule, number, whole
from jsweep.space._conditions import leaf_in
from jsweep.space._domains import Distribution, draw, rounded
from jsweep.space._space import Space

_TRIES = 100  # draws of new values before a config goes on with its source's, where constraints refuse them


def population_based_training(
    every: int,
    *,
    quantile: float = 0.2,
    factors: Sequence[float] = (0.8, 1.2),
    resample: float = 0.25,
    hyperparameters: Sequence[str] | None = None,
) -> Rule:
    """Replace the worst configs by changed copies of the best, again and again (PBT; Jaderberg et al., 2017).

    After every ``every`` steps the worst ``floor(quantile * n)`` of n configs, at least one, by their mean over seeds, each
    copy one of as many best ones: its training state, seed by seed, and its hyperparameters (truncation selection). A
    config goes on with its own seeds' randomness, and is only replaced by one that is strictly better. Then each of the
    ``hyperparameters`` is drawn anew from its distribution with probability ``resample``, or else multiplied by one of
    ``factors`` and kept within the distribution's bounds; whole numbers are rounded, by one up or down at least. New values
    satisfy the space's constraints. What is copied and drawn follows from the scores and the sweep's key.

    The state is copied as it is, so a hyperparameter must act in each step, as a learning rate does; what only ``init``
    reads has acted already. All configs are of one length and share one compiled program.

    Args:
        every: the steps between two copies.
        quantile: the share of configs that is replaced, above 0 and at most 0.5.
        factors: what a hyperparameter is multiplied by, each equally likely.
        resample: the probability that it is drawn anew instead.
        hyperparameters: the names that change, drawn from distributions and trained in lanes; None for all that are drawn
            from a distribution of floats.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    name = "population_based_training"
    every, quantile = whole(name, "every", every, 1), number(name, "quantile", quantile, 0, 0.5)
    resample = number(name, "resample", resample, 0, 1)
    if quantile == 0:
        raise ConfigError(f"{name}(quantile=0) copies nothing: pass a share above 0.")
    if isinstance(factors, str) or not isinstance(factors, Sequence) or not factors:
        raise ConfigError(f"{name}(factors={factors!r}) is not valid: pass numbers above 0, such as (0.8, 1.2).")
    scales = tuple(number(name, "factors", factor, 1e-9, 1e9) for factor in factors)
    names = _names(hyperparameters)

    def sources(scores: Scores, budgets: Budgets, key: KeyData) -> Sources:
        return _truncated(scores, budgets, key, quantile)

    said = "" if names is None else f", hyperparameters={list(names)}"
    shown = ", ".join(f"{factor:g}" for factor in scales)
    return Rule(
        f"{name}(every={every}, quantile={quantile:g}, factors=({shown}), resample={resample:g}{said})",
        lambda scores, budgets, key: np.full(len(scores), GO),
        lambda steps: range(every, steps, every),
        copying=Copying(sources, scales, resample, names),
    )


@dataclass(frozen=True)
class Explored:
    """What copies change: the space, and the distribution of each name."""

    space: Space
    names: Sequence[str]

    def leaf(self, name: str, config: Mapping[str, Value]) -> Distribution | None:
        """The distribution of a name in a config; None where it has another or none."""
        leaf = leaf_in(self.space[name], config) if name in config else None
        return leaf if isinstance(leaf, Distribution) else None


def explore(
    copying: Copying, explored: Explored, config: Mapping[str, Value], words: Sequence[int]
) -> dict[str, int | float]:
    """New values of the hyperparameters of a copy.

    Args:
        copying: how they change.
        explored: which do, and within what.
        config: what the source trains with.
        words: what the draws follow from: the key's data, the step and the config.

    Returns:
        The values by name; none where no draw satisfies the constraints of the space.
    """
    rng, keeps = np.random.default_rng(words), Filter(explored.space).keeps
    for _ in range(_TRIES):
        found: dict[str, int | float] = {}
        for name in explored.names:
            leaf, value = explored.leaf(name, config), config.get(name)
            if leaf is not None and isinstance(value, int | float):
                found[name] = _changed(leaf, value, copying, rng)
        if keeps({**config, **found}):
            return found
    return {}


def _changed(leaf: Distribution, value: float, copying: Copying, rng: np.random.Generator) -> int | float:
    anew, factor, u = rng.random(), float(rng.choice(copying.factors)), rng.random(1)  # drawn in any case
    if anew < copying.resample:
        return draw(leaf, u)[0]
    low, high = (-math.inf, math.inf) if leaf.kind == "normal" else leaf.arguments
    if leaf.kind not in ("int_uniform", "log_int"):
        return rounded([value * factor], low, high)[0]
    moved = round(value * factor)
    if moved == value and factor != 1:
        moved += 1 if factor > 1 else -1
    return int(min(max(moved, low), high))


def _truncated(scores: Scores, budgets: Budgets, key: KeyData, quantile: float) -> Sources:
    """Which row each goes on from: itself, or for the worst a draw among the best."""
    found, at = np.arange(len(scores)), reached(scores, budgets)
    step = int(at.max(initial=0))
    here = np.flatnonzero(at == step)
    if step == 0 or len(here) < 2:
        return found
    values = means_after(scores, budgets, step)
    order = here[np.argsort(values[here], kind="stable")]
    count = min(max(1, math.floor(quantile * len(here))), len(here) // 2)
    best = order[:count][np.isfinite(values[order[:count]])]
    if not len(best):
        return found
    worst = order[-count:]
    chosen = best[np.random.default_rng([*key.tolist(), step]).integers(len(best), size=count)]
    better = values[chosen] < values[worst]
    found[worst[better]] = chosen[better]
    return found


def _names(hyperparameters: Sequence[str] | None) -> tuple[str, ...] | None:
    if hyperparameters is None:
        return None
    listed = isinstance(hyperparameters, Sequence) and not isinstance(hyperparameters, str)
    if not listed or not hyperparameters or not all(isinstance(name, str) for name in hyperparameters):
        raise ConfigError(
            f"population_based_training(hyperparameters={hyperparameters!r}) is not valid: pass a list of names, such as "
            "['learning_rate']."
        )
    return tuple(dict.fromkeys(hyperparameters))
