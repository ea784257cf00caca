"""Results as arrays, data frames and text."""

import importlib
import math
import sys

import numpy as np
import pytest
from records import ACCURACY, LOSS, SETTINGS, curves, last_scores, record, trial_of

import jsweep as js
from jsweep.results.comparison import paired_difference
from jsweep.results.reports import ranking_text
from jsweep.results.result import Result
from jsweep.results.text_table import distinct, format_table
from jsweep.storage import Score

# -- curves -------------------------------------------------------------------------------------------------------------


def test_curves_are_arrays_of_trials_by_evaluations():
    values = np.random.default_rng(0).normal(size=(3, 2, 4))
    _, result = record(curves(values, (5, 10, 15, 20)))
    found = result.curves(LOSS)
    np.testing.assert_array_equal(found.values, values.reshape(6, 4))
    assert found.steps.tolist() == [5, 10, 15, 20]
    assert found.steps.dtype == np.int64
    assert found.trials == tuple(trial.id for trial in result.trials())
    assert found.recorded.all()
    assert dict(found) == {t: list(zip((5, 10, 15, 20), values.reshape(6, 4)[i])) for i, t in enumerate(found.trials)}
    assert found == result.curves(LOSS)
    assert found != result.where(rate=1).curves(LOSS)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 0


def test_curves_tell_what_was_not_recorded_from_a_nan_that_was():
    trials = [({"n": 1}, 0, {10: {LOSS: math.nan}}), ({"n": 2}, 0, {20: {LOSS: 0.5}}), ({"n": 3}, 0, None)]
    found = record(trials)[1].curves(LOSS)
    np.testing.assert_array_equal(found.values, [[math.nan, math.nan], [math.nan, 0.5], [math.nan, math.nan]])
    assert found.recorded.tolist() == [[True, False], [False, True], [False, False]]
    assert len(found) == 3
    assert found[found.trials[2]] == []
    empty = record([({"n": 3}, 0, None)])[1].curves(LOSS)
    assert empty.values.shape == (1, 0)


# -- the table ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed():
    """Trials whose values are of many types, one of them failed and one waiting."""
    configs = [
        {"rate": 0.1, "width": 8, "kind": "a", "flag": True, "seed": 1.5, "shape": (4, 4), "maybe": 3, "text": "x"},
        {"rate": 1, "width": 16, "kind": "b", "flag": False, "seed": 2.5, "shape": (8,), "maybe": None},
        {"rate": math.inf, "width": 32, "kind": "a", "flag": True, "seed": 0.5, "shape": (8,)},
    ]
    ends = [{5: {LOSS: 0.25, ACCURACY: 0.5}, 10: {LOSS: 0.125, ACCURACY: 0.75}}, ValueError("no"), None]
    return record([(config, 3, end) for config, end in zip(configs, ends)])[1]


def test_the_table_has_a_row_a_trial_and_the_narrowest_type_a_column(mixed):
    table = mixed.table()
    kinds = {name: column.dtype.kind for name, column in table.items()}
    assert kinds == {
        "trial": "U", "config": "U", "seed": "i", "rate": "f", "width": "i", "kind": "U", "flag": "b", "config.seed": "f",
        "shape": "O", "maybe": "f", "text": "O", "status": "U", "steps": "i", "done": "i", "nonfinite": "f",
        "train/loss": "f", LOSS: "f", ACCURACY: "f",
    }  # fmt: skip
    assert {len(column) for column in table.values()} == {3}
    assert table["trial"].tolist() == [trial.id for trial in mixed.trials()]
    np.testing.assert_array_equal(table["rate"], [0.1, 1.0, math.inf])
    np.testing.assert_array_equal(table["maybe"], [3, math.nan, math.nan])
    assert table["shape"].tolist() == [(4, 4), (8,), (8,)]
    assert table["text"].tolist() == ["x", None, None]
    assert table["status"].tolist() == ["finished", "failed", "waiting"]
    np.testing.assert_array_equal(table[LOSS], [0.125, math.nan, math.nan])
    assert table["seed"].tolist() == [3, 3, 3]
    assert table["config.seed"].tolist() == [1.5, 2.5, 0.5]


