"""Every cheat and every unusual honest model through a real supervisor, and a table of how each one ended.

    python -m tests.attack [--honest N]     N runs of honest models in all, 50 by default

The default tests run most of them once (tests/attack/test_cheats.py); as another user: run this as that user.
"""

import re
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from server.records import Result, Value
from server.runs.run_spec import RunLimits
from server.runs.runner import Runner
from server.source import patch
from tests.support.builders import attempt
from tests.support.polling import ended, processes_of

STAND_INS = Path(__file__).parents[1] / "fixtures" / "stand_ins"
BASE = (STAND_INS / "attentive.py").read_text(encoding="utf-8")
_AT_ONCE = 2


class Case(Value):
    """One train.py, and how it must end."""

    name: str
    patch: str
    ends: str = "finished"
    reason: str = ""  # a regular expression
    thorough: bool = False  # a variation, or something that a quicker test shows: `make attack` alone runs it

    @property
    def text(self) -> str:
        return patch.apply(BASE, self.patch, "train.py") if self.patch else BASE


class Ended(Value):
    """What became of a case."""

    case: Case
    result: Result
    log: str
    left: list[int]  # pids that still carry the run's cookie

    @property
    def objection(self) -> str:
        """Why the case did not end as it must; empty if it did."""
        if self.result.outcome.value != self.case.ends:
            return f"ended {self.result.outcome.value}"
        if not re.search(self.case.reason, self.result.reason):
            return "for another reason"
        if "GOT" in self.log + self.result.reason + self.result.traceback:
            return "got something: " + next(line for line in self.log.splitlines() if "GOT" in line)
        return f"left {self.left} behind" if self.left else ""


def cases(name: str) -> list[Case]:
    """The cases of fixtures/stand_ins/`name`.toml."""
    tables: dict[str, Any] = tomllib.loads((STAND_INS / f"{name}.toml").read_text(encoding="utf-8"))
    return [Case(**entry) for entries in tables.values() for entry in entries]


def run_all(chosen: Iterable[Case], folder: Path, data: Path, preflight: bool) -> Iterable[Ended]:
    """Run the cases, two at a time, in the order given."""
    terms = RunLimits(setup_seconds=60, evaluation_seconds=40, grace_seconds=0.7, preflight=preflight)

    def run(numbered: tuple[int, Case]) -> Ended:
        number, case = numbered
        runner = Runner(folder / f"{number}", data, folder / "imports")  # a night each: one has one run at a time
        about = attempt(number).model_copy(update={"profile": "smoke", "budget_seconds": 0.8})
        runner.start(about, case.text, terms)
        result = ended(runner, number)
        log = runner.log_tail(number, 1 << 20)
        return Ended(case=case, result=result, log=log, left=[found.pid for found in processes_of(runner, number)])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(run, enumerate(chosen, 1))


def main(honest: Annotated[int, typer.Option(help="Runs of honest models.")] = 50) -> None:
    """Print a line a run, and exit with 1 if one did not end as it must."""
    out, failed = Console(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unusual = islice(cycle([Case(name="attentive", patch=""), *cases("unusual")]), honest)
        for chosen, preflight, place in ((cases("cheats"), False, "cheats"), (unusual, True, "honest")):
            for done in run_all(chosen, folder / place, folder / "data", preflight):
                failed += bool(done.objection)
                mark = f"[red]{done.objection}[/red]" if done.objection else "as it must"
                trust, reason = done.result.trust, done.result.reason[:110]
                line = f"{done.case.name}: {done.result.outcome} ({trust}), {mark}: {reason}"
                out.print(line, highlight=False, soft_wrap=True)
    out.print(f"{failed} of all runs did not end as they must")
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    typer.run(main)
