"""The command ``verify``: check a record, and a sample of its trials by replay."""

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, json_option


@click.command(epilog="Example:  jsweep verify sweeps.db experiments/digits.py --sample 20")
@click.argument("store")
@click.argument("file", required=False)
@click.option("--name", help="The sweep's name in the record.")
@click.option("--sample", default=5, show_default=True, type=click.IntRange(1), help="Trials to replay, with FILE.")
@json_option
def verify(store: str, file: str | None, name: str | None, sample: int, as_json: bool) -> None:
    """Check the record STORE: its structure, and the checksum of every finished trial and of every checkpoint.

    With FILE, the experiment, also check that every trial of its sweep is recorded, and replay a sample of them. The
    exit code is 1 where something is wrong.
    """
    from jsweep.storage.integrity import verify as verify_record

    found = verify_record(store)
    if file is not None:
        from jsweep.runner.replay import verify_against

        found = verify_against(found, load_sweep(Experiment(file, store=store, name=name)), sample)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(clean(line, 300) for line in str(found).splitlines()))
    if found.faults:
        raise SystemExit(1)
