"""The command ``report``: a sweep as one HTML file."""

from contextlib import ExitStack
from pathlib import Path

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option, store_option
from jsweep.cli.results import opened
from jsweep.results import verbs


@click.command(epilog="Example:  jsweep report digits -o report.html")
@click.argument("sweeps", nargs=-1)
@click.option("-o", "--out", default="report.html", show_default=True, help="The file to write.")
@store_option
@click.option("--metric", help="The metric to rank by. [default: the sweep's objective]")
@json_option
def report(sweeps: tuple[str, ...], out: str, store: str, metric: str | None, as_json: bool) -> None:
    """Write a sweep (default: the latest) as one HTML file: findings, rivals, curves, charts, a table; no network.

    Several SWEEPS are put side by side: the best config of each, with intervals of the differences. STORE::SWEEP is one of
    another record.
    """
    if len(sweeps) < 2 and not any("::" in name for name in sweeps):
        page = verbs.report(store, sweeps[0] if sweeps else None, out, metric=metric)
    else:
        with ExitStack() as stack:
            results = [opened(stack, store, name) for name in sweeps]
            page = (
                verbs.report(results, path=out, metric=metric)
                if len(results) > 1
                else results[0].report(out, metric=metric)
            )
    size = Path(out).stat().st_size
    if as_json:
        print_json({"title": page.title, "path": out, "bytes": size})
        return
    click.echo(f"wrote {clean(out, 500)} ({size / 1e6:.1f} MB)")
