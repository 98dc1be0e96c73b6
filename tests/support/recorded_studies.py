"""A study on disk, through the doors that every version has: the command line, and a client over stdio.

Nothing of the server is imported here: a study that an old version has left is handled as its user would.
"""

import json
import os
import subprocess
import sys
import tarfile
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client, StdioServerParameters

from tests.support.polling import PATIENCE
from tests.support.repositories import IDENTITY

FIXTURES = Path(__file__).parents[1] / "fixtures"
TAG = "t1"
STATE = Path(".autoresearch") / TAG  # below the repository
# Numbers, names and checksums: a later version may word its sentences in another way.
_FACTS = (
    "task",
    "metric",
    "direction",
    "editable_file",
    "budget_seconds",
    "tag",
    "branch",
    "phase",
    "experiments",
    "counts",
    "incumbent",
    "baseline_val_bpb",
    "running",
    "head_moved",
    "profile",
    "guards",
    "program_sha256",
    "candidate_sha256",
)
_NOISE = ("sigma", "repeats", "smallest_effect")
_LESSONS = ("attempts", "keep_rate", "since_last_keep", "gains", "near_misses")
_DEPTH = ("diff", "curve")


def unpack(archive: Path, name: str, folder: Path) -> Path:
    """One of the repositories in the archive, in `folder`."""
    with tarfile.open(archive) as packed:
        members = [member for member in packed if member.name.split("/")[0] == name]
        packed.extractall(folder, members, filter="data")
    return folder / name


def command(name: str, *arguments: str | Path) -> str:
    """What a command of `autoresearch` prints."""
    words = [sys.executable, "-c", "from server.cli import main; main()", name, *map(str, arguments)]
    wide = {**os.environ, "COLUMNS": "200"}  # a table breaks no line
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False, env=wide)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(repository: Path) -> list[dict[str, Any]]:
    """Every row, oldest first, as `export` writes it."""
    return [json.loads(line) for line in command("export", "jsonl", "--workspace", repository).splitlines()]


def client(repository: Path, *options: str) -> Client:
    """A client with a server of its own over stdio."""
    words = ["-m", "server", "--workspace", str(repository), "--profile", "smoke", *options]
    # The identity is for git's reflogs: a fixture names neither a user nor a machine.
    return Client(StdioServerParameters(command=sys.executable, args=words, env={**os.environ, **IDENTITY}))


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """One call that must succeed."""
    with anyio.fail_after(PATIENCE):
        answer = await client.call_tool(tool, arguments)
    assert not answer.is_error and answer.structured_content is not None, answer.content
    return answer.structured_content


async def settled(client: Client) -> dict[str, Any]:
    """The status, once no run is under way, and a paused sweep has discarded what came of the last one."""
    with anyio.fail_after(PATIENCE):
        while (status := await call(client, "status"))["phase"] in ("running", "failed", "worse"):  # noqa: ASYNC110 - of files
            await anyio.sleep(0.1)
    return status


async def look(client: Client) -> dict[str, Any]:
    """Everything that a server tells of a study, but for its sentences."""
    status = await settled(client)
    rows = (await call(client, "history", limit=100))["rows"]
    lessons = (await call(client, "history", lessons=True))["lessons"]
    sweep = (await call(client, "wait_experiment", wait_seconds=0))["sweep"]
    depths = [(await call(client, "history", experiment=row["experiment"]))["detail"] for row in rows]
    return {
        "status": {name: status[name] for name in _FACTS},
        "noise": {name: status["noise"][name] for name in _NOISE},
        # Without the commit: a run that is imported now gets it from the version that imports it.
        "history": [{name: value for name, value in row.items() if name != "commit"} for row in rows],
        "depths": [{name: detail[name] for name in _DEPTH} for detail in depths],
        "lessons": {name: lessons[name] for name in _LESSONS},
        "knobs": [tried["knob"] for tried in lessons["knobs"]],
        "notes": (await call(client, "history", notes=True))["notes"],
        "sweep": sweep
        and [[row["knobs"], row["experiment"] and row["experiment"]["experiment"]] for row in sweep["rows"]],
    }


def lost(then: Any, now: Any, place: str = "") -> list[str]:
    """Where `now` lacks what `then` has, or has it otherwise; what was added since is no loss."""
    if isinstance(then, dict) and isinstance(now, dict):
        old, new = cast("dict[str, Any]", then), cast("dict[str, Any]", now)
        return [told for name, value in old.items() for told in lost(value, new.get(name), f"{place}.{name}")]
    if isinstance(then, list) and isinstance(now, list):
        pairs = zip_longest(cast("list[Any]", then), cast("list[Any]", now))
        return [told for index, pair in enumerate(pairs) for told in lost(*pair, f"{place}[{index}]")]
    return [] if then == now else [f"{place}: {then!r} is now {now!r}"]
