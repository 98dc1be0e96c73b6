"""The commands that run a night. A command imports what it needs when it runs: a server must start fast."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Profile(StrEnum):
    """Classes of machines that the trainer knows."""

    SMOKE = "smoke"
    CPU = "cpu"
    MPS = "mps"
    GPU = "gpu"


class Require(StrEnum):
    """What an operator may insist on."""

    SEALED = "sealed"
    NOTHING = "nothing"


def serve(
    workspace: Annotated[Path, typer.Option(help="A git repository with a program.md and a train.py.")] = Path(),
    tag: Annotated[str, typer.Option(help="Name of the night; default: today's date. An old one is resumed.")] = "",
    budget: Annotated[
        float | None, typer.Option(min=0.1, help="Training seconds a run; default: program.md's.")
    ] = None,
    profile: Annotated[Profile | None, typer.Option(help="Class of machine; default: what is found.")] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            envvar="AUTORESEARCH_WAIT_SECONDS",
            help="Seconds a call may wait for a run; default: what each client bears.",
        ),
    ] = None,
    require: Annotated[
        Require | None,
        typer.Option(
            help="Guards around train.py. Default: all that the machine has. "
            "sealed: run nothing that lacks one; nothing: put on none, and say so with every result."
        ),
    ] = None,
) -> None:
    """Serve MCP on stdin and stdout."""
    import anyio

    from server.app import create
    from server.app import serve as speak
    from server.choices import Choices
    from server.session import Session

    choices = Choices(
        budget_seconds=budget,
        profile=profile.value if profile else None,
        confine=require is not Require.NOTHING,
        require_sealed=require is Require.SEALED,
        wait_seconds=wait,
    )
    session = Session(workspace, tag or date.today().isoformat(), choices)
    try:
        anyio.run(speak, create(session))
    finally:
        session.close()


def demo(
    workspace: Annotated[Path, typer.Option(help="A git repository with a program.md and a train.py.")] = Path(),
    budget: Annotated[float, typer.Option(min=0.1, help="Training seconds a run.")] = 15.0,
    profile: Annotated[Profile, typer.Option(help="Class of machine; the script's ideas are about cpu.")] = Profile.CPU,
) -> None:
    """Drive a short night without any LLM: the real server, a real client, real training on the CPU."""
    import anyio
    from rich.console import Console

    from server.demo import Demo

    anyio.run(Demo(Console(), workspace, budget, profile.value).run)
