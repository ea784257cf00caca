"""The command ``stop``: ask the processes that train a sweep to end after their current segments."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option, store_option


@click.command(epilog="Example:  jsweep stop digits --store sweeps.db")
@click.argument("sweep")
@store_option
@json_option
def stop(sweep: str, store: str, as_json: bool) -> None:
    """Ask the processes that train SWEEP to stop after their current segments, with everything recorded.

    Running the sweep again trains the rest.
    """
    from jsweep.storage.integrity import stop as ask_to_stop

    count = ask_to_stop(store, sweep)
    if as_json:
        print_json({"asked": count})
    else:
        click.echo(f"asked {count} process{'es' * (count != 1)} to stop training {clean(sweep)}")
