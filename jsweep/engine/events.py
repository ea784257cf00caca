"""What happens while tiles train: events as values, and callbacks that receive them."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jsweep.engine.tile import Segment
from jsweep.planning import Tile
from jsweep.storage.records import Checkpoint, Copy, Stop, Trial


@dataclass(frozen=True)
class Compiled:
    """The program of a compile group is ready.

    Attributes:
        group: the group's number in the plan.
        width: lanes of a tile.
        fingerprint: 16 hex digits of the program's text, recorded with the trials it trains.
    """

    group: int
    width: int
    fingerprint: str


@dataclass(frozen=True)
class Trained:
    """A tile was trained to the end of a segment, and evaluated.

    Attributes:
        group: the number of the tile's compile group in the plan.
        tile: the trials that are trained together.
        segment: the scores of the trials evaluated, and the carry that training goes on from.
        fingerprint: that of the program; see `Compiled`.
        saved: the checkpoints that were written, for the record to name.
    """

    group: int
    tile: Tile
    segment: Segment
    fingerprint: str
    saved: Sequence[Checkpoint] = ()


@dataclass(frozen=True)
class Failed:
    """Trials could not be compiled or trained.

    Attributes:
        group: the number of their compile group in the plan.
        trials: the trials that failed.
        error: why.
    """

    group: int
    trials: tuple[Trial, ...]
    error: Exception


@dataclass(frozen=True)
class Halved:
    """A tile did not fit the device's memory, and its trials train in narrower tiles.

    Attributes:
        group: the number of the compile group in the plan.
        width: lanes of the new tiles.
    """

    group: int
    width: int


@dataclass(frozen=True)
class Stopped:
    """The sweep's rule has decided: these trials train no further, the others that were judged go on or wait.

    Attributes:
        stops: each trial, the steps it has trained, and why it was stopped.
    """

    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Copied:
    """The sweep's rule has decided: these configs go on from copies of others' states.

    Attributes:
        copies: each config that was replaced, its source, and the values that it trains with from then on.
    """

    copies: tuple[Copy, ...]


Event = Compiled | Trained | Failed | Halved | Stopped | Copied


class Plan(Protocol):
    """What `Callback.on_start` receives: `jsweep.Plan`, or anything with its compile groups."""

    @property
    def groups(self) -> Sequence[object]: ...


class Callback:
    """Receives the events of a run; override the methods you need. Pass instances as ``jsweep.run(..., callbacks=[...])``.

    Methods are called from the thread that called `jsweep.run`, one at a time, after what they receive is recorded.
    An exception in one ends the run after the current segments are trained and recorded, and is then raised.

    >>> class PrintLosses(Callback):
    ...     def on_trial(self, trial, scores):
    ...         print(trial.id, scores["validation/loss"])
    """

    def on_start(self, plan: Plan | None) -> None:
        """Training is about to start; a callback of the user's is given the plan."""

    def on_compiled(self, event: Compiled) -> None:
        """A program was compiled."""

    def on_segment(self, event: Trained) -> None:
        """A tile was trained to the end of a segment, and evaluated.

        Its scores are there; the memory of its state may be training on already: `Session.state` reads states.
        """

    def on_trial(self, trial: Trial, scores: Mapping[str, float]) -> None:
        """A trial finished, with these scores at its last step ("train/loss", "validation/loss", ...)."""

    def on_failed(self, event: Failed) -> None:
        """Trials failed."""

    def on_stopped(self, event: Stopped) -> None:
        """The sweep's rule stopped trials."""

    def on_copied(self, event: Copied) -> None:
        """The sweep's rule replaced configs by copies of others."""

    def on_halved(self, event: Halved) -> None:
        """A tile did not fit the memory and is trained in narrower ones."""

    def on_end(self, error: BaseException | None) -> None:
        """The run ended: with an exception, or with None when every trial has ended or a limit of `run` was reached."""


def dispatch(event: Event, callbacks: Iterable[Callback]) -> None:
    """Call the methods that ``event`` belongs to, callback by callback, in their order."""
    for callback in callbacks:
        match event:
            case Compiled():
                callback.on_compiled(event)
            case Trained():
                callback.on_segment(event)
                if type(callback).on_trial is not Callback.on_trial:  # else nobody looks at each trial
                    trials = {trial.id: trial for trial in event.tile.trials}
                    for score in event.segment.scores:
                        if score.finished:
                            callback.on_trial(trials[score.trial], score.metrics)
            case Failed():
                callback.on_failed(event)
            case Halved():
                callback.on_halved(event)
            case Stopped():
                callback.on_stopped(event)
            case Copied():
                callback.on_copied(event)


def dispatched(events: Iterable[Event], callbacks: Sequence[Callback], stop: threading.Event) -> Iterator[Event]:
    """Yield events, and dispatch each once the consumer has recorded it and asks for the next.

    The first exception of a callback sets ``stop``: tiles end after their current segment, whose events are still
    yielded so that they are recorded, and then the exception is raised. No callback is called after it.
    """
    error: Exception | None = None
    for event in events:
        yield event
        if error is None:
            try:
                dispatch(event, callbacks)
            except Exception as raised:
                error = raised
                stop.set()
    if error is not None:
        raise error
