"""Records a real study with the version at hand, so that later versions can be shown to take it up.

    python -m tests.support.record_study

A real server is driven over stdio, and its repository is packed as it is at three moments:

patched      a candidate waits to be run, the operator has paused the study, and the server has ended
finished     the server was killed under a run, which went on to its end: no server has imported the result
interrupted  everything was killed at once in the middle of a sweep, as by a power cut

tests/fixtures/study-VERSION.tar.gz holds the three repositories, study-VERSION.json what this version told of each:
of its files as they are (`rows`, `results`), and after it has taken up a moved and paused copy of it (`told`).

The tokenised data are left out: a run builds them again. A run's spec.json, the lease of the device and git's links
between a repository and its worktree name absolute paths by nature: those of the folder PLACE, which exists for the
recording alone. Where a log names the folder of the product, it stands as PRODUCT.

A version's study is recorded once, before its code changes, and never again: files that are there are not replaced.
"""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import anyio
import psutil
from mcp import Client

from tests.support.polling import PATIENCE, until
from tests.support.recorded_studies import FIXTURES, STATE, TAG, call, client, command, exported, look, unpack
from tests.support.repositories import STAND_INS, git, make_repository

VERSION = command("version").strip()
HOME = Path(f"/tmp/study-of-{VERSION}")
PLACE = HOME / "work"
PRODUCT = "/opt/autoresearch"
ROOT = FIXTURES.parent.parent
PROGRAM = """\
---
name: a recorded study
budget_seconds: 0.5
stop: {experiments: 100}
guardrails:
  peak_memory_mb: {max: 8000}
knobs:
  RATE: {low: 1.0e-6, high: 0.1, log: true}
---
# How fast can a bigram model learn?

One idea at a time.
"""
# The baseline hardly learns: what is better and what is worse does not depend on the machine.
TRAIN = (STAND_INS / "honest.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
LOOP = next(line for line in TRAIN.splitlines() if line.startswith("while "))


async def run(server: Client, description: str, **arguments: Any) -> dict[str, Any]:
    return await call(server, "run_experiment", description=description, wait_seconds=PATIENCE, **arguments)


async def patch(server: Client, before: str, after: str) -> None:
    await call(server, "apply_patch", patch=f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE")


async def confirm(server: Client) -> None:
    """Run a promising candidate until it is decided, and keep it."""
    while (told := await run(server, "once more"))["verdict"] == "promising":
        pass
    assert told["verdict"] == "improved", told
    await call(server, "keep", reason="confirmed")


async def refuse(server: Client, before: str, after: str, verdict: str) -> None:
    """Run an idea that comes to nothing, and discard it."""
    await patch(server, before, after)
    told = await run(server, f"an idea that ends as {verdict}", hypothesis="None: it must be seen.")
    assert told["verdict"] == verdict, told
    await call(server, "discard", reason=f"it is {verdict}")


async def until_patched(server: Client) -> None:
    """The calibration, one candidate kept, one refused, one crashed, one discarded, one that waits; notes."""
    for _ in range(3):
        await run(server, "the baseline")
    await call(server, "note", text="The loss hardly moves:\nthe rate is much too low: é, 低.")
    await call(server, "note", text="a larger rate", idea=True)
    await call(server, "note", text="two layers", idea=True)
    await patch(server, "RATE = 1e-6", "RATE = 0.002")
    assert (await run(server, "a larger rate", hypothesis="It hardly learns."))["verdict"] == "promising"
    await confirm(server)
    await call(server, "note", text="kept as experiment 4", closes=2)
    await refuse(server, LOOP, f"raise ValueError('no')\n{LOOP}", "refused")
    # The preflight makes two steps: what fails at the fifth is seen by the run itself.
    await refuse(server, LOOP, f"{LOOP}\n    assert session.steps < 5, 'too many'", "crashed")
    await refuse(server, "RATE = 0.002", "RATE = 0.0", "worse")
    await patch(server, "RATE = 0.002", "RATE = 0.02")
    command("pause", "--workspace", PLACE)


async def until_finished(server: Client) -> None:
    """A run under way when its server is killed; it goes on to its end."""
    command("resume", "--workspace", PLACE)
    told = await call(server, "run_experiment", description="ten times the rate", wait_seconds=0)
    head, *others = psutil.Process().children(recursive=True)
    head.kill()
    psutil.wait_procs(others, PATIENCE)
    assert (_folder(told["experiment"]) / "result.json").exists()


async def until_interrupted(server: Client) -> None:
    """A sweep: one change has nothing to change, one was run, one runs when everything dies, two wait."""
    assert (await call(server, "wait_experiment", wait_seconds=PATIENCE))["verdict"] == "promising"
    await confirm(server)
    changes = [{"RATE": rate} for rate in (0.02, 1e-5, 1e-4, 3e-5, 0.0)]
    await call(server, "sweep", changes=changes, description="smaller rates", wait_seconds=0)
    with anyio.fail_after(PATIENCE):
        while not (folder := _of_third()) or _stage(folder) not in ("training", "evaluation"):  # noqa: ASYNC110 - of files
            await anyio.sleep(0.01)
    head, *others = psutil.Process().children(recursive=True)
    for process in (head, *others):
        process.kill()
    psutil.wait_procs(others, PATIENCE)
    assert not (folder / "result.json").exists(), "it was over before it could be killed: record again"


def _of_third() -> Path | None:
    """The folder of the run of the sweep's third change."""
    number = json.loads((PLACE / STATE / "sweep.json").read_text(encoding="utf-8"))["items"][2]["experiment"]
    return _folder(number) if number else None


def _stage(folder: Path) -> str:
    progress = folder / "progress.json"
    return json.loads(progress.read_text(encoding="utf-8"))["stage"] if progress.exists() else ""


def _folder(number: int) -> Path:
    return PLACE / STATE / "runs" / f"{number:05d}"


async def study() -> None:
    """Drive the study from moment to moment, with a server for each, and set a copy of each aside."""
    make_repository(PLACE, TRAIN)
    (PLACE / "program.md").write_text(PROGRAM, encoding="utf-8")
    git(PLACE, "commit", "--quiet", "-am", "the task")
    shutil.rmtree(PLACE / ".git" / "hooks")  # git's samples
    for drive in (until_patched, until_finished, until_interrupted):
        async with client(PLACE, "--tag", TAG) as server:
            await drive(server)
        until(lambda: not psutil.Process().children(recursive=True))
        git(PLACE, "repack", "-A", "-d", "--quiet")
        shutil.copytree(PLACE, HOME / drive.__name__.removeprefix("until_"), ignore=_data)


def _data(folder: str, _names: list[str]) -> set[str]:
    return {"data"} if Path(folder).name == ".autoresearch" else set()


def pack(archive: Path, names: list[str]) -> None:
    """The copies, without a word of who recorded them and where."""

    def neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w:gz") as packed:
        for name in names:
            for path in (HOME / name).rglob("run.log"):
                path.write_bytes(path.read_bytes().replace(bytes(ROOT), PRODUCT.encode()))
            named = [path for path in (HOME / name).rglob("*") if path.is_file() and bytes(ROOT) in path.read_bytes()]
            assert not named, named
            packed.add(HOME / name, name, filter=neutral)


async def told(repository: Path) -> dict[str, Any]:
    """What this version tells of a moved study, before and after it takes it up."""
    before = {"rows": exported(repository), "results": (repository / STATE / "results.tsv").read_text(encoding="utf-8")}
    command("pause", "--workspace", repository)
    async with client(repository, "--tag", TAG) as server:
        return {**before, "told": await look(server)}


def main() -> None:
    archive = FIXTURES / f"study-{VERSION}.tar.gz"
    page = FIXTURES / f"study-{VERSION}.json"
    assert not archive.exists() and not page.exists(), f"the study of {VERSION} was recorded before"
    HOME.mkdir()
    names = ["patched", "finished", "interrupted"]
    anyio.run(study)
    FIXTURES.mkdir(exist_ok=True)
    pack(archive, names)
    studies = {name: anyio.run(told, unpack(archive, name, HOME / "moved")) for name in names}
    recorded = {"version": VERSION, "place": str(PLACE), "studies": studies}
    page.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(HOME)


if __name__ == "__main__":
    main()
