"""Ctrl-C ends a run at once while it compiles, and any command at the third time; where it is ignored it stays ignored."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_cli import EXPERIMENT

from jsweep._runtime.interrupts import interrupts_set, third_interrupt_ends_the_process

ROOT = Path(__file__).parent.parent

# Compiled code that runs for minutes, handles no signal, and says when it has begun: from another thread, as an
# interrupt that came before it would be Python's to handle.
FOR_MINUTES = """
import hashlib, os, threading
import jsweep.cli
import jsweep.engine.compiling as compiling

def for_minutes(*_, **__):
    threading.Timer(0.5, os.write, [1, b"begun\\n"]).start()
    return hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)
"""
COMPILING = FOR_MINUTES + "compiling.compile_lowered = for_minutes\n"
COMMAND = 'jsweep.cli.main(["run", "line.py", "--store", "s.db", "--progress", "off"])\n'
SCRIPT = "import jsweep, line\njsweep.run(line.sweep())\n"


@pytest.fixture
def start(tmp_path):
    """Start a Python process that runs code in a folder with an experiment, and wait until it has begun."""
    (tmp_path / "line.py").write_text(EXPERIMENT)
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_command_ends_at_the_first_interrupt_while_it_compiles(start):
    process = start(COMPILING + COMMAND)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "jsweep: stopped; what was recorded is kept" in err
    assert "Traceback" not in err


def test_a_script_ends_at_the_first_interrupt_while_it_compiles(start):
    process = start(COMPILING + SCRIPT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.rstrip().endswith("KeyboardInterrupt")


def test_a_command_in_code_that_handles_no_signal_ends_at_the_third_interrupt(start):
    process = start(FOR_MINUTES + "jsweep.cli.cli.main = for_minutes\n" + COMMAND)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        threading.Event().wait(1.0)  # two signals that wait for one thread are one
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_an_interrupt_that_is_ignored_stays_ignored(start):
    ignoring = "import signal, jsweep.cli\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun', flush=True)\n"
    process = start(ignoring + COMMAND)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        threading.Event().wait(0.5)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "best: " in out


@pytest.mark.usefixtures("heeded")
def test_the_first_interrupt_sets_the_stop_and_the_second_raises():
    before, stop = signal.getsignal(signal.SIGINT), threading.Event()
    with third_interrupt_ends_the_process(), interrupts_set(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1
