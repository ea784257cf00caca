"""Progress: what it counts, what it says, and that no name can break it."""

import io
import math
import re
import sys

import pytest
from rich.console import Console
from small import make_task

import jsweep as js
from jsweep._runtime.durations import duration
from jsweep.results.ranking import ConfigScore
from jsweep.runner.progress import LiveDisplay, Notebook, Plain
from jsweep.runner.tally import Scoreboard, Tally
from jsweep.storage.records import Status, Trial
from jsweep.storage.standing import Row, TrialState


class Clock:
    """A time in seconds that stands still until it is moved."""

    now = 0.0

    def __call__(self):
        return self.now


def trials(configs=3, seeds=2, steps=100, **config):
    return [Trial(f"{c}-{s}", f"c{c}", {"rate": c, **config}, s, steps) for c in range(configs) for s in range(seeds)]


def state(trial, status, done):
    return TrialState(Row(key=1, status=status, steps=trial.steps, done=done, owner=None, width=None))


def named(identity, planned):
    return next(trial for trial in planned if trial.id == identity)


def tally_of(planned, mode="min", clock=None):
    return Tally(planned, 1, Scoreboard(planned, "validation/loss", mode), clock or Clock())


def score(planned, config, values):
    own = [trial for trial in planned if trial.config_id == config]
    return ConfigScore(
        config_id=config,
        config=own[0].config,
        metric="validation/loss",
        mode="min",
        step=100,
        mean=sum(values) / len(values),
        std=0.0,
        values=tuple(values),
        seeds=tuple(trial.seed for trial in own),
        trials=tuple(trial.id for trial in own),
        complete=True,
    )


def test_what_the_record_has_counts_as_done_but_not_towards_the_speed():
    planned, clock = trials(5, 2), Clock()
    tally = tally_of(planned, clock=clock)
    states = {t.id: state(t, Status.FINISHED, 100) for t in planned[:9]}
    states[planned[9].id] = state(planned[9], Status.RUNNING, 40)
    tally.record(states, [])
    assert (tally.fraction, len(tally.ended)) == (pytest.approx(0.94), 9)
    assert (tally.speed, tally.seconds_left) == (None, None)
    tally.compile()
    clock.now += 10
    tally.train(["4-1"], 60, 20)
    assert (tally.speed, tally.seconds_left) == (2.0, 20.0)
    clock.now += 20
    tally.train(["4-1"], 100, 40)
    tally.finish(named("4-1", planned), {"validation/loss": 0.1})
    assert (tally.fraction, len(tally.ended), tally.seconds_left) == (1.0, 10, 0.0)


@pytest.mark.parametrize(("mode", "best"), [("min", 0), ("max", 1)])
def test_the_best_config_is_by_the_mean_over_all_its_seeds(mode, best):
    """Config 2 has the luckiest trial of all, and a seed that has not finished."""
    planned = trials(3, 2)
    board = Scoreboard(planned, "validation/loss", mode)
    for trial, value in (("2-0", 0.0 if mode == "min" else 9.0), ("0-0", 0.1), ("0-1", 0.5), ("1-0", 0.2)):
        board.add(trial, value, named(trial, planned).config)
    board.add("1-1", 0.6, named("1-1", planned).config)
    assert (board.complete, board.configs) == (2, 3)
    assert board.best is not None
    assert board.best.config["rate"] == best
    assert board.best.mean == pytest.approx([0.3, 0.4][best])


def test_a_config_with_a_diverged_seed_is_never_the_best():
    planned = trials(2, 2)
    board = Scoreboard(planned, "validation/loss", "max")
    for trial, value in (("0-0", 5.0), ("0-1", math.inf), ("1-0", 1.0), ("1-1", 2.0)):
        board.add(trial, value, named(trial, planned).config)
    assert (board.complete, board.diverged) == (1, 1)
    assert board.best is not None
    assert board.best.mean == 1.5


def test_seeds_finished_before_a_resume_count_towards_a_config():
    planned = trials(1, 2)
    tally = tally_of(planned)
    finished = {planned[0].id: state(planned[0], Status.FINISHED, planned[0].steps)}
    tally.record(finished, [score(planned, "c0", [0.2, math.nan])])
    assert tally.scoreboard.complete == 0
    tally.finish(named("0-1", planned), {"validation/loss": 0.4})
    assert tally.scoreboard.best is not None
    assert tally.scoreboard.best.mean == pytest.approx(0.3)


