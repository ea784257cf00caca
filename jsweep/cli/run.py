"""The command ``run``: train what the record lacks of an experiment's sweep, and print its best configs."""

import contextlib
from typing import TYPE_CHECKING, Any

import click

from jsweep._runtime.text import clean
from jsweep.cli._tables import print_json, print_ranking
from jsweep.cli.load import experiment_modules, load_sweep
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
from jsweep.errors import ConfigError
from jsweep.results.incomplete import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsweep.engine.executors.remote import Executor
    from jsweep.runner.progress import ProgressMode
    from jsweep.runner.session import Session
    from jsweep.runner.sweep import Sweep


@click.command(epilog="Example:  jsweep run experiments/digits.py --store sweeps.db --seeds 3")
@experiment_options
@selection_options
@top_option
@environment_option
@limit_options
@click.option("--shard", help="Train a fixed share of the trials, as in 3/64; jsweep merge joins the records.")
@click.option(
    "--executor",
    metavar="WHERE",
    help="Train elsewhere: ray (or ray:ADDRESS) in a cluster of Ray, distributed in the processes of jax.distributed.",
)
@progress_option
@json_option
def run(
    experiment: Experiment,
    selection: Selection,
    top: int,
    any_environment: bool,
    limits: dict[str, Any],
    shard: str | None,
    executor: str | None,
    progress: "ProgressMode | None",
    as_json: bool,
) -> None:
    """Train the sweep that FILE defines and print its best configs.

    FILE is a Python file with a function sweep() that returns a jsweep.Sweep. Trials already in the record are not
    trained again: an interrupted run is resumed from the last recorded segment, and more --steps train the rest.
    """
    from jsweep.runner.run import run as run_sweep

    with executor_of(executor) as (trains_for_another, where):
        if trains_for_another:
            return
        sweep = load_sweep(experiment)
        check_selection(selection, sweep)
        if where is not None:
            _send_by_value()
        result = run_sweep(
            sweep, progress=progress, any_environment=any_environment, shard=shard, executor=where, **limits
        )
        print_result(result, selection, top, as_json)


@contextlib.contextmanager
def executor_of(text: str | None) -> "Iterator[tuple[bool, Executor | None]]":
    """Whether this process only trains for another one, and the executor of ``--executor``."""
    if text is None:
        yield False, None
        return
    kind, _, address = text.partition(":")
    if text == "distributed":
        import jax

        from jsweep._runtime.backend import configure
        from jsweep.engine.executors.distributed import distributed

        configure()
        try:
            jax.distributed.initialize()
        except (ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--executor distributed: JAX does not find the processes ({' '.join(str(error).split())[:200]}): start them by "
                "Slurm, MPI or on a TPU pod, or initialize jax.distributed in a script of your own."
            ) from error
        with distributed() as executor:
            yield executor is None, executor
    elif kind == "ray" and text != "ray:":
        from jsweep.integrations.ray import ray

        yield False, ray(address or None)
    else:
        raise ConfigError(f"--executor {text} is not valid: pass ray, ray:auto, ray:ADDRESS or distributed.")


def _send_by_value() -> None:
    """Have what experiments define sent to workers, which cannot import their files."""
    from jsweep._runtime.optional import import_optional

    pickling = import_optional("cloudpickle", "executors")
    for module in experiment_modules():
        pickling.register_pickle_by_value(module)


def check_selection(selection: Selection, sweep: "Sweep") -> None:
    """Refuse a metric that will not be recorded, or whose direction is not known: before training rather than after it."""
    if selection.metric is None:
        return
    from jsweep.results.objective import Directions
    from jsweep.runner.prepare import prepare

    metrics = tuple(prepare(sweep).metrics)
    Directions(metrics, modes=sweep.task.modes).resolve(selection.ranking["metric"], sweep.record_name)


def print_result(result: "Session", selection: Selection, top: int, as_json: bool) -> None:
    """Print the ranking of a result, the failures, and the best config."""
    ranking = list(result.ranking(**selection.ranking))
    if as_json:
        metric = ranking[0].metric
        print_json({"sweep": result.name, "store": result.path, "metric": metric, "ranking": ranking[:top]})
        return
    print_ranking(f"{result.name}: {len(ranking)} configs", ranking, top)
    failed = failures(result.name, result.trials())
    if failed:
        click.echo(failed)
    click.echo(f"record: {clean(result.path, 300)}")
    click.echo(f"best: {clean(result.best(**selection.best), 300)}")
