"""The command ``resume``: as ``run``, for a sweep that the record has begun."""

from typing import TYPE_CHECKING, Any

import click

from jsweep.cli.load import load_sweep
from jsweep.cli.options import (
    Experiment,
    Selection,
    environment_option,
    experiment_options,
    json_option,
    limit_options,
    progress_option,
    selection_options,
    top_option,
)
from jsweep.cli.run import check_selection, print_result

if TYPE_CHECKING:
    from jsweep.runner.progress import ProgressMode


@click.command(epilog="Example:  jsweep resume experiments/digits.py --store sweeps.db")
@experiment_options
@selection_options
@top_option
@environment_option
@limit_options
@progress_option
@json_option
def resume(
    experiment: Experiment,
    selection: Selection,
    top: int,
    any_environment: bool,
    limits: dict[str, Any],
    progress: "ProgressMode | None",
    as_json: bool,
) -> None:
    """Resume the sweep that FILE defines: the same as run, but refused where the record does not have the sweep."""
    from jsweep.runner.resume import resume as resume_sweep

    sweep = load_sweep(experiment)
    check_selection(selection, sweep)
    result = resume_sweep(sweep, progress=progress, any_environment=any_environment, **limits)
    print_result(result, selection, top, as_json)
