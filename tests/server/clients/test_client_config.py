"""Files of the user's clients: what is written can be read, and mode, owner and links stay."""

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server.cli.setup import connect
from server.clients import client_config
from server.clients.client_config import CLIENTS, ServerEntry
from server.errors import Unavailable
from server.files import replace_text

PLACE = ServerEntry.local(Path("/work"), "/usr/bin/python3")
every_client = pytest.mark.parametrize("client", CLIENTS)


def made(client: str, folder: Path, text: str) -> Path:
    """The client's file, with this text."""
    path = client_config.target(client, folder, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def write(client: str, folder: Path) -> dict[str, Any]:
    """What the client reads after our entry was added."""
    text = client_config.write(client, PLACE, folder, folder).read_text(encoding="utf-8")
    return tomllib.loads(text) if CLIENTS[client].path.endswith(".toml") else json.loads(text)


def some_text(client: str) -> str:
    return 'key = "secret"\n' if CLIENTS[client].path.endswith(".toml") else '{"key": "secret"}'


@every_client
def test_mode_owner_and_link_of_the_users_file_stay(tmp_path: Path, client: str) -> None:
    path, real = made(client, tmp_path, some_text(client)), tmp_path / "dotfiles"
    path.rename(real)
    path.symlink_to(real)
    real.chmod(0o600)
    if os.getuid() == 0:
        os.chown(real, 1234, 4321)
    before = real.stat()
    assert "autoresearch" in write(client, tmp_path)[CLIENTS[client].key]
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert path.is_symlink() and path.resolve() == real
    assert path.with_name(f"{path.name}.bak").stat().st_mode == before.st_mode
    assert {found.name for found in real.parent.iterdir() if found.name.endswith(".new")} == set()


def test_a_copy_is_never_written_over_what_is_there(tmp_path: Path) -> None:
    path, victim = made("gemini", tmp_path, '{"first": 1}'), tmp_path / "victim"
    victim.write_text("theirs", encoding="utf-8")
    bak = path.with_name(f"{path.name}.bak")
    bak.symlink_to(victim)
    write("gemini", tmp_path)
    assert victim.read_text(encoding="utf-8") == "theirs" and bak.is_symlink()
    path.write_text('{"second": 2}', encoding="utf-8")
    write("gemini", tmp_path)
    kept = [path.with_name(f"{path.name}.bak.{number}").read_text(encoding="utf-8") for number in (1, 2)]
    assert kept == ['{"first": 1}', '{"second": 2}']


@pytest.mark.skipif(os.getuid() != 0, reason="only root meets files of others")
def test_a_copy_belongs_to_whom_the_file_belongs(tmp_path: Path) -> None:
    path = made("gemini", tmp_path, "{}")
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    write("gemini", tmp_path)
    copy = path.with_name(f"{path.name}.bak").stat()
    assert (copy.st_mode & 0o777, copy.st_uid, copy.st_gid) == (0o640, 1234, 4321)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_is_no_file_is_told_at_once(tmp_path: Path, kind: str) -> None:
    path = made("gemini", tmp_path, "")
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)
    with pytest.raises((Unavailable, OSError), match=r"not a regular file|symbolic links"):
        write("gemini", tmp_path)


def test_a_file_of_two_names_is_written_under_both(tmp_path: Path) -> None:
    path = made("gemini", tmp_path, '{"a long text": "that is followed by a shorter one"}')
    os.link(path, tmp_path / "other")
    write("gemini", tmp_path)
    assert path.samefile(tmp_path / "other")
    replace_text(path, "{}\n")
    assert (tmp_path / "other").read_text(encoding="utf-8") == "{}\n"


