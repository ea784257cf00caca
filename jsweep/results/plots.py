"""Plots of a sweep: a metric against a hyperparameter, with the spread over seeds, as PNG files."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from jaxtyping import Float64

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError, UnknownNameError
from jsweep.results.colours import COLOURS
from jsweep.results.curves import Curves
from jsweep.results.lineage import Lineage
from jsweep.results.objective import Objective
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.results.text_table import distinct
from jsweep.space import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_score(
    result: Result, x: str, path: str | Path, *, metric: str | Objective | None = None, by: str | None = None
) -> Path:
    """Draw a metric against the hyperparameter ``x`` as a PNG: a line for each value of ``by``, a band for the seeds.

    Each point is the best mean over the configs that share ``x`` and ``by``; the band spans that config's seeds. Where all
    were stopped early, a ring marks the last score of the one that came furthest; where there is none, a cross on the upper
    edge the place. The line joins the complete ones. A star marks the best config.
    ``x`` has a logarithmic axis where its values span a factor above 50.

    Args:
        result: The sweep.
        x: A hyperparameter with numbers as values.
        path: The file to write.
        metric: What to draw; default: the sweep's objective.
        by: A hyperparameter to draw a line for each value of.

    Returns:
        The path.

    Raises:
        ConfigError: No config has ``x`` or ``by``, the values of ``x`` are not numbers, or the metric cannot be ranked.
        MissingExtraError: Matplotlib is not installed.
    """
    figure_module = import_optional("matplotlib.figure", "plots")
    ranking = list(result.ranking(metric))
    for name in (x, *([by] if by else [])):
        if not any(name in score.config for score in ranking):
            known = ", ".join(dict.fromkeys(n for score in ranking for n in score.config))
            raise UnknownNameError(f"no config of {result.name!r} has {name!r}: they have {known}.")
    families = _families(ranking, x, by)
    figure = figure_module.Figure(figsize=(8.0, 5.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    for index, (label, scores) in enumerate(families.items()):
        _draw_family(axes, COLOURS[index % len(COLOURS)], label, scores, x)
    _mark_best(axes, ranking, x)
    _label_axes(axes, ranking, x, by)
    figure.savefig(path)
    return Path(path)


def plot_best(result: Result, name: str, path: str | Path, *, metric: str | Objective | None = None) -> Path:
    """Draw the best config for each value of a hyperparameter as a PNG: a dot for each seed, a bar at the mean.

    Args:
        result: The sweep.
        name: The hyperparameter.
        path: The file to write.
        metric: What to draw; default: the sweep's objective.

    Returns:
        The path.

    Raises:
        ConfigError: No complete config has the hyperparameter, or the metric cannot be ranked.
        MissingExtraError: Matplotlib is not installed.
    """
    figure_module = import_optional("matplotlib.figure", "plots")
    scores = [score for score in result.ranking(metric) if score.complete and name in score.config]
    if not scores:
        raise ConfigError(f"no config of {result.name!r} has {name!r} and a finite score under all its seeds.")
    labels = _labels(score.config[name] for score in scores)
    best: dict[str, ConfigScore] = {}
    for score, label in zip(scores, labels):
        best.setdefault(label, score)
    figure = figure_module.Figure(figsize=(8.0, 1.2 + 0.4 * len(best)), dpi=150, layout="constrained")
    axes = figure.subplots()
    for row, score in enumerate(best.values()):
        axes.plot(score.values, [row] * len(score.values), "o", color=COLOURS[0], alpha=0.45, markersize=6)
        axes.plot([score.mean] * 2, [row - 0.3, row + 0.3], color=COLOURS[1], linewidth=2.5)
    axes.set_yticks(range(len(best)), list(best))
    axes.invert_yaxis()
    axes.set_xlabel(f"{_plain(scores[0].metric)} of the best config: a dot for each seed, a bar at the mean")
    axes.set_ylabel(_plain(name.replace("_", " ")))
    axes.grid(True, axis="x", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return Path(path)


def plot_lineage(result: Result, name: str, path: str | Path, *, metric: str | Objective | None = None) -> Path:
    """Draw how configs that were copied came about as a PNG: the scores above, a hyperparameter below, against the steps.

    The lines are the configs', scores as means over seeds; a dotted line leads from a copy's source to the copy's new value.
    The best config at the end is in colour, followed back through the configs that it was copied from.

    Args:
        result: The sweep, under a rule such as `jsweep.rules.population_based_training`.
        name: A hyperparameter with numbers as values.
        path: The file to write.
        metric: What to draw; default: the sweep's objective.

    Returns:
        The path.

    Raises:
        ConfigError: Nothing was copied, no config has ``name`` as a number, or the metric cannot be ranked.
        MissingExtraError: Matplotlib is not installed.
    """
    figure_module = import_optional("matplotlib.figure", "plots")
    ranking, lineage = list(result.ranking(metric)), result.lineage()
    if not lineage.copies:
        raise ConfigError(f"no config of {result.name!r} was copied: run a sweep under a rule that copies.")
    if not any(_is_drawable(score.config.get(name)) for score in ranking):
        raise UnknownNameError(
            f"no config of {result.name!r} has {name!r} as a number: pass a hyperparameter that has."
        )
    figure = figure_module.Figure(figsize=(8.0, 7.0), dpi=150, layout="constrained")
    scores, values = figure.subplots(2, sharex=True)
    curves, best = result.curves(ranking[0].metric), ranking[0]
    members = {score.config_id: score.trials for score in ranking}
    for score in ranking:
        scores.plot(curves.steps, _mean(curves, score.trials), color="0.75", linewidth=0.9)
        _draw_values(values, lineage, score, name)
    for stretch in lineage.path(best.config_id, best.step):
        inside = (curves.steps > stretch.begin) & (curves.steps <= stretch.end)
        mean = _mean(curves, members[stretch.config_id])[inside]
        scores.plot(curves.steps[inside], mean, color=COLOURS[0], linewidth=2.2, marker="o", markersize=3)
        if _is_drawable(stretch.config.get(name)):
            values.plot([stretch.begin, stretch.end], [stretch.config[name]] * 2, color=COLOURS[0], linewidth=2.6)
    _label_lineage(scores, values, best.metric, name)
    figure.savefig(path)
    return Path(path)


def _mean(curves: Curves, trials: Sequence[str]) -> Float64[np.ndarray, " evaluations"]:
    return np.mean([curves.values[curves.trials.index(trial)] for trial in trials], axis=0)


def _draw_values(axes: "Axes", lineage: Lineage, score: ConfigScore, name: str) -> None:
    """A config's own values, and from where the copies came that it went on from."""
    copies = sorted(lineage.copies.get(score.config_id, ()), key=lambda copy: copy.step)
    bounds = [0, *(copy.step for copy in copies), score.step]
    for begin, end in itertools.pairwise(bounds):
        value = lineage.trained(score.config_id, end).get(name)
        if _is_drawable(value):
            axes.plot([begin, end], [value] * 2, color="0.75", linewidth=1.2)
    for copy in copies:
        source = lineage.trained(copy.source, copy.step).get(name)
        own = lineage.trained(score.config_id, copy.step + 1).get(name)
        if _is_drawable(source) and _is_drawable(own):
            ends = [copy.step] * 2, [source, own]
            axes.plot(*ends, color=COLOURS[1], linewidth=0.9, linestyle=":", marker=".", markevery=[1])


