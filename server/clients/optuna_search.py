"""A researcher without an LLM: the tree-structured Parzen estimator over the knobs that program.md declares.

(TPE: Bergstra et al. 2011; here optuna's.) It is a client like any other, so a user can see whether an agent does
better. Each proposal is a sweep of one change, confirmed and kept by the same rule.
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import optuna
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState, create_trial

from server.api.schemas import RunReply
from server.clients.driver import runs_over, study_to_drive
from server.errors import Unavailable, only_cause
from server.history.ledger import Ledger
from server.history.segments import circumstances
from server.study.find_study import OperatorRequest, read_request
from server.study.phase import Move, Phase
from server.task.definition import Task
from server.task.fields import Range
from server.task.task_words import words_of

_SEED = 0
_NAME = "TPE"  # begins the description of each of its experiments
_WAIT_SECONDS = 3600
_LOOK_SECONDS = 0.5
_MOVES = {"improved": "keep", **dict.fromkeys(("worse", "failed", "invalid", "patched"), "discard")}  # by phase


class OptunaSearch:
    """One study of proposals."""

    def __init__(self, workspace: Path, options: list[str], task: Task) -> None:
        """`options`: of `autoresearch serve`. Raises Unavailable when program.md declares no knobs."""
        if not task.knobs:
            raise Unavailable(
                "program.md declares no knobs.",
                "Add, say, `knobs: {MATRIX_LR: {low: 0.005, high: 0.1, log: true}}` to its front matter.",
            )
        self.paths, self._arguments = study_to_drive(workspace, options)
        self._task = task
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        towards = "minimize" if task.measure.sign < 0 else "maximize"
        self.study = optuna.create_study(direction=towards, sampler=optuna.samplers.TPESampler(seed=_SEED))

    def measured(self) -> int:
        """How many runs of the study are over."""
        with suppress(Unavailable), closing(Ledger(self.paths.ledger, read_only=True)) as ledger:
            return runs_over(ledger.counts())
        return 0

    async def run(self, hours: float, experiments: int, tell: Callable[[str], None]) -> str:
        """Propose until the night is over; 0: not for that reason. Returns why it ended.

        Raises:
            AutoresearchError: the server does not start, or refuses; its sentence and the next step.
        """
        try:
            return await self._run(hours, experiments, tell)
        except BaseExceptionGroup as group:  # of the client's tasks, around what one of them has raised
            cause = only_cause(group)
            if isinstance(cause, MCPError):  # a server that does not start says why
                raise Unavailable(cause.message, "`autoresearch doctor` says more.") from None
            raise cause from None

    async def _run(self, hours: float, experiments: int, tell: Callable[[str], None]) -> str:
        async with Client(StdioServerParameters(command=sys.executable, args=self._arguments)) as client:
            self.recall()
            begun, done = time.monotonic(), 0
            while True:
                if hours > 0 and time.monotonic() - begun >= 3600 * hours:
                    return f"{hours:g} hours are over"
                if 0 < experiments <= done:
                    return f"{experiments} proposal{'s are' if experiments > 1 else ' is'} done"
                status = await _call(client, "status", {})
                if await self._decide(client, status) or await self._rest(status):
                    continue
                if status["over"]:
                    return status["over"]
                if not await self._repeat(client, status):
                    tell(await self._propose(client))
                    done += 1

    def recall(self) -> None:
        """Learn what earlier searches of this study have measured: a search that is started again goes on."""
        with suppress(Unavailable), closing(Ledger(self.paths.ledger, read_only=True)) as ledger:
            rows = [row for row in ledger.all() if row.attempt.of is None and row.value is not None]
            for row in rows:
                with suppress(ValueError):  # of other words, or of another range
                    known = _read(row.attempt.description, self._task.knobs)
                    if known and circumstances(row.attempt) == circumstances(rows[-1].attempt):
                        params, kinds = known
                        self.study.add_trial(create_trial(params=params, distributions=kinds, value=row.value))
        # Else the first proposals, which are drawn, would be those of the first search.
        self.study.sampler = optuna.samplers.TPESampler(seed=_SEED + len(self.study.trials))

    async def _decide(self, client: Client, status: dict[str, Any]) -> bool:
        """End what a pause, or an earlier search, has left between two proposals. Returns whether it did."""
        waits = status["next_tools"][:1] == [Move.WAIT_EXPERIMENT]
        if move := "wait_experiment" if waits else _MOVES.get(status["phase"]):
            await _call(client, move, {"wait_seconds": _WAIT_SECONDS} if waits else {"reason": _NAME})
        return bool(move)

    async def _rest(self, status: dict[str, Any]) -> bool:
        """Wait a little in a night that is paused. Returns whether it is."""
        if paused := read_request(self.paths.state) is OperatorRequest.PAUSE:
            await anyio.sleep(_LOOK_SECONDS)
        return paused

    async def _repeat(self, client: Client, status: dict[str, Any]) -> bool:
        """Run the baseline, if program.md asks for it once more, or a confirmation. Returns whether it did."""
        confirms = status["phase"] == Phase.PROMISING
        first = status["phase"] in (Phase.NEW, Phase.BASELINE_FAILED)
        call = next(iter(status["next_tools"]), "")
        if not confirms and not first and call != Move.RUN_EXPERIMENT:
            return False
        told = {"description": "confirmation" if confirms else "baseline", "wait_seconds": _WAIT_SECONDS}
        answer = await _call(client, "run_experiment", told)
        # An incumbent that fails its audit is not run again: the search goes on by the runs of it that passed.
        doubtful = status["incumbent"] and answer["status"] == "invalid"
        if not confirms and RunReply.model_validate(answer).value is None and not doubtful:
            broken = words_of(self._task).repair
            raise Unavailable(f"The baseline has no score: {answer['why']}", f"Repair {broken} first.")
        return True

    async def _propose(self, client: Client) -> str:
        trial = self.study.ask()
        change = {name: _value(trial, name, knob.model_dump()) for name, knob in self._task.knobs.items()}
        given = {"changes": [change], "description": _NAME, "wait_seconds": _WAIT_SECONDS}
        reply = RunReply.model_validate(await _call(client, "sweep", given))
        (row,) = reply.sweep.rows if reply.sweep else (None,)
        scored = row.experiment if row else None
        value = scored.value if scored else None
        self.study.tell(trial, value, state=TrialState.COMPLETE if value is not None else TrialState.FAIL)
        became = f"{scored.verdict}, {scored.decision}" if scored else row.skipped if row else "nothing"
        return f"{', '.join(f'{name} = {value}' for name, value in change.items())}: {became}"


def _read(said: str, knobs: Mapping[str, Range]) -> tuple[dict[str, Any], dict[str, BaseDistribution]] | None:
    """What an experiment of a search set the constants to, and the ranges of those; None: it is none of these."""
    values = dict(part.split(" = ", 1) for part in said.removeprefix(f"{_NAME}: ").split(", ") if " = " in part)
    if values.keys() != knobs.keys():
        return None
    params, kinds = dict[str, Any](), dict[str, BaseDistribution]()
    for name, knob in knobs.items():
        if knob.choices:
            params[name] = next((choice for choice in knob.choices if str(choice) == values[name]), None)
            kinds[name] = CategoricalDistribution(knob.choices)
        elif knob.integer:
            params[name], kinds[name] = int(values[name]), IntDistribution(int(knob.low), int(knob.high), log=knob.log)
        else:
            params[name], kinds[name] = float(values[name]), FloatDistribution(knob.low, knob.high, log=knob.log)
    return params, kinds


def _value(trial: Trial, name: str, knob: dict[str, Any]) -> float | int | str:
    if knob["choices"]:
        return cast("float | int | str", trial.suggest_categorical(name, knob["choices"]))
    if knob["integer"]:
        return trial.suggest_int(name, int(knob["low"]), int(knob["high"]), log=knob["log"])
    return float(f"{trial.suggest_float(name, knob['low'], knob['high'], log=knob['log']):.4g}")


async def _call(client: Client, tool: str, given: dict[str, Any]) -> dict[str, Any]:
    answer = await client.call_tool(tool, given)
    if answer.is_error or answer.structured_content is None:
        raise Unavailable(f"{tool} was refused: {answer.content}", "Look at `autoresearch history`.")
    return answer.structured_content
