"""A cluster on this machine, studies over it, every fault, and "N passed, 0 failed".

python -m tests.slurm [--short] [--only WORDS] [--trials 3]
"""

import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import anyio
import psutil
import typer
from rich.console import Console

from tests.slurm import faults, inputs, studies
from tests.slurm.cluster import Cluster, NotHere, install
from tests.slurm.night import JobNight

_SHORT = ("server -9 in a run", "cancel of a run")
_TRIAL_SECONDS = 900.0
_out = Console(highlight=False, soft_wrap=True, width=120)


class Tally:
    """What has passed, and what has not."""

    def __init__(self, only: str) -> None:
        self.passed, self.failed, self._only = 0, list[str](), only

    def one(self, name: str, check: Callable[[], None], times: int = 1) -> None:
        """Carry out a check, if its name is asked for."""
        for _ in range(times if re.search(self._only, name) else 0):
            begun = time.monotonic()
            try:
                check()
                self.passed += 1
                _out.print(f"{time.monotonic() - begun:6.1f} s  {name}", markup=False)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # what a test raises may be no Exception
                self.failed.append(name)
                told = "".join(traceback.format_exception(error))[-2500:]
                _out.print(f"{time.monotonic() - begun:6.1f} s  FAILED: {name}\n{told}", markup=False)


def _inject(cluster: Cluster, data: Path, injection: faults.Injection) -> None:
    """One trial, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-slurm-", ignore_cleanup_errors=True) as folder:
        night = JobNight(Path(folder), data, cluster)

        async def trial() -> None:
            with anyio.fail_after(_TRIAL_SECONDS):
                await faults.begin(night)
                await injection(night)
                await night.recover()

        try:
            anyio.run(trial)
        finally:
            for process in night.processes():
                with suppress(psutil.Error):
                    process.kill()
            cluster.heal()


def main(
    only: Annotated[str, typer.Option(help="Only what this regular expression finds.")] = "",
    short: Annotated[bool, typer.Option(help="A study and two faults, once each.")] = False,
    trials: Annotated[int, typer.Option(min=1, help="Of each fault.")] = 3,
) -> None:
    """Inject the faults; exit with 1 if one was not survived."""
    begun = time.monotonic()
    try:
        install()
    except NotHere as reason:
        _out.print(f"no cluster: {reason}", markup=False)
        raise typer.Exit(1) from reason
    _out.print(f"{time.monotonic() - begun:6.1f} s  Slurm is installed")
    tally = Tally(only)
    with tempfile.TemporaryDirectory(prefix="autoresearch-slurm-") as place, tempfile.TemporaryDirectory() as data:
        with Cluster(Path(place) / "cluster", odd=0 if short else inputs.ODD) as cluster:
            for name, inject in faults.FAULTS.items():
                if not short or name.startswith(_SHORT):
                    tally.one(name, lambda inject=inject: _inject(cluster, Path(data), inject), 1 if short else trials)
            if not short:
                for name, check in {**inputs.CHECKS, **studies.CHECKS}.items():
                    tally.one(name, lambda check=check: check(cluster, Path(data)))
    _out.print(f"{tally.passed} passed, {len(tally.failed)} failed")
    sys.exit(bool(tally.failed))


if __name__ == "__main__":
    typer.run(main)
