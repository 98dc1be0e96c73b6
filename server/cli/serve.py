"""The commands that run a night. A command imports what it needs when it runs: a server must start fast."""

from collections.abc import Callable
from contextlib import closing, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.terminal import console, say
from server.serve_words import DEFAULT_ADDRESS
from trainer.contract import ProfileName

if TYPE_CHECKING:
    from server.clients.driver import DriveLimits, Driver
    from server.clients.optuna_search import OptunaSearch
    from server.paths import StudyPaths
    from server.study.study import Study


# With these the late imports below were tried; with others the SDK is imported as it is, and a start takes longer.
_TRIED = {"mcp": "2.3.0", "pydantic": "2.14.3", "starlette": "1.10.0"}
# What the SDK imports and a server on stdin and stdout does not use, or uses for one of the protocol's versions.
_SELDOM_USED = (
    "cryptography",
    "httpx2",
    "mcp.client",
    "mcp.server.auth",
    "mcp.server.elicitation",
    "mcp.server.sse",
    "mcp.server.streamable_http",
    "mcp.server.streamable_http_manager",
    "mcp.shared.auth",
    "mcp_types._v2025_11_25",
    "mcp_types._v2026_07_28",
    "python_multipart",
    "sse_starlette",
    "starlette",
    "uvicorn",
)


