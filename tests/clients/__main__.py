"""One whole experiment through each client, and the table of what became of it.

    python -m tests.clients [--budget SECONDS] [--only CLIENT]

Exit code 1 if a client's model did not receive the result, or `mcp list` did not connect.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.clients.clients import CLIENTS
from tests.clients.trial import Trial
from tests.conformance import packages


def main(
    budget: Annotated[float, typer.Option(help="Training seconds of the experiment.")] = 90,
    only: Annotated[str, typer.Option(help="One client, such as codex.")] = "",
) -> None:
    """Print a line a client and transport."""
    chosen = [client for client in CLIENTS if only in ("", client.name)]
    modules = packages.install(*(client.package for client in chosen))
    print(
        "| client | version | transport | calls | longest call | `mcp list` | outcome |\n|---|---|---|---|---|---|---|"
    )
    failed = 0
    for client in chosen:
        for transport in client.transports:
            with tempfile.TemporaryDirectory(prefix=".autoresearch-client-", dir=Path.home()) as folder:
                report = Trial(client, modules, Path(folder), budget).run(transport)
            print(report.line, flush=True)
            failed += not report.passed
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    sys.exit(typer.run(main))
