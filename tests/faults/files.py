"""Disks that fill up or turn read-only, files that are damaged or gone."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from tests.faults.catalogue import NotHere, fault
from tests.faults.night import Night, Refused
from tests.support.corruption import emptied, flipped, garbage, gone, halved

_DISK_MB = 64


@contextmanager
def _disk(night: Night) -> Generator[Path]:
    """The night's state on a small disk of its own."""
    night.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(night.state)]
    if (done := subprocess.run(mount, capture_output=True, encoding="utf-8", check=False)).returncode:
        raise NotHere(f"no mount: {done.stderr.strip()[:60]}")
    try:
        yield night.state
    finally:
        for process in night.processes():
            process.kill()
        subprocess.run(["umount", "--lazy", str(night.state)], check=True)


def _remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return ballast
    return ballast


@fault("the disk full before a run")
async def full_before(night: Night) -> None:
    night.write_program("stop: {disk_gb: 0}\n")
    with _disk(night) as disk:
        async with night.agent() as agent:
            await agent.experiment()
            ballast = _fill(disk)
            with pytest.raises(Refused, match=r"No space left|disk is full"):
                await agent.start()
            ballast.unlink()
            assert (await agent.experiment())["val_bpb"] is not None
        await night.recover()


@fault("the disk full during a run")
async def full_during(night: Night) -> None:
    night.write_program("stop: {disk_gb: 0}\n")
    with _disk(night) as disk:
        async with night.agent() as agent:
            await agent.experiment()
            await agent.start()
            await night.until_running()
            ballast = _fill(disk)
            with anyio.move_on_after(20):
                with pytest.raises(Refused):
                    await agent.finish()
            ballast.unlink()
            assert (await agent.finish())["experiment"] == 2
        await night.recover()


@fault("the disk full during a sweep that nobody watches")
async def full_sweep(night: Night) -> None:
    night.write_program("stop: {disk_gb: 0}\n")
    with _disk(night) as disk:
        async with night.agent() as agent:
            await agent.experiment()
            server = night.server().pid
            changes = [{"RATE": 0.01 + number / 1000} for number in range(4)]
            await agent.call("sweep", changes=changes, description="rates", wait_seconds=0)
            await night.until_running()
            ballast = _fill(disk)
            with anyio.move_on_after(20):  # the server has nothing to write while the supervisor waits, too
                while "The study pauses" not in (night.folder / "stderr").read_text("utf-8"):  # noqa: ASYNC110
                    await anyio.sleep(0.1)
            ballast.unlink()
            told = await agent.finish()
            assert told["sweep"]["ended"] == "done" and night.server().pid == server, told
        await night.recover()


@fault("the floor under the disk: runs are refused before it is full")
async def floor(night: Night) -> None:
    night.write_program("stop: {disk_gb: 100000}\n")
    async with night.agent() as agent:
        with pytest.raises(Refused, match=r"GB of the disk are free, and program\.md reserves"):
            await agent.start()
    night.write_program()
    await night.recover()


@fault("the disk read-only when the server starts, and writable again")
async def read_only(night: Night) -> None:
    night.write_program("stop: {disk_gb: 0}\n")
    with _disk(night) as disk:
        async with night.agent() as agent:
            await agent.experiment()
        _remount(disk, "ro")
        told = await anyio.run_process([sys.executable, *night.command()], check=False)
        said = told.stderr.decode()
        assert told.returncode == 1 and "cannot be written to" in said and "Traceback" not in said, said
        _remount(disk, "rw")
        await night.recover()


def _between_servers(name: str, place: str, damage: Callable[[Path], None], rows: int = 3) -> None:
    """A fault: something of the night's state is damaged while no server runs; not a row is lost."""

    @fault(name)
    async def damaged(night: Night) -> None:
        async with night.agent() as agent:
            await agent.experiment()
            await agent.experiment()
            await agent.call("note", text="try this", idea=True)
            await agent.call("sweep", changes=[{"RATE": 0.02}], description="rates", wait_seconds=300)
        before = night.in_main()
        damage(night.state / place)
        await night.recover()
        assert night.in_main()[: len(before)] == before


for _name, _place, _damage in (
    ("the ledger overwritten", "ledger.sqlite3", garbage),
    ("a page of the ledger overwritten", "ledger.sqlite3", flipped),
    ("half of the ledger cut off", "ledger.sqlite3", halved),
    ("the ledger emptied", "ledger.sqlite3", emptied),
    ("the ledger deleted", "ledger.sqlite3", gone),
    ("the sweep's file overwritten", "sweep.json", garbage),
    ("the notes' file overwritten", "notes.json", garbage),
    ("results.tsv deleted", "results.tsv", gone),
    ("the worktree deleted", "worktree", gone),
    ("all folders of runs deleted", "runs", gone),
    ("the whole state of the night deleted", ".", gone),
):
    _between_servers(_name, _place, _damage)


@fault("a run's folder deleted while it runs")
async def run_folder(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        number = await agent.start()
        await night.until_running()
        shutil.rmtree(night.state / "runs" / f"{number:05d}", ignore_errors=True)
        assert (await agent.finish())["val_bpb"] is None
    await night.recover()


@fault("a run's result overwritten before it is read")
async def result(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        number = await agent.start()
    path = night.state / "runs" / f"{number:05d}" / "result.json"
    with anyio.fail_after(60):
        while not path.exists():  # noqa: ASYNC110
            await anyio.sleep(0.01)
    garbage(path)
    async with night.agent() as agent:
        assert (await agent.finish())["status"] == "env_fail"
    await night.recover()


@fault("a run's progress overwritten while it runs")
async def progress(night: Night) -> None:
    async with night.agent() as agent:
        number = await agent.start()
        await night.until_running()
        garbage(night.state / "runs" / f"{number:05d}" / "progress.json")
        assert (await agent.finish())["val_bpb"] is not None
    await night.recover()


def _candidate(name: str, damage: Callable[[Path], None]) -> None:
    """A fault: the candidate is no text any more; the server starts, says so, and discard brings it back."""

    @fault(name)
    async def damaged(night: Night) -> None:
        async with night.agent() as agent:
            await agent.experiment()
        damage(night.state / "worktree" / "train.py")
        async with night.agent() as agent:
            assert (await agent.call("status"))["phase"] == "patched"
            with pytest.raises(Refused, match=r"Restore it with discard"):
                await agent.call("run_experiment", description="whatever it is", wait_seconds=0)
            await agent.call("discard", reason="it is no text")
        await night.recover()


_candidate("train.py deleted from the worktree", gone)
_candidate("train.py in the worktree overwritten with bytes", garbage)
