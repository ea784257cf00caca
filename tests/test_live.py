"""Following a run from another process: watch in a terminal, serve in a browser."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import chromium
import pytest
from records import ACCURACY, LOSS, SETTINGS, record, trial_of
from test_cli import jsweep

from jsweep.results.live import live_sweeps, rate_of
from jsweep.results.report.serving import serve
from jsweep.storage import Store, open_store
from jsweep.storage.records import Score

CONFIGS = [{"rate": 10.0**-i, "width": 2**i} for i in range(4)]
HOSTILE = "x\x1b[31m[red]<script>window.owned=1</script>"


def begin(path) -> tuple[Store, list]:
    """A record with a finished sweep, a failed trial, and a sweep whose trials wait."""
    done = [({"rate": r}, s, {10: {LOSS: r + s / 9, ACCURACY: 0.5}}) for r in (0.1, 1.0) for s in (0, 1)]
    store, _ = record([*done, ({"rate": 9.0}, 0, ValueError(HOSTILE))], name=f"done {HOSTILE}", path=path)
    row = store.add_sweep("growing", "growing", {}, SETTINGS)
    trials = [trial_of(config, seed, 20) for config in CONFIGS for seed in (0, 1)]
    store.add_trials(row.key, trials)
    return store, trials


def train(store, trials, steps=(10, 20)):
    """Record scores of trials of the growing sweep, the first config the best."""
    key = store.sweep("growing").key
    for trial in trials:
        for step in steps:
            loss = trial.config["width"] + trial.seed / 10 + 1 / step
            score = Score(trial.id, step, {LOSS: loss, ACCURACY: 0.1}, None, step == 20)
            store.record_segment(key, "p", 1, [score])


# -- how sweeps stand ---------------------------------------------------------------------------------------------------


def test_a_live_sweep_counts_steps_and_ends_at_all_of_them(tmp_path):
    store, trials = begin(tmp_path / "s.db")
    train(store, trials[:3])
    train(store, trials[3:4], steps=(10,))
    growing, done = live_sweeps(store)
    assert (growing.name, growing.ended, growing.trials) == ("growing", 3, 8)
    assert (growing.steps, growing.total_steps) == (70, 160)
    assert growing.best.config == CONFIGS[0]
    assert growing.interval.low < growing.best.mean < growing.interval.high
    assert (done.fraction, done.ended, done.trials) == (1.0, 5, 5)  # the failed trial wants no more steps
    assert done.failures[0][1] == f"ValueError: {HOSTILE}"
    train(store, trials)
    assert live_sweeps(store, "growing")[0].fraction == 1.0
    assert rate_of([(0.0, 0), (1.0, 5), (10.0, 100)]) == 10
    assert rate_of([(0.0, 0)]) != rate_of([(0.0, 0)])


# -- watch --------------------------------------------------------------------------------------------------------------


def test_once_prints_what_there_is_and_is_harmless(capsys, tmp_path):
    begin(tmp_path / "s.db")[0].close()
    code, out, err = jsweep(capsys, "watch", tmp_path / "s.db", "--once")
    assert (code, err) == (0, "")
    assert "8 waiting" in out
    assert "no config is complete yet" in out
    assert "best validation/loss" in out
    assert "[red]" in out
    assert "\x1b" not in out
    _, out, _ = jsweep(capsys, "watch", tmp_path / "s.db", "growing", "--json")
    assert [sweep["name"] for sweep in json.loads(out)] == ["growing"]
    code, _, err = jsweep(capsys, "watch", tmp_path / "s.db", "none", "--once")
    assert code == 2
    assert "no sweep 'none'" in err


@pytest.mark.usefixtures("heeded")
def test_watch_prints_a_line_a_change_and_ends_in_one_line(tmp_path):
    store, trials = begin(tmp_path / "s.db")
    command = [sys.executable, "-m", "jsweep", "watch", "s.db", "growing", "--every", "0.1"]
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )  # fmt: skip
    try:
        assert process.stdout.readline().startswith("growing: 0%, 8 waiting; no config is complete yet")
        train(store, trials[:2])
        lines = [process.stdout.readline()]
        while "2 finished" not in lines[-1]:
            lines.append(process.stdout.readline())
        assert "growing: 25%, " in lines[-1]
        assert "rate=1, width=1" in lines[-1]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert err == "stopped watching s.db; whatever trains goes on\n"
    assert process.returncode == 0


# -- serve --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of a record that another connection writes: the server, the writing store, and its trials."""
    path = tmp_path_factory.mktemp("served") / "s.db"
    store, trials = begin(path)
    with open_store(path, write=False) as reading, serve(reading) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server, store, trials
        server.shutdown()
        thread.join()


