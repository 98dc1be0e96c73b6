"""Studies that an old version has left are taken up: their history, notes, queue, candidates and runs.

tests/support/record_study.py says how they were recorded, and at which three moments. They lie in another folder here.

A run that an old version started and that still goes on cannot be had without that version's code. In its place this
version's supervisor is given an old run's folder and its spec.json, and holds its lease, as if an old server had
started it.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support.command_line import run_command
from tests.support.polling import PATIENCE
from tests.support.recorded_studies import FIXTURES, STATE, TAG, call, client, look, lost, settled, unpack
from tests.support.recorded_studies import command as in_a_wide_terminal
from tests.support.repositories import UNGUARDED, git

VERSIONS = sorted(path.stem for path in FIXTURES.glob("study-*.json"))
ROOT = FIXTURES.parent.parent
BRANCH = f"autoresearch/{TAG}"


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def page(version: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{version}.json").read_text(encoding="utf-8"))


@pytest.fixture
def recorded(page: dict[str, Any], moment: str) -> dict[str, Any]:
    """What the old version told of the study."""
    return page["studies"][moment]


@pytest.fixture
def repository(tmp_path: Path, data: Path, version: str, moment: str) -> Path:
    """The study as the old version has left it, in another place."""
    moved = unpack(FIXTURES / f"{version}.tar.gz", moment, tmp_path / "moved-hérè")
    (moved / ".autoresearch" / "data").symlink_to(data)
    return moved


def command(*words: str | Path) -> str:
    """What a command of today's `autoresearch` prints."""
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(repository: Path) -> list[dict[str, Any]]:
    """Every row, oldest first, as `export` writes it."""
    return [json.loads(line) for line in command("export", "jsonl", "--workspace", repository).splitlines()]


async def again(server: Client) -> dict[str, Any]:
    """The next run of a promising candidate's confirmation."""
    return await call(server, "run_experiment", description="once more", wait_seconds=PATIENCE)


def results(repository: Path) -> str:
    return (repository / STATE / "results.tsv").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["interrupted"])  # the last: it has the rows of all
def test_the_commands_show_what_they_showed(repository: Path, recorded: dict[str, Any]) -> None:
    assert not lost(recorded["rows"], exported(repository))
    assert command("export", "tsv", "--workspace", repository).startswith(recorded["results"])
    words = in_a_wide_terminal("history", "--wide", "--workspace", repository)
    told = in_a_wide_terminal("report", "--workspace", repository)
    for row in recorded["rows"]:
        assert row["attempt"]["description"] in words
        assert not row.get("decision", {}).get("kept") or row["attempt"]["description"] in told
    assert results(repository) == recorded["results"], "who only looks changes nothing"


@pytest.mark.parametrize(
    ("moment", "rebuilt"),
    [
        pytest.param("patched", False, marks=pytest.mark.thorough),
        pytest.param("finished", False, marks=pytest.mark.thorough),
        pytest.param("interrupted", False, marks=pytest.mark.slow),  # the last: it has what was left at the others
        pytest.param("interrupted", True, marks=pytest.mark.slow),
    ],
)
async def test_a_server_takes_it_up_as_the_old_version_did(
    repository: Path, recorded: dict[str, Any], rebuilt: bool
) -> None:
    command("pause", "--workspace", repository)  # what is found is not changed at once by a sweep that goes on
    if rebuilt:
        (repository / STATE / "ledger.sqlite3").unlink()
    async with client(repository, "--tag", TAG) as server:
        seen = await look(server)
    if rebuilt:
        assert "rebuilt from git" in seen["notes"].pop(0)["text"]
    noise = recorded["told"].pop("noise")
    assert seen["noise"]["repeats"] >= noise["repeats"], "first scores tell it as well since"
    assert not lost(recorded["told"], seen)
    rows = exported(repository)
    over = [row for row in recorded["rows"] if "result" in row]
    assert not lost(over, rows[: len(over)]) and len(rows) == len(recorded["rows"])
    assert results(repository).startswith(recorded["results"])
    assert len(results(repository).splitlines()) - len(recorded["results"].splitlines()) == len(rows) - len(over)
    worktree = repository / STATE / "worktree"
    assert git(worktree, "rev-parse", "HEAD") == git(repository, "rev-parse", BRANCH)
    assert not list((repository / STATE / "runs").rglob("candidate-*")), "scratch folders of a dead run are left"
    if len(rows) > len(over) and not rebuilt:
        async with client(repository, "--tag", TAG) as second:
            await settled(second)
        assert exported(repository) == rows, "a result was imported twice"


