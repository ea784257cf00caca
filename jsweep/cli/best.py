"""The command ``best``."""

from typing import cast

import click

from jsweep._runtime.text import clean
from jsweep._runtime.types import Mode
from jsweep.cli._options import json_option, objective_of, objective_options, store_option
from jsweep.cli._tables import print_json, print_table
from jsweep.results import verbs
from jsweep.results.ranking import At, Rule
from jsweep.results.text_table import config_lines


@click.command(epilog="Example:  jsweep best digits --metric validation/accuracy --at best")
@click.argument("sweep", required=False)
@store_option
@objective_options
@click.option(
    "--rule",
    type=click.Choice(["mean", "one-standard-error"]),
    default="mean",
    show_default=True,
    help="Take the best mean, or the simplest config within one standard error of it.",
)
@click.option("--simplest", help="Hyperparameters whose smaller values are simpler, most important first: width,depth.")
@json_option
def best(
    sweep: str | None,
    store: str,
    metric: str | None,
    mode: Mode | None,
    at: At,
    rule: str,
    simplest: str | None,
    as_json: bool,
) -> None:
    """Print the config of a SWEEP (default: the latest) that validation selects, with its spread over seeds."""
    names = [name.strip() for name in simplest.split(",")] if simplest else None
    score = verbs.best(store, sweep, metric=objective_of(metric, mode), at=at, rule=cast(Rule, rule), simplest=names)
    if as_json:
        print_json(score)
        return
    seeds = f"{len(score.values)} seed{'s' * (len(score.values) != 1)}"
    click.echo(f"{clean(score.metric)} {score.mean:.5g} ± {score.std:.2g} over {seeds} at step {score.step}")
    click.echo(f"{config_lines(score.config)}\n")
    print_table("", ["trial", "seed", score.metric], [*zip(score.trials, score.seeds, score.values)])
