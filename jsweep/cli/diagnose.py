"""The command ``diagnose``: what a sweep's scores say about the sweep itself."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, wrapped
from jsweep.cli.options import json_option, store_option
from jsweep.results import verbs


@click.command(epilog="Example:  jsweep diagnose digits")
@click.argument("sweep", required=False)
@store_option
@click.option("--metric", help="The metric to judge by. [default: the sweep's objective]")
@json_option
def diagnose(sweep: str | None, store: str, metric: str | None, as_json: bool) -> None:
    """Say what a SWEEP's scores (default: the latest) tell about its space, its length and its seeds, and what to try."""
    found = verbs.diagnose(store, sweep, metric=metric)
    if as_json:
        print_json(found)
        return
    click.echo(f"by {clean(found.metric)}:" if found.findings else f"by {clean(found.metric)}: nothing to report")
    for finding in found.findings:
        click.echo(wrapped(f"- {clean(str(finding), 2000)}"))
