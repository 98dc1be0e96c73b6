"""The commands before a night. A command imports what it needs when it runs."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from server.cli.screens.layout import whole, wrapped
from server.cli.terminal import console, folded, print_json, say
from server.paths import Home
from server.serve_words import DEFAULT_ADDRESS
from trainer.contract import Entry, ProfileName, Referee

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.cli.doctor import Check

_out = console()
_err = console(stderr=True)
_COLUMNS = 80
_STATE = 13  # columns of a check's state
_COLOURS = {"ok": "green", "warning": "yellow", "fix": "red"}
# of 60 million tokens: an H200 reads some 400 million in five minutes
_LAPTOP_SHARDS = 1
_GPU_SHARDS = 8
_OF_A_NODE = ("torch", "device", "compiler", "confinement")  # checks of a machine that an engine chooses
_Workspace = Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")]


def init(
    folder: Annotated[Path, typer.Argument(help="The new workspace; it is created if necessary.")],
    task: Annotated[
        str, typer.Option(metavar="NAME", help="An example other than the language model; an unknown name lists them.")
    ] = "",
) -> None:
    """Make a new workspace: a git repository with a program.md, and train.py or the files of an example."""
    from server.cli.scaffold import create

    for line in create(folder, task):
        say(_out, line)


def prepare(
    what: Annotated[
        str,
        typer.Argument(
            help="embedded, climbmix, fineweb-edu, tinystories, tinystories-mini, or a folder.",
            autocompletion=lambda: ["embedded", "climbmix", "fineweb-edu", "tinystories", "tinystories-mini"],
        ),
    ] = "embedded",
    workspace: _Workspace = Path(),
    shards: Annotated[
        int,
        typer.Option(min=0, help="Files to download, of about 60 million tokens each; 0: enough for this machine."),
    ] = 0,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of a data set made from a folder; default: the folder's name.")
    ] = "",
    vocab: Annotated[int, typer.Option(min=300, max=65536, help="Size of the vocabulary.")] = 8192,
    retries: Annotated[int, typer.Option(min=0, help="How often to retry a download.")] = 5,
) -> None:
    """Make a data set for `serve --data`: download text, or read a folder of .txt and .parquet files."""
    from server.foreign.load import load
    from server.runs.hardware import probe

    load(workspace / "program.md")  # a data set belongs to a workspace: its server keeps it from train.py
    few = _LAPTOP_SHARDS if probe().gpu is None else _GPU_SHARDS
    options = {"name": name, "shards": shards or few, "vocab": vocab, "retries": retries}
    command = [sys.executable, "-P", "-B", "-m", Entry.PREPARE, what, str(Home(workspace).data)]
    packages = str(Path(__file__).resolve().parents[2])
    # This process becomes the trainer's, which owns data: nothing is left here to do, and Ctrl-C reaches it.
    os.execve(
        sys.executable,
        command + [f"--{option}={value}" for option, value in options.items()],
        {**os.environ, "PYTHONPATH": packages},
    )


def doctor(
    workspace: _Workspace = Path(),
    data: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="The data set that you will give to `serve`.")
    ] = "embedded",
    profile: Annotated[
        ProfileName | None,
        typer.Option(metavar="PROFILE", help="The profile that you will give to `serve`; default: detected."),
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="local|slurm|ray", help="The executor that you will give to `serve`.")
    ] = "local",
    slurm: Annotated[
        str, typer.Option(metavar="OPTIONS", help="The options of sbatch that you will give to `serve`.")
    ] = "",
    ray_address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The address of the Ray cluster that you will give to `serve`.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the machine and the workspace; exit code 1 if something must be fixed."""
    from server.cli.screens.bars import waiting

    if executor not in ("local", "slurm", "ray"):
        raise typer.BadParameter("local, slurm or ray is meant.", param_hint="--executor")
    options = slurm if executor == "slurm" else ray_address
    checks, broken = _checks(workspace, (data, profile.value if profile else ""), executor, options), False
    if json:
        found = [check.model_dump() for check in checks]
        broken = any(check["state"] == "fix" for check in found)
        print_json({"ready": not broken, "checks": found})
        checks = iter(())
    with waiting(_out, "checking: torch and the compiler take a while"):
        for check in checks:
            broken |= check.state == "fix"
            _print_check(check, str(workspace.resolve()))
    if broken:
        raise SystemExit(1)


