"""The command ``report``: a sweep as one HTML file."""

from pathlib import Path

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option, store_option
from jsweep.results import verbs


@click.command(epilog="Example:  jsweep report digits -o report.html")
@click.argument("sweep", required=False)
@click.option("-o", "--out", default="report.html", show_default=True, help="The file to write.")
@store_option
@click.option("--metric", help="The metric to rank by. [default: the sweep's objective]")
@json_option
def report(sweep: str | None, out: str, store: str, metric: str | None, as_json: bool) -> None:
    """Write a SWEEP (default: the latest) as one HTML file: findings, rivals, curves, charts, a table; no network."""
    page = verbs.report(store, sweep, out, metric=metric)
    size = Path(out).stat().st_size
    if as_json:
        print_json({"title": page.title, "path": out, "bytes": size})
        return
    click.echo(f"wrote {clean(out, 500)} ({size / 1e6:.1f} MB)")
