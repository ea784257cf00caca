"""The commands that read a store, and the functions of the same names."""

import json
import re
import sqlite3

import numpy as np
import pytest
from records import ACCURACY, LOSS, SETTINGS, curves, record

import jsweep as js
from jsweep.cli import main

STEPS = (10, 20, 30)
LONG = "hyperparameter_with_a_long_name"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store with two sweeps, "wide [x]" of several hyperparameters and "line" of one, and two failed trials."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    trials = []
    for i in range(6):
        config = {"learning_rate": 10.0**-i, LONG: 2**i, "schedule": "warmup[/cosine]", "shape": (64, 2**i)}
        for seed in range(3):
            curve = {s: {"train/loss": 0.1, LOSS: rng.uniform(), ACCURACY: rng.uniform()} for s in STEPS}
            trials.append((config, seed, OSError("disk vanished") if (i, seed) in ((5, 1), (5, 2)) else curve))
    roles = {LONG: ["static", "read in the shape of an array, " * 5], "learning_rate": ["lane", "traces"]}
    record(trials, name="wide [x]", path="s.db", settings=SETTINGS | {"roles": roles})[0].close()
    record(curves(rng.uniform(size=(2, 3, 3)), STEPS), name="line", path="s.db")[0].close()
    return "s.db"


@pytest.fixture
def jsweep(capsys, monkeypatch):
    """Run a command: its exit code, standard output and standard error."""

    def run(*arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return stopped.value.code, *capsys.readouterr()

    return run


# -- the functions ------------------------------------------------------------------------------------------------------


def test_open_gives_the_latest_sweep_or_the_one_of_a_name(path):
    with js.open(path) as latest, js.open(path, "wide [x]") as named:
        assert (latest.name, named.name) == ("line", "wide [x]")
        assert len(named.trials()) == 18
    with pytest.raises(js.UnknownNameError, match=r"no sweep 'lime' in s.db: it has wide \[x\], line"):
        js.open(path, "lime")
    with pytest.raises(js.StoreError, match="does not exist"):
        js.open("missing.db")
    record([], path="other.db")[0].drop("made", None, lambda _: False)
    with pytest.raises(js.StoreError, match="other.db has no sweeps yet"):
        js.open("other.db")


def test_the_verbs_are_functions_that_find_what_the_commands_print(path, jsweep):
    printed = lambda *arguments: json.loads(jsweep(*arguments, "--store", path, "--json")[1])
    summaries = js.list(path)
    assert [row["name"] for row in printed("list")] == [summary.name for summary in summaries] == ["wide [x]", "line"]
    assert (summaries[0].trials, summaries[0].finished, summaries[0].failed) == (18, 16, 2)
    for at in ("last", "best", 20):
        best = js.best(path, "wide [x]", metric=ACCURACY, at=at)
        shown = printed("best", "wide [x]", "--metric", ACCURACY, "--at", at)
        assert (shown["config_id"], shown["mean"], shown["step"]) == (best.config_id, best.mean, best.step)
        report = js.show(path, "wide [x]", metric=ACCURACY, at=at)
        ranked = [
            score["config_id"] for score in printed("show", "wide [x]", "--metric", ACCURACY, "--at", at)["ranking"]
        ]
        assert ranked == [score.config_id for score in report.ranking]
    trial = js.show(path, "line", js.show(path).trials[0].id)
    assert printed("show", "line", trial.trial.id)["curves"][LOSS] == {str(s): v for s, v in trial.curves[LOSS].items()}
    assert str(trial) == jsweep("show", "line", trial.trial.id, "--store", path)[1].rstrip("\n")
    with js.open(path, "wide [x]") as one, js.open(path, "line") as two:
        rows = js.compare(one, two).rows
    shown = printed("compare")
    assert [row["difference"] for row in shown] == [row.difference for row in rows]


# -- options ------------------------------------------------------------------------------------------------------------


def test_mode_turns_the_ranking_round(path):
    first, last = (js.show(path, "line", metric=goal).ranking for goal in (js.minimize(LOSS), js.maximize(LOSS)))
    assert [score.config_id for score in first] == [score.config_id for score in last][::-1]


def test_the_rule_and_its_order_are_options(path, jsweep):
    rule = ["--rule", "one-standard-error", "--simplest", f"{LONG},learning_rate"]
    _, out, _ = jsweep("best", "wide [x]", "--store", path, *rule, "--json")
    expected = js.best(path, "wide [x]", rule="one-standard-error", simplest=[LONG, "learning_rate"])
    assert json.loads(out)["config_id"] == expected.config_id


def test_compare_takes_a_config_by_its_id(path, jsweep):
    with js.open(path, "wide [x]") as result:
        wanted = result.ranking()[2].config_id
    code, out, _ = jsweep("compare", "line", f"wide [x]:{wanted[:8]}", "--store", path, "--json")
    assert code == 0
    assert json.loads(out)[1]["config_id"] == wanted


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["best", "--metric", "accuracy"], "(the closest is 'validation/accuracy')"),
        (["best", "--metric", "train/loss"], "select by one of validation/loss"),
        (["best", "--at", "15"], "at=15 is not a step of an evaluation of 'line': pass one of 10, 20, 30"),
        (["best", "--at", "soon"], "'soon' is not valid: pass last, best or a step"),
        (["best", "--mode", "max"], "--mode max needs a metric"),
        (["best", "--rule", "one-standard-error"], "--rule one-standard-error and --simplest go together"),
        (["best", "--simplest", "rate"], "--rule one-standard-error and --simplest go together"),
        (["show", "line", "zzz"], "'zzz' matches 0 trials of 'line'"),
        (["show", "line", "--traceback"], "--traceback is of one trial"),
        (["compare", "line:zzz"], "'zzz' matches 0 configs of 'line'"),
        (["compare", "lime"], "no sweep 'lime' in s.db"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(path, jsweep, arguments, sentence):
    code, out, err = jsweep(*arguments, "--store", path)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


# -- failures -----------------------------------------------------------------------------------------------------------


def test_show_says_how_many_trials_failed_and_how_to_see_why(path, jsweep):
    _, out, _ = jsweep("show", "wide [x]", "--store", path)
    assert "2 trials failed, the first with OSError: disk vanished; see jsweep show 'wide [x]' " in out
    found = re.search(r"'wide \[x\]' (\w+) --traceback", out)
    assert found is not None
    with js.open(path, "wide [x]") as result:
        assert result.trial(found[1]).status == "failed"
    _, out, _ = jsweep("show", "wide [x]", found[1], "--store", path)
    assert "OSError: disk vanished (--traceback shows where)" in out


# -- screens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize(
    "command",
    [
        ["list"], ["show", "wide [x]"], ["show", "wide [x]", "--at", "best"], ["best", "wide [x]"], ["compare"],
        ["compare", "wide [x]", "wide [x]", "--at", "best", "--metric", ACCURACY],
    ],
)  # fmt: skip
def test_tables_fit_the_screen_and_keep_their_words_whole(path, jsweep, command, columns):
    code, out, _ = jsweep(*command, "--store", path, columns=columns)
    assert code == 0
    tables = [line for line in out.splitlines() if "--traceback" not in line]
    assert max(map(len, tables)) <= columns
    if command[0] in ("show", "compare"):
        for piece in ("learning_", "hyperparameter_", "warmup[/cosine]", "validation/", "seeds"):
            assert piece in out


