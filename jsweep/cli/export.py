"""The command ``export``: a sweep for another tool."""

import click

from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option, store_option
from jsweep.integrations.export import TARGETS, Target
from jsweep.integrations.export import export as export_result
from jsweep.results import verbs


@click.command(epilog="Example:  jsweep export digits --to optuna -o study.db")
@click.argument("sweep", required=False)
@click.option("--to", required=True, type=click.Choice(TARGETS), help="The tool or format.")
@click.option("-o", "--out", required=True, help="The file or folder to write; a storage's URL for optuna and mlflow.")
@store_option
@json_option
def export(sweep: str | None, to: Target, out: str, store: str, as_json: bool) -> None:
    """Write a SWEEP (default: the latest) for another tool, and say what that cannot hold."""
    with verbs.open(store, sweep) as result:
        written = export_result(result, out, to=to)
    if as_json:
        print_json(written)
    else:
        click.echo(str(written))
