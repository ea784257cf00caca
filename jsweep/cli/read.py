"""The verbs that read a record: ``list``, ``show``, ``best`` and ``compare``; none of them loads the engine."""

import math
import statistics
from collections import Counter
from typing import Any

import click

from jsweep._runtime.text import clean
from jsweep.cli.show import config_cells, names_of, print_json, print_ranking, print_table
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.storage import Status, Store, SweepRecord, open_store

store_option = click.option("--store", default="sweeps.db", show_default=True, help="The record's file.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
metric_option = click.option("--metric", default="validation/loss", show_default=True, help="What to choose by.")


@click.command("list", epilog="Example:  jsweep list --store sweeps.db")
@store_option
@json_option
def list_sweeps(store: str, as_json: bool) -> None:
    """List the sweeps of a record."""
    opened = _opened(store)
    rows = [_listed(opened, sweep) for sweep in opened.sweeps()]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"{store} has no sweeps yet: make one with jsweep run FILE --store {store}")
    else:
        print_table(store, list(rows[0]), [list(row.values()) for row in rows])


@click.command(epilog="Example:  jsweep show digits --metric validation/accuracy --top 20")
@click.argument("sweep", required=False)
@click.argument("trial", required=False)
@store_option
@metric_option
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@json_option
def show(sweep: str | None, trial: str | None, store: str, metric: str, top: int, as_json: bool) -> None:
    """Show a SWEEP (default: the latest): its configs ranked, and how it was run; or one TRIAL with its curves."""
    result = _result(store, sweep)
    if trial is not None:
        _show_trial(result, trial, as_json)
        return
    ranking, trials = result.ranking(metric), result.trials()
    if as_json:
        print_json({"sweep": result.row, "ranking": ranking, "trials": trials, "ledger": result.ledger()})
        return
    print_ranking(f"{result.name}: {len(ranking)} configs, {len(trials)} trials", ranking, top)
    states = Counter(t.status for t in trials)
    click.echo("trials: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    wild = [t for t in trials if t.nonfinite is not None]
    if wild:
        click.echo(f"{len(wild)} trials stopped being finite, the first ({wild[0].id}) at step {wild[0].nonfinite}")
    failed = [t for t in trials if t.status == "failed"]
    if failed:
        click.echo(f"{len(failed)} trials failed, the first ({failed[0].id}) with {clean(failed[0].reason, 300)}")
    roles = result.row.settings.get("roles", {})
    print_table("", ["name", "is", "because"], [[n, kind, clean(reason, 200)] for n, (kind, reason) in roles.items()])
    known, used = result.environments(), {trial.environment for trial in trials}
    for environment in (described for number, described in known.items() if number in used):
        shown = ("jsweep", "jax", "jaxlib", "platform", "device", "cores")
        click.echo("run with " + ", ".join(f"{n} {clean(environment[n])}" for n in shown if n in environment))
    for entry in result.ledger():
        click.echo(f"test split opened {clean(entry.opened)}, chosen by {clean(entry.metric)}")


@click.command(epilog="Example:  jsweep best digits --metric validation/accuracy")
@click.argument("sweep", required=False)
@store_option
@metric_option
@json_option
def best(sweep: str | None, store: str, metric: str, as_json: bool) -> None:
    """Print the config of a SWEEP (default: the latest) that is best on validation, with its spread over seeds."""
    score = _result(store, sweep).best(metric)
    if as_json:
        print_json(score)
        return
    click.echo(clean(score, 1000))
    print_table("", ["trial", "seed", metric], list(zip(score.trials, score.seeds, score.values)))


@click.command(epilog="Example:  jsweep compare digits digits-wide --metric validation/accuracy")
@click.argument("sweeps", nargs=-1)
@store_option
@metric_option
@json_option
def compare(sweeps: tuple[str, ...], store: str, metric: str, as_json: bool) -> None:
    """Compare the best configs of SWEEPS (default: all of the record); SWEEP:CONFIG compares a config by its id.

    The difference to the first is taken seed by seed where seeds are shared, and shown with its standard error.
    """
    chosen = []
    for name in sweeps or [sweep.name for sweep in _opened(store).sweeps()]:
        chosen.append((name, _chosen(store, name, metric)))
    if not chosen:
        raise ConfigError(f"{store} has no sweeps to compare: make some with jsweep run FILE --store {store}.")
    rows = [_compared(name, score, chosen[0][1]) for name, score in chosen]
    if as_json:
        print_json(rows)
        return
    names = names_of(score.config for _, score in chosen)
    columns = ["sweep", *names, f"{metric} mean", "std", "seeds", "difference", "std. error", "shared seeds"]
    print_table(
        f"best by {metric}",
        columns,
        [
            [
                row["sweep"],
                *config_cells(score.config, names),
                score.mean,
                score.std,
                len(score.values),
                row["difference"],
                row["standard_error"],
                row["shared_seeds"],
            ]
            for row, (_, score) in zip(rows, chosen)
        ],
    )


def _opened(store: str) -> Store:
    """A store opened for reading; it is closed when the command ends."""
    return click.get_current_context().with_resource(open_store(store, write=False))


def _listed(store: Store, sweep: SweepRecord) -> dict[str, Any]:
    states = Counter(trial.status for trial in store.trials(sweep.key))
    return {
        "name": sweep.name,
        "task": sweep.task,
        "trials": sum(states.values()),
        "finished": states[Status.FINISHED],
        "failed": states[Status.FAILED],
        "tested": len(store.tests(sweep.key)),
        "created": sweep.created,
    }


def _result(store: str, name: str | None) -> Result:
    record = _opened(store)
    if name is None:
        sweeps = record.sweeps()
        if not sweeps:
            raise ConfigError(f"{store} has no sweeps yet: make one with jsweep run FILE --store {store}.")
        name = sweeps[-1].name
    return Result(record, name)


def _chosen(store: str, name: str, metric: str) -> ConfigScore:
    sweep, _, config = name.partition(":")
    result = _result(store, sweep)
    if not config:
        return result.best(metric)
    matching = [score for score in result.ranking(metric) if score.config_id.startswith(config)]
    if len(matching) != 1:
        raise ConfigError(
            f"{config!r} matches {len(matching)} configs of {sweep!r}: give an id from jsweep show {sweep} --json."
        )
    return matching[0]


def _compared(name: str, score: ConfigScore, first: ConfigScore) -> dict[str, Any]:
    ours, theirs = dict(zip(score.seeds, score.values)), dict(zip(first.seeds, first.values))
    shared = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in shared]
    error = statistics.stdev(differences) / math.sqrt(len(shared)) if len(shared) > 1 else math.nan
    return {
        "sweep": name,
        "config": dict(score.config),
        "config_id": score.config_id,
        "mean": score.mean,
        "std": score.std,
        "seeds": list(score.seeds),
        "difference": statistics.fmean(differences) if shared else math.nan,
        "standard_error": error,
        "shared_seeds": len(shared),
    }


def _show_trial(result: Result, wanted: str, as_json: bool) -> None:
    matching = [trial for trial in result.trials() if trial.id.startswith(wanted)]
    if len(matching) != 1:
        raise ConfigError(
            f"{wanted!r} matches {len(matching)} trials of {result.name!r}: give an id from jsweep show --json."
        )
    trial = matching[0]
    curves = {metric: dict(result.curves(metric)[trial.id]) for metric in result.metrics()}
    if as_json:
        print_json({"trial": trial, "curves": curves})
        return
    print_table(
        f"trial {trial.id}",
        ["name", "value"],
        [[n, v] for n, v in zip(trial.config, config_cells(trial.config, list(trial.config)))],
    )
    state = f"seed {trial.seed}, {trial.status}, {trial.done} of {trial.steps} steps"
    click.echo(state + (f", not finite from step {trial.nonfinite}" if trial.nonfinite is not None else ""))
    if trial.reason:
        click.echo(clean(trial.reason, 500))
    steps = sorted({step for curve in curves.values() for step in curve})
    print_table(
        "",
        ["step", *curves],
        [[step, *(curve.get(step, math.nan) for curve in curves.values())] for step in steps],
    )
