"""Every fault, as often as it is to be tried, two nights at a time, and a table of what was survived.

python -m tests.faults [--only WORDS] [--short] [--lanes 2]
"""

import re
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated

import anyio
import psutil
import typer
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Column, Table

from tests.faults.catalogue import FAULTS, Fault, NotHere
from tests.faults.night import Night
from tests.support.polling import stretched

_AT_ONCE = 2
_TRIAL_SECONDS = 900.0
_ROOMS = "calls kills lines web files repository refs checkouts trainers clients machine patches".split()
_out = Console(highlight=False, soft_wrap=True, width=120)


def _last(error: BaseException) -> str:
    """The end of the story, without the layers of task groups around it."""
    return "".join(traceback.format_exception(error))[-1500:]


class Trials:
    """What became of every trial so far."""

    def __init__(self, data: Path, short: bool = False, lanes: int = 1) -> None:
        self._data, self._short, self._lanes = data, short, lanes
        self.survived: Counter[str] = Counter()
        self.failed: dict[str, list[str]] = {}
        self.not_here: dict[str, str] = {}

    async def one(self, fault: Fault, seed: int) -> None:
        """One trial, in a folder of its own."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-fault-", ignore_cleanup_errors=True) as folder:
            night = Night(Path(folder), self._data, seed, short=self._short)
            night.lanes = self._lanes
            try:
                begun = time.monotonic()
                with anyio.fail_after(stretched(_TRIAL_SECONDS)):
                    await fault.inject(night)
                self.survived[fault.name] += 1
                _out.print(f"{time.monotonic() - begun:6.1f} s  {fault.name}")
            except NotHere as reason:
                self.not_here[fault.name] = str(reason)
            except BaseException as error:  # what pytest.raises raises is no Exception
                if isinstance(error, KeyboardInterrupt | anyio.get_cancelled_exc_class()):
                    raise
                self.failed.setdefault(fault.name, []).append(_last(error))
                _out.print(f"{fault.name}, seed {seed}:\n{_last(error)}", markup=False)
            finally:
                for process in night.processes():
                    with suppress(psutil.NoSuchProcess):
                        process.kill()

    def table(self, faults: list[Fault]) -> Table:
        drawn = Table(Column("fault", no_wrap=True), "trials", "survived", box=MARKDOWN)
        for fault in faults:
            survived, failed = self.survived[fault.name], len(self.failed.get(fault.name, []))
            shown = self.not_here.get(fault.name, str(survived))
            drawn.add_row(fault.name, str(survived + failed), shown, style="red" if failed else "")
        return drawn


def faults() -> list[Fault]:
    """All of them: each room adds its own to the list."""
    for room in _ROOMS:
        import_module(f"tests.faults.{room}")
    return FAULTS


async def run(chosen: list[Fault], data: Path, short: bool, lanes: int) -> Trials:
    """All trials of the chosen faults."""
    trials, limit = Trials(data, lanes=lanes), anyio.CapacityLimiter(_AT_ONCE)

    async def one(fault: Fault, seed: int) -> None:
        async with limit:
            await trials.one(fault, seed)

    async with anyio.create_task_group() as group:
        for fault in chosen:
            for seed in range(1 if short else fault.trials):
                group.start_soon(one, fault, seed)
    return trials


def main(
    only: Annotated[str, typer.Option(help="Only faults whose name this regular expression finds.")] = "",
    short: Annotated[bool, typer.Option(help="One trial of those in the default tests.")] = False,
    lanes: Annotated[int, typer.Option(min=1, max=2, help="In which the agents work.")] = 1,
) -> None:
    """Inject the faults; exit with 1 if one was not survived."""
    chosen = [fault for fault in faults() if re.search(only, fault.name) and (fault.short or not short)]
    with tempfile.TemporaryDirectory() as data:
        trials = anyio.run(run, chosen, Path(data), short, lanes)
    _out.print(trials.table(chosen))
    passed, failed = trials.survived.total(), sum(map(len, trials.failed.values()))
    _out.print(f"{len(chosen)} faults, {len(trials.not_here)} not possible here")
    _out.print(f"{passed} passed, {failed} failed")
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    typer.run(main)
