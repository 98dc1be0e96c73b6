"""A cluster on this machine, studies over it, every fault, and "N passed, 0 failed".

python -m tests.slurm [--short] [--only WORDS] [--trials 3]
"""

import re
import sys
import tempfile
import time
import traceback
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console

from tests.slurm import faults, inputs, studies
from tests.slurm.cluster import NO_CLUSTER, Cluster, NotHere, install
from tests.slurm.night import JobNight

_SHORT = ("server -9 in a run", "cancel of a run")
_TRIAL_SECONDS = 900.0
_out = Console(highlight=False, soft_wrap=True, width=120)


class Tally:
    """What has passed, and what has not."""

    def __init__(self, only: str) -> None:
        self.passed, self.failed, self._only = 0, list[str](), only

    def asks_for(self, name: str) -> bool:
        return bool(re.search(self._only, name))

    @contextmanager
    def one(self, name: str) -> Generator[None]:
        """Around one check."""
        begun = time.monotonic()
        try:
            yield
            self.passed += 1
            _out.print(f"{time.monotonic() - begun:6.1f} s  {name}", markup=False)
        except (Exception, BaseExceptionGroup) as error:
            self.failed.append(name)
            told = "".join(traceback.format_exception(error))[-2500:]
            _out.print(f"{time.monotonic() - begun:6.1f} s  FAILED: {name}\n{told}", markup=False)


async def _inject(night: JobNight, tally: Tally, short: bool, trials: int) -> None:
    """Every fault, in one study, `trials` times."""
    for _ in range(trials):
        await _with_one_server(night, tally, short)
        for name, inject in faults.SERVERS.items():
            if tally.asks_for(name) and (not short or name.startswith(_SHORT)):
                with tally.one(name):
                    await inject(night)
                    await night.recover()
                night.cluster.heal()


async def _with_one_server(night: JobNight, tally: Tally, short: bool) -> None:
    async with night.agent() as night.open:
        if not night.rows():
            with tally.one("the baseline"):
                await night.recover()
        for name, inject in faults.FAULTS.items():
            if tally.asks_for(name) and (not short or name.startswith(_SHORT)):
                with tally.one(name), anyio.fail_after(_TRIAL_SECONDS):
                    await inject(night)
                    night.cluster.heal()
                    night.check()
                night.cluster.heal()  # a failure stays one
        with tally.one("after all of them, the next run and all that must hold"):
            await night.recover()
    night.open = None


def main(
    only: Annotated[str, typer.Option(help="Only what this regular expression finds.")] = "",
    short: Annotated[bool, typer.Option(help="A study and two faults, once each.")] = False,
    trials: Annotated[int, typer.Option(min=1, help="Of each fault.")] = 3,
) -> None:
    """Inject the faults; exit with 1 if one was not survived, and with 77 if no cluster can be had here."""
    tally = Tally(only)
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="autoresearch-slurm-", ignore_cleanup_errors=True)
        place = Path(stack.enter_context(folder))
        try:
            install()
            cluster = stack.enter_context(Cluster(place / "cluster", odd=0 if short else len(inputs.ODD)))
        except NotHere as reason:
            _out.print(f"no cluster: {reason}", markup=False)
            raise typer.Exit(NO_CLUSTER) from reason
        if any(map(tally.asks_for, (*faults.FAULTS, *faults.SERVERS))):
            night = JobNight(place / "faults", place / "data", cluster)
            anyio.run(_inject, night, tally, short, 1 if short else trials)
        checks: dict[str, inputs.Check] = {} if short else {**inputs.CHECKS, **studies.CHECKS}
        for name, check in checks.items():
            times = trials if name in inputs.ROWS else 1
            for _ in range(times if tally.asks_for(name) else 0):
                _check(cluster, tally, name, check, place / str(len(tally.failed) + tally.passed))
    _out.print(f"{tally.passed} passed, {len(tally.failed)} failed")
    sys.exit(bool(tally.failed))


def _check(cluster: Cluster, tally: Tally, name: str, check: inputs.Check, folder: Path) -> None:
    folder.mkdir()
    with tally.one(name):
        check(cluster, folder)
    cluster.heal()


if __name__ == "__main__":
    typer.run(main)