def _label_lineage(scores: "Axes", values: "Axes", metric: str, name: str) -> None:
    for axes, most in ((scores, 20), (values, 50)):
        drawn = np.concatenate([line.get_ydata() for line in axes.get_lines()])
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) and drawn.min() > 0 and drawn.max() / drawn.min() > most:
            axes.set_yscale("log")
    scores.set_ylabel(_plain(metric))
    values.set_ylabel(_plain(name.replace("_", " ")))
    values.set_xlabel("steps")
    for axes in (scores, values):
        axes.grid(True, which="major", color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)


def _families(ranking: Sequence[ConfigScore], x: str, by: str | None) -> dict[str, list[ConfigScore]]:
    """For each value of ``by``: the best config at each value of ``x``, in order of ``x``."""
    scores = [score for score in ranking if _is_drawable(score.config.get(x))]
    if not scores:
        raise ConfigError(f"the values of {x!r} are not numbers: pass a hyperparameter whose values are.")
    having = {score.config_id: score.config[by] for score in scores if by is not None and by in score.config}
    labels = dict(zip(having, _labels(having.values())))
    best: dict[tuple[str, float], ConfigScore] = {}
    for score in scores:  # best first, so the first of its place is the one to keep
        label = labels.get(score.config_id, "all" if by is None else "none")
        best.setdefault((label, float(score.config[x])), score)
    families: dict[str, list[ConfigScore]] = {}
    for (label, _), score in sorted(best.items(), key=lambda item: item[0]):
        families.setdefault(label, []).append(score)
    return families


