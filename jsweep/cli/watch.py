"""The command ``watch``: follow the sweeps of a record while other processes train them."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from jsweep._runtime.bars import MOST_NAME, bar_line
from jsweep._runtime.durations import duration
from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import STORE, json_option
from jsweep.results.live import LiveSweep, live_sweeps, rate_of
from jsweep.space import format_config
from jsweep.storage import open_store

MOST_SWEEPS = 6  # with a block of their own
MOST_CONFIG, MOST_REASON = 400, 160  # characters
RATE_SECONDS = 60.0  # that the speed is measured over
SHARE_OF_A_CORE = 0.1  # that looking may take

Look = Callable[[], list[LiveSweep]]
Looks = dict[str, deque[tuple[float, int]]]
"""For each sweep the times of looks, in seconds, and the steps trained by then."""


@click.command(epilog="Example:  jsweep watch sweeps.db digits")
@click.argument("store", default=STORE)
@click.argument("sweep", required=False)
@click.option("--every", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Print how the sweeps stand now, and end.")
@json_option
def watch(store: str, sweep: str | None, every: float, once: bool, as_json: bool) -> None:
    """Follow the sweeps of a STORE, or one SWEEP of it, while other processes train them; Ctrl-C ends it.

    The record is only read. Where the output is no terminal, a line is printed for each sweep that has changed.
    """
    with open_store(store, write=False) as record:
        if as_json:
            print_json(live_sweeps(record, sweep))
            return
        console = Console()
        look = lambda: live_sweeps(record, sweep)
        if once:
            console.print(_shown(look(), {}), soft_wrap=not console.is_terminal)
            return
        try:
            if console.is_terminal:
                _follow_on_terminal(console, look, every)
            _follow_in_lines(look, every)
        except KeyboardInterrupt:
            click.echo(f"stopped watching {clean(store, 300)}; whatever trains goes on", err=True)


def _follow_on_terminal(console: Console, look: Look, every: float) -> None:
    looks: Looks = {}
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            took = time.monotonic()
            found = look()
            _note(looks, found)
            live.update(_shown(found, looks), refresh=True)
            _wait(every, took)


def _follow_in_lines(look: Look, every: float) -> None:
    looks: Looks = {}
    before: dict[str, LiveSweep] = {}
    while True:
        took = time.monotonic()
        found = look()
        _note(looks, found)
        for each in found:
            if before.get(each.name) != each:
                click.echo(_line(each, looks))
        sys.stdout.flush()
        before = {each.name: each for each in found}
        _wait(every, took)


def _wait(every: float, since: float) -> None:
    """Sleep until the next look: so long, that a large record is not read without a pause."""
    took = time.monotonic() - since
    time.sleep(max(every - took, took / SHARE_OF_A_CORE - took, 0.0))


def _note(looks: Looks, found: Sequence[LiveSweep]) -> None:
    now = time.monotonic()
    for each in found:
        own = looks.setdefault(each.name, deque())
        own.append((now, each.steps))
        while len(own) > 2 and now - own[0][0] > RATE_SECONDS:
            own.popleft()


def _shown(found: Sequence[LiveSweep], looks: Mapping[str, deque[tuple[float, int]]]) -> RenderableType:
    """A block for each sweep, and a line for those left out."""
    blocks: list[RenderableType] = [_block(each, looks) for each in found[:MOST_SWEEPS]]
    left = len(found) - len(blocks)
    if not found:
        blocks.append(Text("no sweeps yet"))
    if left:
        blocks.append(Text(f"... and {left} more sweep{'s' * (left != 1)} (jsweep list shows all)"))
    return Group(*blocks)


def _block(each: LiveSweep, looks: Mapping[str, deque[tuple[float, int]]]) -> RenderableType:
    head = bar_line(clean(each.name, MOST_NAME), each.fraction, f"{each.ended}/{each.trials} trials")
    lines = [Text(f"  {_counts(each)}{_speed(each, looks)}"), Text(f"  {_best(each)}")]
    if each.best is not None:
        config = clean(format_config(each.best.config), MOST_CONFIG)
        lines.append(Text(f"    {config}", "cyan", overflow="fold"))
    lines += [Text(f"  failed {clean(trial)}: {clean(reason, MOST_REASON)}", "red") for trial, reason in each.failures]
    return Group(head, *lines)


def _line(each: LiveSweep, looks: Mapping[str, deque[tuple[float, int]]]) -> str:
    """All of a sweep in one line."""
    config = "" if each.best is None else f": {clean(format_config(each.best.config), MOST_CONFIG)}"
    return f"{clean(each.name)}: {each.fraction:.0%}, {_counts(each)}{_speed(each, looks)}; {_best(each)}{config}"


def _counts(each: LiveSweep) -> str:
    return ", ".join(f"{count} {status}" for status, count in each.counts.items()) or "no trials"


def _speed(each: LiveSweep, looks: Mapping[str, deque[tuple[float, int]]]) -> str:
    """Steps a second and the time left at that speed; "" while nothing trains."""
    rate, left = rate_of([*looks.get(each.name, ())]), each.total_steps - each.steps
    if not rate > 0:
        return ""
    ends = f", {duration(left / rate)} left at this speed" if left else ""
    return f"; {rate:,.0f} steps/s{ends}"


def _best(each: LiveSweep) -> str:
    best = each.best
    if best is None:
        return "no config is complete yet"
    seeds = f"{len(best.values)} seed{'s' * (len(best.values) != 1)}"
    known = each.interval.low == each.interval.low
    spread = f" [{each.interval.low:.4g}, {each.interval.high:.4g}] (95%, {seeds})" if known else f" ({seeds})"
    return f"best {clean(best.metric)} {best.mean:.5g}{spread}"
