"""The command ``list``: the sweeps of a store."""

import click

from jsweep.cli._tables import jsonable, print_json, print_table
from jsweep.cli.options import json_option, store_option
from jsweep.results import verbs


@click.command("list", epilog="Example:  jsweep list --store sweeps.db")
@store_option
@json_option
def list_sweeps(store: str, as_json: bool) -> None:
    """List the sweeps of a store."""
    rows = [jsonable(summary) for summary in verbs.list(store)]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"{store} has no sweeps yet: make one with jsweep run FILE --store {store}")
    else:
        print_table(store, [*rows[0]], [[*row.values()] for row in rows])
