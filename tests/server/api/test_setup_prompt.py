"""The prompt `setup`: questions for an agent, or a form of the client's, and the `adopt` call at the end."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from server.api.app import create
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.commands import write_tree
from tests.support.repositories import git

PROGRAM = "---\ncommand: bash bench.sh\neditable: src/**\n---\nSort faster.\n"
FILES = {"program.md": PROGRAM, "bench.sh": "echo METRIC ms=3\n", "src/a.py": "x = 1\n", "Makefile": "test:\n\ttrue\n"}


@pytest.fixture
def study(tmp_path: Path) -> Generator[Study]:
    root = tmp_path / "sorting"
    write_tree(root, FILES)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "start")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as opened:
        yield opened


async def told(client: Client, **arguments: str) -> str:
    (message,) = (await client.get_prompt("setup", arguments)).messages
    return str(getattr(message.content, "text", ""))


class Human:
    """Whoever sees the client's forms."""

    def __init__(self, action: str = "accept", **content: Any) -> None:
        self.action, self.content, self.seen = action, content, dict[str, Any]()

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.seen = params.requested_schema["properties"]
        return ElicitResult.model_validate({"action": self.action, "content": self.content or None})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_without_forms_the_agent_gets_the_questions_and_the_call(study: Study, mode: Any) -> None:
    async with Client(create(study), mode=mode) as client:
        text = await told(client)
    assert "Proposed: 'bash bench.sh'" in text and "Answer: --off-limits" in text and "Proposed: 'make -s test'" in text
    assert f"autoresearch adopt {study.workspace.root} --print" in text  # its program.md is not overwritten


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_with_forms_the_human_answers_and_the_agent_gets_the_finished_call(study: Study, mode: Any) -> None:
    human = Human(goal="It's faster.", command="bash bench.sh", checks="", editable="src/**, lib/**")
    async with Client(create(study), mode=mode, elicitation_callback=human) as client:
        text = await told(client)
    assert human.seen["command"]["default"] == "bash bench.sh"
    assert {one["type"] for one in human.seen.values()} == {"string"}
    assert "--goal 'It'\"'\"'s faster.' --command 'bash bench.sh' --checks '' --editable 'src/**, lib/**'" in text
    assert "--yes" in text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_closed_form_starts_nothing(study: Study, mode: Any, action: str) -> None:
    async with Client(create(study), mode=mode, elicitation_callback=Human(action)) as client:
        text = await told(client)
    assert "adopt" not in text and "closed the form" in text


async def test_of_another_folder_nothing_is_told(study: Study, tmp_path: Path) -> None:
    write_tree(tmp_path / "secret", {"bench_secret.sh": "", "program.md": ""})
    git(tmp_path / "secret", "init", "--quiet")
    async with Client(create(study)) as client:
        text = await told(client, folder=str(tmp_path / "secret"))
    assert "bench_secret" not in text and "--print" not in text
    assert f"autoresearch adopt {tmp_path / 'secret'} " in text
