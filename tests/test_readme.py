"""The README tells the truth: its code runs, its commands are there, its modules exist."""

import re
from pathlib import Path

from jsweep.cli import _COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_sweep_in_a_page_runs(tmp_path, monkeypatch, capsys):
    """As it stands, but for fewer rates, seeds and steps."""
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    for long, short in (
        ("1.0, 64)", "1.0, 3)"),
        ("seeds=5", "seeds=2"),
        ("steps=1000", "steps=60"),
        ("every=100", "every=20"),
    ):
        assert long in code
        code = code.replace(long, short)
    names = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    search = re.search(r"```python\n(search = .*?)```", README, re.DOTALL).group(1)
    exec(compile(search.replace("256", "6").replace("1000", "20"), "README.md", "exec"), names)
    assert len(names["session"].ranking()) == 6
    out = capsys.readouterr().out
    assert "validation/accuracy" in out
    assert "test/accuracy" in out
    assert (tmp_path / "page.db").exists()


def test_every_command_of_the_readme_exists_and_every_command_is_in_it():
    named = set(re.findall(r"^jsweep (\w+)", README, re.MULTILINE))
    assert named == set(_COMMANDS)


def test_every_path_of_the_readme_exists():
    paths = re.findall(r"`((?:jsweep|experiments|docs)/[\w/.]*)`", README)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
