"""The command ``best``: the config that validation selects."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, print_table
from jsweep.cli.options import Selection, json_option, selection_options, store_option
from jsweep.results import verbs
from jsweep.results.text_table import config_lines


@click.command(epilog="Example:  jsweep best digits --metric validation/accuracy --at best")
@click.argument("sweep", required=False)
@store_option
@selection_options
@json_option
def best(sweep: str | None, store: str, selection: Selection, as_json: bool) -> None:
    """Print the config of a SWEEP (default: the latest) that validation selects, with its spread over seeds."""
    score = verbs.best(store, sweep, **selection.best)
    if as_json:
        print_json(score)
        return
    click.echo(f"{clean(score.metric)} {score.mean:.5g} ± {score.std:.2g} over {score.runs} at step {score.step}")
    click.echo(f"{config_lines(score.config)}\n")
    print_table("", ["trial", "seed", score.metric], [*zip(score.trials, score.seeds, score.values)])
