"""The whole loop, through a real client over stdio, also across killed servers; and what every answer is like."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from server.api.app import create
from server.locks import lock_holder
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.polling import PATIENCE
from tests.support.repositories import QUICK, UNGUARDED, git, link_data, make_quick, make_repository

LOOSE = {"wait_seconds": PATIENCE}
RATE = "RATE = {}"
HELLO = 'channel.send("hello")'


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE"


BETTER = block(RATE.format("1e-6"), RATE.format("0.02"))
NO_LEARNING = block(RATE.format("0.02"), RATE.format("0.0"))
BROKEN = block(HELLO, f"{HELLO}\nraise ValueError('no')")


@pytest.fixture
def repository(tmp_path: Path, data: Path) -> Path:
    """A repository under a path with a space, quotes and letters beyond ASCII; its runs are quick."""
    return make_quick(tmp_path / 'my "re" pô\'s', data)


@pytest.fixture
def study(repository: Path) -> Iterator[Study]:
    """An open study in the repository."""
    study = Study(repository, "t1", ServeOptions(profile="smoke", confine=False))
    yield study
    study.close()


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    assert answer.structured_content["next_actions"]
    return answer.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return "".join(block.text for block in answer.content if block.type == "text")


def untouched(repository: Path) -> tuple[str, ...]:
    """Everything of the user's that must not change."""
    index = (repository / ".git" / "index").read_bytes().hex()
    config = (repository / ".git" / "config").read_text(encoding="utf-8")
    return (
        git(repository, "rev-parse", "HEAD", "main"),
        git(repository, "symbolic-ref", "HEAD"),
        git(repository, "status", "--porcelain"),
        (repository / "train.py").read_text(encoding="utf-8"),
        index,
        config,
    )


async def night_of_experiments(client: Client) -> None:
    """Baseline, kept, discarded, crashed: every kind of end."""
    assert (await call(client, "status"))["phase"] == "new"
    assert "no baseline" in await refusal(client, "apply_patch", patch=BETTER)
    baseline = await call(client, "run_experiment", description="baseline", **LOOSE)
    assert (baseline["status"], baseline["verdict"]) == ("finished", "baseline")

    patched = await call(client, "apply_patch", patch=BETTER)
    assert "+RATE = 0.02\n" in patched["diff"]
    source = "rates, https://example.org/rates"  # of the idea; a library is not needed for that
    better = await call(client, "run_experiment", description="higher rate", source=source, **LOOSE)
    assert better["verdict"] == "improved" and better["delta"] < 0
    kept = await call(client, "keep", reason="lower")
    assert kept["incumbent"]["experiment"] == 2

    await call(client, "apply_patch", patch=NO_LEARNING)
    worse = await call(client, "run_experiment", description="no learning", **LOOSE)
    assert worse["verdict"] == "worse"
    assert "is not better" in await refusal(client, "keep", reason="it is mine")
    await call(client, "discard", reason="higher")
    assert "RATE = 0.02" in (await call(client, "read_train"))["text"]

    await call(client, "apply_patch", patch=BROKEN)
    crash = await call(client, "run_experiment", description="crash", **LOOSE)
    assert (crash["status"], crash["val_bpb"]) == ("crashed", None)
    assert "ValueError: no" in crash["traceback"]
    await call(client, "discard", reason="broken")


async def check_the_morning(client: Client, repository: Path) -> None:
    table = await call(client, "history")
    assert [(row["experiment"], row["verdict"], row["decision"]) for row in table["rows"]] == [
        (4, "crashed", "discarded"),
        (3, "worse", "discarded"),
        (2, "improved", "kept"),
        (1, "baseline", "kept"),
    ]
    depth = await call(client, "history", experiment=2)
    assert "RATE = 0.02" in depth["detail"]["diff"]
    assert depth["detail"]["record"]["attempt"]["source"] == "rates, https://example.org/rates"
    assert "\nSource: rates, https" in git(repository, "log", "-1", "--format=%B", "refs/autoresearch/t1/2")
    assert "no experiment 99" in await refusal(client, "history", experiment=99)
    log = git(repository, "log", "--format=%s", "autoresearch/t1")
    assert log.splitlines() == ["higher rate", "baseline", "start"]
    for number in range(1, 5):
        ref = f"refs/autoresearch/t1/{number}"
        assert f"Experiment: {number}" in git(repository, "log", "-1", "--format=%B", ref)
    assert "Verdict: crashed" in git(repository, "log", "-1", "--format=%B", "refs/autoresearch/t1/4")
    worktree = repository / ".autoresearch" / "t1" / "worktree"
    assert git(worktree, "status", "--porcelain") == ""
    tsv = (await client.read_resource("autoresearch://results.tsv")).contents[0]
    on_disk = (repository / ".autoresearch" / "t1" / "results.tsv").read_text(encoding="utf-8")
    assert getattr(tsv, "text", None) == on_disk
    assert [line.split("\t")[3] for line in on_disk.splitlines()] == ["status", "keep", "keep", "discard", "crash"]


