"""The command ``clone``: add a config to a recorded sweep."""

import json

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, json_option, recorded_options
from jsweep.errors import ConfigError


@click.command(epilog="Example:  jsweep clone 3f2a91 experiments/digits.py --set learning_rate=3e-3 --store sweeps.db")
@click.argument("config")
@recorded_options
@click.option(
    "--set", "changes", multiple=True, required=True, metavar="NAME=VALUE", help="What changes; may be repeated."
)
@json_option
def clone(config: str, experiment: Experiment, changes: tuple[str, ...], as_json: bool) -> None:
    """Add a config to FILE's recorded sweep: a copy of CONFIG with some values changed.

    CONFIG is the id of a config or of one of its trials, or its beginning. The next run or resume trains the new config; a
    process that trains the sweep now does not.
    """
    from jsweep.runner.clone import clone as clone_config

    made = clone_config(load_sweep(experiment), config, dict(map(_parsed, changes)))
    if as_json:
        print_json({"config": made})
    else:
        click.echo(f"added config {made}: jsweep resume {clean(experiment.file)} trains it")


def _parsed(change: str) -> tuple[str, int | float | str | bool]:
    name, equals, text = change.partition("=")
    if not name or not equals:
        raise ConfigError(f"--set {change} is not valid: pass NAME=VALUE, such as learning_rate=3e-3.")
    try:
        value = json.loads(text)
    except ValueError:
        return name, text
    return name, value if isinstance(value, int | float | str) else text