def test_failed_trials_end_and_leave_nothing_to_train():
    planned = trials(1, 2)
    tally = tally_of(planned)
    tally.fail(["0-0"])
    tally.finish(named("0-1", planned), {"validation/loss": 1.0})
    assert (tally.fraction, tally.failed, tally.scoreboard.complete) == (1.0, 1, 0)


@pytest.mark.parametrize("name", ["lr [0.1/1.0]", "data[/a]", "[bold]x", "\x1b[31mred\x07"])
@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_a_name_is_shown_as_it_is_and_commands_nothing(name, width):
    planned = trials(1, 1, kind=name)
    tally = tally_of(planned)
    tally.finish(named("0-0", planned), {"validation/loss": 0.25})
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    console.print(LiveDisplay(tally, name, console).rendered())
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert name.replace("\x1b", "?").replace("\x07", "?") in text
    assert "100%" in text
    assert "1/1 trials" in text
    assert max(map(len, text.splitlines())) <= width


def test_at_80_columns_nothing_is_cut_while_training():
    planned, clock = trials(192, 5, steps=1000, schedule="exponential"), Clock()
    tally = tally_of(planned, clock=clock)
    tally.compile()
    clock.now += 100
    tally.train([trial.id for trial in planned[:480]], 1000, 480_000)
    for trial in planned[:480]:
        tally.finish(trial, {"validation/loss": 0.04841})
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(LiveDisplay(tally, "a sweep with rather a long name", console).rendered())
    text = out.getvalue()
    for shown in (
        " 50%",
        "480/960 trials",
        "4,800 steps/s",
        "1:40 left",
        "best validation/loss 0.04841, mean of 5 seeds",
    ):
        assert shown in text
    assert "(96 of 192 configs complete)" in text
    assert "…" not in text.split("trials", 1)[1]


def test_plain_progress_is_a_line_every_few_seconds(capsys):
    planned, clock = trials(1, 2), Clock()
    plain = Plain(tally_of(planned, clock=clock), "digits", clock)
    plain.on_start(None)
    for _ in range(20):
        clock.now += 1
        plain._print_if_due()
    plain.on_end(None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 4 + 1
    assert all(line.startswith("digits: 0%, 0/2 trials, 0:") for line in lines)


class Displays:
    """`IPython.display`, which shows MIME bundles and replaces them."""

    def __init__(self):
        self.shown = []

    def display(self, bundle, *, raw, display_id):
        assert raw
        assert display_id is True
        self.shown.append(bundle)
        return self

    def update(self, bundle, *, raw):
        assert raw
        self.shown.append(bundle)


def test_a_notebook_shows_one_output_that_is_replaced_and_whose_names_are_harmless(monkeypatch):
    displays, clock = Displays(), Clock()
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    planned = trials(1, 2, kind="<img src=x>")
    tally = tally_of(planned, clock=clock)
    notebook = Notebook(tally, "<script>", clock)
    notebook.on_start(None)
    for _ in range(20):
        clock.now += 0.1
        notebook._update_if_due()
    for trial in planned:
        tally.finish(trial, {"validation/loss": 0.25})
    notebook.on_end(None)
    first, last = displays.shown[0], displays.shown[-1]
    assert len(displays.shown) <= 2 + 8  # no more than four times a second
    assert "0/2 trials" in first["text/html"]
    assert 'value="1.0000"' in last["text/html"]
    assert "best validation/loss 0.25" in last["text/html"]
    assert last["text/plain"].startswith("<script>: 100%, 2/2 trials")
    assert not re.search("<(script|img)", last["text/html"])


def test_run_shows_what_it_is_asked_to(capsys, data):
    sweep = js.Sweep(make_task(data), js.grid({"learning_rate": [0.01, 0.1]}), seeds=2, steps=4, name="two [/a]")
    js.run(sweep)
    js.run(sweep, progress="off")
    assert capsys.readouterr().err == ""  # standard error is not a terminal here
    js.run(sweep, progress="plain")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("two [/a]: 0%, 0/4 trials")
    assert lines[-1].startswith("two [/a]: 100%, 4/4 trials")
    assert "best validation/loss" in lines[-1]
    assert "(2 of 2 configs complete)" in lines[-1]
    js.run(sweep, progress="live")
    assert "4/4 trials" in capsys.readouterr().err


def test_another_progress_is_refused(data):
    with pytest.raises(js.ConfigError, match="progress=True is not valid: pass 'live', 'plain', 'off' or None"):
        js.run(js.Sweep(make_task(data), [{"learning_rate": 0.1}], steps=1), progress=True)


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]
