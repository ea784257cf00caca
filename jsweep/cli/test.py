"""The command ``test``: open the test split for the config that validation selects."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, Selection, json_option, recorded_options, selection_options


@click.command(epilog="Example:  jsweep test experiments/digits.py --metric validation/accuracy")
@recorded_options
@selection_options
@click.option("--again", is_flag=True, help="Open the test split for a second config; this is recorded.")
@json_option
def test(experiment: Experiment, selection: Selection, again: bool, as_json: bool) -> None:
    """Open the test split of FILE's sweep, once, for the config that validation selects.

    A second call answers from the record; another config of the same sweep is refused.
    """
    from jsweep.runner.run import attach

    result = attach(load_sweep(experiment))
    score = result.test(**selection.best, again=again)
    if as_json:
        print_json(score)
    else:
        click.echo(f"selected by validation: {clean(result.best(**selection.best), 300)}")
        click.echo(clean(score, 300))
