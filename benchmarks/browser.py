"""A page in headless Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Seconds after which what has not come will not come.
PATIENCE = 20.0

#: A picture in space needs WebGL, here without a graphics card.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--hide-scrollbars", "--disable-background-networking"),
    *("--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--remote-debugging-port=0"),
)


def chromium() -> str | None:
    """The program; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab. `requests` are the addresses that it has asked for, that of the page included."""

    def __init__(self, socket: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop = socket, loop
        self._number = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def open(self, file: Path, fragment: str = "") -> None:
        """Begin to load a file anew."""
        self.command("Page.navigate", url="about:blank")
        self.requests.clear()
        self.command("Page.navigate", url=file.resolve().as_uri() + fragment)

    def resize(self, width: int, height: int) -> None:
        """Of the window, in CSS pixels."""
        size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.command("Emulation.setDeviceMetricsOverride", **size, mobile=False)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in JavaScript; `RuntimeError` where it throws."""
        found = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true. Raises `TimeoutError`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # the page is not there yet
                if self.evaluate(expression):
                    return
            time.sleep(0.02)
        raise TimeoutError(expression)

    def press(self, key: str) -> None:
        """A key, as from the keyboard."""
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            extra: dict[str, Any] = {"windowsVirtualKeyCode": code, **text}
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, **extra)
            text = {}

    def click(self, x: float, y: float) -> None:
        """The left button of the mouse, in CSS pixels from the corner of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            place: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
            self.command("Input.dispatchMouseEvent", type=kind, **place)

    def screenshot(self, file: Path) -> None:
        """What the window shows, as PNG."""
        found = self.command("Page.captureScreenshot")
        file.write_bytes(base64.b64decode(found["data"]))

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._run(lambda: self._socket.write_message(json.dumps(message)))
        while True:
            text = self._run(self._socket.read_message)
            if text is None:
                raise RuntimeError("Chromium has ended")
            message = json.loads(text)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return dict(message["result"])
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])

    def _run(self, function: Callable[[], Any]) -> Any:
        """What an asynchronous function of the socket comes to."""

        async def done() -> Any:
            return await asyncio.wait_for(function(), PATIENCE)

        return self._loop.run_until_complete(done())


@contextlib.contextmanager
def browser(program: str) -> Iterator[Page]:
    """A page in a browser of its own, which ends with the block."""
    from tornado.websocket import websocket_connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        loop = asyncio.new_event_loop()
        try:
            address = f"ws://127.0.0.1:{_port(Path(profile))}"

            async def connect() -> Any:
                return await websocket_connect(
                    f"{address}{path}", max_message_size=2**28, connect_timeout=PATIENCE
                )

            path = _page(address.replace("ws:", "http:"))
            yield Page(loop.run_until_complete(connect()), loop)
        finally:
            process.terminate()
            process.wait()
            loop.close()


def _port(profile: Path) -> str:
    """Where Chromium listens, as it says in its profile."""
    told = profile / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE
    while not (told.exists() and told.read_text().count("\n")):
        if time.monotonic() > end:
            raise TimeoutError("Chromium does not start")
        time.sleep(0.05)
    return told.read_text().split("\n")[0]


def _page(address: str) -> str:
    """The path of the first tab."""
    from urllib.request import urlopen

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with urlopen(f"{address}/json/list") as answer:
            for target in json.load(answer):
                if target["type"] == "page":
                    return "/" + str(target["webSocketDebuggerUrl"]).split("/", 3)[3]
        time.sleep(0.05)
    raise TimeoutError("Chromium opens no page")
