"""Pictures of schedules: one, or a gallery of all."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep.schedules._catalogue import CATALOGUE, Entry
from jsweep.schedules._core import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4


def plot_schedule(schedule: Schedule, title: str, *, steps: int, path: str | Path) -> Path:
    """Draw one schedule as a PNG.

    Args:
        schedule: what to draw.
        title: the text above it.
        steps: how many steps to draw.
        path: the file to write.

    Returns:
        The path of the file.
    """
    figure = import_optional("matplotlib.figure", "plots").Figure(figsize=(6.4, 3.6), dpi=150, layout="constrained")
    _draw(figure.subplots(), schedule, title, steps=steps, labelled=True)
    figure.savefig(path)
    return Path(path)


def plot_gallery(
    path: str | Path, make: Mapping[str, Callable[..., Schedule]], *, entries: Sequence[Entry] = CATALOGUE
) -> Path:
    """Draw every schedule of the catalogue with its typical arguments as a PNG.

    Args:
        path: the file to write.
        make: from names to the functions that make schedules.
        entries: what to draw.

    Returns:
        The path of the file.
    """
    rows = -(-len(entries) // COLUMNS)
    figure = import_optional("matplotlib.figure", "plots").Figure(
        figsize=(3.2 * COLUMNS, 2.1 * rows), dpi=130, layout="constrained"
    )
    cells = figure.subplots(rows, COLUMNS).ravel()
    for cell, entry in zip(cells, entries):
        _draw(cell, make[entry.name](**entry.example), entry.name, steps=1000, labelled=False)
    for cell in cells[len(entries) :]:
        cell.set_axis_off()
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("value", fontsize=10)
    figure.savefig(path)
    return Path(path)


def _draw(axes: "Axes", schedule: Schedule, title: str, *, steps: int, labelled: bool) -> None:
    counts = np.unique(np.linspace(0, steps, min(steps + 1, 2001)).astype(int))
    values = np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(counts)))
    axes.plot(counts, values, color="#0072B2", linewidth=1.8, drawstyle="steps-post" if len(counts) < 60 else "default")
    axes.fill_between(counts, min(0.0, float(values.min())), values, color="#0072B2", alpha=0.08, linewidth=0)
    axes.set_title(textwrap.fill(title, 80 if labelled else 40), fontsize=10, loc="left")
    axes.set_xlim(0, steps)
    axes.set_ylim(min(0.0, float(values.min())), float(values.max()) * 1.08 or 1.0)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.92", linewidth=0.8)
    if labelled:
        axes.set_xlabel("step")
        axes.set_ylabel("value")
