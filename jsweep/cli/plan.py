"""The command ``plan``: what running an experiment will compile, hold and take."""

import textwrap
from typing import TYPE_CHECKING, Any

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, terminal_width
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, experiment_options, json_option
from jsweep.errors import ConfigError

if TYPE_CHECKING:
    from jsweep.runner.plan import Plan
    from jsweep.runner.prediction import Prediction


@click.command(epilog="Example:  jsweep plan experiments/digits.py --json")
@experiment_options
@click.option("--shards", type=click.IntRange(1), help="Say what so many shards or workers would take, too.")
@click.option(
    "--on",
    type=click.Choice(["h100", "h200", "v5e", "v6e"]),
    help="Predict for one such accelerator, which need not be here.",
)
@click.option("--why", is_flag=True, help="Say why tiles have as many lanes as they have.")
@json_option
def plan(experiment: Experiment, shards: int | None, on: str | None, why: bool, as_json: bool) -> None:
    """Print what running FILE will compile, hold in memory and take; nothing is trained, or compiled without --on."""
    from jsweep.runner.plan import plan as plan_sweep

    if on is not None and (shards is not None or why):
        raise ConfigError(f"--on {on} predicts for one accelerator: leave out --shards and --why.")
    sweep = load_sweep(experiment)
    if on is not None:
        _print(plan_sweep(sweep, on=on), [], {}, as_json)
        return
    made = plan_sweep(sweep)
    split = made.in_shards(shards) if shards is not None and made.groups else None
    reasons = (
        [f"  [{group.label}] {group.width} lanes a tile: {group.why_width}" for group in made.groups] if why else []
    )
    scaled = [f"  {split}", f"  {_workers(made, split.count)}"] if split is not None else []
    more = {} if split is None else {"shards": split, "workers_that_pay": made.workers_that_pay}
    _print(made, reasons + scaled, more, as_json)


def _print(made: "Plan | Prediction", scaled: list[str], more: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"programs": made.programs, "seconds": made.seconds, **more, "plan": made})
    else:
        for line in [*str(made).splitlines(), *scaled]:
            click.echo(textwrap.fill(clean(line, 400), max(terminal_width(), 40), subsequent_indent=" " * 6))


def _workers(made: "Plan", count: int) -> str:
    counts = dict.fromkeys((1, *(n for n in (4, 16, 64, 256) if n < count), count))
    times = ", ".join(f"{n}: {made.seconds_on(n):.0f} s" for n in counts)
    return (
        f"by the workers of an executor: {times}; up to {made.workers_that_pay} pay, of whose time half or more trains"
    )
