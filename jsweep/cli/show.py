"""The command ``show``: a sweep with its configs ranked, or one trial."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, terminal_width
from jsweep.cli.options import Selection, json_option, ranking_options, store_option, top_option
from jsweep.errors import ConfigError
from jsweep.results import verbs
from jsweep.results.reports import SweepReport, TrialReport


@click.command(epilog="Example:  jsweep show digits --metric validation/accuracy --top 20")
@click.argument("sweep", required=False)
@click.argument("trial", required=False)
@store_option
@ranking_options
@top_option
@click.option("--traceback", is_flag=True, help="Print the whole traceback of a TRIAL that failed.")
@json_option
def show(
    sweep: str | None,
    trial: str | None,
    store: str,
    selection: Selection,
    top: int,
    traceback: bool,
    as_json: bool,
) -> None:
    """Show a SWEEP (default: the latest): its configs ranked, and how it was run; or one TRIAL with its curves."""
    found: SweepReport | TrialReport
    if sweep is not None and trial is not None:
        found = verbs.show(store, sweep, trial)
    else:
        found = verbs.show(store, sweep, **selection.ranking)
    if traceback:
        click.echo(_traceback_of(found))
    elif as_json:
        print_json(found)
    elif isinstance(found, SweepReport):
        click.echo(found.text(terminal_width(), top))
    else:
        click.echo(found.text(terminal_width()))


def _traceback_of(report: SweepReport | TrialReport) -> str:
    """The traceback recorded for a failed trial, made harmless line by line; ConfigError where there is none."""
    if isinstance(report, SweepReport):
        raise ConfigError(
            "--traceback is of one trial: pass its sweep and its id, as in jsweep show SWEEP TRIAL --traceback."
        )
    text = report.trial.traceback
    if not text:
        state = "it failed before tracebacks were kept" if report.trial.reason else f"it is {report.trial.status}"
        raise ConfigError(f"trial {report.trial.id} has no traceback: {state}.")
    return "\n".join(clean(line, 2000) for line in text.splitlines())