def parameters(repository: Path, *options: str) -> StdioServerParameters:
    arguments = ["-m", "server", "--workspace", str(repository), "--tag", "t1", "--profile", "smoke", *options]
    return StdioServerParameters(command=sys.executable, args=arguments)


async def test_the_loop_over_stdio(tmp_path: Path, data: Path) -> None:
    repository = make_repository(tmp_path / 'my "re" pô\'s', QUICK)
    before = untouched(repository)
    link_data(repository, data)
    async with Client(parameters(repository, *UNGUARDED)) as client:
        await night_of_experiments(client)
        await check_the_morning(client, repository)
    assert untouched(repository) == before


def kill_server(repository: Path) -> None:
    held = lock_holder(repository)
    assert held
    os.kill(held.pid, signal.SIGKILL)


async def test_a_killed_server_is_followed_by_one_that_goes_on(repository: Path) -> None:
    """The first one is killed under a run, which outlives it, the second before a decision."""
    async with Client(parameters(repository, *UNGUARDED)) as client:
        answer = await call(client, "run_experiment", description="baseline", wait_seconds=0)
        assert answer["status"] == "running" and "wait_experiment" in answer["next_actions"][0]
        assert "is running" in await refusal(client, "run_experiment", description="another")
        kill_server(repository)
    async with Client(parameters(repository, *UNGUARDED)) as client:
        assert (await call(client, "wait_experiment", **LOOSE))["verdict"] == "baseline"
        assert (await call(client, "status"))["experiments"] == 1
        await call(client, "apply_patch", patch=BETTER)
        await call(client, "run_experiment", description="higher rate", **LOOSE)
        kill_server(repository)
    async with Client(parameters(repository, *UNGUARDED)) as client:
        assert (await call(client, "status"))["phase"] == "improved"
        kept = await call(client, "keep", reason="lower")
        assert kept["incumbent"]["experiment"] == 2
    assert git(repository, "log", "-1", "--format=%s", "autoresearch/t1") == "higher rate"


async def test_a_second_server_is_refused_and_told_the_pid(study: Study, repository: Path) -> None:
    arguments = parameters(repository)
    second = await anyio.run_process([arguments.command, *arguments.args], check=False)
    assert second.returncode == 1
    assert f"pid {os.getpid()}" in second.stderr.decode() and second.stdout == b""


@pytest.mark.slow
async def test_progress_is_told_in_words_and_a_cancelled_run_has_no_score(study: Study) -> None:
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False)
    told: list[str] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with Client(create(study)) as client:
        assert (await call(client, "run_experiment", description="baseline", wait_seconds=0))["status"] == "running"
        while not any("step " in message and "/300 s" in message for message in told):
            answer = await client.call_tool("wait_experiment", {"wait_seconds": 2.5}, progress_callback=listen)
            assert answer.structured_content is not None and answer.structured_content["status"] == "running"
        cancelled = await call(client, "cancel_experiment", reason="enough")
        assert (cancelled["status"], cancelled["val_bpb"]) == ("cancelled", None)
        assert (await call(client, "status"))["phase"] == "baseline_failed"


async def test_every_tool_has_hints_a_description_and_refuses_unknown_arguments(study: Study) -> None:
    async with Client(create(study)) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [
            "status",
            "read_program",
            "read_train",
            "apply_patch",
            "run_experiment",
            "sweep",
            "wait_experiment",
            "cancel_experiment",
            "keep",
            "discard",
            "history",
            "note",
        ]
        for tool in tools:
            assert tool.description and len(tool.description) < 2048 and tool.annotations
            assert None not in tool.annotations.model_dump(exclude={"title"}).values()
            assert "no_such_argument" in await refusal(client, tool.name, no_such_argument=1)
        assert len(client.instructions or "") < 2048
        prompt = await client.get_prompt("start", {"tag": "mar5"})
        assert "mar5" in str(prompt.messages[0].content)


async def test_text_and_structured_content_carry_the_same_facts(study: Study) -> None:
    async with Client(create(study)) as client:
        answer = await client.call_tool("status", {})
        assert json.loads(getattr(answer.content[0], "text", "")) == answer.structured_content
