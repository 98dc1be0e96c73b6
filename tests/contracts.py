"""The tools as every client sees them, one file each: a changed name, word or schema is a diff that somebody reads.

`python -m tests.contracts` writes them anew.
"""

import json
from pathlib import Path

import anyio
from mcp import Client
from mcp_types import Tool

from server.app import create
from server.choices import Choices
from server.session import Session

FOLDER = Path(__file__).parent / "tools"


async def contracts(session: Session) -> dict[str, str]:
    """File name → text, as the server tells its tools now."""
    async with Client(create(session)) as client:
        return {f"{tool.name}.json": _text(tool) for tool in (await client.list_tools()).tools}


def _text(tool: Tool) -> str:
    told = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _main() -> None:
    from tempfile import TemporaryDirectory

    from tests.conftest import make_repository

    with TemporaryDirectory() as folder:
        session = Session(make_repository(Path(folder) / "work", ""), "t1", Choices(profile="smoke"))
        for name, text in anyio.run(contracts, session).items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        session.close()


if __name__ == "__main__":
    _main()
