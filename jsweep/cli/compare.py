"""The command ``compare``: the best configs of several sweeps beside each other."""

from contextlib import ExitStack

import click

from jsweep.cli._tables import print_json, terminal_width
from jsweep.cli.options import Selection, json_option, ranking_options, store_option
from jsweep.cli.results import opened
from jsweep.errors import ConfigError
from jsweep.results import verbs
from jsweep.results.comparison import compare as compare_results


@click.command(epilog="Example:  jsweep compare digits digits-wide --metric validation/accuracy")
@click.argument("sweeps", nargs=-1)
@store_option
@ranking_options
@json_option
def compare(sweeps: tuple[str, ...], store: str, selection: Selection, as_json: bool) -> None:
    """Compare the best configs of SWEEPS (default: all of the store); SWEEP:CONFIG compares a config by its id, and
    STORE::SWEEP a sweep of another record.

    The difference to the first is taken seed by seed where seeds are shared, and shown with its standard error.
    """
    names = sweeps or tuple(sweep.name for sweep in verbs.list(store))
    if not names:
        raise ConfigError(f"{store} has no sweeps to compare: make some with jsweep run FILE --store {store}.")
    with ExitStack() as stack:
        results = [opened(stack, store, name) for name in names]
        found = compare_results(*results, **selection.ranking)
    if as_json:
        print_json(found.rows)
    else:
        click.echo(found.text(terminal_width()))