@every_client
@pytest.mark.parametrize("value", ["5", "[]", '"x"', "true"])
def test_servers_that_are_no_table_are_left_alone(tmp_path: Path, client: str, value: str) -> None:
    key = CLIENTS[client].key
    text = f"{key} = {value}\n" if CLIENTS[client].path.endswith(".toml") else f'{{"{key}": {value}}}'
    path = made(client, tmp_path, text)
    assert not client_config.installed(client, tmp_path, tmp_path)
    with pytest.raises(Unavailable, match="not a table of servers") as refused:
        client_config.write(client, PLACE, tmp_path, tmp_path)
    assert f"autoresearch connect {client}" in refused.value.next_step
    assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = {other = {command = "x"}}\n',
        '[[mcp_servers]]\ncommand = "x"\n',
        'mcp_servers.autoresearch = "x"\n',
    ],
)
def test_a_toml_file_that_our_entry_would_break_is_left_alone(tmp_path: Path, text: str) -> None:
    path = made("codex", tmp_path, text)
    with pytest.raises(Unavailable):
        client_config.write("codex", PLACE, tmp_path, tmp_path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers.other.command = "x"\n',
        '[mcp_servers.other]\ncommand = "x" # no line end',
        "\ufeff[mcp_servers]\n",
        'a = """\nx"""\r\n[mcp_servers.other]\r\n',
        "",
    ],
)
def test_a_toml_file_is_added_to_however_it_is_written(tmp_path: Path, text: str) -> None:
    path = made("codex", tmp_path, text)
    known = tomllib.loads(text.removeprefix("\ufeff"))
    found = write("codex", tmp_path)
    assert found["mcp_servers"].pop("autoresearch")["args"][-1] == "/work"
    assert found.get("mcp_servers") == known.get("mcp_servers", {})
    assert ("\r\n" in text) == path.read_bytes().endswith(b"\r\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"mcpServers": {}, "mcpServers": {}}', "'mcpServers' is there twice"),
        ('{"limit": NaN}', "NaN is not JSON"),
        ('{"limit": 1e999}', "cannot be added"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "not a table"),
    ],
)
def test_a_json_file_that_would_lose_something_is_left_alone(tmp_path: Path, text: str, words: str) -> None:
    path = made("cursor", tmp_path, text)
    with pytest.raises(Unavailable, match=words):
        client_config.write("cursor", PLACE, tmp_path, tmp_path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ['{"mcpServers": null}', '{"é": "\\ud83d"}', "{}\r\n", "\r\n"])
def test_a_json_file_is_added_to_whatever_its_values_are(tmp_path: Path, text: str) -> None:
    path = made("cursor", tmp_path, text)
    known = json.loads(text.strip() or "{}")
    found = write("cursor", tmp_path)
    assert found.pop("mcpServers")["autoresearch"]["command"] == "/usr/bin/python3"
    known.pop("mcpServers", None)
    assert found == known
    assert ("\r\n" in text) == (b"\r\n" in path.read_bytes())


MOVED = {
    "codex": ("CODEX_HOME", "config.toml"),
    "gemini": ("GEMINI_CLI_HOME", ".gemini/settings.json"),
    "claude-desktop": ("XDG_CONFIG_HOME", "Claude/claude_desktop_config.json"),
}
VARIABLES = [name for name, _ in MOVED.values()] + ["CLAUDE_CONFIG_DIR", "OPENCODE_CONFIG"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that every variable of the clients names; the home folder is another."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


@every_client
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Claude Desktop's folder has no variable, or another one")
def test_the_file_is_where_the_clients_own_variable_says(tmp_path: Path, elsewhere: Path, client: str) -> None:
    variable, path = MOVED.get(client, ("", CLIENTS[client].path))
    expected = (elsewhere if variable else tmp_path) / path
    assert client_config.moved_by(client) == variable
    assert not client_config.installed(client, tmp_path)
    assert client_config.write(client, PLACE, tmp_path) == client_config.target(client, tmp_path) == expected
    assert client_config.installed(client, tmp_path) and not (tmp_path / "home").exists()
    assert variable or CLIENTS[client].path.startswith((".", "opencode"))  # the workspace's own, which nothing moves


@pytest.mark.parametrize("client", MOVED)
def test_a_variable_that_says_nothing_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Path, client: str
) -> None:
    monkeypatch.setenv(MOVED[client][0], "")
    assert client_config.target(client, tmp_path) == tmp_path / "home" / CLIENTS[client].path[2:]
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # the standard has such a one ignored
    assert client_config.target("claude-desktop", tmp_path).is_relative_to(tmp_path / "home")
    monkeypatch.setenv("CODEX_HOME", "relative")
    assert client_config.target("codex", tmp_path) == Path.cwd() / "relative" / "config.toml"
    assert client_config.target("codex", tmp_path, tmp_path) == tmp_path / ".codex" / "config.toml"


def test_connect_says_where_it_writes_and_why(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connect("codex", tmp_path, write=False, http="localhost")
    shown = capsys.readouterr()
    assert f"Put this into {elsewhere / 'config.toml'} (because CODEX_HOME is set" in shown.err
    assert tomllib.loads(shown.out)["mcp_servers"]["autoresearch"]["url"] == "http://localhost:8765/mcp"
    connect("codex", tmp_path, write=True, http="")
    assert f"wrote {elsewhere / 'config.toml'} (because CODEX_HOME is set" in capsys.readouterr().err
    connect("cursor", tmp_path, write=True, http="")
    assert capsys.readouterr().err == f"wrote {tmp_path / '.cursor' / 'mcp.json'}\n"
