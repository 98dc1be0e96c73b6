"""The tools as every client sees them, one file each: a changed name, word or schema is a diff that somebody reads.

`python -m tests.support.contracts` writes them anew.
"""

import json
from pathlib import Path

import anyio
from mcp import Client
from mcp_types import Tool

from server.api.app import create
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.commands import write_tree

FOLDER = Path(__file__).parents[1] / "fixtures" / "tools"


async def contracts(study: Study) -> dict[str, str]:
    """File name → text, as the server tells its tools now."""
    write_tree(study.workspace.root, {"library/page.md": "# A page\n"})  # a tool is for studies that have a library
    async with Client(create(study)) as client:
        return {f"{tool.name}.json": _text(tool) for tool in (await client.list_tools()).tools}


def _text(tool: Tool) -> str:
    told = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _main() -> None:
    from tempfile import TemporaryDirectory

    from tests.support.repositories import make_repository

    with TemporaryDirectory() as folder:
        study = Study(make_repository(Path(folder) / "work", ""), "t1", ServeOptions(profile="smoke"))
        for name, text in anyio.run(contracts, study).items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        study.close()


if __name__ == "__main__":
    _main()