@pytest.mark.parametrize("moment", ["patched"])
async def test_what_an_old_version_measured_is_known_and_can_be_done_again(repository: Path) -> None:
    async with client(repository) as server:  # without --tag: a paused night goes on
        assert (await call(server, "status"))["over"]
        command("resume", "--workspace", repository)
        assert (status := await call(server, "status"))["phase"] == "patched" and not status["over"]
        patch = "<<<<<<< SEARCH\nRATE = 0.02\n=======\nRATE = 0.0\n>>>>>>> REPLACE"
        patched = await call(server, "apply_patch", patch=patch)
        assert 8 in [earlier["experiment"] for earlier in patched["similar"]]
        refused = await server.call_tool("run_experiment", {"description": "the same once more"})
        assert refused.is_error and "this is experiment 8" in str(refused.content)
        await call(server, "discard", reason="known")
        patched = await call(server, "apply_patch", experiment=7)
        assert "+    assert session.steps < 5, 'too many'\n" in patched["diff"]
        await call(server, "discard", reason="it crashed")
        assert "RATE = 0.002\n" in (repository / STATE / "worktree" / "train.py").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["finished"])
async def test_a_promising_candidate_is_confirmed_and_kept(repository: Path, recorded: dict[str, Any]) -> None:
    # Without --tag: a night with a result that nobody saw goes on.
    async with client(repository, *UNGUARDED) as server:
        assert (await call(server, "status"))["phase"] == "promising"
        while (told := await again(server))["verdict"] == "promising":  # by a new torch, both sides are measured anew
            pass
        assert told["verdict"] == "improved", told
        kept = await call(server, "keep", reason="confirmed")
        assert kept["incumbent"]["experiment"] == 9
    assert git(repository, "log", "-1", "--format=%s", BRANCH) == "ten times the rate"
    assert results(repository).startswith(recorded["results"])
    *_, commit, _, _, status, _ = results(repository).splitlines()[-1].split("\t")
    assert status == "keep" and git(repository, "rev-parse", BRANCH).startswith(commit)
    output = repository / "chart.png"
    command("export", "png", "--workspace", repository, "--output", output)
    assert output.read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["interrupted"])
async def test_a_sweep_goes_on_after_the_run_that_was_killed(repository: Path) -> None:
    async with client(repository) as server:
        told = await call(server, "wait_experiment", wait_seconds=PATIENCE)
        rows = told["sweep"]["rows"]
    assert (told["sweep"]["ended"], told["sweep"]["left"]) == ("done", 0)
    verdicts = [row["experiment"] and row["experiment"]["verdict"] for row in rows]
    assert verdicts == [None, "worse", "lost", "worse", None]
    assert "this is experiment 8" in rows[4]["skipped"]
    assert {row["experiment"]["decision"] for row in rows if row["experiment"]} == {"discarded"}


@contextmanager
def going_on(repository: Path, page: dict[str, Any], number: int) -> Generator[subprocess.Popen[bytes]]:
    """The supervisor of an old run, stopped in its first moment; it goes on with SIGCONT."""
    folder = repository / STATE / "runs" / f"{number:05d}"
    spec = (folder / "spec.json").read_text(encoding="utf-8")
    for path in folder.iterdir():
        if path.name.startswith(("progress", "curve")):
            path.unlink()
    old, new = (json.dumps(str(path))[1:-1] for path in (page["place"], repository))
    (folder / "spec.json").write_text(spec.replace(old, new), encoding="utf-8")
    lease = os.open(folder / "lease", os.O_RDWR)
    fcntl.flock(lease, fcntl.LOCK_EX)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "trainer.supervisor", str(folder)],
        cwd=folder,
        pass_fds=[lease],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(lease)
    process.send_signal(signal.SIGSTOP)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["interrupted"])
async def test_a_run_with_an_old_spec_that_still_goes_is_taken_up(repository: Path, page: dict[str, Any]) -> None:
    command("pause", "--workspace", repository)  # the sweep waits after this run
    with going_on(repository, page, 13) as supervisor:
        async with client(repository) as server:
            status = await call(server, "status")
            assert (status["phase"], status["running"]["experiment"]) == ("running", 13)
            supervisor.send_signal(signal.SIGCONT)
            assert (await settled(server))["phase"] == "idle"
            (newest, *_) = (await call(server, "history", limit=1))["rows"]
    assert (newest["experiment"], newest["verdict"], newest["decision"]) == (13, "worse", "discarded")
    assert newest["trust"] and newest["val_bpb"]
