"""How long a call waits: what its client bears, what the operator says, what the call itself says."""

from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation

from server.api.app import create
from server.api.timeouts import UNKNOWN_SECONDS, call_timeout
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.polling import PATIENCE
from tests.support.repositories import QUICK, make_repository


@pytest.mark.parametrize(
    ("client", "told", "silent"),
    [
        ("claude-code", 3600, 280),
        ("codex-mcp-client", 280, 280),
        ("opencode", 3600, 50),
        ("gemini-cli-mcp-client", 540, 540),
        ("claude-ai", 50, 50),
        ("Visual Studio Code", 50, 50),
        ("", 50, 50),
    ],
)
def test_a_call_waits_as_long_as_its_client_bears(client: str, told: float, silent: float) -> None:
    assert (call_timeout(client, True), call_timeout(client, False)) == (told, silent)
    assert silent >= UNKNOWN_SECONDS


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", QUICK)


async def nothing(progress: float, total: float | None, message: str | None) -> None:
    """Asks for progress by being there."""


# In memory the modern era has no progress token, on every wire it has one.
@pytest.mark.parametrize(("mode", "token"), [("legacy", True), ("auto", False)])
async def test_the_server_knows_its_client_in_both_eras(
    study: Study, monkeypatch: pytest.MonkeyPatch, mode: Literal["auto", "legacy"], token: bool
) -> None:
    seen: list[tuple[str, bool]] = []

    def notice(client: str, progress: bool) -> float:
        seen.append((client, progress))
        return 0.0

    monkeypatch.setattr("server.api.tools.call_timeout", notice)
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False)
    info = Implementation(name="opencode", version="1")
    async with Client(create(study), mode=mode, client_info=info) as client:
        await client.call_tool("run_experiment", {"description": "baseline"}, progress_callback=nothing)
        answer = await client.call_tool("wait_experiment", {})
        assert seen == [("opencode", token), ("opencode", False)]
        facts = answer.structured_content
        assert facts and facts["status"] == "running" and "call wait_experiment" in facts["why"]
        assert not (await client.call_tool("cancel_experiment", {"reason": "enough"})).is_error


async def test_the_operators_word_goes_before_the_clients(study: Study) -> None:
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False, wait_seconds=0)
    info = Implementation(name="claude-code", version="1")
    async with Client(create(study), client_info=info) as client:
        with anyio.fail_after(PATIENCE):
            answer = await client.call_tool("run_experiment", {"description": "baseline"}, progress_callback=nothing)
        assert answer.structured_content and answer.structured_content["status"] == "running"
        assert not (await client.call_tool("cancel_experiment", {"reason": "enough"})).is_error


async def test_a_call_that_was_left_neither_ends_its_run_nor_loses_it_nor_runs_it_twice(study: Study) -> None:
    async with Client(create(study)) as client:
        with pytest.raises(MCPError):  # timed out
            await client.call_tool("run_experiment", {"description": "baseline"}, read_timeout_seconds=0.3)
        with anyio.move_on_after(0.3):  # cancelled
            await client.call_tool("wait_experiment", {})
        answer = await client.call_tool("wait_experiment", {"wait_seconds": 300})
        facts = answer.structured_content
        assert facts and (facts["experiment"], facts["verdict"]) == (1, "baseline")
        assert [row.number for row in study.ledger.all()] == [1]
