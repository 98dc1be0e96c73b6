"""kill -9 at a line of the server's own code: between any two steps of any move."""

import signal
import sys
from contextlib import closing

import anyio

from server.serve_options import ServeOptions
from server.study.background import dispatch
from server.study.study import Study
from tests.faults.catalogue import fault
from tests.faults.night import PATIENCE, TAG, Night

_LIVES = 6  # of the server in one night
_LINES = 1500  # about what a night of three experiments takes


@fault(f"kill -9 at a random line of the server's code, x{_LIVES}", trials=20, short=True)
async def lines(night: Night) -> None:
    await _killed(night)


@fault(f"kill -9 at a random line of the server's code while two lanes share a slot, x{_LIVES}", trials=10)
async def lines_of_two_lanes(night: Night) -> None:
    await _killed(night, "main", "b")


async def _killed(night: Night, *lanes: str) -> None:
    for _ in night.times(_LIVES):
        count = night.chance.randrange(1, _LINES)
        command = [sys.executable, "-m", "tests.faults.moves", str(night.repository), str(count), *lanes]
        ended = await anyio.run_process(command, check=False)
        assert ended.returncode in (0, -signal.SIGKILL), (count, ended.stderr.decode()[-2000:])
        for told in ended.stdout.decode().splitlines():
            word, number = told.split()
            night.acknowledge({"run": "run_experiment", "keep": "keep"}[word], {"experiment": int(number)})
        await _settle(night)
        if night.rows():
            night.check()  # after each life: the next keep would cover up what this one has left
    await night.recover()


async def _settle(night: Night) -> None:
    """The next server, until no run is under way or waits."""
    choices = ServeOptions(profile="smoke", confine=False)
    with closing(Study(night.repository, TAG, choices)) as session, anyio.fail_after(PATIENCE):
        while session.settle() and session.ledger.unfinished():
            await anyio.sleep(0.05)  # of another process: no event tells
            dispatch(session)
