"""Tasks: a call that returns at once, and a run that is asked about later, by any server that has its folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from server.api.app import create
from server.api.mcp_tasks import TTL_SECONDS
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.polling import PATIENCE
from tests.support.repositories import QUICK, make_quick
from tests.support.task_client import Understands, ask, call, finished, taken

RUN = {"description": "baseline", "wait_seconds": 600}


@pytest.fixture
def study(tmp_path: Path, data: Path) -> Iterator[Study]:
    """A study whose runs have no guards, which take half of their time."""
    train = QUICK.replace("STEPS = 5", "STEPS = 150")  # it goes on while it is asked about
    study = Study(make_quick(tmp_path / "work", data, train), "t1", ServeOptions(profile="smoke", confine=False))
    yield study
    study.close()


def speaking(study: Study) -> Client:
    return Client(create(study), extensions=[Understands()])


@pytest.mark.slow
async def test_a_call_becomes_a_task_that_outlives_its_server_and_ends_with_the_result(study: Study) -> None:
    async with speaking(study) as client:
        with anyio.fail_after(PATIENCE):
            task = await taken(client, "run_experiment", **RUN)
        assert (task.status, task.ttl_ms) == ("working", TTL_SECONDS * 1000)
        told = await ask(client, "tasks/get", task.task_id)
        assert told.status == "working" and told.status_message
        refused = await call(client, "run_experiment", **RUN)
        assert isinstance(refused, CallToolResult) and refused.is_error  # at once, and without a task
        other = await taken(client, "wait_experiment")
        await ask(client, "tasks/cancel", other.task_id)
        assert (await ask(client, "tasks/get", other.task_id)).status == "cancelled"
    study.close()

    again = Study(study.workspace.root, "t1", study.choices)
    async with speaking(again) as client:
        told = await finished(client, task.task_id)
        assert told.status == "completed" and told.result is not None
        facts: dict[str, Any] = told.result["structuredContent"]
        assert (facts["status"], facts["verdict"]) == ("finished", "baseline") and facts["val_bpb"] > 0
        assert json.loads(told.result["content"][0]["text"]) == facts
        assert (await ask(client, "tasks/get", other.task_id)).status == "cancelled"  # the task, not the run
        over = await call(client, "wait_experiment")
        assert isinstance(over, CallToolResult) and over.structured_content == facts  # nothing to wait for: no task
        again.ledger.close()
        failed = await ask(client, "tasks/get", task.task_id)
        assert failed.status == "failed" and failed.error and "ledger" in failed.error["message"].lower()
    again.close()


async def test_a_task_expires_and_says_what_to_call_instead(study: Study) -> None:
    book = study.workspace.state / "tasks.json"
    book.write_text(json.dumps({"old": {"handle": "1", "created": 0.0}}), encoding="utf-8")
    async with speaking(study) as client:
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            with pytest.raises(MCPError, match=r"expired.*wait_experiment"):
                await ask(client, method, "old")


async def test_a_client_that_does_not_declare_tasks_waits_in_the_call(study: Study) -> None:
    for mode in ("auto", "legacy"):
        async with Client(create(study), mode=mode) as client:
            answer = await client.call_tool("wait_experiment", {})
            assert answer.is_error and "No experiment has been started yet" in str(answer.content)
            with pytest.raises(MCPError):
                await ask(client, "tasks/get", "any")
