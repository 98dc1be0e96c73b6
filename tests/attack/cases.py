"""The cheats and the unusual honest models, and how each one ends when a real supervisor runs it."""

import re
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from server.records import Result, Value
from server.runs.run_spec import RunLimits
from server.source import patch
from tests.support.builders import attempt
from tests.support.polling import ended, processes_of, stretched
from tests.support.runs import local_executor, start_run

STAND_INS = Path(__file__).parents[1] / "fixtures" / "stand_ins"
BASE = (STAND_INS / "attentive.py").read_text(encoding="utf-8")
_AT_ONCE = 2
_PATIENCE = 1200.0  # seconds: more than a run's own limits together, so that it ends by its own word


class Case(Value):
    """One train.py, and how it must end."""

    name: str
    patch: str
    base: str = BASE  # what is patched
    ends: str = "finished"
    reason: str = ""  # a regular expression
    cause: str | None = None  # that the result must have; None: any
    evaluation_seconds: float = 300.0
    setup_allowed: float | None = None
    thorough: bool = False  # a variation, or something that a quicker test shows: `make attack` alone runs it
    slow: bool = False  # by default only `make slow` runs it
    together: bool = False  # it leaves the model as it is: the default tests try all of these in one run
    kind: str = ""  # of one that `make test` or `make slow` runs: the way around the referee that it stands for
    profile: str = "smoke"
    moved: bool = False  # to another profile, where what ends it may come earlier or later: it only has to gain nothing
    repeats: int = 1  # runs in `make attack`: of what succeeds by chance, if at all

    def on(self, profile: str) -> "Case":
        """The same on another profile, in five minutes of evaluation on a quiet machine: what needs more has lost."""
        changed = {"profile": profile, "moved": self.ends != "finished", "evaluation_seconds": 30.0}
        return self if profile == self.profile else self.model_copy(update=changed)

    @property
    def text(self) -> str:
        return patch.apply(self.base, self.patch, "train.py") if self.patch else self.base


class Ended(Value):
    """What became of a case."""

    case: Case
    result: Result
    log: str
    left: list[int]  # pids that still carry the run's cookie

    @property
    def objection(self) -> str:
        """Why the case did not end as it must; empty if it did."""
        if wrong := self._wrong_end():
            return wrong
        if "GOT" in self.log + self.result.reason + self.result.traceback:
            return "got something: " + next(line for line in self.log.splitlines() if "GOT" in line)
        if found := self._believed():
            return f"believed what train.py tells: {found}"
        return f"left {self.left} behind" if self.left else ""

    def _wrong_end(self) -> str:
        ended = self.result.outcome.value
        if self.case.moved:
            return "ended env_fail" if ended == "env_fail" else ""
        if ended != self.case.ends:
            return f"ended {ended}"
        if not re.search(self.case.reason, self.result.reason):
            return "for another reason"
        wrong_cause = self.case.cause not in (None, self.result.cause)
        return f"for another cause: {self.result.cause or 'none'}" if wrong_cause else ""

    def _believed(self) -> dict[str, object]:
        """Figures of a finished run that are not what the referee can have measured, or been told before train.py."""
        figures = self.result.figures
        true = {
            "device": figures.device == "cpu",
            "threads": figures.threads == 1,
            "torch": figures.torch == version("torch"),
            "peak_memory_mb": (figures.peak_memory_mb or 0) > 50,
            "weights_mb": (figures.weights_mb or 0) > 0.1,
            "training_seconds": (figures.training_seconds or 0) > 0.1,
        }
        finished = self.result.score is not None
        return {name: getattr(figures, name) for name, holds in true.items() if finished and not holds}


def cases(name: str) -> list[Case]:
    """The cases of fixtures/stand_ins/`name`.toml."""
    tables: dict[str, Any] = tomllib.loads((STAND_INS / f"{name}.toml").read_text(encoding="utf-8"))
    return [Case(**entry | _base(entry)) for entries in tables.values() for entry in entries]


def _base(entry: dict[str, Any]) -> dict[str, str]:
    """The text of the stand-in that a case names."""
    return {"base": (STAND_INS / f"{entry['base']}.py").read_text(encoding="utf-8")} if "base" in entry else {}


def run_all(chosen: Iterable[Case], folder: Path, data: Path, preflight: bool) -> Iterable[Ended]:
    """Run the cases, two at a time, in the order given."""

    def run(numbered: tuple[int, Case]) -> Ended:
        number, case = numbered
        terms = RunLimits(
            setup_seconds=300,
            evaluation_seconds=stretched(case.evaluation_seconds),
            grace_seconds=0.7,
            preflight=preflight,
            setup_allowed=case.setup_allowed,
        )
        executor = local_executor(folder / f"{number}", data, folder / "imports")  # a device each
        about = attempt(number).model_copy(update={"profile": case.profile, "budget_seconds": 0.8})
        start_run(executor, about, case.text, terms)
        result = ended(executor, number, _PATIENCE)
        log = executor.runs.of(number).log_tail(1 << 20)
        return Ended(case=case, result=result, log=log, left=[found.pid for found in processes_of(executor, number)])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(run, enumerate(chosen, 1))
