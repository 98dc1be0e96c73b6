"""An installed client, started headless: its command, settings and environment."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from server.clients.client_config import ServerEntry, configuration
from server.errors import Unavailable


@dataclass(frozen=True)
class ClientLaunch:
    """How a client is started: its command, and the variables that it needs."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    reporting: tuple[str, ...] = ()  # further words, that make it tell its tokens in JSON lines; an old client has none
    priced: bool = False  # whether it tells money as well
    ceiling: str = ""  # the option by which it holds a limit of US dollars itself


def _claude(prompt: str, place: ServerEntry, folder: Path) -> ClientLaunch:
    settings = folder / "claude.json"
    settings.write_text(configuration("claude-code", place), encoding="utf-8")
    return ClientLaunch(
        [
            "claude",
            "-p",
            prompt,
            "--mcp-config",
            str(settings),
            "--strict-mcp-config",
            "--allowedTools",
            "mcp__autoresearch",
        ],
        reporting=("--output-format", "stream-json", "--verbose"),
        priced=True,
        ceiling="--max-budget-usd",
    )


def _codex(prompt: str, place: ServerEntry, folder: Path) -> ClientLaunch:
    told = {"command": place.command, "args": list(place.arguments), "required": True, "tool_timeout_sec": 900}
    # A JSON string, number, boolean or list of strings is valid TOML as well.
    settings = [f"mcp_servers.autoresearch.{name}={json.dumps(value)}" for name, value in told.items()]
    overrides = [word for setting in settings for word in ("-c", setting)]
    return ClientLaunch(["codex", "exec", "--skip-git-repo-check", *overrides, prompt], reporting=("--json",))


def _opencode(prompt: str, place: ServerEntry, folder: Path) -> ClientLaunch:
    settings = folder / "opencode.json"
    settings.write_text(configuration("opencode", place), encoding="utf-8")
    environment = {"OPENCODE_CONFIG": str(settings)}
    return ClientLaunch(["opencode", "run", prompt], environment, ("--format", "json"), priced=True)


def _gemini(prompt: str, place: ServerEntry, folder: Path) -> ClientLaunch:
    if insecure := next((above for above in folder.resolve().parents if above.stat().st_mode & 0o022), None):
        raise Unavailable(
            f"Gemini CLI ignores settings below {insecure}, because others can write there.",
            f"Move the workspace, or run `chmod go-w {insecure}`.",
        )
    settings = folder / "gemini.json"
    settings.write_text(configuration("gemini", place), encoding="utf-8")
    words = ["gemini", "--allowed-mcp-server-names", "autoresearch", "--yolo", "-p", prompt]
    environment = {"GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(settings)}
    return ClientLaunch(words, environment, ("--output-format", "stream-json"))


_LAUNCHES: dict[str, Callable[[str, ServerEntry, Path], ClientLaunch]] = {
    "claude-code": _claude,
    "codex": _codex,
    "opencode": _opencode,
    "gemini": _gemini,
}


def launch(client: str, prompt: str, place: ServerEntry, folder: Path) -> ClientLaunch:
    """How `client` is started; its settings go to `folder`. Raises Unavailable: no such client, or not installed."""
    if client not in _LAUNCHES:
        raise Unavailable(
            f"{client} cannot be driven.", f"These can: {', '.join(_LAUNCHES)}; `autoresearch demo` needs no client."
        )
    folder.mkdir(parents=True, exist_ok=True)
    found = _LAUNCHES[client](prompt, place, folder)
    if shutil.which(found.words[0]) is None:
        raise Unavailable(
            f"There is no {found.words[0]} on the PATH.",
            f"Install {client}, or try one of {', '.join(_LAUNCHES)}; `autoresearch demo` needs no client.",
        )
    return found
