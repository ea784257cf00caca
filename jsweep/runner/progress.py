"""Progress of a run on standard error, as a callback: a live display, plain lines for a log file, or nothing."""

import html
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from jsweep._runtime.bars import MOST_NAME, bar_line
from jsweep._runtime.durations import duration
from jsweep._runtime.text import clean
from jsweep.engine.events import Callback, Compiled, Failed, Plan, Stopped, Trained
from jsweep.errors import ConfigError
from jsweep.runner.session import Session
from jsweep.runner.tally import Scoreboard, Tally
from jsweep.space import format_value
from jsweep.storage.standing import TrialState, ended_at

ProgressMode = Literal["live", "plain", "off"]
"""How progress is shown: a live display, a line every few seconds, or not at all."""

PLAIN_SECONDS = 5.0  # between two plain lines
REFRESHES_A_SECOND = 4
MOST_CONFIG = 400  # characters shown


class Progress(Callback):
    """A callback that shows nothing; the displays override what they need."""

    def on_start(self, plan: Plan | None) -> None:
        """Training is about to start; the display needs no plan."""

    def on_record(self, result: Session, states: Mapping[str, TrialState]) -> None:
        """The record was read again: other processes may have finished trials."""

    def on_part(self, result: Session) -> None:
        """More trials are about to be trained: those of a search's next batch."""


def check_progress(progress: object) -> None:
    """Raise ConfigError unless ``progress`` is a `ProgressMode` or None."""
    if progress is not None and progress not in get_args(ProgressMode):
        raise ConfigError(f"progress={progress!r} is not valid: pass 'live', 'plain', 'off' or None.")


def progress_callback(progress: ProgressMode | None, result: Session, trials: int | None = None) -> Progress:
    """The callback that shows the progress of training what ``result`` lacks.

    Args:
        progress: how; None is live where standard error is a terminal or a notebook, and off elsewhere, so that
            scripts stay quiet.
        result: the sweep's result before the run. What its record has is counted as done.
        trials: how many there will be at the end, where more than the result has.

    Returns:
        A callback, which shows something from ``on_start`` to ``on_end``.
    """
    check_progress(progress)
    console = Console(stderr=True)
    if progress is None:
        progress = "live" if console.is_terminal or console.is_jupyter else "off"
    if progress == "off":
        return Progress()
    tally = _tally(result, trials)
    if progress == "plain":
        return Plain(tally, result.name)
    return Notebook(tally, result.name) if console.is_jupyter else LiveDisplay(tally, result.name, console)


def _tally(result: Session, trials: int | None) -> Tally:
    """The counts before the run, from the record."""
    prepared = result.prepared
    objective = result.objective
    states = result.states()
    scoreboard = Scoreboard(prepared.trials, objective.metric, objective.mode)
    tally = Tally(prepared.trials, len(prepared.groups), scoreboard, expected=trials)
    tally.may_stop = prepared.rule is not None
    traced = {trial.id for group in prepared.groups for trial in group.trials}
    tally.fail(trial.id for trial in prepared.trials if trial.id not in traced)
    finished = ended_at(states, prepared.trials)
    tally.record(states, result.ranking() if finished else [], retried=True)
    return tally


class _Counting(Progress):
    """Keeps a tally of the events."""

    def __init__(self, tally: Tally, name: str):
        self.tally, self.name = tally, clean(name, MOST_NAME)

    def on_compiled(self, event: Compiled) -> None:
        self.tally.compile()

    def on_segment(self, event: Trained) -> None:
        segment, trials = event.segment, {trial.id: trial for trial in event.tile.trials}
        self.tally.train(trials, segment.carry.step, segment.steps_done)
        for score in segment.scores:
            if score.finished:
                self.tally.finish(trials[score.trial], score.metrics)

    def on_failed(self, event: Failed) -> None:
        self.tally.fail(trial.id for trial in event.trials)

    def on_part(self, result: Session) -> None:
        self.tally.extend(result.prepared.trials)

    def on_stopped(self, event: Stopped) -> None:
        self.tally.stop(stop.trial for stop in event.stops)

    def on_record(self, result: Session, states: Mapping[str, TrialState]) -> None:
        wanted, ended = result.prepared.trials, self.tally.ended
        if ended_at(states, wanted) - ended:
            self.tally.record(states, result.ranking())


class Plain(_Counting):
    """A line on standard error at the start, every few seconds, and at the end."""

    def __init__(self, tally: Tally, name: str, clock: Callable[[], float] = time.monotonic):
        super().__init__(tally, name)
        self._clock, self._next = clock, 0.0

    def on_start(self, plan: Plan | None) -> None:
        self._print()

    def on_compiled(self, event: Compiled) -> None:
        super().on_compiled(event)
        self._print_if_due()

    def on_segment(self, event: Trained) -> None:
        super().on_segment(event)
        self._print_if_due()

    def on_end(self, error: BaseException | None) -> None:
        self._print()

    def _print_if_due(self) -> None:
        if self._clock() >= self._next:
            self._print()

    def _print(self) -> None:
        self._next = self._clock() + PLAIN_SECONDS
        print(line_text(self.name, self.tally), file=sys.stderr, flush=True)


