"""The command line, as its user meets it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jsweep as js
from jsweep.cli import _COMMANDS, main
from jsweep.cli.load import load_sweep
from jsweep.cli.options import Experiment

EXPERIMENT = """
import jax, jax.numpy as jnp, numpy as np, optax
import jsweep as js

def sweep():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    y = (x @ np.arange(5) + rng.normal(size=200)).astype(np.float32)
    task = js.supervised(
        lambda config, key: {"w": jnp.zeros((5, 1))},
        lambda config, params, x, key: (x @ params["w"])[:, 0],
        loss=js.losses.squared_error,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=js.split(x, y, key=0),
        name="line",
    )
    return js.Sweep(task, js.grid({"learning_rate": [0.001, 0.01, 0.1, 10.0]}), seeds=2, steps=50)
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.py").write_text(EXPERIMENT)
    return "line.py"


def jsweep(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def test_the_whole_way_from_run_to_test(capsys, experiment):
    code, out, _ = jsweep(capsys, "run", experiment, "--store", "a.db")
    assert code == 0
    assert "best: validation/loss" in out
    assert "learning_rate" in out
    code, out, _ = jsweep(capsys, "list", "--store", "a.db", "--json")
    assert [(row["name"], row["trials"], row["finished"]) for row in json.loads(out)] == [("line", 8, 8)]
    code, out, _ = jsweep(capsys, "show", "--store", "a.db")
    assert "became NaN or infinite" in out  # a rate of 10 explodes
    assert "lane" in out
    code, out, _ = jsweep(capsys, "best", "line", "--store", "a.db", "--json")
    best = json.loads(out)
    assert best["config"]["learning_rate"] in (0.01, 0.1)
    assert len(best["values"]) == 2
    code, out, _ = jsweep(capsys, "show", "line", best["trials"][0], "--store", "a.db")
    assert "50 of 50 steps" in out
    code, out, _ = jsweep(capsys, "run", experiment, "--store", "a.db", "--name", "again", "--steps", "20", "--json")
    assert json.loads(out)["sweep"] == "again"
    code, out, _ = jsweep(capsys, "compare", "line", "again", "--store", "a.db", "--json")
    rows = json.loads(out)
    assert rows[0]["difference"] == 0
    assert rows[1]["difference"] == pytest.approx(rows[1]["mean"] - rows[0]["mean"])
    code, out, _ = jsweep(capsys, "compare", "--store", "a.db")
    assert "again" in out
    code, out, _ = jsweep(capsys, "test", experiment, "--store", "a.db")
    assert code == 0
    assert "test/loss" in out
    assert "(opened" in out
    code, out, _ = jsweep(capsys, "test", experiment, "--store", "a.db")
    assert "from the ledger" in out
    code, out, _ = jsweep(capsys, "replay", best["trials"][1], experiment, "--store", "a.db", "--alone")
    assert code == 0
    assert "bit-equal in 20 scores" in out
    code, out, _ = jsweep(capsys, "plan", experiment)
    assert "8 trials in 1 compiled program" in out
    assert "learning_rate: lane" in out


def test_a_file_that_exits_ends_the_command_as_it_asked(capsys, experiment):
    with open("exits.py", "w") as file:
        file.write("import sys\n\nsys.exit('no data here')\n")
    assert jsweep(capsys, "run", "exits.py")[0] == "no data here"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "nothing.py"], "'nothing.py' is not a file"),
        (["run", "empty.py"], "empty.py defines no sweep"),
        (["run", "broken.py"], "broken.py:2 raised ZeroDivisionError"),
        (["run", "syntax.py"], "syntax.py:1 raised SyntaxError"),
        (["run", "line.py", "--seeds", "0"], "seeds=0 is not valid"),
        (
            ["run", "line.py", "--store", "b.db", "--metric", "validation/f1"],
            "is not recorded for 'line': it has train/loss",
        ),
        (["run", "line.py", "--store", "no/such/a.db"], "the folder 'no/such' does not exist"),
        (["run", "line.py", "--seeds", "many"], "Invalid value for '--seeds'"),
        (["list", "--store", "missing.db"], "does not exist: run a sweep into it first"),
        (["best", "nobody", "--store", "a.db"], "no sweep 'nobody' in a.db: it has line"),
        (["best", "--store", "a.db", "--metric", "validation/f1"], "it has train/loss, validation/loss"),
        (["show", "line", "zzz", "--store", "a.db"], "'zzz' matches 0 trials"),
        (["compare", "line:zzz", "--store", "a.db"], "'zzz' matches 0 configs"),
        (["test", "line.py", "--store", "missing.db"], "does not exist"),
        (["frobnicate"], "No such command"),
        (["list", "--store", "line.py"], "cannot be read"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_no_traceback(capsys, experiment, arguments, sentence):
    with open("empty.py", "w") as file:
        file.write("x = 1\n")
    with open("broken.py", "w") as file:
        file.write("def sweep():\n    return 1 / 0\n")
    with open("syntax.py", "w") as file:
        file.write("def sweep(:\n")
    if "a.db" in arguments:
        jsweep(capsys, "run", experiment, "--store", "a.db", "--seeds", "1", "--steps", "2")
    code, _, err = jsweep(capsys, *arguments)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_every_command_has_help_with_an_example(capsys, command):
    code, out, _ = jsweep(capsys, command, "--help")
    assert code == 0
    assert f"Example:  jsweep {command}" in " ".join(out.replace("\n", " ").split("  ")).replace(
        "Example: ", "Example:  "
    )
    assert "--json" in out


def test_reading_a_record_loads_neither_the_engine_nor_jax(capsys, experiment):
    """`jsweep list` answers at once, however large JAX is."""
    jsweep(capsys, "run", experiment, "--store", "a.db", "--steps", 2, "--seeds", 1)
    code = """
import sys
from jsweep.cli import main
for command in (["list"], ["show"], ["show", "line"], ["best"], ["compare"], ["drop", "line", "--yes"]):
    try:
        main([*command, "--store", "a.db"])
    except SystemExit as end:
        assert not end.code, command
    loaded = {"jax", "jaxlib", "optax", "jsweep.engine", "jsweep.planning", "jsweep.runner"} & set(sys.modules)
    assert not loaded, (command, loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_from_a_record_cannot_command_the_terminal():
    from jsweep._runtime.text import clean

    assert clean("\x1b[31mred\x07\u202e") == "?[31mred??"
    assert len(clean("x" * 1000)) == 60


@pytest.mark.parametrize("name", ["random", "colorsys", "optax", "two words", "a-b.c", "ünï[x]"])
def test_a_file_of_any_name_is_loaded_and_hides_no_module(capsys, experiment, monkeypatch, name):
    before = sys.modules.get(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path(f"{name}.py").write_text(EXPERIMENT.replace('name="line",', ""))
    code, out, err = jsweep(capsys, "run", f"{name}.py", "--store", "a.db", "--steps", 2, "--seeds", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["sweep"] == name
    if before is not None:
        assert sys.modules[name] is before
    if name in sys.stdlib_module_names:
        assert "sweep" not in vars(importlib.import_module(name))


def test_the_name_of_a_sweep_is_the_files_unless_it_has_one(experiment):
    sweep = load_sweep(Experiment("line.py"))
    assert sweep.record_name == "line"
    Path("other.py").write_text(EXPERIMENT.replace('name="line",', ""))
    assert load_sweep(Experiment("other.py")).record_name == "other"
    assert load_sweep(Experiment("other.py", name="mine")).record_name == "mine"


def test_steps_and_epochs_replace_each_other_and_exclude_each_other(capsys, experiment):
    assert load_sweep(Experiment("line.py", epochs=2.0)).steps is None
    code, _, err = jsweep(capsys, "run", experiment, "--steps", 3, "--epochs", 2)
    assert code == 2
    assert "--steps 3 and --epochs 2 exclude each other: pass one of them." in err


def test_resume_refuses_what_was_never_begun(capsys, experiment):
    code, _, err = jsweep(capsys, "resume", experiment, "--store", "a.db")
    assert (code, "does not exist" in err) == (2, True)
    jsweep(capsys, "run", experiment, "--store", "a.db", "--steps", 2)
    code, _, err = jsweep(capsys, "resume", experiment, "--store", "a.db", "--steps", 2, "--name", "lin")
    assert (code, "has no sweep 'lin' to resume" in err) == (2, True)
    assert jsweep(capsys, "resume", experiment, "--store", "a.db", "--steps", 2)[0] == 0


def test_plain_progress_goes_to_standard_error_and_json_to_standard_output(capsys, experiment):
    code, out, err = jsweep(capsys, "run", experiment, "--store", "a.db", "--steps", 2, "--progress", "plain", "--json")
    assert code == 0
    assert json.loads(out)["sweep"] == "line"
    assert err.splitlines()[-1].startswith("line: 100%, 8/8 trials")


def test_a_confirmation_is_reached_by_its_name(experiment, capsys):
    """Its configs and seeds are those of the record, whatever the file's sweep is."""
    session = js.run(load_sweep(Experiment(experiment)))
    confirmed = js.confirm(session, top=2, seeds=2)
    trial = confirmed.best.trials[0]
    confirmed.session.close()
    for command in (
        ["replay", trial, experiment, "--name", "line-confirm"],
        ["params", trial, experiment, "--name", "line-confirm", "--out", "best.safetensors"],
        ["test", experiment, "--name", "line-confirm"],
    ):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0, capsys.readouterr()
    assert "bit-equal" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["drop", "line", "--store", "nowhere.db"])
    assert end.value.code != 0
    assert "Remove" not in capsys.readouterr().out
