#!/usr/bin/env python3
"""In place of an agent: reads the configuration it is given, runs one experiment through the real server, and stops."""

import json
import os
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters


async def main(entry: dict) -> None:
    server = StdioServerParameters(command=entry["command"], args=entry["args"], env=dict(os.environ))
    async with Client(server) as client:
        answer = await client.call_tool("run_experiment", {"description": "one more", "wait_seconds": 60})
        print(answer.structured_content)


settings = Path(sys.argv[sys.argv.index("--mcp-config") + 1]).read_text(encoding="utf-8")
anyio.run(main, json.loads(settings)["mcpServers"]["autoresearch"])
