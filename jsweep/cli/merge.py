"""The command ``merge``: join the records of shards into one."""

import dataclasses

import click

from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option


@click.command(epilog="Example:  jsweep merge sweeps.db part-*.db")
@click.argument("out")
@click.argument("parts", nargs=-1, required=True)
@json_option
def merge(out: str, parts: tuple[str, ...], as_json: bool) -> None:
    """Take the records PARTS into the record OUT, which is created if it does not exist; the parts stay as they are.

    A trial that two records have must have the same scores in both, to the bit.
    """
    from jsweep.storage.merging import merge as merge_records

    found = merge_records(out, parts)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        click.echo(str(found))
