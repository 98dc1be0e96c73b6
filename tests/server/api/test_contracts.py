"""The contract with every client: names, words and schemas stay as they were reviewed."""

from server.study.study import Study
from tests.support.contracts import FOLDER, contracts


async def test_the_tools_are_as_reviewed(study: Study) -> None:
    reviewed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert await contracts(study) == reviewed, "look at what `python -m tests.support.contracts` changes"


async def test_no_tool_that_acts_does_so_on_a_blind_call(study: Study) -> None:
    from mcp import Client

    from server.api.app import create

    async with Client(create(study)) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.annotations
            if not tool.annotations.read_only_hint:
                assert (await client.call_tool(tool.name, {})).is_error
        assert study.ledger.last() is None
