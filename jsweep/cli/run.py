"""The verbs that train: ``run`` and ``test``."""

import dataclasses
from typing import Any

import click

from jsweep._runtime.backend import configure
from jsweep._runtime.text import clean
from jsweep.cli.load import load_sweep
from jsweep.cli.show import print_json, print_ranking, print_table
from jsweep.errors import ConfigError
from jsweep.storage import open_store

STORE = "sweeps.db"


@click.command(epilog="Example:  jsweep run experiments/digits.py --store sweeps.db --seeds 3")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--seeds", type=int, help="Train every config under this many seeds.")
@click.option("--steps", type=int, help="Train this many steps.")
@click.option("--metric", default="validation/loss", show_default=True, help="What the table is ranked by.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@click.option("--any-environment", is_flag=True, help="Go on with a sweep begun under other versions or elsewhere.")
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
    any_environment: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the sweep that FILE defines and print its best configs.

    FILE is a Python file with a function sweep() that returns a jsweep.Sweep. Trials already in the record are not
    trained again: an interrupted run goes on from its last whole segment, and more --steps train the rest.
    """
    _run(_load(file, store, name=name, seeds=seeds, steps=steps), metric, top, any_environment, quiet, as_json)


@click.command(epilog="Example:  jsweep resume experiments/digits.py --store sweeps.db")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--seeds", type=int, help="As the run was given.")
@click.option("--steps", type=int, help="As the run was given.")
@click.option("--metric", default="validation/loss", show_default=True, help="What the table is ranked by.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@click.option("--any-environment", is_flag=True, help="Go on with a sweep begun under other versions or elsewhere.")
@click.option("--quiet", is_flag=True, help="No live progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def resume(
    file: str,
    store: str,
    name: str,
    seeds: int,
    steps: int,
    metric: str,
    top: int,
    any_environment: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Go on with the sweep that FILE defines: as run, but only where the record has begun it."""
    sweep = _load(file, store, name=name, seeds=seeds, steps=steps)
    wanted = sweep.name or sweep.task.name
    with open_store(sweep.store, write=False) as opened:
        if opened.sweep(wanted) is None:
            raise ConfigError(f"{sweep.store} has no sweep {wanted!r} to resume: start it with jsweep run {file}.")
    _run(sweep, metric, top, any_environment, quiet, as_json)


def _run(sweep: Any, metric: str, top: int, any_environment: bool, quiet: bool, as_json: bool) -> None:
    configure()
    from jsweep.runner.prepare import prepare
    from jsweep.runner.run import run as run_sweep

    prepared = prepare(sweep)
    if metric not in prepared.metrics:  # now, rather than when everything is trained
        raise ConfigError(f"metric={metric!r} will not be recorded: choose one of {', '.join(prepared.metrics)}.")
    result = _closed_at_end(
        run_sweep(prepared, progress=False if quiet or as_json else None, any_environment=any_environment)
    )
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
    from jsweep.runner.run import attach

    result = _closed_at_end(attach(_load(file, store, name=name)))
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
    from jsweep.runner.plan import plan as make_plan

    made = make_plan(load_sweep(file, seeds=seeds, steps=steps))
    if as_json:
        print_json({"programs": made.programs, "seconds": made.seconds, "plan": made})
    else:
        click.echo("\n".join(clean(line, 300) for line in str(made).splitlines()))


@click.command(epilog="Example:  jsweep replay 3f2a91 experiments/digits.py --store sweeps.db")
@click.argument("trial")
@click.argument("file")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--alone", is_flag=True, help="Fill the tile with copies of the trial in place of its neighbours.")
@click.option("--solo", is_flag=True, help="Train it outside any tile, and say how far that differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def replay(trial: str, file: str, store: str, name: str, alone: bool, solo: bool, as_json: bool) -> None:
    """Train a recorded TRIAL of FILE's sweep again and say whether it is bit-equal, or where it first differs.

    The exit code is 1 where it differs.
    """
    configure()
    from jsweep.runner.replay import replay as replay_trial

    if alone and solo:
        raise ConfigError("--alone and --solo ask for different company: give one of them.")
    found = replay_trial(
        _load(file, store, name=name), trial, batch_with="none" if solo else "copies" if alone else "neighbours"
    )
    if as_json:
        print_json(found)
    else:
        click.echo(clean(found, 600))
    if found.difference is not None:
        raise SystemExit(1)


@click.command(epilog="Example:  jsweep params 3f2a91 experiments/digits.py --out best.safetensors")
@click.argument("trial")
@click.argument("file")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The safetensors file to write.")
@click.option("--store", help=f"The record's file (default: the experiment's own, or {STORE}).")
@click.option("--name", help="The sweep's name in the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def params(trial: str, file: str, out: str, store: str, name: str, as_json: bool) -> None:
    """Write the parameters that a finished TRIAL of FILE's sweep ended with to a safetensors file.

    They are read from its checkpoint where the sweep kept them (checkpoints="all"), else the trial is trained again.
    """
    configure()
    from jsweep.runner.parameters import write_params
    from jsweep.runner.run import attach

    shapes = write_params(_closed_at_end(attach(_load(file, store, name=name))), trial, out)
    if as_json:
        print_json({"file": out, "arrays": {array: {"shape": shape, "type": kind} for array, shape, kind in shapes}})
    else:
        print_table(out, ["array", "shape", "type"], shapes)


@click.command(epilog="Example:  jsweep verify sweeps.db experiments/digits.py --sample 20")
@click.argument("store")
@click.argument("file", required=False)
@click.option("--name", help="The sweep's name in the record.")
@click.option("--sample", default=5, show_default=True, type=click.IntRange(1), help="Trials to replay, with FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def verify(store: str, file: str | None, name: str, sample: int, as_json: bool) -> None:
    """Check the record STORE: its structure, every finished trial's checksum, every checkpoint's.

    With FILE, the experiment, also that every trial it asks for is there once, and a sample of them replayed. The exit
    code is 1 where something is wrong.
    """
    from jsweep.storage.integrity import verify as verify_record

    found = verify_record(store)
    if file is not None:
        configure()
        from jsweep.runner.replay import verify_against

        found = verify_against(found, _load(file, store, name=name), sample)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(clean(line, 300) for line in str(found).splitlines()))
    if found.faults:
        raise SystemExit(1)


@click.command(epilog="Example:  jsweep drop digits --store sweeps.db --yes")
@click.argument("sweep")
@click.argument("trials", nargs=-1)
@click.option("--store", default=STORE, show_default=True, help="The record's file.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def drop(sweep: str, trials: tuple[str, ...], store: str, yes: bool, as_json: bool) -> None:
    """Take TRIALS (their whole ids; default: all, and the ledger) of a SWEEP out of a record, for good."""
    from jsweep.storage.integrity import drop as drop_from

    what = f"{len(trials)} trials of {sweep}" if trials else f"the sweep {sweep}"
    if not yes:
        click.confirm(f"Take {clean(what)} out of {clean(store)} for good?", abort=True)
    count = drop_from(store, sweep, list(trials) or None)
    if as_json:
        print_json({"dropped": count})
    else:
        click.echo(f"dropped {count} trials")


def _closed_at_end(result: Any) -> Any:
    """A result whose store is closed when the command ends."""
    return click.get_current_context().with_resource(result)


def _load(file: str, store: str | None, **changes: Any) -> Any:
    """A sweep on the command line always has a record."""
    sweep = load_sweep(file, store=store, **changes)
    return sweep if sweep.store is not None else dataclasses.replace(sweep, store=STORE)
