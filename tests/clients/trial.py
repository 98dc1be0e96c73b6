"""One client, one transport, one experiment: everything real but the model, everything in a folder that goes away."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from server.history.ledger import Ledger
from server.vcs.git_environment import init_repository
from tests.clients.clients import Client
from tests.clients.model import Model, final, serving
from tests.conformance import packages
from tests.conformance.served import served

STAND_IN = Path(__file__).parents[1] / "fixtures" / "stand_ins" / "honest.py"
_BESIDE_SECONDS = 240  # for everything but training: start, preflight, evaluation, the client itself
_SLOWEST = 3  # a budget in CPU seconds may take as much longer on a busy machine
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Report:
    """What became of a trial."""

    client: str
    version: str
    transport: str
    calls: int
    longest: float
    listed: str
    outcome: str
    passed: bool

    @property
    def line(self) -> str:
        """A row of the table."""
        cells = (
            self.client,
            self.version,
            self.transport,
            self.calls,
            f"{self.longest:.0f} s",
            self.listed,
            self.outcome,
        )
        return f"| {' | '.join(map(str, cells))} |"


class Trial:
    """A fresh workspace and an empty home for one client."""

    def __init__(self, client: Client, modules: Path, folder: Path, budget: float) -> None:
        self._client, self._modules, self._budget = client, modules, budget
        self._folder, self._home, self._workspace = folder, folder / "home", folder / "workspace"

    def run(self, transport: str) -> Report:
        """Configure the client as a user does, let it list its servers, then let it take one turn."""
        self._workspace.mkdir()
        options = ["--workspace", str(self._workspace), "--http", "127.0.0.1:0"]
        try:
            with serving() as model:
                self._prepare(model)
                if transport == "drive":
                    return self._drive(model)
                with served("server", *options) if transport == "http" else nullcontext() as url:
                    return self._turn(model, url)
        finally:
            self._end()

    def _turn(self, model: Model, url: str | None) -> Report:
        environment = self._environment(model, url)
        connect = [sys.executable, "-m", "server.cli", "connect", self._client.name, "--write"]
        connect += ["--workspace", str(self._workspace), *(["--http", url] if url else [])]
        subprocess.run(connect, check=True, env=environment, stderr=subprocess.DEVNULL)
        listed = self._listed(environment)
        said = self._ask(self._client.turn, environment, _SLOWEST * self._budget + _BESIDE_SECONDS)
        return self._report("http" if url else "stdio", model, listed, said)

    def _drive(self, model: Model) -> Report:
        """A night of one experiment; the client is ended with it, so it is the history that tells of the result."""
        environment = self._environment(model, None)
        environment["PATH"] = f"{self._modules / '.bin'}{os.pathsep}{environment['PATH']}"
        words = [sys.executable, "-m", "server.cli", "drive", self._client.name, "--workspace", str(self._workspace)]
        done = subprocess.run(
            [*words, "--hours", "1", "--experiments", "1"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        rows = self._recorded()
        passed = "1 experiment is done: 1 run;" in done.stdout and len(rows) == 1 and rows[0]["val_bpb"] is not None
        outcome = f"{rows[0]['verdict']}, val_bpb {rows[0]['val_bpb']:.4f}" if passed else f"{rows}: {done.stdout}"
        calls = len(model.received)
        return Report(self._client.name, self._version(), "drive", calls, model.longest, "not asked", outcome, passed)

    def _prepare(self, model: Model) -> None:
        (self._workspace / "train.py").write_text(STAND_IN.read_text(encoding="utf-8"), encoding="utf-8")
        program = f"---\nname: a long call\nbudget_seconds: {self._budget:g}\n---\nMeasure the baseline.\n"
        (self._workspace / "program.md").write_text(program, encoding="utf-8")
        init_repository(self._workspace, "Start")
        for path, told in self._client.settings.items():
            (self._home / path).parent.mkdir(parents=True, exist_ok=True)
            (self._home / path).write_text(told.replace("{model}", model.url), encoding="utf-8")

    def _environment(self, model: Model, url: str | None) -> dict[str, str]:
        token = (self._workspace / ".autoresearch" / "token").read_text(encoding="ascii").strip() if url else ""
        plain = {"HOME": str(self._home), "PATH": packages.environment()["PATH"], "LANG": "C.UTF-8", "NO_COLOR": "1"}
        return {**plain, **({"AUTORESEARCH_TOKEN": token} if url else {}), **self._client.variables(model.url)}

    def _listed(self, environment: dict[str, str]) -> str:
        if not self._client.listing:
            return "not asked"
        said = re.sub(r"\x1b\[[0-9;]*m", "", self._ask(["mcp", "list"], environment, 60))
        return "connected" if re.search(r"autoresearch.*\bconnected\b", said, re.IGNORECASE) else "not connected"

    def _ask(self, arguments: list[str], environment: dict[str, str], seconds: float) -> str:
        """What the client prints, however it ends; it and its children are ended after `seconds`."""
        process = subprocess.Popen(
            [str(self._modules / ".bin" / self._client.program), *arguments],
            cwd=self._workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
            return said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0] + f"\nended after {seconds:.0f} s"

    def _report(self, transport: str, model: Model, listed: str, said: str) -> Report:
        told, recorded = final(model.received[-1]) if model.received else None, self._recorded()
        passed = told is not None and told["val_bpb"] is not None and [told] == recorded
        outcome = f"{told['verdict']}, val_bpb {told['val_bpb']:.4f}" if told and passed else ""
        if not passed:
            outcome = f"the model received {told}, the history says {recorded}"
            sys.stderr.write(f"{said}\n{model.requests[-20:]}\n{model.received}\n")
        return Report(
            self._client.name,
            self._version(),
            transport,
            len(model.received),
            model.longest,
            listed,
            outcome,
            passed and listed != "not connected",
        )

    def _version(self) -> str:
        found = json.loads((self._modules / self._client.package / "package.json").read_text(encoding="utf-8"))
        version: str = found["version"]
        return version

    def _recorded(self) -> list[dict[str, Any]]:
        """What the ledger holds: one row, if no call started a second run."""
        rows: list[dict[str, Any]] = []
        for path in (self._workspace / ".autoresearch").glob("*/ledger.sqlite3"):
            with closing(Ledger(path, read_only=True)) as ledger:
                rows += [
                    {"verdict": str(row.verdict), "val_bpb": row.score and row.score.value} for row in ledger.all()
                ]
        return rows

    def _end(self) -> None:
        """End what the client left behind: everything whose environment names this folder."""
        mine = [process for process in psutil.process_iter() if self._started(process)]
        _, alive = psutil.wait_procs(mine, timeout=_END_SECONDS)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=_END_SECONDS)

    def _started(self, process: psutil.Process) -> bool:
        try:
            return any(value.startswith(str(self._folder)) for value in process.environ().values())
        except psutil.Error:
            return False
