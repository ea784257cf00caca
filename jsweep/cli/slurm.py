"""The command ``slurm``: the script of an array job that runs an experiment in shards."""

import shlex
from pathlib import Path

import click

from jsweep.cli._tables import print_json
from jsweep.cli.options import json_option
from jsweep.errors import ConfigError

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{shards}
#SBATCH --time={time}
#SBATCH --cpus-per-task={cpus}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --output={name}-%A-%a.log
# Each job trains its share into a record of its own. Ended by Slurm before it is done, it is queued again and resumes.
jsweep run {file} --store {parts}-${{SLURM_ARRAY_TASK_ID}}.db --shard ${{SLURM_ARRAY_TASK_ID}}/{shards} \\
    --progress plain &
running=$!
trap 'kill -TERM $running' TERM
wait $running; code=$?
if [ $code -gt 128 ]; then wait $running; code=$?; fi
if [ $code -eq 143 ]; then scontrol requeue ${{SLURM_JOB_ID}}; fi
exit $code
# When all have ended:  jsweep merge {parts}.db {parts}-*.db
"""


@click.command(epilog="Example:  jsweep slurm experiments/digits.py --shards 64 > digits.sh && sbatch digits.sh")
@click.argument("file")
@click.option("--shards", type=click.IntRange(1), required=True, help="Jobs of the array.")
@click.option("--time", "limit", default="04:00:00", show_default=True, help="Slurm's time limit of a job.")
@click.option("--cpus", type=click.IntRange(1), default=4, show_default=True, help="Cores of a job.")
@click.option("--parts", help="The records' path without its ending. [default: FILE's name]")
@json_option
def slurm(file: str, shards: int, limit: str, cpus: int, parts: str | None, as_json: bool) -> None:
    """Print a Slurm script that trains the sweep of FILE as an array of jobs, each a fixed share of the trials.

    No server and no shared lock is needed. A job that Slurm ends stops after its segment, and is queued again.
    """
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{file!r} does not exist: pass the path of a Python file with a function sweep().")
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in path.stem)
    values = {"name": name, "shards": shards, "time": shlex.quote(limit), "cpus": cpus, "file": shlex.quote(file)}
    script = _SCRIPT.format(**values, parts=shlex.quote(parts or name))
    if as_json:
        print_json({"script": script})
    else:
        click.echo(script, nl=False)
