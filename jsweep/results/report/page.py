"""The HTML file: a sweep's content as JSON, Plotly, and the page's own script and style, all inline."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.results.report.content import content_of

if TYPE_CHECKING:
    from jsweep.results.result import Result

FRAME_HEIGHT = 900


@dataclass(frozen=True)
class Layout:
    """The files of this package that a page is made of: its HTML, and the scripts in order."""

    template: str
    scripts: tuple[str, ...]


ONE_SWEEP = Layout("page.html", ("charts.js", "table.js", "page.js"))
SEVERAL = Layout("several.html", ("charts.js", "several.js"))


@dataclass(frozen=True)
class Page:
    """A sweep's report: ``html`` is one file that needs no network. In a notebook it shows itself in a frame."""

    title: str
    html: str = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file; the file's path."""
        Path(path).write_text(self.html, "utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.html)}" '
            f'sandbox="allow-scripts" style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
        )


def page_of(result: "Result", metric: Any = None) -> Page:
    """The page of a sweep by one metric; MissingExtraError where Plotly or SciPy is not installed."""
    plotly = import_optional("plotly.offline", "report").get_plotlyjs()
    import_optional("scipy.stats", "report")
    title = clean(result.label, 200)
    return Page(title, written(title, content_of(result, metric), plotly))


def embedded(content: Mapping[str, Any]) -> str:
    """Content as JSON that cannot end the element it stands in: ASCII without ``<``, ``>`` and ``&``."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def check_target(path: str | Path, store: str) -> None:
    """Raise ConfigError where writing the page would overwrite the record or has no folder to go to."""
    target = Path(path)
    if target.exists() and Path(store).exists() and target.samefile(store):
        raise ConfigError(f"the page would overwrite the record {store}: pass another file, as in report.html.")
    if target.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder: pass the page's file, as in report.html.")
    if not target.parent.is_dir():
        raise ConfigError(f"the folder {str(target.parent)!r} does not exist: make it, or pass another file.")


def written(title: str, content: Mapping[str, Any], plotly: str, live: str = "", layout: Layout = ONE_SWEEP) -> str:
    """The page as HTML.

    Args:
        title: Its title.
        content: What `content_of` gives, or what the layout's scripts read.
        plotly: Plotly's script.
        live: The address, relative to the page's, that has newer content while the sweep runs; "" for a file.
        layout: The files that it is made of.
    """
    own = resources.files("jsweep.results.report")
    text = {name: own.joinpath(name).read_text("utf-8") for name in (layout.template, "page.css", *layout.scripts)}
    scripts = [plotly.replace("\r\n", "\n"), "\n".join(text[name] for name in layout.scripts)]
    # Only these scripts run, whatever a record holds. Plotly compiles the WebGL part of its charts, hence 'unsafe-eval'.
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
        + ("; connect-src 'self'" if live else "")
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(title),
        "STYLE": text["page.css"],
        "LIVE": html.escape(live),
        "CONTENT": embedded(content),
        "PLOTLY": scripts[0],
        "SCRIPT": scripts[1],
    }
    pieces = text[layout.template].split("%%")  # text and names in turn
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
