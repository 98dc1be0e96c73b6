"""The configuration of each client: one table, absolute paths, time-outs that outlast an experiment.

Formats as the clients' own `mcp add` commands write them.
"""

import json
import os
import site
import stat
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import server
from server.api.http.address import TOKEN_VARIABLE
from server.errors import Unavailable
from server.files import keep_copy, replace_text

NAME = "autoresearch"
_CALL_SECONDS = 900  # longer than a run with everything around it
_START_SECONDS = 60
Entry = dict[str, Any]
# Clients start Python in the user's folder with the user's PYTHONPATH: nothing is imported from either (see __main__).
INSTALLED = ("-E", "-P", "-m", "server")


def serving() -> tuple[str, ...]:
    """The interpreter's arguments that start this server, wherever it is started.

    A package that is installed is named, as its path changes with Python's version. A checkout is found by its path.
    """
    main = Path(str(server.__file__)).absolute().with_name("__main__.py")
    places = {*site.getsitepackages(), site.getusersitepackages()}
    return INSTALLED if str(main.parent.parent) in places else ("-E", "-P", str(main))


@dataclass(frozen=True)
class ServerEntry:
    """How a client reaches the server: by a command, or where it listens."""

    command: str = ""
    arguments: tuple[str, ...] = ()
    url: str = ""

    @classmethod
    def local(cls, workspace: Path, python: str, serving: tuple[str, ...] = INSTALLED) -> "ServerEntry":
        """A server that each client starts for itself, over stdio."""
        return cls(python, (*serving, "--workspace", str(workspace)))

    def entry(self, **more: Any) -> Entry:
        """The command, as most clients spell it."""
        return {"command": self.command, "args": list(self.arguments), **more}

    def listening(self, token: str, **more: Any) -> Entry:
        """The address, and `token`: the variable with it, as the client spells variables."""
        return {"url": self.url, "headers": {"Authorization": f"Bearer {token}"}, **more}


@dataclass(frozen=True)
class Client:
    """Where a client keeps its servers and how it spells one."""

    path: str  # below the workspace, or below the home folder where it starts with ~
    key: str  # of the table of servers
    near: Callable[[ServerEntry], Entry]
    far: Callable[[ServerEntry], Entry] | None = None  # None: it knows no address
    moved: tuple[str, str] = ("", "")  # the variable that names a folder, and the start of `path` that it stands for


def _codex(place: ServerEntry) -> Entry:
    # required: else the first turn may start before the server is up, without its tools.
    waits = {"required": True, "startup_timeout_sec": _START_SECONDS, "tool_timeout_sec": _CALL_SECONDS}
    if place.url:
        return {"url": place.url, "bearer_token_env_var": TOKEN_VARIABLE, **waits}
    return place.entry(**waits)


def _opencode(place: ServerEntry) -> Entry:
    command = [place.command, *place.arguments]
    return {"type": "local", "command": command, "enabled": True, "timeout": _CALL_SECONDS * 1000}


_MILLISECONDS = {"timeout": _CALL_SECONDS * 1000}
_DESKTOP = {
    "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
    "win32": "~/AppData/Roaming/Claude/claude_desktop_config.json",
}.get(sys.platform, "~/.config/Claude/claude_desktop_config.json")
_DESKTOP_MOVED = {"darwin": ("", ""), "win32": ("APPDATA", "~/AppData/Roaming")}.get(
    sys.platform, ("XDG_CONFIG_HOME", "~/.config")
)

CLIENTS = {
    "claude-code": Client(
        ".mcp.json",
        "mcpServers",
        lambda place: {"type": "stdio", **place.entry(), **_MILLISECONDS},
        lambda place: {"type": "http", **place.listening(f"${{{TOKEN_VARIABLE}}}"), **_MILLISECONDS},
    ),
    "claude-desktop": Client(_DESKTOP, "mcpServers", ServerEntry.entry, moved=_DESKTOP_MOVED),
    "codex": Client("~/.codex/config.toml", "mcp_servers", _codex, _codex, ("CODEX_HOME", "~/.codex")),
    "cursor": Client(
        ".cursor/mcp.json", "mcpServers", ServerEntry.entry, lambda place: place.listening(f"${{env:{TOKEN_VARIABLE}}}")
    ),
    "vscode": Client(
        ".vscode/mcp.json",
        "servers",
        lambda place: {"type": "stdio", **place.entry()},
        lambda place: {"type": "http", **place.listening(f"${{env:{TOKEN_VARIABLE}}}")},
    ),
    "gemini": Client(
        "~/.gemini/settings.json",
        "mcpServers",
        lambda place: place.entry(**_MILLISECONDS),
        lambda place: {"type": "http", **place.listening(f"${{{TOKEN_VARIABLE}}}"), **_MILLISECONDS},
        ("GEMINI_CLI_HOME", "~"),
    ),
    "opencode": Client(
        "opencode.json",
        "mcp",
        _opencode,
        lambda place: {"type": "remote", **place.listening(f"{{env:{TOKEN_VARIABLE}}}", enabled=True), **_MILLISECONDS},
    ),
}


def configuration(client: str, place: ServerEntry) -> str:
    """The text to put into an empty configuration file. Raises Unavailable for an unknown client."""
    entry = _entry(client, place)
    if _is_toml(client):
        return _toml(_client(client).key, entry)
    return json.dumps({_client(client).key: {NAME: entry}}, indent=2) + "\n"


