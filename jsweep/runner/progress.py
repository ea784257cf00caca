"""Live progress of a sweep, on standard error and only where that is a terminal."""

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any

from jsweep.space import format_value


class Progress:
    """What the sweep tells while it runs; this one shows nothing."""

    def compiled(self, group: int) -> None:
        """A compile group's program is ready."""

    def trained(self, segment: Any) -> None:
        """A tile reached a segment's end."""

    def failed(self, trials: Any, error: Exception) -> None:
        """A tile failed."""


@contextlib.contextmanager
def progress_for(show: bool | None, prepared: Any, finished: int) -> Iterator[Progress]:
    """The live display while the block runs; ``show`` None means where standard error is a terminal."""
    if show is False or (show is None and not sys.stderr.isatty()):
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = [
        TextColumn("[bold]{task.fields[name]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[trials]} trials"),
        TextColumn("{task.fields[speed]} steps/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}"),
    ]
    with Bar(*columns, console=Console(stderr=True)) as bar:
        yield _Live(bar, prepared, finished)


class _Live(Progress):
    def __init__(self, bar: Any, prepared: Any, finished: int):
        trials = prepared.trials
        self.total, self.finished, self.compiling = len(trials), finished, len(prepared.groups)
        self.configs = {trial.id: trial.config for trial in trials}
        self.best, self.best_text = math.inf, f"compiling {self.compiling} programs"
        self.bar = bar
        self.task = bar.add_task(
            "train",
            name=prepared.sweep.name or prepared.sweep.task.name or "sweep",
            total=sum(trial.steps for trial in trials),
            trials=f"{finished}/{self.total}",
            speed="-",
            best=self.best_text,
        )

    def trained(self, segment: Any) -> None:
        self.finished += sum(score.finished for score in segment.scores)
        for score in segment.scores:
            loss = score.metrics.get("validation/loss", math.nan)
            if score.finished and loss < self.best:
                self.best = loss
                config = " ".join(f"{name}={format_value(value)}" for name, value in self.configs[score.trial].items())
                self.best_text = f"best {loss:.4g} at {config}"
        speed = self.bar.tasks[0].speed
        self.bar.update(
            self.task,
            advance=segment.steps_done,
            trials=f"{self.finished}/{self.total}",
            speed=f"{speed:,.0f}" if speed else "-",
            best=self.best_text,
        )
