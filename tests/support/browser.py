"""A real Chromium, driven over the pipe of its DevTools protocol: no library is needed for that."""

import base64
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.app_host import BROWSER

_PATIENCE = 90.0  # seconds; what is waited for comes within one when the machine is free
_OPTIONS = (
    *("--headless=new", "--disable-gpu", "--no-sandbox", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-extensions", "--disable-component-update", "--mute-audio"),
    *("--remote-debugging-pipe", "--force-color-profile=srgb", "--hide-scrollbars"),
)
# Where an element is once it has stayed there for two frames: what is above it may still grow.
_MIDDLE = """async find => {
    let before = "", box;
    for (let frame = 0; frame < 200; frame++) {
        const e = document.querySelector(find);
        e.scrollIntoView({block: "center"});
        await new Promise(requestAnimationFrame);
        box = e.getBoundingClientRect();
        const now = [e.isConnected, box.x, box.y, box.width, box.height].join();
        if (now === before) break;
        before = now;
    }
    return [box.x + box.width / 2, box.y + box.height / 2];
}"""
_ABOVE = 10  # descriptors that are not in the way of those that Chromium reads and writes, 3 and 4


class Browser:
    """One Chromium."""

    def __init__(self, folder: Path) -> None:
        """Start it; `folder` becomes its profile."""
        ours, theirs = _pipe(), _pipe()
        self._write, self._read = ours[1], theirs[0]
        self.pid = os.posix_spawn(
            BROWSER,
            [BROWSER, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ours[0], 3),
                (os.POSIX_SPAWN_DUP2, theirs[1], 4),
                *((os.POSIX_SPAWN_OPEN, end, os.devnull, os.O_RDWR, 0) for end in (0, 1, 2)),
            ],
            setpgroup=0,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._last, self._rest = 0, b""
        self._answers: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End it and all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # a test that waits for whatever ends may have met it
            os.waitpid(self.pid, 0)
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._last += 1
        told = {"id": self._last, "method": method, "params": params, **({"sessionId": session} if session else {})}
        data = json.dumps(told).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        number, deadline = self._last, time.monotonic() + _PATIENCE
        while number not in self._answers:
            self._take(deadline)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _take(self, deadline: float) -> None:
        """Read what comes next."""
        ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
        assert ready, "Chromium does not answer"
        data = os.read(self._read, 1 << 16)
        assert data, "Chromium has ended"
        *whole, self._rest = (self._rest + data).split(b"\0")
        for message in map(json.loads, whole):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)

    def page(self, url: str = "about:blank", width: int = 1280, height: int = 900) -> "Tab":
        """A new tab with storage and cookies of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        tab = Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"], target)
        for domain in ("Page", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        tab.open(url)
        return tab


def _pipe() -> tuple[int, int]:
    """The ends of a pipe, to be read and to be written, as descriptors that are not in the way."""
    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for end in ends)
    for end in ends:
        os.close(end)
    return read, write


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self._target = browser, session, target

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self._target)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """The size of the window in CSS pixels; below 700 it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def media(self, **features: str) -> None:
        """What the system prefers, such as `prefers_color_scheme="dark"`."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression once it is true; its own errors count as not yet."""
        deadline = time.monotonic() + _PATIENCE
        told = f"const found = {expression}; return found instanceof Node || found;"
        guarded = f"(() => {{ try {{ {told} }} catch {{ return false; }} }})()"
        while not (found := self._now(guarded)):
            assert time.monotonic() < deadline, (expression, self.text()[:2000], self.errors())
            time.sleep(0.02)
        return found

    def _now(self, expression: str) -> Any:
        """The value, or None while the page is being replaced."""
        try:
            return self.ask(expression)
        except AssertionError as error:
            if "context" in str(error) or "navigated" in str(error):
                return None
            raise

    def text(self) -> str:
        """What a reader sees."""
        return self.ask("document.body.innerText")

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is, brought into view."""
        x, y = self.ask(f"({_MIDDLE})({json.dumps(selector)})")
        return x, y

    def click(self, selector: str) -> None:
        """Press the left button in the middle of an element, as a person does."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def key(self, name: str) -> None:
        """Press a key such as ArrowLeft."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name])

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def shot(self, path: Path, whole: bool = False) -> None:
        """Take a picture, PNG."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def errors(self) -> list[str]:
        """What the page has thrown, and what the browser has refused it, such as by its policy."""
        found: list[str] = []
        for event in self.browser.events:
            if event.get("sessionId") == self.session and event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event.get("sessionId") == self.session and event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] == "error":
                    found.append(f"{entry['text']} {entry.get('url', '')}")
        return found


@contextmanager
def chromium(folder: Path) -> Generator[Browser]:
    """A browser for as long."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
