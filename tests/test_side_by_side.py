"""Several sweeps on one page, and compared across records."""

import json
import re
from pathlib import Path

import chromium
import pytest
from records import ACCURACY, LOSS, record
from test_cli import jsweep

import jsweep as js
from jsweep.results.report.several import difference

LOSSES = {"one": [0.5, 0.7, 0.6], "two": [0.4, 0.65, 0.5], "three": [0.3, 0.2]}
SEEDS = {"one": (0, 1, 2), "two": (0, 1, 2), "three": (7, 8)}
STEPS = {"one": (10, 20), "two": (10, 20), "three": (15, 30)}


def made(name, path=None):
    """A sweep of two configs, the first of which is the best."""
    trials = []
    for seed, loss in zip(SEEDS[name], LOSSES[name]):
        for rate, more in ((0.1, 0.0), (0.2, 1.0)):
            curve = {step: {LOSS: loss + more + (STEPS[name][-1] - step), ACCURACY: 0.5} for step in STEPS[name]}
            trials.append(({"rate": rate, "<b>": name}, seed, curve))
    return record(trials, name=name, path=path)


@pytest.fixture(scope="module")
def results():
    return [made(name)[1] for name in LOSSES]


def content(page):
    return json.loads(re.search(r'id="content">(.*?)</script>', page.html)[1])


def test_differences_are_paired_where_seeds_are_shared_and_else_welchs(results):
    stats = pytest.importorskip("scipy.stats")
    first, second, third = (result.best() for result in results)
    interval, how = difference(second, first)
    wanted = stats.ttest_rel(LOSSES["two"], LOSSES["one"]).confidence_interval()
    assert (interval.low, interval.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    assert how == "paired over 3 seeds"
    interval, how = difference(third, first)
    wanted = stats.ttest_ind(LOSSES["three"], LOSSES["one"], equal_var=False).confidence_interval()
    assert (interval.low, interval.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    assert how == "unpaired, 2 and 3 seeds"
    assert (
        difference(record([({"a": 1}, 0, {5: {LOSS: 1.0}})])[1].best(), first)[0].low != 0
    )  # NaN: one seed says nothing


def test_the_page_has_the_best_of_each_and_the_findings_of_each(results):
    found = content(js.report(results))
    assert [sweep["name"] for sweep in found["sweeps"]] == ["one", "two", "three"]
    assert found["configs"]["mean"] == [0.6, pytest.approx(0.51667), 0.25]
    assert [sweep["difference"][0] if sweep["difference"] else None for sweep in found["sweeps"]] == [
        None, pytest.approx(-0.083333), -0.35
    ]  # fmt: skip
    assert found["steps"] == [10, 15, 20, 30]
    assert found["curves"][2][0] == [None, 15.25, None, 0.25]
    for sweep, result in zip(found["sweeps"], results):
        assert [seen for seen, _ in sweep["findings"]] == [finding.seen for finding in result.diagnose().findings]


def test_what_cannot_be_put_side_by_side_is_refused(results, tmp_path):
    with pytest.raises(js.ConfigError, match="1 results are to be put side by side: pass 2 to 20"):
        js.report(results[:1])
    changed = {"metrics": [LOSS, ACCURACY], "objective": {"metric": ACCURACY, "mode": "max"}}
    other = record([({"a": 1}, 0, {5: {LOSS: 1.0, ACCURACY: 1.0}})], settings=changed)[1]
    with pytest.raises(js.ConfigError, match="the sweeps have different objectives"):
        js.report([results[0], other])
    with pytest.raises(js.ConfigError, match="does not go with several results"):
        js.report(results, "one")
    with pytest.raises(js.ConfigError, match="the folder .* does not exist"):
        js.report(results, path=tmp_path / "none" / "page.html")


def test_commands_take_sweeps_of_other_records(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made("one", "a.db")[0].close()
    made("two", "b.db")[0].close()
    code, out, err = jsweep(capsys, "compare", "one", "b.db::two", "--store", "a.db", "--json")
    assert (code, err) == (0, "")
    assert [row["sweep"] for row in json.loads(out)] == ["one", "b.db::two"]
    assert json.loads(out)[1]["difference"] == pytest.approx(-0.25 / 3)
    code, out, _ = jsweep(capsys, "report", "a.db::one", "b.db::two", "--store", "missing.db", "-o", "both.html")
    assert code == 0
    assert "wrote both.html" in out
    assert '"a.db::one"' in Path("both.html").read_text("utf-8")
    for wrong in ("b.db::none", "none.db::two", "::", "b.db::"):
        code, out, err = jsweep(capsys, "compare", "one", wrong, "--store", "a.db")
        assert (code, out) == (2, ""), wrong
        assert len(err.splitlines()) == 1
    assert not Path("none.db").exists()


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_a_browser_shows_it(results, tmp_path):
    file = js.report(results).save(tmp_path / "page.html")
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.open(file, 390, 844)
        assert browser.ask("document.documentElement.scrollWidth") <= 390
        browser.open(file, 1200, 900, "dark")
        assert browser.ask("document.querySelectorAll('.chart .main-svg').length") > 5
        assert "<b>=one" in browser.ask("document.getElementById('sweeps').textContent")
        assert browser.ask("document.querySelectorAll('main b').length") == 0
        assert browser.errors == []
