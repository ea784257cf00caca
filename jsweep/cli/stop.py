"""The command ``stop``: end the training of a sweep, or of some of its configs, after the current segments."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option, store_option


@click.command(epilog="Example:  jsweep stop digits --store sweeps.db")
@click.argument("sweep")
@click.option("--config", "configs", multiple=True, metavar="ID", help="Stop this config for good; may be repeated.")
@store_option
@json_option
def stop(sweep: str, configs: tuple[str, ...], store: str, as_json: bool) -> None:
    """Ask the processes that train SWEEP to stop after their current segments, with everything recorded.

    Running the sweep again trains the rest. With --config only these configs stop, for good, where their record stands.
    """
    from jsweep.storage.integrity import stop as ask_to_stop

    count = ask_to_stop(store, sweep, configs or None)
    if configs:
        trials = f"stopped {count} trial{'s' * (count != 1)} of {clean(sweep)}"
        print_json({"stopped": count}) if as_json else click.echo(trials)
    elif as_json:
        print_json({"asked": count})
    else:
        click.echo(f"asked {count} process{'es' * (count != 1)} to stop training {clean(sweep)}")
