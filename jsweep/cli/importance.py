"""The command ``importance``: how much each hyperparameter matters."""

import click

from jsweep.cli._tables import print_json, terminal_width
from jsweep.cli.options import json_option, store_option
from jsweep.results import verbs
from jsweep.results.importance import Method


@click.command(epilog="Example:  jsweep importance digits")
@click.argument("sweep", required=False)
@store_option
@click.option("--metric", help="The metric to judge by. [default: the sweep's objective]")
@click.option(
    "--method",
    type=click.Choice(["anova", "ped-anova"]),
    help="Of the variance over a full grid, or of being among the best configs. [default: anova for a grid]",
)
@json_option
def importance(sweep: str | None, store: str, metric: str | None, method: Method | None, as_json: bool) -> None:
    """Say how much each hyperparameter of a SWEEP (default: the latest) matters for its scores."""
    found = verbs.importance(store, sweep, metric=metric, method=method)
    if as_json:
        pairs = [[*names, value] for names, value in found.pairs.items()]
        print_json(vars(found) | {"pairs": pairs})
    else:
        click.echo(found.text(terminal_width()))
