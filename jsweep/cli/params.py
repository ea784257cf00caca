"""The command ``params``: write a finished trial's parameters to a file."""

import click

from jsweep.cli._tables import print_json, print_table
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment, json_option, recorded_options


@click.command(epilog="Example:  jsweep params 3f2a91 experiments/digits.py --out best.safetensors")
@click.argument("trial")
@recorded_options
@click.option("--step", type=int, help="One of its evaluations, in steps. [default: the last]")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The safetensors file to write.")
@json_option
def params(trial: str, experiment: Experiment, step: int | None, out: str, as_json: bool) -> None:
    """Write the parameters of a finished TRIAL of FILE's sweep to a safetensors file.

    Where the model has a state, such as batch statistics, the file has that too, under names that begin with model_state.
    They are read from the trial's checkpoint where the sweep kept it (checkpoints="all"); else the trial is trained
    again.
    """
    from jsweep.runner.parameters import write_params
    from jsweep.runner.run import attach
    from jsweep.runner.session import parameters_of

    with attach(load_sweep(experiment)) as session:
        found = session.trial(trial).id
        state = session.state(found, step=step)
        shapes = write_params(parameters_of(state, with_model_state=True), found, out)
    if as_json:
        print_json({"file": out, "arrays": {array: {"shape": shape, "type": dtype} for array, shape, dtype in shapes}})
    else:
        print_table(out, ["array", "shape", "type"], shapes)
