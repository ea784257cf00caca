"""Checks of the space: its edges, names without effect, configs that are the same, and samples that are too thin."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from jsweep.results.diagnostics.evidence import Evidence, Finding, gain
from jsweep.results.ranking import ConfigScore
from jsweep.space import format_value

EDGE = 20  # the outermost twentieth of many values counts as the edge
NEGLIGIBLE = 0.02  # of the range of all scores
CONFIGS_A_NAME = 10  # of a random search, below which it is thin


def edge_of_space(evidence: Evidence) -> Iterator[Finding]:
    """The best config has a hyperparameter's smallest or largest value, and values further in are worse."""
    for name, values in evidence.numeric(least=3).items():
        value = evidence.best.config.get(name)
        if value is None:
            continue
        place, zone = values.index(value), math.ceil(len(values) / EDGE)
        low, high = (
            place < zone and value != 0,
            place >= len(values) - zone,
        )  # nothing is below 0 of a rate or a strength
        edge = set(values[:zone] if low else values[-zone:])
        if (low or high) and _matters(evidence, name, edge):
            side, beyond = ("lower", "smaller") if low else ("upper", "larger")
            yield Finding(
                "edge of the space",
                f"The best {name} ({format_value(value)}) is at the {side} edge of the values tried "
                f"({format_value(values[0])} to {format_value(values[-1])}).",
                f"Try {beyond} ones.",
            )


def without_effect(evidence: Evidence) -> Iterator[Finding]:
    """Configs that differ in one hyperparameter alone have nearly equal scores."""
    for name, (effect, spread) in _negligible(evidence).items():
        seen = (
            "are the same"
            if effect == 0
            else f"differ by at most {effect:.2g}, while all scores spread over {spread:.2g}"
        )
        yield Finding(
            "without effect",
            f"{name} has {'no' if effect == 0 else 'hardly any'} effect: scores of configs that differ in it alone {seen}.",
            "Fix it, and spend the trials on other names.",
        )


def duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Configs of which every metric is equal under every seed, beyond those that differ only in names without effect."""
    useless = set(_negligible(evidence))
    sets: dict[object, list[ConfigScore]] = {}
    for score in evidence.complete:
        sets.setdefault(evidence.outcomes[score.config_id], []).append(score)
    alike = [found for found in sets.values() if len({_rest(score, useless) for score in found}) > 1]
    if alike:
        yield Finding(
            "duplicates",
            f"{sum(map(len, alike))} configs have the same scores as another one, by every metric and under every seed.",
            "Make hyperparameters that a config does not use conditional (js.when).",
        )


def thin_sample(evidence: Evidence) -> Iterator[Finding]:
    """A random search has few configs for the number of its hyperparameters."""
    names, configs = evidence.varied(), len(evidence.ranking)
    continuous = evidence.numeric(least=max(configs - 1, 3))  # a value of its own for nearly every config: no grid
    if continuous and len(names) > 1 and configs < CONFIGS_A_NAME * len(names):
        yield Finding(
            "thin sample",
            f"{configs} configs sample {len(names)} hyperparameters.",
            f"Try {CONFIGS_A_NAME * len(names)} or more, or fix those that matter least.",
        )


def _matters(evidence: Evidence, name: str, edge: set[float]) -> bool:
    """Whether the best score at the edge is better than the best elsewhere by more than the standard error."""
    inner = [score for score in evidence.complete if name in score.config and score.config[name] not in edge]
    if not inner:
        return True
    best = evidence.best
    lead = float(gain(np.array([best.mean]), best.mode)[0] - gain(np.array([inner[0].mean]), best.mode)[0])
    return lead > (best.standard_error if len(best.values) > 1 else 0.0)


def _negligible(evidence: Evidence) -> Mapping[str, tuple[float, float]]:
    """Names whose largest effect between otherwise equal configs is negligible: that effect, and the spread of all scores."""
    complete = evidence.complete
    low, high = np.quantile([score.mean for score in complete], [0.05, 0.95])
    found: dict[str, tuple[float, float]] = {}
    for name in evidence.varied():
        sets = [same for same in _matched(complete, name).values() if len(same) > 1]
        effects = [max(s.mean for s in same) - min(s.mean for s in same) for same in sets]
        if effects and max(effects) <= NEGLIGIBLE * (high - low):
            found[name] = (max(effects), float(high - low))
    return found


def _matched(scores: list[ConfigScore], name: str) -> Mapping[object, list[ConfigScore]]:
    """Configs by what they have but for ``name``, those without it left out."""
    sets: dict[object, list[ConfigScore]] = {}
    for score in scores:
        if name in score.config:
            sets.setdefault(_rest(score, {name}), []).append(score)
    return sets


def _rest(score: ConfigScore, without: set[str]) -> object:
    return tuple(sorted((name, repr(value)) for name, value in score.config.items() if name not in without))
