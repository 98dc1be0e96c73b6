"""The contract with every client: names, words and schemas stay as they were reviewed."""

from server.session import Session
from tests.contracts import FOLDER, contracts


async def test_the_tools_are_as_reviewed(night: Session) -> None:
    reviewed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert await contracts(night) == reviewed, "look at what `python -m tests.contracts` changes"


async def test_no_tool_that_acts_does_so_on_a_blind_call(night: Session) -> None:
    from mcp import Client

    from server.app import create

    async with Client(create(night)) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.annotations
            if not tool.annotations.read_only_hint:
                assert (await client.call_tool(tool.name, {})).is_error
        assert night.ledger.last() is None