def target(client: str, workspace: Path, home: Path | None = None) -> Path:
    """The file in which the client looks: below `home`, or where the client's own variable says if that is not given.

    Raises:
        Unavailable: there is no such client, or nobody knows a home folder.
    """
    known = _client(client)
    if not known.path.startswith("~"):
        return workspace / known.path
    if home is None and (moved := _moved(known, os.environ)):
        return moved
    return (home or user_home()) / known.path.removeprefix("~/")


def moved_by(client: str) -> str:
    """The variable that tells where the client's file is; empty if none does."""
    known = _client(client)
    return known.moved[0] if _moved(known, os.environ) else ""


def _moved(known: Client, variables: Mapping[str, str]) -> Path | None:
    name, start = known.moved
    folder = variables.get(name, "")
    if not folder or (name == "XDG_CONFIG_HOME" and not Path(folder).is_absolute()):  # which that standard ignores
        return None
    return Path(folder).absolute() / known.path.removeprefix(f"{start}/")


def installed(client: str, workspace: Path, home: Path | None = None) -> bool:
    """Whether the client's file has an entry for us."""
    try:
        path = target(client, workspace, home)
        return NAME in _servers(client, path, _parse(client, path, _read(path)))
    except (Unavailable, OSError):
        return False


def write(client: str, place: ServerEntry, workspace: Path, home: Path | None = None) -> Path:
    """Add our entry to the client's file; what is there stays, and a copy of it beside.

    Raises:
        Unavailable: the file cannot be read as what it should be, or has another entry of this name.
        OSError: it cannot be read or written.
    """
    path, entry = target(client, workspace, home), _entry(client, place)
    before = _read(path)
    known = _parse(client, path, before)
    servers = _servers(client, path, known)
    if servers.get(NAME, entry) != entry:
        raise Unavailable(f"{path} already has a different entry {NAME!r}.", "Remove it there, then call again.")
    if NAME in servers:
        return path
    known[_client(client).key] = {**servers, NAME: entry}
    added = "\n\n" * bool(before.strip()) + _toml(_client(client).key, entry)
    end = "\r\n" if "\r\n" in before else "\n"
    text = before.rstrip("\r\n") + added.replace("\n", end) if _is_toml(client) else _json(known).replace("\n", end)
    if not _holds(client, path, text, known):  # as where a TOML table is written within one line
        raise _by_hand(client, f"The entry cannot be added to {path} as it is written.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        keep_copy(path)
    replace_text(path, text)
    return path


def user_home() -> Path:
    """The user's home folder. Raises Unavailable: nobody knows one."""
    try:
        return Path.home()
    except RuntimeError:
        raise Unavailable("This user has no home folder.", "Set HOME to one, then call again.") from None


def _client(name: str) -> Client:
    if name not in CLIENTS:
        raise Unavailable(f"There is no client {name!r}.", f"The clients are: {', '.join(CLIENTS)}.")
    return CLIENTS[name]


def _entry(client: str, place: ServerEntry) -> Entry:
    known = _client(client)
    if not place.url:
        return known.near(place)
    if known.far is None:
        problem = f"{client} does not take the address of a server from its file."
        raise Unavailable(
            problem, f"Add the server as a connector in {client}, or let it start a bridge such as mcp-remote."
        )
    return known.far(place)


def _is_toml(client: str) -> bool:
    return _client(client).path.endswith(".toml")


def _read(path: Path) -> str:
    """The text of a file, line ends as they are; empty if there is none. Raises Unavailable, OSError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe is waited for without end
            raise Unavailable(f"{path} is not a regular file.", "Move it away, then call again.")
        return path.read_bytes().decode("utf-8-sig")  # with a byte order mark, as some editors write it, or without
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise Unavailable(
            f"{path} cannot be read: it is not UTF-8 (byte {error.start}).", "Save it as UTF-8, then call again."
        ) from None


def _parse(client: str, path: Path, text: str) -> dict[str, Any]:
    """The settings in a text. Raises Unavailable."""
    try:
        known: Any = tomllib.loads(text) if _is_toml(client) else json.loads(text.strip() or "{}", **_STRICT)
    except (ValueError, RecursionError) as error:
        raise _by_hand(client, f"{path} cannot be read: {error}.") from None
    if not isinstance(known, dict):
        raise _by_hand(client, f"{path} is not a table of settings.")
    return cast("dict[str, Any]", known)


def _servers(client: str, path: Path, known: dict[str, Any]) -> dict[str, Any]:
    """The table of servers among the settings. Raises Unavailable."""
    key = _client(client).key
    servers: Any = {} if known.get(key) is None else known[key]
    if not isinstance(servers, dict):
        raise _by_hand(client, f"In {path}, {key} is not a table of servers.")
    return cast("dict[str, Any]", servers)


def _by_hand(client: str, problem: str) -> Unavailable:
    return Unavailable(problem, f"Add the entry by hand: `autoresearch connect {client}` prints it.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, refused if it has a key twice: one of the two would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def _no_number(told: str) -> float:
    raise ValueError(f"{told} is not JSON")


_STRICT: dict[str, Any] = {"object_pairs_hook": _once, "parse_constant": _no_number}


def _json(known: dict[str, Any]) -> str:
    text = json.dumps(known, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only escape
        return json.dumps(known, indent=2) + "\n"
    return text


def _holds(client: str, path: Path, text: str, known: dict[str, Any]) -> bool:
    """Whether a text is read as these settings."""
    try:
        return _parse(client, path, text) == known
    except Unavailable:
        return False


def _toml(key: str, entry: Entry) -> str:
    # A JSON string, number, boolean or list of strings is valid TOML as well.
    lines = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
    return "\n".join([f"[{key}.{NAME}]", *lines]) + "\n"