class Engine(StrEnum):
    """What starts the runs."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"


class Require(StrEnum):
    """What an operator may insist on."""

    SEALED = "sealed"
    NOTHING = "nothing"


def serve(
    workspace: Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")] = Path(),
    tag: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the study; default: the current study, or else today's date.")
    ] = "",
    budget: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Training time per run; default: as in program.md.")
    ] = None,
    profile: Annotated[
        ProfileName | None,
        typer.Option(metavar="PROFILE", help="Class of machine, such as cpu, gpu-8gb or gpu; default: detected."),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            envvar="AUTORESEARCH_DATA",
            show_envvar=False,
            help="A data set that `autoresearch prepare` made.",
        ),
    ] = "embedded",
    slots: Annotated[
        str,
        typer.Option(
            metavar="auto|K",
            help="Runs at the same time. auto: one on each GPU, which sees no other GPU; K: on the first K GPUs, or "
            "K on the cores of the CPU. Default: one run, which sees all GPUs.",
        ),
    ] = "",
    executor: Annotated[
        Engine,
        typer.Option(
            help="What starts the runs: this machine, jobs of a Slurm cluster, or a Ray cluster; docs/scale.md."
        ),
    ] = Engine.LOCAL,
    slurm: Annotated[
        str,
        typer.Option(
            metavar="OPTIONS", help='With --executor slurm: options of sbatch, such as "--partition=gpu --gres=gpu:1".'
        ),
    ] = "",
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="With --executor ray: address of the head; default: RAY_ADDRESS, or this machine's cluster.",
        ),
    ] = "",
    wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            envvar="AUTORESEARCH_WAIT_SECONDS",
            show_envvar=False,
            help="How long a call may wait for a run; default: the client's own timeout.",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:PORT]", help=f"Serve over HTTP instead of stdio; without an address: {DEFAULT_ADDRESS}."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another host name of this machine, for HTTP.")
    ] = None,
    token: Annotated[bool, typer.Option("--token/--no-token", help="Ask for a bearer token, over HTTP.")] = True,
    require: Annotated[
        Require | None,
        typer.Option(
            help="Guards around train.py. sealed: start no run unless all guards hold. nothing: use no guards, and "
            "mark every result. Default: all guards that this machine has."
        ),
    ] = None,
) -> None:
    """Serve MCP on stdin and stdout, or over HTTP.

    Without --tag, the last study goes on while it is paused, while a result was not read yet, and for three hours after
    its last experiment or the operator's last request. After that, a new study begins. The environment variable
    AUTORESEARCH_WAIT_SECONDS stands for --wait, and AUTORESEARCH_DATA for --data.
    """
    import gc

    gc.disable()  # what is imported stays: to look through it again and again takes a fifth of the start
    if http is None:
        _load_less()
    from concurrent.futures import ThreadPoolExecutor

    from server.chosen_engine import engine_of, remember
    from server.serve_options import ServeOptions
    from server.study.find_study import tag_to_serve
    from server.study.study import Study

    choices = ServeOptions(
        budget_seconds=budget,
        profile=profile.value if profile else None,
        data=data,
        confine=require is not Require.NOTHING,
        require_sealed=require is Require.SEALED,
        slots=_slots(slots),
        executor=executor.value,
        slurm=slurm,
        ray_address=ray_address,
        wait_seconds=wait,
    )
    with ThreadPoolExecutor(1) as pool:  # while git lists what there is, this imports
        opened = pool.submit(lambda: Study(workspace, tag or tag_to_serve(workspace), choices, engine_of(choices)))
        import anyio

        from server.api.app import create
        from server.api.app import serve as speak
        from server.api.next_actions import why_no_baseline
    with closing(opened.result()) as study:
        remember(study.workspace.paths, choices)
        # Reading rows or code sets off garbage collections: they need not look at what was loaded, again and again.
        gc.freeze()
        gc.enable()
        _return_memory()
        if why := why_no_baseline(study):
            console(stderr=True).print(why, highlight=False, soft_wrap=True)
        if http is None:
            anyio.run(speak, create(study, _leave_report))
        else:
            _listen(study, http, allow_host or [], token)


def _slots(told: str) -> int | Literal["auto"] | None:
    if told in ("", "auto"):
        return "auto" if told else None
    if told.isdecimal() and int(told) > 0:
        return int(told)
    raise typer.BadParameter("give auto, or a number from 1 on.", param_hint="--slots")


def _load_less() -> None:
    """Import what is seldom used, and make the validators of models, when they are first used: half of the start."""
    from pydantic import BaseModel

    from server.late import import_late, import_unmade, versions_are

    BaseModel.model_config["defer_build"] = True
    if versions_are(_TRIED):
        import_late(*_SELDOM_USED)
        import_unmade("mcp_types")  # it has one of each kind of message, and the SDK uses none of them


def _return_memory() -> None:
    """Give back what opening a study has freed: glibc keeps it, a twentieth of what a server takes."""
    from ctypes import CDLL

    with suppress(OSError, AttributeError):  # another C library
        CDLL(None).malloc_trim(0)


def drive(
    client: Annotated[
        str,
        typer.Argument(
            help="claude-code, codex, opencode or gemini; or sweep, which needs optuna and no LLM.",
            autocompletion=lambda: ["claude-code", "codex", "opencode", "gemini", "sweep"],
        ),
    ],
    workspace: Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")] = Path(),
    hours: Annotated[float, typer.Option(min=0, metavar="HOURS", help="End after this time; 0: never.")] = 8.0,
    experiments: Annotated[int, typer.Option(min=0, help="End after this many runs; 0: never.")] = 0,
    max_cost: Annotated[
        float, typer.Option(min=0, metavar="USD", help="End when the client has cost this much; 0: no limit.")
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option(min=0, help="End when the client has used this many tokens, in and out; 0: no limit.")
    ] = 0,
    serving: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OPTIONS OF SERVE", help="Options of serve, such as --tag, --budget, --profile, --data."
        ),
    ] = None,
) -> None:
    """Run a study with an installed client, and restart the client when it stops early, fails or hangs.

    It also takes the options of `serve`: autoresearch drive sweep --budget 60.
    """
    from server.api.app import start
    from server.clients.driver import DriveLimits, Driver
    from server.errors import ProgramInvalid
    from server.foreign.load import load
    from server.task.task_words import words_of
    from server.task.words import LANGUAGE_MODEL

    out = console(stderr=True)
    limits = DriveLimits(hours=hours, experiments=experiments, usd=max_cost, tokens=max_tokens)
    if client == "sweep":
        _search(workspace, serving or [], limits)
        return
    words = LANGUAGE_MODEL
    with suppress(ProgramInvalid):  # told by the server that the client starts
        words = words_of(load(workspace / "program.md").task)
    night = Driver(client, workspace.resolve(), serving or [], start(words=words))
    say(out, f"driving {client}; its output goes to {night.log}; Ctrl-C ends the study")
    _drive(night, limits, lambda tell: night.run(limits, tell))


def _drive(night: "Driver | OptunaSearch", limits: "DriveLimits", run: Callable[[Callable[[str], None]], str]) -> None:
    """Until the night is over, or somebody ends it, with messages; then leave a report, and say what it has brought.

    Args:
        run: is given what shows a line, and returns why the night has ended.
    """
    import signal

    from server.cli.screens.bars import driving
    from server.errors import Unavailable
    from server.notify.notifier import notifying
    from server.reporting.bill import bill_in_words

    out, before = console(stderr=True), night.measured()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, signal.default_int_handler)  # the client ends first, as with Ctrl-C
    with notifying(night.paths, lambda line: say(out, line)) as ended:
        try:
            with driving(out, night.paths, limits.hours, limits.experiments):
                reason = run(lambda line: say(out, line))
            ended.append(reason)
        except KeyboardInterrupt:
            reason = "interrupted; the current run goes on"
        except Unavailable as error:
            if night.measured() > before:  # else it has not begun, and whoever started it reads why
                ended.append(error.problem)
                _report_of(night.paths)
            raise
    done = night.measured() - before
    bill, report = bill_in_words(night.paths), _report_of(night.paths)
    runs = f"{done} run{'' if done == 1 else 's'}"
    say(out, f"{reason}: {runs}; see `autoresearch history`{f', or {report}' if report else ''}")
    if bill:
        say(out, bill)


def _leave_report(paths: "StudyPaths") -> "Path":
    """Loaded when a study is over: a server starts without it."""
    from server.reporting.morning.report_file import write_report

    return write_report(paths)


def _report_of(paths: "StudyPaths") -> "Path | None":
    """The report of what has come so far; None where there is nothing to tell, or it cannot be written."""
    from server.errors import AutoresearchError

    with suppress(AutoresearchError, OSError):
        return _leave_report(paths)
    return None


def _search(workspace: Path, serving: list[str], limits: "DriveLimits") -> None:
    import anyio

    from server.errors import Unavailable
    from server.foreign.load import load

    try:
        from server.clients.optuna_search import OptunaSearch
    except ModuleNotFoundError as error:
        raise Unavailable(f"{error.name} is not installed.", "Run `pip install 'autoresearch-mcp[sweep]'`.") from error
    night = OptunaSearch(workspace.resolve(), serving, load(workspace / "program.md").task)
    _drive(night, limits, lambda tell: anyio.run(night.run, limits.hours, limits.experiments, tell))


def _listen(study: "Study", told: str, hosts: list[str], ask: bool) -> None:
    import json
    import os

    import anyio

    from server.api.app import create
    from server.api.http.auth import BearerToken
    from server.api.http.server import PATH, Address, Beside, bind_socket, listen
    from server.cli.control import PAGE_VIEWS
    from server.files import write_whole
    from server.locks import lock_path
    from server.study.background import seconds_since_heartbeat
    from server.watch.access import PageAccess
    from server.watch.changes import Changes
    from server.watch.routes import Page

    address = Address(told)
    bearer = BearerToken(study.workspace.paths.home.token) if ask else None
    bind_socket(address, bearer, hosts)
    with address.bind() as listening:
        where = f"the token is {bearer.where}" if bearer else "no token is needed"
        port, paths = listening.getsockname()[1], study.workspace.paths
        page = Page(PageAccess.of(paths.home), Changes(lambda: paths), PAGE_VIEWS)
        shown = f"the live page is at {page.prefix}/, its token in {paths.home.page_token}"
        write_whole(paths.home.address, json.dumps({"pid": os.getpid(), "url": address.url(port)}) + "\n")
        console(stderr=True).print(f"listening on http://{address.host}:{port}{PATH}; {where}; {shown}")
        quiet = partial(seconds_since_heartbeat, study.workspace.state, lock_path(study.workspace.root))
        server, names = create(study, _leave_report), [*address.names(), *hosts]
        anyio.run(listen, server, listening, names, bearer, Beside(quiet, page))


def demo(
    workspace: Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")] = Path(),
    budget: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Training time per run; default: 6, with --quick 1."),
    ] = None,
    profile: Annotated[
        ProfileName,
        typer.Option(metavar="PROFILE", help="Class of machine; smoke: the smallest model."),
    ] = ProfileName.SMOKE,
    quick: Annotated[
        bool, typer.Option("--quick", help="Try fewer ideas with less training, in under a minute.")
    ] = False,
    task: Annotated[
        str, typer.Option(metavar="NAME", help="Run an example of `init --task`, with its own prepared changes.")
    ] = "",
) -> None:
    """Run a short study without an LLM: the real server, a real client, real training on the CPU."""
    import anyio

    from server.cli.demo import Demo, TaskDemo

    if task:
        anyio.run(TaskDemo(console(), task, budget).run)
        return
    night = Demo(console(), workspace, budget or (1.0 if quick else 6.0), profile.value, quick)
    anyio.run(night.run)
