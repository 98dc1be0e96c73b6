"""Processes that die or stop: the server, the supervisor, train.py, together and apart, at any moment."""

import signal
import sys
from contextlib import suppress

import anyio
import pytest

from tests.faults.catalogue import fault
from tests.faults.night import PATIENCE, Night, Refused

_LIFE = 2.5  # seconds: about as long as one of these runs lives
_AT_ONCE = 5  # kills a trial of a night, one after the other


async def _killed(night: Night, *names: str, number: int = signal.SIGKILL) -> None:
    """Again and again at a random moment of a night that goes on; after each kill all must be well again."""
    for _ in night.times(_AT_ONCE):
        hit, lives = 0, False
        with suppress(Exception, BaseExceptionGroup):  # the client of a killed server breaks in many ways
            async with night.agent() as agent, anyio.create_task_group() as group:
                group.start_soon(agent.go_on)
                await night.until_running()
                await anyio.sleep(night.chance.uniform(0, _LIFE))
                lives = bool(night.processes("trainer.supervisor"))
                hit = night.kill(*names, number=number)
                if "server" not in names:
                    await anyio.sleep(1)
                group.cancel_scope.cancel()
        assert hit or "server" not in names, "nothing was killed"  # the others are away between two runs
        open_ = [row.number for row in night.rows() if row.running and not row.queued]
        await night.recover()
        if names == ("server",) and lives:  # a run outlives its server
            assert all(row.score is not None for row in night.rows() if row.number in open_), open_


@fault(f"kill -9 of the server at a random moment, x{_AT_ONCE}", trials=14)
async def server(night: Night) -> None:
    await _killed(night, "server")


@fault(f"kill -9 of the supervisor at a random moment, x{_AT_ONCE}", trials=9)
async def supervisor(night: Night) -> None:
    await _killed(night, "supervisor")


@fault(f"kill -9 of train.py and its replica at a random moment, x{_AT_ONCE}", trials=9)
async def trainer(night: Night) -> None:
    await _killed(night, "launch")


@fault(f"kill -9 of server and supervisor at once, x{_AT_ONCE}", trials=5)
async def server_and_supervisor(night: Night) -> None:
    await _killed(night, "server", "supervisor")


@fault(f"kill -9 of everything at once, x{_AT_ONCE}", trials=5)
async def everything(night: Night) -> None:
    await _killed(night, "server", "supervisor", "launch")


@fault(f"SIGTERM to the server in the middle of a call, x{_AT_ONCE}")
async def terminated(night: Night) -> None:
    await _killed(night, "server", number=signal.SIGTERM)


@fault(f"SIGHUP to the server: the terminal is closed, x{_AT_ONCE}")
async def hung_up(night: Night) -> None:
    await _killed(night, "server", number=signal.SIGHUP)


@fault(f"SIGINT to the server: Ctrl-C, x{_AT_ONCE}")
async def interrupted(night: Night) -> None:
    await _killed(night, "server", number=signal.SIGINT)


@fault("the supervisor stopped for three seconds (SIGSTOP), then going on")
async def supervisor_stopped(night: Night) -> None:
    async with night.agent() as agent:
        await agent.start()
        await night.until_running()
        night.kill("supervisor", number=signal.SIGSTOP)
        await anyio.sleep(3)
        night.kill("supervisor", number=signal.SIGCONT)
        assert (await agent.finish())["status"] in ("finished", "timeout")
    await night.recover()


@fault("the supervisor stopped for ever (SIGSTOP): a cancel ends its run all the same")
async def supervisor_stopped_for_ever(night: Night) -> None:
    async with night.agent() as agent:
        await agent.start()
        await night.until_running()
        night.kill("supervisor", number=signal.SIGSTOP)
        await agent.call("cancel_experiment", reason="it stands still")
        ended = await agent.finish()
        assert ended["status"] == "lost" and "did not answer a cancel" in ended["why"], ended
        assert night.processes() == []
    await night.recover()


@fault("another tag's server while a run lives on: refused, until that has ended")
async def another_tag(night: Night) -> None:
    async with night.agent("--budget", "300") as agent:
        await agent.start()
        await night.until_running()
    async with night.agent("--tag", "t2") as agent:
        with pytest.raises(Refused, match=r"Device busy: supervisor \d+ of the run in"):
            await agent.start()
        assert len(night.processes("trainer.supervisor")) == 1
    async with night.agent() as agent:
        await agent.call("cancel_experiment", reason="the other's turn")
        await agent.finish()
    async with night.agent("--tag", "t2") as agent:
        await agent.call("run_experiment", description="the baseline", wait_seconds=PATIENCE)
    await night.recover()


@fault("train.py stopped for ever (SIGSTOP)")
async def trainer_stopped(night: Night) -> None:
    night.write_program("setup_seconds: 8\n")
    async with night.agent() as agent:
        await agent.start()
        await night.until_running()
        night.kill("launch", number=signal.SIGSTOP)
        ended = await agent.finish()
        assert ended["status"] in ("timeout", "env_fail"), ended  # the latter before a line of train.py has run
    await night.recover()


@fault("the server stopped for three seconds in a call, then going on")
async def server_stopped(night: Night) -> None:
    async with night.agent() as agent:
        await agent.start()
        night.kill("server", number=signal.SIGSTOP)
        await anyio.sleep(3)
        night.kill("server", number=signal.SIGCONT)
        assert (await agent.finish())["verdict"] == "baseline"
    await night.recover()


@fault("a second server on the same repository")
async def second(night: Night) -> None:
    async with night.agent() as agent:
        await agent.start()
        told = await anyio.run_process([sys.executable, *night.command()], check=False)
        said = " ".join(told.stderr.decode().split())
        assert told.returncode == 1 and f"pid {night.server().pid}" in said, said
        assert (await agent.finish())["verdict"] == "baseline"
    await night.recover()


@fault("the client gone in the middle of a call")
async def client_gone(night: Night) -> None:
    async with night.agent() as agent:
        await agent.start()
        with anyio.move_on_after(0.5):
            await agent.finish()
        assert (await agent.finish())["verdict"] == "baseline"
    await night.recover()


@fault("the same run asked for twice at once")
async def twice(night: Night) -> None:
    started: list[int] = []
    refused: list[str] = []

    async def ask() -> None:
        try:
            told = await agent.call("run_experiment", description="the baseline", wait_seconds=0)
            started.append(told["experiment"])
        except Refused as refusal:
            refused.append(str(refusal))

    async with night.agent() as agent:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(ask)
        assert started == [1] and len(refused) == 3 and "is running" in refused[0]
        await agent.finish()
    await night.recover()