def _checks(workspace: Path, meant: tuple[str, str], executor: str, options: str) -> "Iterator[Check]":
    """Every check, for a data set and a profile; of an engine, given its options, a node is looked at, too."""
    from server.cli.doctor import Check, examine
    from server.foreign.load import load_valid

    yield from examine(workspace, *meant, () if executor == "local" else _OF_A_NODE)
    found = load_valid(workspace)
    trains = found is None or found.task.kind is Referee.SEALED
    if executor == "slurm":
        from server.runs.engines.slurm import nodes

        yield from (Check(**one._asdict()) for one in nodes.examine(options, workspace, trains))
    elif executor == "ray":
        from server.runs.engines.ray import checks

        yield from (Check(**one._asdict()) for one in checks.examine(options, trains))


def _print_check(check: "Check", here: str) -> None:
    """A line of state and detail, folded between words, but not in the path `here`; then what to do about it."""
    told, indent = f"{check.name}: {check.detail}", _STATE + 1
    if _out.is_terminal:
        glued = told.replace(": ", whole(": "), 1).replace(here, whole(here))  # a name is never alone on its line
        first, *rest = wrapped(glued, _out.width, indent)
    else:
        first, *rest = folded(told, _COLUMNS - indent)
        rest = [f"{'':<{indent}}{line}" for line in rest]
    mark = (f"{check.state:<{_STATE}} ", _COLOURS[check.state])
    _out.print(Text.assemble(mark, (check.name, "bold"), first.removeprefix(check.name)))
    for line in rest:
        _out.print(line)
    if check.remedy:
        _out.print(f"{'':<8} → {check.remedy}")  # in one line: it may be a command


def connect(
    client: Annotated[
        str,
        typer.Argument(
            help="claude-code, claude-desktop, codex, cursor, vscode, gemini or opencode.",
            autocompletion=lambda: ["claude-code", "claude-desktop", "codex", "cursor", "vscode", "gemini", "opencode"],
        ),
    ],
    workspace: _Workspace = Path(),
    write: Annotated[bool, typer.Option("--write", help="Install it.")] = False,
    http: Annotated[
        str, typer.Option(metavar="URL", help="Use the server at this address instead of a local one.")
    ] = "",
) -> None:
    """Print the configuration with which a client uses this workspace, or install it with --write."""
    from server.api.http.address import client_url
    from server.clients.client_config import ServerEntry, configuration, moved_by, serving, target
    from server.clients.client_config import write as install
    from server.errors import Unavailable

    if not workspace.is_dir():
        raise Unavailable(
            f"There is no folder {workspace}.", "Run `autoresearch init` to make one, or correct --workspace."
        )
    folder = workspace.resolve()
    place = ServerEntry(url=client_url(http)) if http else ServerEntry.local(folder, sys.executable, serving())
    if write:
        say(_err, f"wrote {whole(str(install(client, place, folder)))}{_because(moved_by(client))}")
        return
    text = configuration(client, place)
    where = whole(str(target(client, folder)))
    say(_err, f"Put this into {where}{_because(moved_by(client))}, or call again with --write:")
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _because(variable: str) -> str:
    return f" (because {variable} is set: start the client with it, too)" if variable else ""


def install_service(
    workspace: _Workspace = Path(),
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address to listen on.")] = DEFAULT_ADDRESS,
    user: Annotated[
        str, typer.Option(metavar="NAME", help="Account of the service; it is created if necessary.")
    ] = "autoresearch",
    write: Annotated[bool, typer.Option("--write", help="Install the service, as root.")] = False,
) -> None:
    """Print a systemd service that runs under its own account, out of reach of an agent's shell, or install it."""
    from server.clients.service import Service, require_systemd
    from server.foreign.load import load
    from server.study.find_study import tag_to_serve
    from server.study.lane import what_may_change
    from server.vcs.workspace import Workspace

    require_systemd(write)
    editable = what_may_change(load(workspace / "program.md").task, workspace)
    with Workspace.open(workspace, tag_to_serve(workspace), editable) as opened:
        service = Service(opened.root.resolve(), address, user)
    if write:
        service.write()
        _err.print(f"started {service.unit_path.name}\n{service.after()}", highlight=False, soft_wrap=True)
        return
    sys.stdout.write(service.told())
    for doubt in service.doubts():
        say(_err, f"no boundary: {doubt}")
    say(_err, "Nothing was changed; call again with --write, as root.")