def ask(server, path, method="GET", **headers):
    """Status, headers and body of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, body


def test_what_is_not_a_get_with_the_token_is_refused(served):
    server, _, _ = served
    own, port = f"/{server.token}/", server.server_address[1]
    assert ask(server, own)[0] == 200
    for path in ("/", "/wrong/", f"/{server.token[:-1]}/", f"/x{own}", f"/?{server.token}"):
        assert ask(server, path)[0] == 403, path
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"localhost.evil:{port}",
        "",
    ):
        assert ask(server, own, Host=host)[0] == 403, host
    assert ask(server, own, Host=f"localhost:{port}")[0] == 200
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
        status, headers, _ = ask(server, own, method)
        assert (status, headers["Allow"]) == (405, "GET"), method


def test_no_path_leads_out_of_the_pages(served):
    server, _, _ = served
    own = f"/{server.token}"
    for path in ("/../s.db", "/sweep/1/../../s.db", "/sweep/1/%2e%2e/s.db", "/sweep/99/", "/sweep/1", "/sweep/-1/",
                 "/sweep/1/page.js", "/s.db", "/sweep/1/content.json/", "/sweep/1%00/", "/sweep/%D9%A3/"):  # fmt: skip
        assert ask(server, own + path)[0] in (403, 404), path
    assert ask(server, "ftp://[/")[0] == 400


def test_names_are_escaped_and_nothing_is_kept_or_told_to_others(served):
    server, _, _ = served
    _, headers, body = ask(server, f"/{server.token}/")
    assert "<script" not in body
    assert "growing" in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    for name, value in {
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Frame-Options": "DENY",
    }.items():
        assert headers[name] == value
    assert "Access-Control-Allow-Origin" not in headers
    page = ask(server, f"/{server.token}/sweep/1/")[2]
    assert "connect-src 'self'" in page


def test_content_is_built_again_only_when_the_record_has_changed(served, monkeypatch):
    server, store, trials = served
    monkeypatch.setattr("jsweep.results.report.serving.SHARE_OF_A_CORE", 1e9)
    path = f"/{server.token}/sweep/2/content.json"
    before = json.loads(ask(server, path)[2])
    assert ask(server, f"{path}?version={before['version']}")[0] == 204
    assert server.content(2) is server.content(2)
    train(store, trials[4:6])
    status, _, body = ask(server, f"{path}?version={before['version']}")
    after = json.loads(body)
    assert status == 200
    assert (before["best"], after["configs"]["state"].count(0)) == (None, 1)
    assert after["version"] != before["version"]


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_the_page_grows_and_keeps_what_was_chosen_sorted_and_filtered(served, tmp_path, monkeypatch):
    server, store, trials = served
    monkeypatch.setattr("jsweep.results.report.serving.SHARE_OF_A_CORE", 1e9)
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.visit(f"{server.url}sweep/2/", 1200, 900)
        browser.ask("document.getElementById('filter').value = 'width<8'; refresh()")
        head = "[...document.querySelectorAll('#configs thead button')].find((b) => b.textContent === 'width').click()"
        browser.ask(f"{head}; {head}")
        browser.ask("choose(content.configs.text.findIndex((text) => text.includes('width=4'))); null")
        train(store, trials)
        state = "content.configs.state.every((state) => state === 0)"
        browser.wait(state)
        cells = "[...document.querySelectorAll('#configs tbody tr')].map((row) => row.textContent)"
        assert len(browser.ask(cells)) == 3
        widths = "table.rows.map((index) => content.axes.find((axis) => axis.name === 'width').values[index])"
        assert browser.ask(widths) == [4, 2, 1]
        assert "width=4" in browser.ask("document.getElementById('selected').textContent")
        assert browser.ask("document.querySelectorAll('#configs tr.chosen').length") == 1
        assert "rate=1, width=1" in browser.ask("document.getElementById('best').textContent")
        browser.wait("document.querySelectorAll('#own-curve .main-svg').length > 0")
        assert browser.ask("document.getElementById('live').textContent") == "live"
        assert browser.errors == []
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


def test_a_port_in_use_is_one_sentence(served, capsys, tmp_path):
    server, _, _ = served
    begin(tmp_path / "s.db")[0].close()
    code, _, err = jsweep(capsys, "serve", tmp_path / "s.db", "--port", server.server_address[1])
    assert code == 2
    assert "nothing can listen at 127.0.0.1" in err
