"""A real browser for tests: Chromium without a window, spoken to through two pipes.

The DevTools protocol over pipes needs no port, no web socket and no further package: each message
is JSON with a zero byte behind it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
NEEDED = "no Chromium here; on Debian as root: apt-get install chromium"
PATIENCE_S = 60.0
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank"),
)


def find_chromium() -> str | None:
    """Return the program, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a running browser."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something and return the answer; what happens meanwhile is kept in events."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._until(lambda got: got.get("id") == self._number, method)["result"]

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, dark: bool, scripts: bool = True
    ) -> None:
        """Load a file at a size of the window, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._until(lambda got: got.get("method") == "Page.loadEventFired", "load")

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression gives; the inspector's scripts are never disabled."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what the window, or the whole page, shows as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for, itself included."""
        asked = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def _until(self, wanted: Any, what: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            message = self._next(end)
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                assert "error" not in message, f"{what}: {message['error']}"
                return message
        raise TimeoutError(f"the browser did not answer in {PATIENCE_S:g} s: {what}")

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if time.monotonic() > end:
                raise TimeoutError(f"the browser is silent for {PATIENCE_S:g} s")
            try:
                got = os.read(self._read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            if not got:
                raise OSError("the browser has ended")
            self._buffer += got
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile folder; ended with all its processes afterwards."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    os.set_blocking(ours_in, False)

    def as_3_and_4() -> None:  # where the browser expects them; 5 and 6 in between, lest they meet
        os.dup2(os.dup2(theirs_in, 65), 3)
        os.dup2(os.dup2(theirs_out, 66), 4)

    started = subprocess.Popen(
        [program, f"--user-data-dir={profile}", *FLAGS],
        pass_fds=(3, 4),
        preexec_fn=as_3_and_4,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
