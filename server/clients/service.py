"""The server as a systemd service under its own account, out of reach of an agent's shell.

The service works in a clone that it owns. The agent's account reaches it over HTTP with a token, and by nothing else.
"""

import os
import pwd
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from server.clients.client_config import serving
from server.errors import Unavailable
from server.paths import Home

USER = "autoresearch"
HOME = Path("/var/lib/autoresearch")
UNITS = Path("/etc/systemd/system")
_UNIT = """\
[Unit]
Description=autoresearch referees {workspace}
After=network.target

[Service]
User={user}
WorkingDirectory={workspace}
Environment=HOME={home}
ExecStart={command}
Restart=on-failure
# A run outlives its server, and the next server takes it up.
KillMode=process
# The processor time of a run is counted in a control group of its own, where the server may make one.
Delegate=yes
UMask=0022

NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={home}
ProtectHome={homes}
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


class Service(NamedTuple):
    """What is to be installed."""

    source: Path  # the repository that is cloned
    address: str
    user: str = USER
    home: Path = HOME

    @property
    def name(self) -> str:
        return re.sub(r"[^\w.-]+", "-", self.source.name).strip("-.") or "night"

    @property
    def workspace(self) -> Path:
        return self.home / self.name

    @property
    def unit_path(self) -> Path:
        return UNITS / f"autoresearch-{self.name}.service"

    def unit(self) -> str:
        """The text of the unit."""
        command = [sys.executable, *serving(), "--workspace", str(self.workspace), "--http", self.address]
        homes = "read-only" if any(Path(sys.prefix).is_relative_to(path) for path in ("/home", "/root")) else "yes"
        workspace, home = _escaped(str(self.workspace)), _escaped(str(self.home))
        words = " ".join(map(_quoted, command))
        return _UNIT.format(command=words, workspace=workspace, user=self.user, home=home, homes=homes)

    def steps(self) -> list[list[str]]:
        """The commands before the unit is written, in order; what is there already is left as it is."""
        found: list[list[str]] = []
        if not _exists(self.user):
            account = ["--system", "--user-group", "--shell", "/usr/sbin/nologin", "--home-dir", str(self.home)]
            found.append(["useradd", *account, self.user])
        found.append(["install", "--directory", "--mode=0755", f"--owner={self.user}", str(self.home)])
        if not self.workspace.exists():
            trusted = ["-c", f"safe.directory={self.source}", "-c", f"safe.directory={self.source / '.git'}"]
            found.append(["git", *trusted, "clone", "--no-local", str(self.source), str(self.workspace)])
        state = str(Home(self.workspace).folder)
        found.append(["install", "--directory", "--mode=0700", state])
        found.append(["chown", "--recursive", "--no-dereference", f"{self.user}:", str(self.workspace)])
        return found

    def start(self) -> list[list[str]]:
        """The commands after it."""
        return [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", self.unit_path.name]]

    def doubts(self) -> list[str]:
        """Why the account would be no boundary on this machine."""
        found = [f"{path}: only root may be able to change the server's code" for path in _code() if _changeable(path)]
        if Path(sys.prefix).is_relative_to("/root") or Path(sys.base_prefix).is_relative_to("/root"):
            found.append(f"{sys.executable}: other accounts cannot run a Python below /root")
        return found

    def told(self) -> str:
        """All that `write` does, for a person."""
        commands = "\n".join(f"  {shlex.join(step)}" for step in self.steps())
        after = "\n".join(f"  {shlex.join(step)}" for step in self.start())
        return f"As root:\n{commands}\n\n{self.unit_path}:\n{self.unit()}\n{after}\n"

    def write(self) -> None:
        """Do it. Raises Unavailable, OSError."""
        if os.geteuid() != 0:
            raise Unavailable("Only root can create accounts and services.", "Call it with sudo.")
        if doubts := self.doubts():
            told = "Install Python and the package where only root can write, as in a venv below /opt."
            raise Unavailable(f"A separate account would not protect anything: {'; '.join(doubts)}.", told)
        for step in self.steps():
            _run(step)
        self.unit_path.write_text(self.unit(), encoding="utf-8")
        for step in self.start():
            _run(step)

    def after(self) -> str:
        """What the operator does next."""
        read = shlex.join(["sudo", "cat", str(Home(self.workspace).token)])
        edit = shlex.join(["sudo", "-u", self.user, "-e", str(self.workspace / "program.md")])
        fetch = shlex.join(["git", "-c", f"safe.directory={self.workspace}", "fetch", str(self.workspace)])
        return (
            f"The agent's account gets the token and the address, and no more: {read}\n"
            f"program.md is the service's now: {edit}\n"
            f"What was kept: {fetch}"
        )


def require_systemd(write: bool) -> None:
    """Raises Unavailable without systemd; on Linux the steps are printed anyway."""
    if sys.platform == "darwin":
        raise Unavailable(
            "There is no service for launchd. On a Mac, a server under your own account cannot be protected from it.",
            "Start `autoresearch serve --http` under a second account; the agent's account gets the token alone.",
        )
    if write and not UNITS.is_dir():
        raise Unavailable(
            "There is no systemd on this machine.",
            "Start `autoresearch serve --http` under an account of its own, as docs/service.md says.",
        )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _code() -> list[Path]:
    return [Path(__file__).resolve().parents[2], Path(sys.prefix), Path(sys.base_prefix)]


def _changeable(path: Path) -> bool:
    found = path.stat()
    return found.st_uid != 0 or bool(stat.S_IMODE(found.st_mode) & 0o022)


def _escaped(text: str) -> str:
    """In a unit a % begins a specifier."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line in a unit: quotes, backslashes, $ and % mean something there."""
    plain = re.fullmatch(r"[\w@+:,./=-]+", word, re.ASCII)
    told = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return told if plain else f'"{told}"'


def _run(step: list[str]) -> None:
    done = subprocess.run(step, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"`{shlex.join(step)}` failed: {done.stderr.strip()[:500]}", "Fix that, and call again.")
