"""A Ray cluster on this machine: a head without slots, and two nodes with one slot each.

As root on Linux each is in a network namespace of its own, so that its network can be cut. Elsewhere they share this
machine's addresses, and what needs a cut network is not possible. Each node has a home of its own: nothing is shared.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PORT = 6479
_NET = "10.77.0."
_TUNED = {  # a node that is gone is noticed within seconds
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
    "RAY_raylet_start_wait_time_s": "300",
}
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
_GENTLE = {"RAY_worker_niceness": "0", "RAY_worker_oom_score_adjustment": "0"}
_STORE = 200_000_000  # bytes of each node's object store
_UP_SECONDS = 300.0


def can_have_networks() -> bool:
    """Whether network namespaces can be made here."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"):
        return False
    name = f"ar-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made


class Cluster:
    """Three nodes: 0 is the head, which has no slot, 1 and 2 have one each."""

    def __init__(
        self, folder: Path, python: str = sys.executable, networks: bool | None = None, count: int = 3
    ) -> None:
        self.folder, self.python, self._count = folder, python, count
        self.networks = can_have_networks() if networks is None else networks
        self._mark, self._port = f"ar{os.getpid()}", _PORT if self.networks else _free_port()
        self.token = folder / "token"
        folder.mkdir(parents=True, exist_ok=True)
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32), encoding="ascii")

    @property
    def address(self) -> str:
        return f"{self._ip(0)}:{self._port}"

    def environment(self, node: int = 0) -> dict[str, str]:
        """Of a program on a node."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
        own = {"AUTORESEARCH_NODE_HOME": str(self.home(node)), "RAY_AUTH_TOKEN_PATH": str(self.token)}
        return {**kept, **_TUNED, **_QUIET, **_GENTLE, "RAY_AUTH_MODE": "token", **own}

    def home(self, node: int) -> Path:
        """What a node keeps of us."""
        return self.folder / f"home{node}"

    def inside(self, node: int) -> list[str]:
        """What comes before a command that is to run on a node."""
        return ["ip", "netns", "exec", self.space(node)] if self.networks else []

    def up(self) -> None:
        """Raises RuntimeError, with what Ray has said."""
        if self.networks:
            self._lay_network()
        for node in range(self._count):
            self.start(node)

    def start(self, node: int, python: str = "", extra: dict[str, str] | None = None) -> None:
        """Start Ray on a node, whatever was there before. Raises RuntimeError."""
        given = ["--num-gpus=0", f"--object-store-memory={_STORE}", "--disable-usage-stats"]
        given += [f"--node-ip-address={self._ip(node)}"]
        if node == 0:
            temporary = self.folder / "r"
            given += [
                "--head",
                f"--port={self._port}",
                "--num-cpus=0",
                "--include-dashboard=false",
                "--include-log-monitor=false",
            ]
            given += [f"--temp-dir={temporary}"]
        else:
            given += [f"--address={self.address}", "--num-cpus=1", '--resources={"slot": 1}']
        self.home(node).mkdir(exist_ok=True)
        command = [*self.inside(node), python or self.python, "-m", "ray.scripts.scripts", "start", *given]
        with (self.folder / f"node{node}.log").open("w+b") as log:
            started = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(node) | {"AUTORESEARCH_TEST_NODE": self._label(node)} | (extra or {}),
                check=False,
                timeout=_UP_SECONDS,
            )
            log.seek(0)
            if started.returncode:
                raise RuntimeError(f"Ray does not start on node {node}: {log.read().decode(errors='replace')[-2000:]}")

    def pids(self, node: int, name: str = "") -> list[int]:
        """The processes of a node, those of its runs too; `name`: a part of the command line."""
        found = self._in_space(node)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("AUTORESEARCH_TEST_NODE") == self._label(node):
                    found.add(process.pid)
        return [pid for pid in found if name in _command(pid)]

    def _in_space(self, node: int) -> set[int]:
        """What is on a node's network; of the head's, nothing: the test is there as well."""
        if not (self.networks and node):
            return set()
        told = subprocess.run(["ip", "netns", "pids", self.space(node)], capture_output=True, text=True, check=False)
        return set(map(int, told.stdout.split()))

    def kill(self, node: int, name: str = "") -> list[int]:
        """SIGKILL to a node's processes, in one sweep after the other until none is left. Returns the first ones."""
        first = self.pids(node, name)
        deadline = time.monotonic() + 10
        while (left := self.pids(node, name)) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return first

    def cut(self, node: int) -> None:
        """Take a node off the network."""
        self._ip_tool("-n", self._switch, "link", "set", f"p{node}", "down")

    def heal(self, node: int) -> None:
        self._ip_tool("-n", self._switch, "link", "set", f"p{node}", "up")

    def down(self) -> None:
        """End every process of the nodes, and remove their networks."""
        for node in range(3):
            self.kill(node)
        if self.networks:
            for name in (*(self.space(node) for node in range(3)), self._switch):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    @property
    def _switch(self) -> str:
        return f"{self._mark}-sw"

    def space(self, node: int) -> str:
        """The name of a node's network namespace."""
        return self._label(node)

    def _label(self, node: int) -> str:
        return f"{self._mark}-{node}"

    def _ip(self, node: int) -> str:
        return f"{_NET}1{node}" if self.networks else "127.0.0.1"

    def _lay_network(self) -> None:
        run = self._ip_tool
        run("netns", "add", self._switch)
        run("-n", self._switch, "link", "add", "br0", "type", "bridge")
        for link in ("br0", "lo"):
            run("-n", self._switch, "link", "set", link, "up")
        for node in range(3):
            name = self.space(node)
            run("netns", "add", name)
            run("-n", name, "link", "set", "lo", "up")
            run("-n", self._switch, "link", "add", f"p{node}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("-n", self._switch, "link", "set", f"p{node}", "master", "br0", "up")
            run("-n", name, "addr", "add", f"{self._ip(node)}/24", "dev", "eth0")
            run("-n", name, "link", "set", "eth0", "up")

    def _ip_tool(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _command(pid: int) -> str:
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


@contextmanager
def running(made: Cluster) -> Generator[None]:
    """Around what uses a cluster, which is taken down in the end."""
    try:
        made.up()
        yield
    finally:
        made.down()
