"""A real browser for tests of pages: Debian's Chromium, by its debugging protocol over a pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One tab, and all that it logged and requested."""

    def __init__(self, commands: int, answers: BufferedReader) -> None:
        self._commands, self._answers = commands, answers
        self._waiting = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of a command of the protocol; events that come before it are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params or {}}
        if not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            more = self._answers.read1(1 << 16)
            assert more, "the browser has ended"
            self._waiting += more
        line, _, self._waiting = self._waiting.partition(b"\0")
        return dict(json.loads(line))

    def show(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Opens a page in a window of this width and waits until it has loaded."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", {"features": features})
        self.events.clear()
        self.call("Page.navigate", {"url": page.resolve().as_uri()})
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        result = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"Enter": "\r"}.get(key, "")
            code = {"Enter": 13, "Tab": 9, "Escape": 27}[key]
            fields = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
            self.call("Input.dispatchKeyEvent", fields)

    def requests(self) -> list[str]:
        """The addresses that the page asked for since it was opened."""
        return [it["params"]["request"]["url"] for it in self.events if it.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[Any]:
        """Errors and warnings of the page since it was opened."""
        methods = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [event["params"] for event in self.events if event.get("method") in methods]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Starts Chromium with a profile of its own, and ends it."""
    assert CHROMIUM is not None
    (its_commands, commands), (answers, its_answers) = os.pipe(), os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
    line = 'exec "$0" "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'  # the protocol is on these two
    process = subprocess.Popen(
        ["bash", "-c", line, CHROMIUM, *flags, f"--user-data-dir={profile}"],
        pass_fds=(its_commands, its_answers),
        env={**os.environ, "COMMANDS": str(its_commands), "ANSWERS": str(its_answers)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_commands)
    os.close(its_answers)
    try:
        with os.fdopen(answers, "rb") as received:
            yield Browser(commands, received)
    finally:
        process.terminate()
        process.wait(timeout=60)
        os.close(commands)
