"""The command ``serve``: the pages of a record's sweeps in a browser, growing while they train."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.options import STORE, json_option
from jsweep.storage import open_store


@click.command(epilog="Example:  jsweep serve sweeps.db")
@click.argument("store", default=STORE)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="The port. [default: any that is free]")
@json_option
def serve(store: str, host: str, port: int, as_json: bool) -> None:
    """Serve the sweeps of a STORE as the pages of jsweep report, which take up what is recorded while they are open.

    The address that is printed holds a secret token, new each time; without it nothing is answered. The record is only
    read, and Ctrl-C ends the server.
    """
    from jsweep.results.report.serving import serve as make_server

    with open_store(store, write=False) as record, make_server(record, host, port) as server:
        if as_json:
            print_json({"store": store, "url": server.url})
        else:
            click.echo(f"serving {clean(store, 300)} at {server.url}")
        if not host.startswith("127.") and host not in ("localhost", "::1"):
            click.echo("jsweep: it is not encrypted: whoever can read the traffic can read the token.", err=True)
        click.echo("Ctrl-C ends it", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped serving; whatever trains goes on", err=True)
