"""The verbs that train: ``run`` and ``test``."""

import dataclasses
from typing import Any

import click

from jsweep.backend import configure
from jsweep.cli.load import load_sweep
from jsweep.cli.show import clean, print_json, print_ranking
from jsweep.errors import UserError

STORE = "sweeps.db"


@click.command(epilog="Example:  jsweep run experiments/digits.py --store sweeps.db --seeds 3")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--seeds", type=int, help="Train every config under this many seeds.")
@click.option("--steps", type=int, help="Train this many steps.")
@click.option("--metric", default="validation/loss", show_default=True, help="What the table is ranked by.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@click.option("--quiet", is_flag=True, help="No live progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def run(
    file: str,
    store: str,
    name: str,
    seeds: int,
    steps: int,
    metric: str,
    top: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the sweep that FILE defines and print its best configs.

    FILE is a Python file with a function sweep() that returns a jsweep.Sweep. Trials already in the record are not
    trained again, so an interrupted run goes on where it was.
    """
    configure()
    from jsweep.running import run as run_sweep
    from jsweep.sweeps import prepare

    sweep = _load(file, store, name=name, seeds=seeds, steps=steps)
    prepared = prepare(sweep)
    if metric not in prepared.metrics:  # now, rather than when everything is trained
        raise UserError(f"metric={metric!r} will not be recorded: choose one of {', '.join(prepared.metrics)}.")
    result = run_sweep(prepared, progress=False if quiet or as_json else None)
    ranking = result.ranking(metric)
    if as_json:
        print_json({"sweep": result.name, "store": str(sweep.store), "metric": metric, "ranking": ranking[:top]})
        return
    print_ranking(f"{result.name}: {len(ranking)} configs", ranking, top)
    failed = [trial for trial in result.trials() if trial.status == "failed"]
    if failed:
        click.echo(f"{len(failed)} trials failed, the first with {clean(failed[0].reason, 300)}")
    click.echo(f"best: {clean(result.best(metric), 300)}")


@click.command(epilog="Example:  jsweep test experiments/digits.py --metric validation/accuracy")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--metric", default="validation/loss", show_default=True, help="The validation metric to choose by.")
@click.option("--again", is_flag=True, help="Open the test split for a second config; this is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def test(file: str, store: str, name: str, metric: str, again: bool, as_json: bool) -> None:
    """Open the test split, once, for the config that validation chose.

    The choice is by METRIC on the validation split. A second call answers from the ledger; another config of the same
    sweep is refused.
    """
    configure()
    from jsweep.running import attach

    result = attach(_load(file, store, name=name))
    score = result.test(metric, again=again)
    if as_json:
        print_json(score)
    else:
        click.echo(f"chosen by validation: {clean(result.best(metric), 300)}")
        click.echo(clean(score, 300))


@click.command(epilog="Example:  jsweep plan experiments/digits.py --json")
@click.argument("file")
@click.option("--seeds", type=int, help="As if every config were trained under this many seeds.")
@click.option("--steps", type=int, help="As if this many steps were trained.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def plan(file: str, seeds: int, steps: int, as_json: bool) -> None:
    """Tell what running FILE would compile, hold and take; nothing is compiled or trained."""
    configure()
    from jsweep.plans import plan as make_plan

    made = make_plan(load_sweep(file, seeds=seeds, steps=steps))
    if as_json:
        print_json({"programs": made.programs, "seconds": made.seconds, "plan": made})
    else:
        click.echo("\n".join(clean(line, 300) for line in str(made).splitlines()))


@click.command(epilog="Example:  jsweep replay 3f2a91 experiments/digits.py --store digits.db")
@click.argument("trial")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--alone", is_flag=True, help="Fill the tile with copies of the trial in place of its neighbours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def replay(trial: str, file: str, store: str, name: str, alone: bool, as_json: bool) -> None:
    """Train a recorded TRIAL of FILE's sweep again and say whether it is bit-equal, or where it first differs.

    The exit code is 1 where it differs.
    """
    configure()
    from jsweep.replays import replay as replay_trial

    found = replay_trial(_load(file, store, name=name), trial, alone)
    if as_json:
        print_json(found)
    else:
        click.echo(clean(found, 600))
    if found.difference is not None:
        raise SystemExit(1)


def _load(file: str, store: str | None, **changes: Any) -> Any:
    """A sweep on the command line always has a record."""
    sweep = load_sweep(file, store=store, **changes)
    return sweep if sweep.store is not None else dataclasses.replace(sweep, store=STORE)
