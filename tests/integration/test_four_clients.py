"""Four clients over HTTP drive one study on two slots, each in a lane of its own."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from server.history.ledger import Ledger
from server.paths import Home
from server.records import Purpose
from server.runs.hardware import cores
from tests.integration.test_http import Web
from tests.support.repositories import git

EXPERIMENTS = 40
AGENTS = ("ada", "ben", "cy", "dot")
PROGRAM = """\
---
name: sums
command: sleep 0.2; echo METRIC cost=$(cat values/* | python3 sum.py)
metric: cost
editable: values/*
budget_seconds: 120
---
Make the sum smaller.
"""


def make_workspace(folder: Path) -> Path:
    """A file for each agent, so that what one of them keeps is brought into the lanes of the others."""
    (folder / "values").mkdir(parents=True)
    (folder / "program.md").write_text(PROGRAM, encoding="ascii")
    (folder / "sum.py").write_text("import sys\nprint(sum(map(int, sys.stdin)))\n", encoding="ascii")
    for name in AGENTS:
        (folder / "values" / name).write_text("100\n", encoding="ascii")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


class Agent:
    """Turns its own value up and down in turn, and does what the verdicts ask for."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.path, self._asked = client, f"values/{name}", 0

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        answer = await self._client.call_tool(tool, given)
        assert not answer.is_error and answer.structured_content, (self.path, tool, answer.content)
        return answer.structured_content

    async def work(self) -> None:
        """Go on until the study has had its experiments."""
        number = 0
        while number < EXPERIMENTS:
            number = await self._try()

    async def _try(self) -> int:
        text = (await self.call("read_train", path=self.path))["text"]
        value = int(text.split()[-1])
        self._asked += 1
        other = value - 1 if self._asked % 3 == 0 else value + 1000 * self._asked
        patch = f"*** Begin Patch\n*** Update File: {self.path}\n@@\n-{value}\n+{other}\n*** End Patch"
        await self.call("apply_patch", patch=patch)
        reply = await self.run()
        while reply["verdict"] in ("promising", "refused"):  # again, or brought to another incumbent
            reply = await self.run()
        if reply["verdict"] in ("improved", "simpler"):
            kept = await self._client.call_tool("keep", {"reason": "better"})
            if not kept.is_error:
                return int(reply["experiment"])
        await self.call("discard", reason="no better")
        return int(reply["experiment"])

    async def run(self) -> dict[str, Any]:
        reply = await self.call("run_experiment", description=f"turn {self.path}, {self._asked}")
        while reply["status"] in ("running", "queued"):
            reply = await self.call("wait_experiment", wait_seconds=300)
        return reply


@pytest.mark.timeout(1800)
@pytest.mark.thorough
@pytest.mark.skipif(cores() < 2, reason="two slots need two cores")
async def test_four_clients_share_two_slots_fairly_and_nothing_is_lost(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    web = Web(workspace, "--slots", "2", budget="120")
    with web.process:
        try:
            async with web.client(name="@ada") as first:
                reply = await Agent(first, "ada").run()
                assert reply["verdict"] == "baseline"
            async with anyio.create_task_group() as group:
                for name in AGENTS:
                    group.start_soon(_drive, web, name)
            assert web.end() == 0
        finally:
            web.process.kill()
    with closing(Ledger(Home(workspace).study("t1").ledger, read_only=True)) as ledger:
        rows = list(ledger.all())
    assert [row.number for row in rows] == list(range(1, len(rows) + 1)) and len(rows) >= EXPERIMENTS
    assert all(row.result and row.judgement for row in rows), "every row has an end"
    assert all(row.decision for row in rows if row.attempt.purpose is Purpose.MEASURE and row.verdict != "refused")
    found = Counter(row.attempt.agent for row in rows[1:])
    assert set(found) == set(AGENTS) and max(found.values()) <= 1.5 * min(found.values()), found
    started = [row.attempt for row in rows if row.verdict != "refused"]  # else another's keep overtook it in the queue
    assert {run.slot for run in started} == {"0", "1"} and {run.concurrency for run in started} == {2}
    assert sum(row.kept for row in rows) > 1, "what one has kept is what all go on from"


async def _drive(web: Web, name: str) -> None:
    async with web.client(name=f"@{name}") as client:
        await Agent(client, name).work()
