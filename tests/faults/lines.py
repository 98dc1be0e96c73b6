"""kill -9 at a line of the server's own code: between any two steps of any move."""

import random
import signal
import sys

import anyio

from tests.faults.catalogue import fault
from tests.faults.night import Night

_LIVES = 12  # of the server in one night
_LINES = 6000  # about what a night of three experiments takes


@fault(f"kill -9 at a random line of the server's code, x{_LIVES}", trials=10, short=True)
async def lines(night: Night) -> None:
    for _ in range(_LIVES):
        count = random.randrange(1, _LINES)
        command = [sys.executable, "-m", "tests.faults.moves", str(night.repository), str(count)]
        ended = await anyio.run_process(command, check=False)
        assert ended.returncode in (0, -signal.SIGKILL), (count, ended.stderr.decode()[-2000:])
        for told in ended.stdout.decode().splitlines():
            word, number = told.split()
            night.acknowledge({"run": "run_experiment", "keep": "keep"}[word], {"experiment": int(number)})
    await night.recover()
