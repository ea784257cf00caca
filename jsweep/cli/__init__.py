"""The command line: every verb is a library function; a user's mistake is one sentence and exit code 2."""

import importlib
import os
import sqlite3
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from jsweep._runtime.interrupts import EXIT_CODE, TERMINATED, third_interrupt_ends_the_process
from jsweep._runtime.text import clean
from jsweep.errors import JsweepError

# Each command is imported when it is used, so that reading a record does not load the engine.
_COMMANDS = {
    "run": "jsweep.cli.run",
    "tune": "jsweep.cli.tune",
    "plan": "jsweep.cli.plan",
    "test": "jsweep.cli.test",
    "resume": "jsweep.cli.resume",
    "replay": "jsweep.cli.replay",
    "params": "jsweep.cli.params",
    "verify": "jsweep.cli.verify",
    "stop": "jsweep.cli.stop",
    "merge": "jsweep.cli.merge",
    "slurm": "jsweep.cli.slurm",
    "clone": "jsweep.cli.clone",
    "drop": "jsweep.cli.drop",
    "watch": "jsweep.cli.watch",
    "serve": "jsweep.cli.serve",
    "list": "jsweep.cli.list",
    "show": "jsweep.cli.show",
    "best": "jsweep.cli.best",
    "compare": "jsweep.cli.compare",
    "diagnose": "jsweep.cli.diagnose",
    "importance": "jsweep.cli.importance",
    "report": "jsweep.cli.report",
    "export": "jsweep.cli.export",
    "schedules": "jsweep.cli.schedules",
}
_ATTRIBUTES = {"list": "list_sweeps"}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]  # `list` is a module of this package here

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name])
        return getattr(module, _ATTRIBUTES.get(cmd_name, cmd_name))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="jsweep")
def cli() -> None:
    """Sweep hyperparameters in JAX: run experiments, read their record, select by validation, test once.

    An experiment is a Python file that defines a function sweep() returning a jsweep.Sweep; see jsweep run --help.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command ``jsweep``."""
    with third_interrupt_ends_the_process(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        code = _run(arguments)
    module = sys.modules.get("jsweep.engine.executors.threads")
    if module is not None and module.threads_are_busy():
        sys.stdout.flush()
        os._exit(code)  # training threads are not waited for: XLA aborts when the interpreter ends while they run
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; its exit code."""
    try:
        code = cli.main(arguments, prog_name="jsweep", standalone_mode=False)
    except (JsweepError, ImportError) as error:
        code = _say(str(error))
    except click.ClickException as error:
        setattr(error, "message", clean(error.message, 500))  # noqa: B010 (it repeats what was typed)
        error.show()
        code = error.exit_code
    except click.Abort as abort:
        stopped = isinstance(abort.__cause__, KeyboardInterrupt)
        end = "what was recorded is kept, and the same command resumes from there" if stopped else "nothing was changed"
        click.echo(f"jsweep: stopped; {end}.", err=True)
        code = EXIT_CODE
    except KeyboardInterrupt:
        click.echo("jsweep: stopped; what was recorded is kept, and the same command resumes from there.", err=True)
        code = EXIT_CODE
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        click.echo("jsweep: terminated; what was recorded is kept, and the same command resumes from there.", err=True)
        code = TERMINATED
    except sqlite3.DatabaseError as error:
        code = _say(f"the record cannot be read ({error}): restore it from a copy, or pass another file with --store.")
    except BrokenPipeError:
        sys.stderr.close()  # the reading end of a pipe was closed, as by `| head`
        code = 0
    except OSError as error:
        named = "" if error.filename is None else f" {str(error.filename)[:80]!r}"
        code = _say(f"the file{named} cannot be used ({error.strerror or error}): pass another path.")
    return code if isinstance(code, int) else 0


def _show_warning(message: Warning | str, *_: object) -> None:
    click.echo(f"jsweep: {clean(message, 2000)}", err=True)  # without the file and line that Python prints


def _say(sentence: str) -> int:
    click.echo(f"jsweep: {clean(sentence, 2000)}", err=True)
    return 2
