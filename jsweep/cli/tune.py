"""The command ``tune``: find good hyperparameters for an experiment's task in a given time."""

from typing import TYPE_CHECKING

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, experiment_options, json_option, progress_option
from jsweep.errors import ConfigError

if TYPE_CHECKING:
    from jsweep.runner.progress import ProgressMode


@click.command(epilog="Example:  jsweep tune experiments/halving.py --wall-time 10min")
@experiment_options
@click.option("--wall-time", required=True, help="The time there is, as in 90s, 10min or 1h30min.")
@progress_option
@json_option
def tune(experiment: Experiment, wall_time: str, progress: "ProgressMode | None", as_json: bool) -> None:
    """Find good hyperparameters for the task and the space of the sweep that FILE defines, in a given time.

    How many configs, which rule and how many fresh seeds is chosen by what fits the time, and reported. The sweep's own
    configs, seeds and rule are not used. It is recorded as NAME-tuned, and an interrupted call goes on where it was.
    """
    from jsweep.runner.tune import tune as tune_task
    from jsweep.space import Configs

    sweep = load_sweep(experiment)
    spaces = sweep.configs.spaces if isinstance(sweep.configs, Configs) else ()
    if len(spaces) != 1:
        raise ConfigError(
            f"{experiment.file} gives configs that are not from one space: make them with js.random(space, ...) or its kin."
        )
    found = tune_task(
        sweep.task,
        spaces[0],
        wall_time=wall_time,
        steps=sweep.steps,
        epochs=sweep.epochs,
        objective=sweep.objectives[0] if sweep.objectives else None,
        key=sweep.key,
        store=sweep.store,
        name=f"{sweep.record_name}-tuned",
        progress=progress,
    )
    if as_json:
        print_json(
            {"sweep": found.session.name, "store": found.session.path, "best": found.best, "report": found.report}
        )
        return
    for line in str(found).splitlines():
        click.echo(clean(line, 1000))
    click.echo(f"record: {clean(found.session.path, 300)}")
