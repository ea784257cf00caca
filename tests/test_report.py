"""The page of a sweep: what it holds, that a record cannot command it, and that a browser shows it."""

import dataclasses
import json
import math
import re
import shutil

import chromium
import numpy as np
import pytest
from records import LOSS, halved, record
from test_cli import jsweep

import jsweep as js
from jsweep.results import plots
from jsweep.results.report import content as contents
from jsweep.results.report.axes import axes_of, rounded
from jsweep.results.report.page import embedded

HOSTILE = "<img src=x onerror='window.owned=1'></script><script>window.owned=1</script><!--\u2028&amp;"
STEPS = (10, 20, 30)


def trials():
    """Twelve configs of three hyperparameters under three seeds, one of which diverges, and one with hostile text."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(12):
        config = {"rate": 10.0 ** -(index % 6), "width": 2**index, HOSTILE: HOSTILE if index % 2 else "adam"}
        for seed in range(3):
            base = 1 + abs(index - 4) + 0.1 * rng.normal()
            last = math.nan if (index, seed) == (11, 1) else base / 30
            made.append((config, seed, {10: {LOSS: base / 10}, 20: {LOSS: base / 20}, 30: {LOSS: last}}))
    return made


def content(html):
    """What the page embeds."""
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', html)[1])


@pytest.fixture(scope="module")
def page():
    return record(trials(), name=f"made {HOSTILE}")[1].report()


# -- content ------------------------------------------------------------------------------------------------------------


def test_the_page_has_the_ranking_the_curves_and_the_findings(page):
    result = record(trials())[1]
    found, ranking = content(page.html), result.ranking()
    assert found["configs"]["id"] == [score.config_id[:10] for score in ranking]
    assert found["configs"]["mean"][0] == pytest.approx(ranking[0].mean, rel=1e-4)
    assert found["configs"]["mean"][-1] is None
    assert found["configs"]["state"] == [0] * 11 + [2]
    assert found["contenders"] == len(result.contenders())
    assert [seen for _, seen, _ in found["findings"]] == [finding.seen for finding in result.diagnose().findings]
    assert found["steps"] == list(STEPS)
    mean, low, high = found["curves"][0]
    assert all(a <= b <= c for a, b, c in zip(low, mean, high))
    assert found["curves"][-1][0][2] is None
    assert [axis["log"] for axis in found["axes"]] == [True, True, False]
    assert found["replay"][0].startswith(f"jsweep replay {ranking[0].trials[0]} ")


def test_the_page_has_the_importance_or_says_why_not():
    rates = [({"rate": r, "width": w}, s, {5: {LOSS: r + w + s / 9}}) for r in (1, 2) for w in (3, 5) for s in (0, 1)]
    result = record(rates)[1]
    found, wanted = content(result.report().html)["importance"], result.importance()
    assert found["effects"][0] == ["width", rounded(wanted.main["width"]), True]
    assert [name for name, _, single in found["effects"] if not single] == ["rate x width"]
    assert found["notes"] == [*wanted.notes]
    found = content(record(rates[:1])[1].report().html)["importance"]
    assert found["effects"] == []
    assert "differs" in found["notes"][0]


def test_a_page_of_nothing_complete_says_so():
    found = content(record([({"rate": 1.0}, 0, None), ({"rate": 2.0}, 0, {10: {LOSS: math.nan}})])[1].report().html)
    assert (found["best"], found["contenders"], found["replay"]) == (None, 0, [])


def test_numbers_have_five_digits_and_what_is_not_finite_is_none():
    assert [rounded(v) for v in (0.123456789, 3.0, math.nan, math.inf, 123456.7)] == [0.12346, 3, None, None, 123460]
    assert rounded(10**400) is None


def test_an_axis_has_numbers_or_labels():
    ranking = record([({"rate": 1.0, "a": None, "b": "x"}, 0, {5: {LOSS: 1.0}}), ({"a": True}, 0, {5: {LOSS: 2.0}})])[
        1
    ].ranking()
    rate, flag, text = axes_of(ranking)
    assert (rate["values"], rate["labels"]) == ([1, None], None)
    assert (flag["values"], flag["labels"]) == ([None, 0], ["True"])
    assert (text["values"], text["labels"]) == ([0, None], ["x"])


def test_a_ladder_counts_the_configs_that_reached_each_step():
    ranking = record(trials())[1].ranking()
    assert contents.ladder_of(ranking) == []
    stopped = [dataclasses.replace(score, complete=False, stopped=True, step=10) for score in ranking[:8]]
    assert contents.ladder_of([*ranking[8:], *stopped]) == [[10, 11], [30, 3]]


def test_a_picture_has_rings_at_the_last_scores_of_what_was_stopped():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ranking = halved([{"rate": 0.1 * i} for i in range(1, 10)], np.arange(1.0, 10)[:, None] / [1, 2, 4])[1].ranking()
    axes = figure.subplots()
    plots._draw_family(axes, "C0", "all", ranking, "rate")
    ended, rings = axes.lines
    assert (ended.get_xdata().tolist(), ended.get_ydata().tolist()) == ([0.1], [0.25])
    known = np.isfinite(rings.get_ydata())
    np.testing.assert_allclose(rings.get_xdata()[known], np.arange(2, 10) / 10)
    np.testing.assert_allclose(rings.get_ydata()[known], [1, 1.5, 4, 5, 6, 7, 8, 9])


def test_many_configs_are_sampled_by_rank():
    assert contents.kept_places(5, 10) == [0, 1, 2, 3, 4]
    assert contents.kept_places(100, 10) == [0, 1, 2, 3, 4, 5, 28, 52, 76, 99]
    many = record(trials())[1].ranking()[:1] * 30_000
    assert any("Of 30,000 configs" in note for note in contents._notes(many, 20_000, STEPS))


def test_a_page_of_many_configs_stays_small():
    rng = np.random.default_rng(0)
    made = [({"rate": 10.0 ** rng.uniform(-5, 0), "i": i}, 0, {5: {LOSS: rng.uniform()}}) for i in range(400)]
    bare = len(record(made[:1])[1].report().html)
    page = record(made)[1].report()
    assert (len(page.html) - bare) / 400 < 350  # bytes a config, curve included: 10,000 stay far below 15 MB
    assert len(content(page.html)["curves"]) == contents.MOST_CURVES


# -- safety -------------------------------------------------------------------------------------------------------------


def test_embedded_text_cannot_end_its_element():
    text = embedded({HOSTILE: [HOSTILE]})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_hostile_names_are_data_and_nothing_is_fetched(page):
    own = page.html.replace(js_of_plotly(), "")
    assert "<img" not in own
    assert own.count("<script") == own.count("</script>") == 3
    assert not re.search(r"https?://|//cdn|<link|@import|url\(|innerHTML|src=\"", own)
    assert "default-src 'none'" in own
    assert '<iframe title="made &lt;img' in page._repr_html_()


def js_of_plotly():
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


# -- the command --------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_file(capsys, tmp_path):
    record(trials(), path=tmp_path / "s.db")[0].close()
    out = tmp_path / "page.html"
    code, said, _ = jsweep(capsys, "report", "made", "-o", out, "--store", tmp_path / "s.db")
    assert code == 0
    assert said.startswith(f"wrote {out}")
    assert out.read_text("utf-8") == js.report(tmp_path / "s.db").html


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none"], "no sweep 'none'"),
        (["--metric", "loss"], "the closest is 'validation/loss'"),
        (["-o", "missing/page.html"], "the folder 'missing' does not exist"),
        (["-o", "."], "'.' is a folder"),
        (["-o", "s.db"], "would overwrite the record"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    record(trials(), path="s.db")[0].close()
    code, out, err = jsweep(capsys, "report", *arguments, "--store", "s.db")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_without_plotly_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(js.MissingExtraError, match=r"pip install 'jsweep\[report\]'"):
        record(trials())[1].report()


# -- a browser ----------------------------------------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
ROWS = "[...document.querySelectorAll('#configs tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
CLICK = "document.querySelectorAll({!r})[{}].click()"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with chromium.Browser(profile) as opened:
        yield opened
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def file(page, tmp_path_factory):
    return page.save(tmp_path_factory.mktemp("page") / "report.html")


@needs_chromium
@pytest.mark.parametrize(("width", "height", "scheme"), [(390, 844, "light"), (390, 844, "dark"), (1400, 900, "dark")])
def test_the_page_fits_its_window_by_day_and_by_night(browser, file, width, height, scheme):
    browser.open(file, width, height, scheme)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(13, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)")
    for chart in ("curves", "heat", "scatter"):  # drawn when they come near
        browser.ask(f"document.getElementById('{chart}').scrollIntoView(); null")
        browser.wait(f"document.querySelectorAll('#{chart} .main-svg').length > 0")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.errors == []


@needs_chromium
def test_the_table_sorts_filters_and_shows_a_configs_curve(browser, file):
    browser.open(file, 1200, 900)
    rows = browser.ask(ROWS)
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 13)]
    browser.ask(CLICK.format("#configs thead button", 7))
    widths = [float(row[7]) for row in browser.ask(ROWS)]
    assert widths == sorted(widths)
    browser.ask(CLICK.format("#configs thead button", 7))
    assert [float(row[7]) for row in browser.ask(ROWS)] == widths[::-1]
    field = "document.getElementById('filter')"
    filtering = f"{field}.value = {{!r}}; {field}.dispatchEvent(new Event('input'))"
    browser.ask(filtering.format("width<9 adam"))
    assert {float(row[7]) for row in browser.ask(ROWS)} == {1, 4}
    browser.ask(filtering.format("state=incomplete"))
    assert [row[1] for row in browser.ask(ROWS)] == [""]
    browser.ask(CLICK.format("#configs tbody tr", 0))
    assert browser.ask("document.getElementById('own-curve').hidden") is False
    assert browser.ask("document.getElementById('selected').textContent").startswith("Rank 12: ")
    browser.wait("document.querySelectorAll('#own-curve .main-svg').length > 0")
    assert browser.errors == []


@needs_chromium
def test_any_hyperparameter_and_any_pair_can_be_chosen(browser, file):
    browser.open(file, 1200, 900)
    choose = (
        "document.getElementById({!r}).value = {}; document.getElementById({!r}).dispatchEvent(new Event('change'))"
    )
    for axis in range(3):
        browser.ask(choose.format("one", axis, "one"))
        browser.ask(choose.format("pair-x", axis, "pair-x"))
    assert browser.ask("document.getElementById('scatter').layout.xaxis.type") == "category"
    browser.ask(choose.format("pair-y", 2, "pair-y"))
    assert "two different" in browser.ask("document.getElementById('heat').textContent")
    browser.ask(choose.format("pair-y", 0, "pair-y"))
    assert browser.ask("document.querySelectorAll('#heat .main-svg').length") > 0
    browser.ask("content.ladder = [[10, 12], [30, 4]]; drawLadder().then(() => null)")
    assert browser.ask("document.querySelectorAll('#ladder .main-svg').length") > 0
    assert browser.errors == []


@needs_chromium
def test_what_was_stopped_is_shown_to_its_end_and_no_value_is_made_up(browser, tmp_path):
    rates = 10.0 ** -np.arange(9)
    configs = [
        {"rate": rate} | ({"momentum": 0.1 * i} if i % 2 else {"mode": "ab"[i // 2 % 2]})
        for i, rate in enumerate(rates)
    ]
    page = halved(configs, np.arange(1.0, 10)[:, None] / [1, 2, 4])[1].report()
    found = content(page.html)
    assert found["configs"]["state"] == [0] + [1] * 8
    assert any("8 of 9 configs that were stopped early are shown in grey" in note for note in found["notes"])
    browser.open(page.save(tmp_path / "halved.html"), 1200, 900)
    traces = "document.getElementById({!r}).data.map(({{ name, x, y }}) => [name ?? '', x, y])"
    browser.ask("Promise.all([DRAWERS.curves(), drawScatter(), drawParallel()]).then(() => null)")
    curves = {name: [*zip(x, y)] for name, x, y in browser.ask(traces.format("curves"))}
    grey = curves["stopped early (8)"]
    assert grey[:3] == [(3, 2), (9, 1), (None, None)]
    assert grey[6:8] == [(3, 4), (None, None)]
    scatter = {name: [*zip(x, y)] for name, x, y in browser.ask(traces.format("scatter"))}
    assert scatter == {
        "trained to the end": [(1, 0.25)],
        "stopped early, at the last score": [(0.1, 1), (0.01, 1.5)] + [(10.0**-i, i + 1) for i in range(3, 9)],
    }
    of_axis = "(one) => [one.label, one.values, one.tickvals, one.ticktext]"
    axes = f"document.getElementById('parallel').data[0].dimensions.map({of_axis})"
    drawn = {label: (values, ticks and dict(zip(ticks, names))) for label, values, ticks, names in browser.ask(axes)}
    values, ticks = drawn["momentum"]
    assert [ticks[value] == "none" for value in values] == [i % 2 == 0 for i in range(9)]
    assert values[0] < min(values[1::2]) == pytest.approx(0.1)
    values, ticks = drawn["mode"]
    assert [ticks[value] for value in values] == ["none" if i % 2 else "ab"[i // 2 % 2] for i in range(9)]
    assert drawn["steps trained"][0] == [27, 9, 9] + [3] * 6
    assert browser.errors == []


@needs_chromium
def test_hostile_names_are_shown_as_they_are_and_run_nothing(browser, file):
    browser.open(file, 1200, 900)
    assert browser.ask("typeof window.owned") == "undefined"
    assert browser.ask("document.images.length") == 0
    assert "<img src=x" in browser.ask("document.getElementById('title').textContent")
    assert "<img src=x" in browser.ask("document.querySelector('#configs thead').textContent")
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser.errors == []
