"""A disk that answers EIO: to a write, a rename or an fsync of the server, its git, its ledger or its supervisor."""

from contextlib import suppress

import anyio

from tests.faults.catalogue import NotHere, fault
from tests.faults.night import PATIENCE, Agent, Night, Refused
from tests.support.fakes import Disk

_EXPERIMENTS = 6  # in one night
_CHANGES = 4  # of a sweep
_CALLS = 300  # about what one of them takes
_TIMES = 5
_PAUSE = 0.5  # seconds before the client tries again


async def _through(agent: Agent) -> int:
    """An experiment, by a client that tries again, and gives up what it can neither run nor keep."""
    refusals = 0
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await agent.experiment()
            except Refused:
                refusals += 1
                with suppress(Refused):
                    if (await agent.call("status"))["phase"] == "patched":
                        await agent.call("discard", reason="it was refused")
                await anyio.sleep(_PAUSE)
            else:
                return refusals


@fault(f"a call of a sweep that answers EIO, up to {_TIMES} in a row, x{_CHANGES}", trials=3)
async def failing_sweep(night: Night) -> None:
    try:
        disk = Disk(night.folder, night.repository)
    except OSError as error:
        raise NotHere(str(error)) from error
    async with night.agent(**disk.environment) as agent:
        await agent.experiment()
        server = night.server().pid
        changes = [{"RATE": 0.01 + number / 1000} for number in range(_CHANGES)]
        await agent.call("sweep", changes=changes, description="rates", wait_seconds=0)
        queue = night.state / "sweep.json"
        while '"ended": ""' in queue.read_text("utf-8"):
            disk.fail(night.chance.randrange(_CALLS), night.chance.randint(1, _TIMES))
            await anyio.sleep(_PAUSE)
        disk.fail(0, 0)
        told = await agent.finish()
        assert told["sweep"]["ended"] == "done" and night.server().pid == server, told
    await night.recover()


@fault(f"a call that answers EIO at a random moment, up to {_TIMES} in a row, x{_EXPERIMENTS}", trials=12, short=True)
async def failing(night: Night) -> None:
    try:
        disk = Disk(night.folder, night.repository)
    except OSError as error:
        raise NotHere(str(error)) from error
    least, done, refusals = len(night.times(_EXPERIMENTS)), 0, 0
    async with night.agent(**disk.environment) as agent:
        server = night.server().pid
        while done < least or not refusals:
            disk.fail(night.chance.randrange(_CALLS), night.chance.randint(1, _TIMES))
            refusals += await _through(agent)
            done += 1
        assert night.server().pid == server
        disk.fail(0, 0)
    await night.recover()