def test_the_table_of_running_trials_has_their_last_scores():
    store, result = record(curves(np.array([[[1.0, 2.0]]]), (5, 10)))
    waiting = trial_of({"rate": 7}, 0, 20)
    store.add_trials(1, [waiting])
    store.record_segment(1, "program", 1, [Score(waiting.id, 10, {LOSS: 3.0}, None, False)])
    table = Result(store, result.name).table()
    assert table["done"].tolist() == [10, 10]
    assert table["status"].tolist() == ["finished", "running"]
    assert table[LOSS].tolist() == [2.0, 3.0]


def test_pandas_and_polars_take_the_table(mixed):
    frame, other = mixed.table().to_pandas(), mixed.table().to_polars()
    assert list(frame.columns) == other.columns == list(mixed.table())
    assert frame.groupby("kind")[LOSS].min()["a"] == other.filter(other["kind"] == "a")[LOSS].drop_nans().min() == 0.125
    assert frame["shape"].tolist() == other["shape"].to_list() == [(4, 4), (8,), (8,)]
    assert other["text"].to_list() == ["x", None, None]
    assert frame["width"].dtype == np.int64


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_missing_package_is_named_with_its_extra(mixed, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    real = importlib.import_module

    def absent(module):
        if module == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(js.MissingExtraError, match=f"pip install 'jsweep\\[{name}\\]'"):
        getattr(mixed.table(), f"to_{name}")()


# -- filters ------------------------------------------------------------------------------------------------------------


def test_where_narrows_to_configs_that_match_a_value_a_list_or_a_predicate():
    configs = [
        {"rate": r, "act": a, "shape": s} for r in (0.1, 0.2) for a in (np.tanh, np.cosh) for s in ((4,), (4, 4))
    ]
    _, result = record([(config, 0, {5: {LOSS: float(i)}}) for i, config in enumerate(configs)])
    count = lambda **filters: len(result.where(**filters).trials())
    assert count(rate=0.1) == count(rate=np.float64(0.1)) == 4
    assert count(rate=[0.1, 0.3]) == 4
    assert count(rate={0.1, 0.2}) == 8
    assert count(rate=lambda rate: rate > 0.15) == 4
    assert count(shape=(4, 4)) == 4
    assert count(shape=[(4,), (4, 4)]) == 8
    assert count(act=np.tanh) == 4  # a function that is a value stands for itself
    assert count(rate=0.2, act=np.cosh, shape=(4,)) == 1
    best = result.where(rate=0.2).best()
    assert (best.config["rate"], best.mean) == (0.2, 4.0)
    assert result.where(rate=0.2).where(shape=(4, 4)).best().mean == 5.0
    assert len(result.where(rate=0.2).table()["trial"]) == 4


def test_where_refuses_unknown_names_and_says_which_values_there_are():
    _, result = record(last_scores({(rate, 0): (0.1, 0.2) for rate in range(12)}))
    with pytest.raises(
        js.UnknownNameError, match=r"no config of 'made' has 'ratte': they have rate \(the closest is 'rate'\)"
    ):
        result.where(ratte=1)
    with pytest.raises(
        js.ConfigError, match="matches the filter on 'rate': its values are 0, 1, 2, 3, 4, 5, 6, 7, ..."
    ):
        result.where(rate=50)


# -- text ---------------------------------------------------------------------------------------------------------------


def test_print_shows_name_counts_time_the_best_three_and_the_store(tmp_path):
    path = tmp_path / "s.db"
    good = last_scores({(r, s): (0.1 * r, 0.5) for r in range(1, 6) for s in (0, 1)})
    trials = [*good, ({"rate": 9}, 0, OSError("x"))]
    store, result = record(trials, path=path, settings=SETTINGS | {"seconds": 12.5})
    text = str(result)
    assert text.startswith("made: 6 configs, 11 trials (10 finished, 1 failed)\ncreated ")
    assert ", trained 12.5 s\n" in text
    assert "best by validation/loss (min), mean ± std over 2 seeds:" in text
    assert [line.split()[-1] for line in text.splitlines() if "rate=" in line] == ["rate=1", "rate=2", "rate=3"]
    assert text.endswith(f"store: {path}")
    store.close()


def test_print_does_not_fail_where_nothing_can_be_ranked():
    settings = {"metrics": [LOSS, "validation/f1"], "objective": {"metric": "validation/f1"}}
    assert "the direction of 'validation/f1' is not known" in str(record([], settings=settings)[1])
    assert "no config has finished with a finite validation/loss" in str(record([({"a": 1}, 0, None)])[1])


def test_html_and_text_are_harmless_whatever_the_names():
    trials = [({"<b>": "<script>alert(1)</script>", "\x1b[31m": "\u202e[/a]"}, 0, {5: {LOSS: 0.5, ACCURACY: 0.5}})]
    _, result = record(trials, name="<img src=x>\x1b]0;owned\x07")
    page, text = result._repr_html_(), str(result)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "[/a]" in text
    for shown in (page, text):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_a_result_is_closed_by_its_context(tmp_path):
    store, _ = record(last_scores({(1, 0): (0.1, 0.2)}), path=tmp_path / "s.db")
    store.close()
    with js.open(tmp_path / "s.db") as result:
        assert result.best().mean == 0.1
    with pytest.raises(js.StoreError):
        result.trials()


# -- comparisons --------------------------------------------------------------------------------------------------------


def test_compare_pairs_seeds_and_gives_the_standard_error_that_numpy_does():
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 0.1, 6), rng.normal(0.9, 0.1, 4)
    one = record(last_scores({(1, s): (first[s], 0.5) for s in range(6)}), name="one")[1]
    two = record(last_scores({(2, s + 3): (second[s], 0.5) for s in range(4)}), name="two")[1]
    rows = js.compare(one, two).rows
    paired = second[:3] - first[3:]
    assert (rows[0].difference, rows[0].standard_error, rows[0].shared_seeds) == (0, 0, 6)
    assert rows[1].shared_seeds == 3
    assert rows[1].difference == pytest.approx(paired.mean())
    assert rows[1].standard_error == pytest.approx(paired.std(ddof=1) / math.sqrt(3))
    assert rows[1].mean == pytest.approx(second.mean())
    text = str(js.compare(one, two, one.where(rate=1)))
    assert text.startswith("best by validation/loss (min)\n")
    assert "one (rate=1)" in text


