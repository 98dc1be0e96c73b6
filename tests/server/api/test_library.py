"""The reference library through a real client: when there is a tool, what it answers, and where a source is told."""

import json
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.subscriptions import ToolsListChanged
from mcp_types import ToolAnnotations

from server.api.app import create
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.commands import write_tree
from tests.support.repositories import git

PAGE = (
    "---\ntitle: Muon\nsource: https://example.org/muon\n---\n"
    "# Muon\n\nOrthogonalise the momentum.\n\n## Cost\n\nLittle.\n"
)
READING = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def add(study: Study, name: str = "muon", text: str = PAGE) -> None:
    write_tree(study.workspace.root / "library", {f"{name}.md": text})


async def listed(client: Client) -> tuple[bool, bool, bool]:
    """Whether tool, prompt and resource are told of."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
    templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
    assert "library" not in tools or tools["library"].annotations == READING
    return "library" in tools, "survey" in prompts, "autoresearch://library/{id}" in templates


async def told(client: Client, tool: str = "library", **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error and answer.structured_content is not None, answer.content
    assert answer.structured_content["next_actions"]
    return answer.structured_content


async def refused(client: Client, **arguments: Any) -> str:
    answer = await client.call_tool("library", arguments)
    assert answer.is_error
    return "".join(getattr(block, "text", "") for block in answer.content)


async def test_tool_prompt_and_resource_are_there_once_there_is_a_library(study: Study) -> None:
    (study.workspace.root / "library").mkdir()
    (study.workspace.root / "library" / ".index.sqlite").write_text("")
    async with Client(create(study)) as client:
        assert await listed(client) == (False, False, False) and "library()" not in (client.instructions or "")
        assert "no reference library" in await refused(client) and "library" not in await told(client, "status")
        add(study)
        assert await listed(client) == (True, True, True) and (await told(client, "status"))["library"] == 1
    async with Client(create(study)) as client:
        assert await listed(client) == (True, True, True) and "library()" in (client.instructions or "")


async def test_who_listens_is_told_that_there_is_a_library_now(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.api.app._REPORT_SECONDS", 0.02)
    with anyio.fail_after(60):
        async with Client(create(study)) as client, client.listen(tools_list_changed=True) as changes:
            add(study)
            assert isinstance(await anext(aiter(changes)), ToolsListChanged)
            assert await listed(client) == (True, True, True)


async def test_the_library_is_read_without_network_and_without_a_change(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(study)
    before = {path: path.read_bytes() for path in (study.workspace.root / "library").rglob("*.md")}
    phase, head = study.phase(), git(study.workspace.root, "rev-parse", "HEAD")
    async with Client(create(study)) as client:

        def no_socket(*_: object, **__: object) -> None:
            raise OSError("no network")

        monkeypatch.setattr(socket.socket, "connect", no_socket)
        assert (await told(client))["documents"] == 1
        found = await told(client, query="orthogonal momentum")
        assert found["text"].startswith('--- passage 1, library document "muon"')
        assert "| Orthogonalise the momentum." in found["text"] and "apply_patch" not in found["next_actions"][0]
        assert "| Little." in (await told(client, id="muon", section="Cost"))["text"]
        assert "no document" in await refused(client, id="none") and "limit must be" in await refused(client, limit=99)
        whole = (await client.read_resource("autoresearch://library/muon")).contents[0]
        assert "| Orthogonalise the momentum." in getattr(whole, "text", "")
        with pytest.raises(Exception, match="There is no document"):
            await client.read_resource("autoresearch://library/none")
    assert {path: path.read_bytes() for path in before} == before
    assert (study.phase(), git(study.workspace.root, "rev-parse", "HEAD")) == (phase, head)


async def test_the_index_is_no_file_of_the_users(study: Study, repository: Path) -> None:
    add(study)
    study.close()
    git(repository, "add", "library")
    again = Study(repository, "t1", ServeOptions(profile="smoke"))
    async with Client(create(again)) as client:
        await told(client, query="momentum")
    assert (repository / "library" / ".index.sqlite").exists()
    assert git(repository, "status", "--porcelain") == "A  library/muon.md"
    again.close()


async def test_the_document_of_a_repository_is_a_resource_too(study: Study) -> None:
    add(study, "repo@ab12cd3/docs/a")
    async with Client(create(study)) as client:
        whole = (await client.read_resource("autoresearch://library/repo%40ab12cd3%2Fdocs%2Fa")).contents[0]
        assert "| Orthogonalise the momentum." in getattr(whole, "text", "")


async def test_the_survey_says_to_read_first_and_to_note_ideas_with_their_source(study: Study) -> None:
    add(study)
    async with Client(create(study)) as client:
        (message,) = (await client.get_prompt("survey", {"topic": "optimisers"})).messages
        text = str(getattr(message.content, "text", ""))
        assert "optimisers" in text and "before the first idea" in text and "idea=true, source=id" in text
        noted = await told(client, "note", text="orthogonalise", idea=True, source=" muon,\n https://example.org ")
        assert noted["note"]["source"] == "muon, https://example.org"
        (note,) = (await told(client, "history", notes=True))["notes"]
        assert note["source"] == "muon, https://example.org"
        closed = await told(client, "note", text="no better", closes=1)
        assert (closed["note"]["outcome"], closed["note"]["source"]) == ("no better", "muon, https://example.org")
        long = await client.call_tool("note", {"text": "x", "source": "y" * 501})
        assert long.is_error and study.notebook.notes[-1].number == 1


def test_notes_without_a_source_are_read(study: Study, repository: Path) -> None:
    old = [{"number": 1, "written_at": "2026-01-01T00:00:00+00:00", "after": 0, "idea": True, "text": "old"}]
    study.workspace.paths.notes.write_text(json.dumps(old))
    study.close()
    again = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert [(note.text, note.source, note.open) for note in again.notebook.notes] == [("old", "", True)]
    again.close()
