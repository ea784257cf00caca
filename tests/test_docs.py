"""The pages of the documentation: their code runs, their links lead somewhere, and every public name has its place."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from test_docstrings import PUBLIC
from test_how_to import blocks_of

import jsweep

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
MEMBERS = {
    "models",
    "losses",
    "metrics",
    "nnx",
    "linen",
    "equinox",
    "haiku",
    "sklearn",
}  # whose pages list all that they have


@pytest.mark.parametrize("page", ["index.md", "tutorial.md", "migration.md", "how-to/choose.md", "how-to/data.md"])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks_of(DOCS / page):
        exec(compile(block, page, "exec"), names)
    assert "validation/" in capsys.readouterr().out or page in ("migration.md", "how-to/data.md")


def test_every_public_name_has_its_place_in_the_reference():
    shown = set(re.findall(r"^::: jsweep\.([\w.]+)$", "".join(map(Path.read_text, DOCS.glob("reference/*.md"))), re.M))
    wanted = {name for name in PUBLIC if name.split(".")[0] not in MEMBERS} | set(jsweep.__all__)
    assert wanted - shown == set()


def test_links_between_pages_lead_to_a_page_and_every_page_is_in_the_contents():
    contents = (DOCS.parent / ".mkdocs.yml").read_text()
    assert [page for page in PAGES if page not in contents] == []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", (DOCS / page).read_text()):
            assert link.startswith("https://") or (DOCS / page).parent.joinpath(link).exists(), (page, link)


def test_names_of_jsweep_that_pages_mention_exist():
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    for page in pages:
        for name in set(re.findall(r"\b(?:js|jsweep)\.([a-z_]+(?:\.[A-Za-z0-9_]+)*)", page.read_text())):
            first, *rest = name.split(".")
            found = getattr(jsweep, first, None)  # None: a file's name, or an extra
            for part in rest if found is not None else ():
                known = found.__name__ if isinstance(found, ModuleType) else ""
                found = getattr(found, part, None) or importlib.import_module(f"{known}.{part}")


@pytest.mark.parametrize("which", ["slow", "long"])
def test_the_tests_that_are_left_out_exist(which):
    for line in (DOCS.parent / "tests" / f"{which}_tests.txt").read_text().splitlines():
        file, _, name = line.partition("::")
        assert f"def {name.partition('[')[0]}(" in (DOCS.parent / file).read_text(), name
