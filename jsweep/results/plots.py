"""Pictures of a sweep: a score against a hyperparameter, with the seeds' spread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.space import format_value

# Okabe and Ito's palette: told apart by people of any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def plot_score(
    result: Result, x: str, path: str | Path, *, metric: str = "validation/loss", by: str | None = None
) -> Path:
    """Draw ``metric`` against the hyperparameter ``x`` as a PNG: a line for each value of ``by``, a band for the seeds.

    Each point is the best mean over the configs that share ``x`` and ``by``; the band goes from its
    lowest to its highest seed. Where training did not stay finite the line breaks and a cross on the upper
    edge says so. The best config is marked. ``x`` is drawn on a logarithmic axis where its values span a factor
    above 50.
    """
    figure_module = import_optional("matplotlib.figure", "plots")
    ranking = result.ranking(metric)
    for name in (x, *([by] if by else [])):
        if not any(name in score.config for score in ranking):
            known = ", ".join(dict.fromkeys(n for score in ranking for n in score.config))
            raise ConfigError(f"no config of {result.name!r} has {name!r}: it has {known}.")
    families = _families(result, ranking, x, by)
    figure = figure_module.Figure(figsize=(8.0, 5.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    for colour, (label, scores) in zip(_cycle(len(families)), families.items()):
        _draw_family(axes, colour, label, scores, x)
    _mark_best(axes, result, ranking, x, metric)
    _dress(axes, result, ranking, x, metric, by)
    figure.savefig(path)
    return Path(path)


def _families(result: Result, ranking: Sequence[ConfigScore], x: str, by: str | None) -> dict[str, list[ConfigScore]]:
    """For each value of ``by``: the best config at each value of ``x``, in order of ``x``."""
    best: dict[tuple[str, float], ConfigScore] = {}
    for score in ranking:  # best first, so the first of its place is the one to keep
        if _drawable(score.config.get(x)):
            label = _shown(score.config[by]) if by and by in score.config else ("all" if by is None else "none")
            best.setdefault((label, float(score.config[x])), score)
    families: dict[str, list[ConfigScore]] = {}
    for (label, _), score in sorted(best.items(), key=lambda item: item[0]):
        families.setdefault(label, []).append(score)
    if not families:
        raise ConfigError(f"the values of {x!r} are not numbers: give a hyperparameter that is one.")
    return families


def _draw_family(axes: Any, colour: str, label: str, scores: Sequence[ConfigScore], x: str) -> None:
    at = np.array([score.config[x] for score in scores], float)
    mean = np.array([score.mean if score.complete else np.nan for score in scores])
    low = np.array([min(score.values) if score.complete else np.nan for score in scores])
    high = np.array([max(score.values) if score.complete else np.nan for score in scores])
    axes.plot(at, mean, color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
    axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    wild = at[~np.isfinite(mean)]
    if len(wild):
        edge = axes.get_xaxis_transform()
        axes.plot(wild, np.full(len(wild), 0.985), "x", color=colour, transform=edge, markersize=5, clip_on=False)


def _mark_best(axes: Any, result: Result, ranking: Sequence[ConfigScore], x: str, metric: str) -> None:
    top = ranking[0]
    if not top.complete or not _drawable(top.config.get(x)):
        return
    axes.plot([top.config[x]], [top.mean], "*", color="black", markersize=13, zorder=5)
    told = ", ".join(f"{_shown(name)} {_shown(value)}" for name, value in list(top.config.items())[:8])
    axes.set_title(
        f"best: {told}\n{_shown(metric)} {top.mean:.4g} ± {top.std:.1g} over {len(top.values)} seeds", fontsize=10
    )


def _dress(axes: Any, result: Result, ranking: Sequence[ConfigScore], x: str, metric: str, by: str | None) -> None:
    values = [float(s.config[x]) for s in ranking if _drawable(s.config.get(x))]
    if min(values) > 0 and max(values) / min(values) > 50:
        axes.set_xscale("log")
    sound = [score.mean for score in ranking if score.complete]
    if sound and min(sound) > 0 and max(sound) / min(sound) > 20:
        axes.set_yscale("log")
    axes.set_xlabel(_shown(x.replace("_", " ")))
    axes.set_ylabel(_shown(metric))
    axes.grid(True, which="major", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if by:
        axes.legend(title=_shown(by.replace("_", " ")), frameon=False)


def _drawable(value: Any) -> bool:
    """Whether a value has a place on an axis."""
    return isinstance(value, int | float) and abs(value) < 1e300  # beyond it an axis overflows; NaN is none


def _shown(value: Any) -> str:
    """A value in words, without what Matplotlib would read as mathematics."""
    return clean(value if isinstance(value, str) else format_value(value)).replace("$", r"\$")


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def plot_best(result: Result, name: str, path: str | Path, *, metric: str = "validation/loss") -> Path:
    """Draw, for each value of the hyperparameter ``name``, its best config: every seed a dot, the mean a bar, as a PNG."""
    figure_module = import_optional("matplotlib.figure", "plots")
    best: dict[str, ConfigScore] = {}
    for score in result.ranking(metric):
        if score.complete and name in score.config:
            best.setdefault(_shown(score.config[name]), score)
    if not best:
        raise ConfigError(f"no config of {result.name!r} has {name!r} and a finite {metric} under all its seeds.")
    figure = figure_module.Figure(figsize=(8.0, 1.2 + 0.4 * len(best)), dpi=150, layout="constrained")
    axes = figure.subplots()
    for row, score in enumerate(best.values()):
        axes.plot(score.values, [row] * len(score.values), "o", color=COLOURS[0], alpha=0.45, markersize=6)
        axes.plot([score.mean] * 2, [row - 0.3, row + 0.3], color=COLOURS[1], linewidth=2.5)
    axes.set_yticks(range(len(best)), list(best))
    axes.invert_yaxis()
    axes.set_xlabel(f"{_shown(metric)} of the best config: a dot for each seed, a bar at the mean")
    axes.set_ylabel(_shown(name.replace("_", " ")))
    axes.grid(True, axis="x", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return Path(path)