def test_seeds_that_are_not_shared_give_no_difference():
    difference, error, shared = paired_difference({0: 1.0}, {1: 2.0})
    assert math.isnan(difference)
    assert math.isnan(error)
    assert shared == 0
    assert math.isnan(paired_difference({0: 1.0}, {0: 2.0})[1])
    assert paired_difference({0: 1e308, 1: 1e308, 2: 1e308}, {0: 0.0, 1: 0.0, 2: 0.0}) == (1e308, 0.0, 3)
    assert math.isnan(paired_difference({0: 1e308}, {0: -1e308})[0])


def test_sweeps_of_different_objectives_are_compared_only_by_one_metric():
    cells = last_scores({(1, 0): (0.1, 0.2)})
    one = record(cells, name="one")[1]
    two = record(cells, name="two", settings=SETTINGS | {"objective": {"metric": ACCURACY, "mode": "max"}})[1]
    with pytest.raises(
        js.ConfigError, match="different objectives, validation/loss \\(min\\) of 'one' and validation/accuracy"
    ):
        js.compare(one, two)
    assert js.compare(one, two, metric=ACCURACY).rows[1].difference == 0
    with pytest.raises(js.ConfigError, match="there are no sweeps to compare"):
        js.compare()


# -- tables as text -----------------------------------------------------------------------------------------------------

