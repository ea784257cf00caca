"""The pages of a record over HTTP, for one reader who knows their token: read-only, and GET alone."""

import hashlib
import hmac
import html
import ipaddress
import json
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError, JsweepError
from jsweep.results.report.content import content_of
from jsweep.results.report.page import written
from jsweep.results.result import Result
from jsweep.results.summary import counts_of_trials
from jsweep.storage import Store

SHARE_OF_A_CORE = 0.1  # that reading the record again may take, while it is being written
CONTENT = "content.json"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
INDEX_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
INDEX = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px auto; max-width: 1000px; padding: 0 16px }}
li {{ margin: 6px 0; overflow-wrap: anywhere }} h1 {{ font-size: 1.4em; overflow-wrap: anywhere }}</style></head>
<body><h1>{title}</h1><ul>{items}</ul></body></html>"""


@dataclass(frozen=True)
class _Built:
    """A sweep's content as it was built: from which version of the record, when, and in how many seconds."""

    record: int
    content: Mapping[str, Any]
    at: float
    took: float


class PageServer(ThreadingHTTPServer):
    """Serves the sweeps of an open store; made by `serve`."""

    daemon_threads = True

    def __init__(self, store: Store, host: str, port: int):
        self.store, self.token, self.host_name = store, secrets.token_urlsafe(24), host
        self.plotly = import_optional("plotly.offline", "report").get_plotlyjs()
        import_optional("scipy.stats", "report")
        self._built: dict[int, _Built] = {}
        self._building = threading.Lock()
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the list of sweeps, with the token."""
        host = f"[{self.host_name}]" if ":" in self.host_name else self.host_name
        return f"http://{host}:{self.server_address[1]}/{self.token}/"

    def index(self) -> str:
        """The list of the sweeps, latest first, as HTML that is asked for again every few seconds."""
        with self.store.snapshot():
            rows = [(row, Result(self.store, row.name)) for row in reversed(self.store.sweeps())]
            items = [
                f'<li><a href="sweep/{row.key}/">{html.escape(clean(row.name, 200))}</a>: '
                f"{html.escape(counts_of_trials(result.trials()))}</li>"
                for row, result in rows
            ]
        title = html.escape(clean(self.store.path, 300))
        return INDEX.format(title=title, items="".join(items) or "<li>no sweeps yet</li>")

    def content(self, key: int) -> Mapping[str, Any] | None:
        """What the page of the sweep with this key shows; None where there is none.

        It is built again where the record has changed, but not so often that it takes more than a tenth of a core.
        """
        with self._building:
            record, before = self.store.version(), self._built.get(key)
            now = time.monotonic()
            if before and (before.record == record or now - before.at < before.took / SHARE_OF_A_CORE):
                return before.content
            name = next((row.name for row in self.store.sweeps() if row.key == key), None)
            if name is None:
                return None
            result = Result(self.store, name)
            with result.snapshot():
                content = content_of(result, None)
            text = json.dumps(content, sort_keys=True)
            content["version"] = hashlib.sha256(text.encode()).hexdigest()[:16]
            self._built[key] = _Built(record, content, time.monotonic(), time.monotonic() - now)
            return content


class _Handler(BaseHTTPRequestHandler):
    """Answers GET of three kinds of address below the token, and refuses everything else."""

    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 30
    server_version, sys_version = "jsweep", ""
    protocol_version = "HTTP/1.1"
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        if not _is_own_host(self.headers.get_all("Host") or [], self.server.host_name, self.server.server_address[1]):
            return self._send(403, "the Host header names another machine\n")
        try:
            address = urlsplit(self.path)
        except ValueError:  # as of http://[/
            return self._send(400, "the address is not one\n")
        token, _, rest = address.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(errors="replace"), self.server.token.encode()):
            return self._send(403, "the token is missing or wrong: open the address that jsweep serve printed\n")
        try:
            return self._answer(rest, parse_qs(address.query).get("version", [""])[-1])
        except JsweepError as error:  # the record is unreadable now, or holds nothing that a page could show yet
            return self._send(503, f"{clean(error, 2000)}\n")

    def _answer(self, rest: str, version: str) -> None:
        if rest == "":
            return self._send(200, self.server.index(), "text/html", INDEX_POLICY)
        found = re.fullmatch(rf"sweep/([0-9]{{1,9}})/({re.escape(CONTENT)})?", rest)
        content = self.server.content(int(found[1])) if found else None
        if found is None or content is None:
            return self._send(404, "there is no such page\n")
        if found[2] and version == content["version"]:
            return self._send(204, "")
        if found[2]:
            return self._send(200, json.dumps(content, allow_nan=False), "application/json")
        page = written(str(content["title"]), content, self.server.plotly, live=CONTENT)
        return self._send(200, page, "text/html")

    def _refuse(self) -> None:
        self.close_connection = True  # its body is not read
        self._send(405, "only GET is answered\n", headers={"Allow": "GET"})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _send(
        self, code: int, text: str, kind: str = "text/plain", policy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        body = text.encode("utf-8", errors="replace")
        self.send_response(code)
        own = {"Content-Type": f"{kind}; charset=utf-8", **({"Content-Security-Policy": policy} if policy else {})}
        for name, value in {**HEADERS, **own, **(headers or {})}.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged: addresses hold the token."""


def serve(store: Store, host: str = "127.0.0.1", port: int = 0) -> PageServer:
    """A server of the pages of a store, bound to an address; it answers while its ``serve_forever`` runs.

    Args:
        store: The open store.
        host: The address to listen at.
        port: The port; 0 takes any that is free.

    Raises:
        ConfigError: Nothing can listen there.
        MissingExtraError: Plotly or SciPy is not installed.
    """
    try:
        return PageServer(store, host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"nothing can listen at {host}:{port} ({reason}): pass another --host or --port.") from error


def _is_own_host(given: list[str], host: str, port: int) -> bool:
    """Whether a request's Host header names this server by address, as localhost, or as it was told to listen.

    A page of another site whose name was made to resolve to this machine (DNS rebinding) sends that name.
    """
    if len(given) != 1:
        return False
    name, _, said = given[0].rpartition(":") if re.search(r":\d+$", given[0]) else (given[0], "", "80")
    if said != str(port):
        return False
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name.lower() in ("localhost", host.lower())
    return True
