"""The command ``replay``: train a recorded trial again and compare."""

from typing import Literal

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, json_option, recorded_options
from jsweep.errors import ConfigError


@click.command(epilog="Example:  jsweep replay 3f2a91 experiments/digits.py --store sweeps.db")
@click.argument("trial")
@recorded_options
@click.option("--alone", is_flag=True, help="Fill the tile with copies of the trial instead of its neighbours.")
@click.option("--solo", is_flag=True, help="Train it in a program of its own, which may round differently.")
@json_option
def replay(trial: str, experiment: Experiment, alone: bool, solo: bool, as_json: bool) -> None:
    """Train a recorded TRIAL of FILE's sweep again and say whether it is bit-equal, or where it first differs.

    TRIAL is an id or its beginning. The exit code is 1 where a score differs.
    """
    from jsweep.runner.replay import replay as replay_trial

    if alone and solo:
        raise ConfigError("--alone and --solo exclude each other: pass one of them.")
    batch_with: Literal["neighbours", "copies", "none"] = "none" if solo else "copies" if alone else "neighbours"
    found = replay_trial(load_sweep(experiment), trial, batch_with=batch_with)
    if as_json:
        print_json(found)
    else:
        click.echo(clean(found, 600))
    if found.difference is not None:
        raise SystemExit(1)
