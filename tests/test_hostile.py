"""A record from elsewhere is data: whatever its file holds, reading it is answered or refused in one sentence."""

import contextlib
import sqlite3

import pytest
from records import LOSS, curves, record
from test_cli import jsweep

import jsweep as js

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS name, i AS value FROM n"
AS_A_VIEW = """
ALTER TABLE {0} RENAME TO own;
CREATE VIEW {0} AS SELECT * FROM own;
"""


@pytest.fixture
def path(tmp_path):
    import numpy as np

    record(curves(np.arange(8.0).reshape(2, 2, 2), (10, 20)), path=tmp_path / "s.db")[0].close()
    return tmp_path / "s.db"


def change(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.executescript(statement)


def all_commands(capsys, path):
    """What every reading command says, which is all one sentence and exit code 2."""
    found = set()
    for words in (
        ["list"],
        ["show"],
        ["show", "made", "a"],
        ["best"],
        ["compare"],
        ["diagnose"],
        ["report"],
        ["verify"],
    ):
        words += [path] if words == ["verify"] else ["--store", path]
        code, out, err = jsweep(capsys, *words)
        assert (code, out) == (2, ""), words
        assert len(err.splitlines()) == 1
        assert "\x1b" not in err
        found.add(err)
    return found


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (AS_A_VIEW.format("trials"), "as its "),
        (AS_A_VIEW.format("meta"), "is not a jsweep store"),
        (f"DROP TABLE meta; CREATE VIEW meta AS {FOREVER}", "is not a jsweep store"),
        (f"DROP TABLE metrics; CREATE VIEW metrics AS {FOREVER}", "as its table 'metrics' is another"),
        ("CREATE TRIGGER t AFTER UPDATE ON trials BEGIN DELETE FROM scores; END", "it has the trigger 't'"),
        ("CREATE INDEX i ON trials (upper(config))", "its table 'trials' has the index 'i'"),
        ("ALTER TABLE trials ADD COLUMN more AS (zeroblob(100000000))", "its table 'trials' is another"),
        ("DROP TABLE tests", "it has no table 'tests'"),
        ("DROP INDEX unfinished_checkpoints", "unfinished_checkpoints"),
        ("DROP TABLE tests; CREATE TABLE tests (id)", "its table 'tests' is another"),
        ("DROP TABLE sweeps; CREATE VIRTUAL TABLE sweeps USING fts5(name)", "'sweeps'"),
        ("UPDATE meta SET value = char(27, 91) || '31m' WHERE name = 'version'", "has format"),
    ],
)
def test_tables_that_are_not_those_of_a_store_are_refused(capsys, path, statement, reason):
    change(path, statement)
    for sentence in all_commands(capsys, path):
        assert reason in sentence
    with pytest.raises(js.StoreError, match=r"is not a jsweep store|has format"):
        js.drop(path, "made")


def test_views_and_tables_of_the_users_own_do_no_harm(path):
    change(path, "CREATE VIEW mine AS SELECT id FROM trials; CREATE TABLE notes (text); ANALYZE")
    with js.open(path) as result:
        assert result.best().mean == 2


@pytest.mark.parametrize("column", ["config", "id", "reason", "traceback", "config_id"])
def test_a_cell_that_is_too_large_is_refused(capsys, path, column):
    change(path, f"UPDATE trials SET {column} = hex(zeroblob(5000000)) || key")
    with pytest.raises(js.StoreError, match="too big"):
        js.show(path)
    assert jsweep(capsys, "show", "--store", path)[0] == 2


def test_large_cells_and_many_names_are_shown_in_part(capsys, path):
    names = ", ".join(f'"name{i}": 0' for i in range(3000))
    change(path, f"UPDATE trials SET config = '{{{names}}}', reason = hex(zeroblob(3000000)), status = 'failed'")
    code, out, _ = jsweep(capsys, "show", "--store", path)
    assert code == 0
    assert len(out) < 2_000_000


def test_no_message_holds_a_control_character(path):
    change(
        path, "UPDATE sweeps SET name = char(27) || '[31m' || name, settings = replace(settings, 'valid', '\\u001b')"
    )
    with pytest.raises(js.UnknownNameError) as caught:
        js.open(path, "made")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(js.UnknownNameError) as caught:
        js.best(path, metric=LOSS)
    assert "\x1b" not in str(caught.value)
    assert "?" in str(caught.value)
