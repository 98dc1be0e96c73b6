"""A long night on one server: does anything grow?

    python benchmarks/soak.py [--experiments 1000] [--budget 0.5]

Experiments one after the other through a real client over stdio, with a train.py that learns next to nothing: in every
third a little more than ever before, in the others less. At 10, 100, 300 and 1,000 of them it prints what the server
process holds, the size of the ledger, and how many milliseconds the last hundred answers of each tool took at the 95th
percentile, its very first left out. (In git, each experiment takes two refs.) `read_train` does the same all night:
where it is slower, the machine is.
"""

import argparse
import math
import re
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import anyio
import psutil
from mcp import Client, StdioServerParameters

from server.locks import lock_holder
from server.vcs.git_environment import init_repository

TRAIN = Path(__file__).parent.parent / "tests" / "fixtures" / "stand_ins" / "honest.py"
PROGRAM = "---\nbudget_seconds: {}\npreflight: false\nkeep_rule: any\n---\nDo research.\n"
START_RATE = 1e-6  # honest.py's for real learning is 3e-2
ONLY_THE_RATE_TELLS = {
    "RATE = 0.03": f"RATE = {START_RATE}\nsteps = 0",
    "session = Session()": "session = Session()\ntorch.manual_seed(0)",
    "loss.backward()": "loss.backward()\n    steps += 1",
    "RATE * ": "RATE * (steps <= 5) * ",  # half a second is always enough for so many
}
LOOKS = (10, 100, 300, 1000, 3000)
TOOLS = ("read_train", "apply_patch", "keep", "discard", "status", "history")
CALLS = 100  # that a percentile is of, at most; with twenty it would be the slowest of them


class Soak:
    """One night and its server."""

    def __init__(self, client: Client, workspace: Path) -> None:
        self._client, self._state = client, workspace / ".autoresearch" / "soak"
        held = lock_holder(workspace)
        assert held
        self._server = psutil.Process(held.pid)
        self._taken: dict[str, deque[float]] = {}  # milliseconds

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        begun = time.perf_counter()
        answer = await self._client.call_tool(tool, given)
        taken = 1000 * (time.perf_counter() - begun)
        if tool in self._taken:
            self._taken[tool].append(taken)
        else:  # the first one loads and fills caches
            self._taken[tool] = deque(maxlen=CALLS)
        if answer.is_error or answer.structured_content is None:
            raise SystemExit(f"{tool}: {answer.content}")
        return answer.structured_content

    async def experiment(self, number: int) -> None:
        """One idea, from the patch to the decision."""
        if number > 1:
            text = (await self.call("read_train"))["text"]
            before = re.search(r"RATE = \S+$", text, re.MULTILINE)
            assert before
            rate = START_RATE * (1.025 ** (number / 3) if number % 3 == 0 else number / 1e6)
            after = f"RATE = {rate!r}"
            patch = f"<<<<<<< SEARCH\n{before[0]}\n=======\n{after}\n>>>>>>> REPLACE"
            await self.call("apply_patch", patch=patch)
        told = await self.call("run_experiment", description=f"idea {number}", wait_seconds=600)
        if number > 1:
            await self.call("keep" if told["verdict"] in ("improved", "simpler") else "discard", reason="measured")
        await self.call("status")
        await self.call("history")

    def look(self, number: int) -> None:
        """One line of the table."""
        slowest = [f"{self._slowest(tool):>11.1f}" for tool in TOOLS]
        memory = self._server.memory_info().rss / 2**20
        children = len(self._server.children(recursive=True))
        ledger = (self._state / "ledger.sqlite3").stat().st_size / 1024
        files = sum(path.stat().st_size for path in self._state.rglob("*") if path.is_file()) / 2**20
        print(
            f"{number:>11} {memory:>7.1f} {self._server.num_fds():>6} {children:>9} {ledger:>10.0f} {files:>9.1f} ",
            *slowest,
            flush=True,
        )

    def _slowest(self, tool: str) -> float:
        """The 95th percentile of its last answers, in milliseconds; nan before the third."""
        taken = self._taken.get(tool, ())
        return statistics.quantiles(taken, n=20)[-1] if len(taken) > 1 else math.nan


async def soak(workspace: Path, experiments: int) -> None:
    """The whole night."""
    options = ["-m", "server", "--workspace", str(workspace), "--tag", "soak", "--profile", "smoke"]
    async with Client(StdioServerParameters(command=sys.executable, args=options)) as client:
        study, begun = Soak(client, workspace), time.monotonic()
        print("experiments  RSS MB  files  children  ledger KB  state MB ", *(f"{tool:>11}" for tool in TOOLS))
        for number in range(1, experiments + 1):
            await study.experiment(number)
            if number in LOOKS or number == experiments:
                study.look(number)
        print(f"{experiments} experiments in {(time.monotonic() - begun) / 60:.1f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--budget", type=float, default=0.5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "soak"
        workspace.mkdir()
        text = TRAIN.read_text(encoding="utf-8")
        for before, after in ONLY_THE_RATE_TELLS.items():
            assert before in text
            text = text.replace(before, after)
        (workspace / "train.py").write_text(text, encoding="utf-8")
        (workspace / "program.md").write_text(PROGRAM.format(given.budget), encoding="utf-8")
        init_repository(workspace, "start")
        anyio.run(soak, workspace, given.experiments)


if __name__ == "__main__":
    main()
