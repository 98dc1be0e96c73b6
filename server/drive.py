"""A night without anybody at the client: an installed one, started headless, and again when it stops too early."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from server import curfew
from server.connect import Place, configuration
from server.errors import Unavailable
from server.experiment import Value
from server.files import rotate
from server.latest import tonight
from server.ledger import Ledger
from server.program import load
from server.word import Word, heard

_FRUITLESS = 5  # starts in a row that measured nothing; then it is not the idea that fails
_LOOK_SECONDS = 0.5
_PAUSES = (1.0, 10.0, 60.0, 300.0)  # seconds before the next start, by how many have been fruitless
_END_SECONDS = 10.0
_DECIDE_SECONDS = 60.0  # a client that was shown a result keeps or discards it within

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Launch:
    """How a client is started: its words, and what it needs in its environment."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])


class Shift(Value):
    """For how long a client is driven; 0 and less: not limited in this way."""

    hours: float = 0.0
    experiments: int = 0
    pauses: tuple[float, ...] = _PAUSES
    log_bytes: int = 10 << 20  # of what the client prints; the last part of it is kept once more


def _claude(prompt: str, place: Place, folder: Path) -> Launch:
    settings = folder / "claude.json"
    settings.write_text(configuration("claude-code", place), encoding="utf-8")
    return Launch(["claude", "-p", prompt, "--mcp-config", str(settings), "--strict-mcp-config",
                   "--allowedTools", "mcp__autoresearch"])  # fmt: skip


def _codex(prompt: str, place: Place, folder: Path) -> Launch:
    told = {"command": place.command, "args": list(place.arguments), "required": True, "tool_timeout_sec": 900}
    # A JSON string, number, boolean or list of strings is valid TOML as well.
    settings = [f"mcp_servers.autoresearch.{name}={json.dumps(value)}" for name, value in told.items()]
    overrides = [word for setting in settings for word in ("-c", setting)]
    return Launch(["codex", "exec", "--skip-git-repo-check", *overrides, prompt])


def _opencode(prompt: str, place: Place, folder: Path) -> Launch:
    settings = folder / "opencode.json"
    settings.write_text(configuration("opencode", place), encoding="utf-8")
    return Launch(["opencode", "run", prompt], {"OPENCODE_CONFIG": str(settings)})