def _labels(values: Iterable[Any]) -> list[str]:
    """Labels that tell different values apart, without what Matplotlib would read as mathematics."""
    return [label.replace("$", r"\$") for label in distinct([*values])]


def _draw_family(axes: "Axes", colour: str, label: str, scores: Sequence[ConfigScore], x: str) -> None:
    at = np.array([score.config[x] for score in scores], float)
    mean = np.array([score.mean if score.complete else np.nan for score in scores])
    low = np.array([min(score.values) if score.complete else np.nan for score in scores])
    high = np.array([max(score.values) if score.complete else np.nan for score in scores])
    early = np.array([score.mean if score.stopped and not score.complete else np.nan for score in scores])
    whole = np.isnan(early)  # rings break no line: they are no gap in what came to its end
    axes.plot(at[whole], mean[whole], color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
    axes.fill_between(at[whole], low[whole], high[whole], color=colour, alpha=0.18, linewidth=0)
    axes.plot(at, early, "o", color=colour, fillstyle="none", markersize=5, alpha=0.6)
    incomplete = at[~np.isfinite(mean) & ~np.isfinite(early)]
    if len(incomplete):
        edge = axes.get_xaxis_transform()
        heights = np.full(len(incomplete), 0.985)
        axes.plot(incomplete, heights, "x", color=colour, transform=edge, markersize=5, clip_on=False)


def _mark_best(axes: "Axes", ranking: Sequence[ConfigScore], x: str) -> None:
    top = ranking[0]
    if not top.complete or not _is_drawable(top.config.get(x)):
        return
    axes.plot([top.config[x]], [top.mean], "*", color="black", markersize=13, zorder=5)
    shown = ", ".join(f"{_plain(name)} {_plain(value)}" for name, value in list(top.config.items())[:8])
    spread = f"{top.mean:.4g} ± {top.std:.1g} over {len(top.values)} seeds"
    axes.set_title(f"best: {shown}\n{_plain(top.metric)} {spread}", fontsize=10)


def _label_axes(axes: "Axes", ranking: Sequence[ConfigScore], x: str, by: str | None) -> None:
    values = [float(s.config[x]) for s in ranking if _is_drawable(s.config.get(x))]
    if min(values) > 0 and max(values) / min(values) > 50:
        axes.set_xscale("log")
    early = [score.mean for score in ranking if score.stopped and not score.complete and math.isfinite(score.mean)]
    means = [score.mean for score in ranking if score.complete] + early
    if means and min(means) > 0 and max(means) / min(means) > 20:
        axes.set_yscale("log")
    axes.set_xlabel(_plain(x.replace("_", " ")))
    axes.set_ylabel(_plain(ranking[0].metric))
    axes.grid(True, which="major", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if early:
        axes.plot([], [], "o", color="0.4", fillstyle="none", markersize=5, label="stopped early, at the last score")
    if by or early:
        axes.legend(title=by and _plain(by.replace("_", " ")), frameon=False)


def _is_drawable(value: object) -> TypeGuard[int | float]:
    """Whether a value has a place on an axis."""
    return isinstance(value, int | float) and abs(value) < 1e300  # beyond it an axis overflows; NaN is False


def _plain(value: Any) -> str:
    """A value as text, without what Matplotlib would read as mathematics."""
    return clean(value if isinstance(value, str) else format_value(value)).replace("$", r"\$")
