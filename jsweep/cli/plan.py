"""The command ``plan``: what running an experiment will compile, hold and take."""

import textwrap

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, terminal_width
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, experiment_options, json_option


@click.command(epilog="Example:  jsweep plan experiments/digits.py --json")
@experiment_options
@click.option(
    "--on", type=click.Choice(["h100", "v5e", "v6e"]), help="Predict for one such accelerator, which need not be here."
)
@json_option
def plan(experiment: Experiment, on: str | None, as_json: bool) -> None:
    """Print what running FILE will compile, hold in memory and take; nothing is trained, or compiled without --on."""
    from jsweep.runner.plan import plan as plan_sweep

    made = plan_sweep(load_sweep(experiment), on=on)
    if as_json:
        print_json({"programs": made.programs, "seconds": made.seconds, "plan": made})
    else:
        for line in str(made).splitlines():
            click.echo(textwrap.fill(clean(line, 400), max(terminal_width(), 40), subsequent_indent=" " * 6))