HEADINGS = ["", "validation/accuracy mean", "std", "seeds", "learning_rate", "weight_decay", "momentum", "schedule"]
ROWS = [[i, 0.98765 - i / 10, "0.0012", 3, "3e-4", "1e-2", "0.9", "warmup_cosine_decay"] for i in range(1, 4)]


@pytest.mark.parametrize("width", range(40, 201, 7))
def test_a_table_fits_its_width_and_never_cuts_a_heading_in_mid_word(width):
    lines = format_table("a title", HEADINGS, ROWS, width).splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {"seeds", "learning_rate", "weight_decay", "schedule", "mean"} <= words
    assert {"validation/accuracy"} <= words or {"validation/", "accuracy"} <= words
    assert {"0.88765", "0.78765", "0.68765", "warmup_cosine_decay"} <= words


def test_a_wide_terminal_shows_headings_in_one_line():
    lines = format_table("", HEADINGS, ROWS, 200).splitlines()
    assert len(lines) == 4
    assert lines[0].split("  ")[-1] == "schedule"
    assert "validation/accuracy mean" in lines[0]


def test_columns_that_do_not_fit_go_below_with_the_first_column_again():
    columns = ["sweep", *(f"hyperparameter{i}" for i in range(8))]
    text = format_table("", columns, [["one", *"12345678"], ["two", *"abcdefgh"]], 60)
    blocks = text.split("\n\n")
    assert len(blocks) > 1
    for block in blocks:
        assert [line.split()[0] for line in block.splitlines()] == ["sweep", "one", "two"]
    assert sum(len(block.splitlines()[0].split()) - 1 for block in blocks) == 8


def test_what_every_config_has_in_common_is_said_once_and_takes_no_column():
    trials = [
        ({"rate": r, "l2": 0.5, **extra}, 0, {5: {LOSS: r}}) for r, extra in ((0.1, {}), (0.2, {"momentum": 0.9}))
    ]
    lines = ranking_text("", record(trials)[1].ranking()).splitlines()
    assert lines[0].split()[-2:] == ["rate", "momentum"]
    assert [line.split()[-1] for line in lines[1:3]] == ["-", "0.9"]
    assert lines[3:] == ["in every config: l2=0.5"]


def test_long_texts_wrap_between_words():
    reason = "read in the shape of an array by every config of the group and so compiled in"
    lines = format_table("", ["name", "because"], [["width", reason], ["depth", "traces"]], 40, most=200).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines[1:-1]).split()) == f"width {reason}"
    assert lines[-1] == "depth  traces"


def test_wide_characters_keep_columns_in_line():
    from rich.cells import cell_len

    lines = format_table("", ["name", "value"], [["学習率", 1.0], ["rate", 2.5]], 80).splitlines()
    assert len({cell_len(line) for line in lines}) == 1


def test_values_that_differ_in_the_fifth_digit_are_shown_apart():
    assert distinct([0.1, 0.2]) == ["0.1", "0.2"]
    assert distinct([0.10001, 0.10002]) == ["0.10001", "0.10002"]
    assert distinct([0.1, 0.1 + 2**-52 * 4]) == [f"{0.1:.17g}", f"{0.1 + 2**-52 * 4:.17g}"]
    long = ["x" * 70 + "1", "x" * 70 + "2"]
    assert len(set(distinct(long))) == 2
    shown = str(record(last_scores({(0.10001, 0): (0.1, 0.5), (0.10002, 0): (0.2, 0.5)}))[1])
    assert "rate=0.10001" in shown
    assert "rate=0.10002" in shown


def test_plots_draw_a_line_for_each_value_though_their_first_four_digits_agree():
    from jsweep.results.plots import _families

    trials = [({"rate": r, "l2": l2}, 0, {5: {LOSS: r}}) for r in (0.1, 0.2) for l2 in (0.10001, 0.10002)]
    families = _families(record(trials)[1].ranking(), "rate", "l2")
    assert {name: len(scores) for name, scores in families.items()} == {"0.10001": 2, "0.10002": 2}