class Notebook(_Counting):
    """Lines below a cell that are replaced as training goes on; the notebook keeps the last ones. It needs no thread."""

    def __init__(self, tally: Tally, name: str, clock: Callable[[], float] = time.monotonic):
        super().__init__(tally, name)
        self._clock, self._next = clock, 0.0
        self._handle: Any = None

    def on_start(self, plan: Plan | None) -> None:
        display = importlib.import_module("IPython.display").display
        self._handle = display(self.shown(), raw=True, display_id=True)

    def on_compiled(self, event: Compiled) -> None:
        super().on_compiled(event)
        self._update_if_due()

    def on_segment(self, event: Trained) -> None:
        super().on_segment(event)
        self._update_if_due()

    def on_end(self, error: BaseException | None) -> None:
        self._handle.update(self.shown(), raw=True)

    def shown(self) -> dict[str, str]:
        """The display as it is now, by MIME type."""
        tally, (score, config) = self.tally, best_texts(self.tally.scoreboard)
        name, texts = html.escape(self.name), [", ".join(speed_texts(tally)), score, config]
        head = f'<b>{name}</b> <progress value="{tally.fraction:.4f}"></progress> {tally.fraction:.0%} {trials_text(tally)}'
        lines = [head, *(html.escape(text) for text in texts if text)]
        return {"text/plain": line_text(self.name, tally), "text/html": "".join(f"<div>{line}</div>" for line in lines)}

    def _update_if_due(self) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + 1 / REFRESHES_A_SECOND
            self._handle.update(self.shown(), raw=True)


class LiveDisplay(_Counting):
    """A display of a few lines on a terminal that is redrawn several times a second."""

    def __init__(self, tally: Tally, name: str, console: Console):
        super().__init__(tally, name)
        self._live = Live(
            console=console, get_renderable=self.rendered, refresh_per_second=REFRESHES_A_SECOND, transient=False
        )

    def on_start(self, plan: Plan | None) -> None:
        self._live.start(refresh=True)

    def on_end(self, error: BaseException | None) -> None:
        self._live.stop()

    def rendered(self) -> RenderableType:
        """The display as it is now: a bar, the speed, the best config."""
        tally = self.tally
        head = bar_line(self.name, tally.fraction, trials_text(tally))
        score, config = best_texts(tally.scoreboard)
        lines = [Text("  " + ", ".join(speed_texts(tally))), Text(f"  {score}")]
        return Group(head, *lines, *([Padding(Text(config, "cyan", overflow="fold"), (0, 0, 0, 4))] if config else []))


def line_text(name: str, tally: Tally) -> str:
    """All of the progress in one line."""
    parts = [f"{tally.fraction:.0%}", trials_text(tally), *speed_texts(tally)]
    score, config = best_texts(tally.scoreboard)
    return f"{name}: {', '.join(parts)}; {score}{config and f': {config}'}"


def trials_text(tally: Tally) -> str:
    """ "412/960 trials", with those that were stopped or failed."""
    counts = {"stopped": tally.stopped, "failed": tally.failed}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(tally.ended)}/{tally.total_trials} trials{shown and f' ({shown})'}"


def speed_texts(tally: Tally) -> list[str]:
    """Speed, time left, time elapsed and, while there are some left, the programs compiled."""
    texts = []
    if tally.speed is not None:
        texts.append(f"{tally.speed:,.0f} steps/s")
    if tally.seconds_left:
        texts.append(f"{'at most ' * tally.may_stop}{duration(tally.seconds_left)} left")
    texts.append(f"{duration(tally.elapsed)} elapsed")
    if tally.compiled < tally.programs and len(tally.ended) < tally.total_trials:
        texts.append(f"{tally.compiled} of {tally.programs} programs compiled")
    return texts


def best_texts(scoreboard: Scoreboard) -> tuple[str, str]:
    """The best mean with how many configs are complete, and the best config; "" where there is none yet."""
    counts = f"{scoreboard.complete} of {scoreboard.configs} configs complete"
    if scoreboard.diverged:
        counts += f", {scoreboard.diverged} diverged"
    best = scoreboard.best
    if best is None:
        return counts, ""
    seeds = f", mean of {best.seeds} seeds" if best.seeds > 1 else ""
    config = ", ".join(f"{clean(name)}={clean(format_value(value))}" for name, value in best.config.items())
    return f"best {clean(scoreboard.metric)} {best.mean:.4g}{seeds} ({counts})", clean(config, MOST_CONFIG)