def _gemini(prompt: str, place: Place, folder: Path) -> Launch:
    if insecure := next((above for above in folder.resolve().parents if above.stat().st_mode & 0o022), None):
        raise Unavailable(
            f"Gemini CLI ignores settings below {insecure}, because others can write there.",
            f"Move the workspace, or run `chmod go-w {insecure}`.",
        )
    settings = folder / "gemini.json"
    settings.write_text(configuration("gemini", place), encoding="utf-8")
    words = ["gemini", "--allowed-mcp-server-names", "autoresearch", "--yolo", "-p", prompt]
    return Launch(words, {"GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(settings)})


_LAUNCHES: dict[str, Callable[[str, Place, Path], Launch]] = {
    "claude-code": _claude,
    "codex": _codex,
    "opencode": _opencode,
    "gemini": _gemini,
}


class Drive:
    """One night with one client."""

    def __init__(self, client: str, workspace: Path, options: list[str], prompt: str) -> None:
        """`options`: of `autoresearch serve`. Raises Unavailable: no such client, or it is not installed."""
        if client not in _LAUNCHES:
            raise Unavailable(
                f"{client} cannot be driven.", f"Can be: {', '.join(_LAUNCHES)}; `autoresearch demo` needs no client."
            )
        self._folder = workspace / ".autoresearch" / "drive"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._workspace = workspace
        tag = _tag(options) or tonight(workspace)  # named, for all that are started after midnight
        self._path = workspace / ".autoresearch" / tag / "ledger.sqlite3"
        arguments = ("-m", "server", "--workspace", str(workspace), *options, "--tag", tag)
        self._launch = _LAUNCHES[client](prompt, Place(sys.executable, arguments), self._folder)
        if shutil.which(self._launch.words[0]) is None:
            raise Unavailable(
                f"There is no {self._launch.words[0]} on the PATH.",
                f"Install {client}, or try one of: {', '.join(_LAUNCHES)}; `autoresearch demo` needs none.",
            )
        self._done_at = 0.0  # when the last experiment of the night was measured
        self.log = self._folder / f"{client}.log"

    def run(self, shift: Shift, tell: Callable[[str], None]) -> str:
        """Start the client, again and again, until the night is over. Returns why it ended."""
        begun, fruitless, before = time.monotonic(), 0, self.measured()
        while True:
            while self._curfew()[1]:
                time.sleep(_LOOK_SECONDS)
            seen = self.measured()
            reason = self._watch(shift, begun, before)
            if reason:
                return reason
            fruitless = 0 if self.measured() > seen else fruitless + 1
            if fruitless >= _FRUITLESS:
                return f"the client was started {fruitless} times and measured nothing: see {self.log}"
            pause = shift.pauses[min(fruitless, len(shift.pauses) - 1)]
            tell(f"the client stopped after {self.measured() - before} experiments; it is started again in {pause:g} s")
            time.sleep(pause)

    def measured(self) -> int:
        """How many runs the night has that are over."""
        counts = self._ask(Ledger.counts, {})
        return sum(count for verdict, count in counts.items() if verdict not in ("kept", "running"))

    def _decided(self) -> bool:
        """Whether nothing that was measured waits for its keep or discard."""
        last = self._ask(Ledger.measured, None)
        return last is None or last.decision is not None

    def _curfew(self) -> tuple[str, bool]:
        """Why the night is over, once no run goes on; and whether it is only paused."""
        last = self._ask(Ledger.last, None)
        if last is None or last.running:
            return "", False
        if heard(self._path.parent) is Word.PAUSE:
            return "", True
        return self._ask(self._reached, ""), False

    def _reached(self, ledger: Ledger) -> str:
        return curfew.over(self._path.parent, load(self._workspace / "program.md").task.stop, ledger)

    def _ask(self, question: Callable[[Ledger], _Told], unknown: _Told) -> _Told:
        """What the ledger says; `unknown` while it cannot be read, or program.md: others mend that."""
        try:
            with closing(Ledger(self._path, read_only=True)) as ledger:
                return question(ledger)
        except Unavailable:
            return unknown

    def _watch(self, shift: Shift, begun: float, before: int) -> str:
        """One start of the client. Returns why the night is over, or nothing if the client stopped by itself."""
        environment = {**os.environ, **self._launch.environment}
        with self.log.open("ab") as log, subprocess.Popen(
            self._launch.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._workspace, env=environment
        ) as process:  # fmt: skip
            try:
                while process.poll() is None:
                    if reason := self._over(shift, begun, before):
                        return reason
                    with suppress(OSError):  # a full disk ends runs, not the night
                        rotate(self.log, shift.log_bytes)
                    time.sleep(_LOOK_SECONDS)
            finally:
                _end(process)
        return self._over(shift, begun, before, patience=0.0)

    def _over(self, shift: Shift, begun: float, before: int, patience: float = _DECIDE_SECONDS) -> str:
        """Why the night is over; the last experiment may still be decided for `patience` seconds."""
        if shift.hours > 0 and time.monotonic() - begun >= 3600 * shift.hours:
            return f"{shift.hours:g} hours are over"
        done = 0 < shift.experiments <= self.measured() - before
        why = f"{shift.experiments} experiments are done" if done else self._curfew()[0]
        if not why:
            return ""
        self._done_at = self._done_at or time.monotonic()
        return why if self._decided() or time.monotonic() - self._done_at >= patience else ""


def _tag(options: list[str]) -> str:
    """The tag among the options of `autoresearch serve`; empty if they name none."""
    told = [word.removeprefix("--tag=") for word in options if word.startswith("--tag=")]
    after = [options[place + 1] for place, word in enumerate(options[:-1]) if word == "--tag"]
    return next(iter([*told, *after]), "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the client; a run under way goes on, and the next server adopts it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