def test_what_a_store_holds_cannot_command_the_terminal(tmp_path, jsweep):
    escape = "\x1b]0;owned\x07\x1b[31m"
    path = tmp_path / "hostile.db"
    trials = [({f"{escape}name": f"{escape}v", "[/b]": "[red]"}, 0, {5: {LOSS: 0.5, ACCURACY: 0.5}})]
    record([*trials, ({"a": 1}, 0, ValueError(escape)), ({"a": 2}, 1, {5: {LOSS: float("nan")}})], path=path)[0].close()
    database = sqlite3.connect(path)
    database.execute("UPDATE trials SET id = ? || id", (escape,))
    database.execute("UPDATE trials SET nonfinite = 3 WHERE status = 'finished'")
    database.execute("UPDATE sweeps SET name = ? || name, task = ? || task", (escape, escape))
    database.commit()
    database.close()
    sweep = f"{escape}made"
    for command in (["list"], ["show"], ["show", sweep, escape], ["best"], ["compare"]):
        _, out, err = jsweep(*command, "--store", path)
        assert "\x1b" not in out + err, command
        assert "\x07" not in out + err, command
    with js.open(path) as result:
        identifier = result.trials()[0].id
    code, out, _ = jsweep("show", sweep, identifier, "--store", path)
    assert code == 0
    assert "\x1b" not in out
    assert "[/b]" in out
    assert "[red]" in out


def test_a_status_that_is_none_is_refused_in_a_sentence(path, jsweep):
    database = sqlite3.connect(path)
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute("UPDATE trials SET status = ?", ("\x1b[31m",))
    database.commit()
    database.close()
    for command in (["list"], ["show"], ["best"]):
        code, out, err = jsweep(*command, "--store", path)
        assert (code, out) == (2, "")
        assert "\x1b" not in err
