"""The command ``drop``: remove a sweep, or some of its trials, from a record."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import STORE, json_option


@click.command(epilog="Example:  jsweep drop digits --store sweeps.db --yes")
@click.argument("sweep")
@click.argument("trials", nargs=-1)
@click.option("--store", default=STORE, show_default=True, help="The record's file.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def drop(sweep: str, trials: tuple[str, ...], store: str, yes: bool, as_json: bool) -> None:
    """Remove TRIALS (whole ids; default: all of them, and the ledger) of a SWEEP from a record, for good."""
    from jsweep.storage import open_store
    from jsweep.storage.integrity import drop as drop_trials

    open_store(store, write=False).close()  # before anything is asked

    what = f"{len(trials)} trials of {sweep}" if trials else f"the sweep {sweep}"
    if not yes:
        click.confirm(f"Remove {clean(what)} from {clean(store)} for good?", abort=True)
    count = drop_trials(store, sweep, list(trials) or None)
    if as_json:
        print_json({"dropped": count})
    else:
        click.echo(f"dropped {count} trials")
