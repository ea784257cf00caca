"""Headless Chromium over its DevTools pipe: just enough to open a page, size it, and ask it things."""

import itertools
import json
import os
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--disable-background-networking", "--no-first-run")  # fmt: skip


class Browser:
    """One tab of a browser that ends with the ``with`` block; ``errors`` are what its console complained of."""

    def __init__(self, profile):
        (commands, self._write), (self._read, answers) = os.pipe(), os.pipe()
        flags = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # The browser reads commands from 3 and writes answers to 4. A shell moves them there, as JAX warns of a fork that
        # runs Python.
        moved = f'exec 3<&{commands} 4>&{answers} && exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", PROGRAM, *flags],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer, self._numbers, self._session, self.errors, self.requests = b"", itertools.count(1), None, [], []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method, **params):
        """The result of a DevTools method; what the page reports meanwhile is kept."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps({"id": number, "method": method, "params": params} | session).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._keep(message.get("method"), message.get("params"))

    def open(self, path, width, height, scheme="light"):
        """Show a file in a window of a size, by day or by night, and wait until its charts are drawn."""
        self.visit(path.as_uri(), width, height, scheme)

    def visit(self, url, width, height, scheme="light"):
        """The same of an address."""
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=url)
        self.wait("document.body?.dataset.ready === 'yes'")

    def wait(self, condition):
        """Wait until a JavaScript expression is true."""
        ends = time.monotonic() + 60
        while self.ask(condition) is not True:
            assert time.monotonic() < ends, (condition, self.errors)
            time.sleep(0.05)

    def ask(self, expression):
        """The value of a JavaScript expression, once it is settled."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _keep(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(params["args"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def _message(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
