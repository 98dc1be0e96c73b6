"""A short study: the real server over stdio, a real client, real training, and no LLM.

The patches are in server/templates/demo.toml; their effect on the score is measured each time.
"""

import re
import shlex
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter
from rich.console import Console
from rich.text import Text

from server.api.schemas import DecisionReply, PatchReply, RunReply, StatusReply
from server.cli.scaffold import create, example
from server.cli.screens.bars import one_run
from server.cli.screens.layout import wrapped
from server.cli.screens.text_chart import text_chart
from server.cli.terminal import columns, say
from server.clients.client_config import serving
from server.errors import Unavailable, only_cause
from server.foreign.load import load
from server.history.ledger import Ledger
from server.metric import Metric, percent
from server.paths import CHART
from server.records import Experiment, Value, Verdict
from server.reporting.chart import draw
from server.reporting.morning.report_file import write_report
from server.reporting.position import Position, position
from server.reporting.summary import IncumbentSummary
from server.reporting.view_words import headline_words, kept_words
from server.study.lane import what_may_change
from server.task.task_words import metric_in_words, run_in_words
from server.text import clip
from server.vcs.git_environment import clone_repository
from server.vcs.workspace import Workspace

_SCRIPT = Path(__file__).parents[1] / "templates" / "demo.toml"
_Reply = TypeVar("_Reply", bound=Value)
_BASELINE_RUNS = 3
_BESIDE_SECONDS = 8.0  # of a run, besides its training
_KEPT = ("improved", "simpler")
_STYLE = {
    "improved": "bold green",
    "promising": "green",
    "baseline": "bold",
    "reference": "bold",
    "worse": "yellow",
    "within_noise": "yellow",
}


class ToolRefused(Exception):
    """The server refused a call; the message says what to do instead."""


class Step(Value):
    """One idea of the demo's researcher."""

    description: str
    hypothesis: str = ""
    patch: str
    quick: bool = False  # whether the quick demo tries it, too


class Demo:
    """Drives the loop and shows it."""

    def __init__(self, out: Console, workspace: Path, budget: float, profile: str, quick: bool = False) -> None:
        self._out, self._source, self._budget, self._profile = out, workspace, budget, profile
        self._quick = quick
        self._usual = 0.0  # seconds of the last run that had a score
        self._best = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="autoresearch-demo-"))
        self._workspace = self._folder / "workspace"

    async def run(self) -> None:
        """The plan, the baseline, every step of the script, then the chart, and what to do next."""
        self._prepare()
        arguments = [*serving(), "--workspace", str(self._workspace), "--tag", "demo", *self._options()]
        server = StdioServerParameters(command=sys.executable, args=arguments)
        try:
            async with Client(server) as client:
                if await self._baseline(client):
                    for step in self._steps():
                        await self._try(client, step)
        except BaseExceptionGroup as group:  # of the client's tasks, around what one of them has raised
            cause = only_cause(group)
            told = "Look into its log, or start again without other work on the machine."
            raise Unavailable(str(cause), told) if isinstance(cause, MCPError | ToolRefused) else cause from None
        self._report()

    def _options(self) -> list[str]:
        """Of `serve`."""
        return ["--budget", str(self._budget), "--profile", self._profile]

    def _steps(self) -> list[Step]:
        script = tomllib.loads(_SCRIPT.read_text(encoding="utf-8"))["step"]
        steps = TypeAdapter(list[Step]).validate_python(script)
        return [step for step in steps if step.quick or not self._quick]

    def _prepare(self) -> None:
        if (self._source / "program.md").exists() and (self._source / ".git").exists():
            clone_repository(self._source, self._workspace)
            origin = f"in a clone of {self._source.resolve()}; your checkout stays as it is"
        else:
            create(self._workspace)
            origin = "in a new workspace"
        about = f"{self._budget:g} s of training per run (a real night: 300 s), profile {self._profile}, {origin}:"
        self._show_plan("autoresearch demo", about, self._steps())

    def _show_plan(self, title: str, about: str, steps: list[Step]) -> None:
        """What will be tried, and where."""
        width = columns(self._out)
        self._out.print(Text.assemble((title, "bold"), ": a night in miniature. A script plays the agent, not an LLM."))
        for number, what in enumerate(
            ["the baseline, repeated until its noise is known", *(one.description for one in steps)]
        ):
            self._out.print(Text(clip(f"  {number + 1:>2}  {what}", width)))
        for line in [*wrapped(about, width), str(self._workspace), ""]:
            self._out.print(Text(line))

    async def _baseline(self, client: Client) -> bool:
        """Measure the baseline, repeated until its noise is known. Returns whether it has a score."""
        metric = load(self._workspace / "program.md").task.measure
        first = await self._measure(client, "baseline", "")
        if first.value is None:
            self._tell(first, "baseline", "", f"{first.verdict}: {first.why}")
            return False
        while (runs := (await _call(client, StatusReply, "status")).incumbent) and self._again(runs):
            await self._measure(client, "baseline again", "")
        status = await _call(client, StatusReply, "status")
        count = f", the mean of {runs.runs} runs" if runs and runs.runs > 1 else ""
        if status.noise:
            sigma, effect = metric.number(status.noise.sigma, 4), metric.number(status.noise.smallest_effect, 4)
            count += f"; σ {sigma}; changes from {effect} are visible"
        self._best = runs.value if runs and runs.value is not None else first.value
        self._tell(first.model_copy(update={"value": self._best}), "baseline", "", f"baseline{count}")
        return True

    def _again(self, incumbent: IncumbentSummary) -> bool:
        """Whether the baseline is run once more."""
        return incumbent.runs < _BASELINE_RUNS

    async def _try(self, client: Client, step: Step) -> None:
        try:
            await _call(client, PatchReply, "apply_patch", patch=step.patch)
            result = await self._measure(client, step.description, step.hypothesis)
            while result.verdict == "promising":
                result = await self._measure(client, f"confirmation: {step.description}", "")
        except ToolRefused as refused:
            self._tell(None, step.description, "", f"refused: {refused}")
            await client.call_tool("discard", {"reason": "it was refused"})  # the candidate, if there is one
            return
        move = "keep" if result.verdict in _KEPT else "discard"
        decided = await _call(client, DecisionReply, move, reason=result.why or "")
        self._tell(result, step.description, decided.decision, f"{result.verdict}: {result.why}")
        if move == "keep" and result.value is not None:
            self._best = result.value

    async def _measure(self, client: Client, description: str, hypothesis: str) -> RunReply:
        begun = time.monotonic()
        with one_run(self._out, description, self._usual or self._budget + _BESIDE_SECONDS) as tell:

            async def show(progress: float, total: float | None, message: str | None) -> None:
                tell(message or "")

            answer = await client.call_tool(
                "run_experiment",
                {"description": description, "hypothesis": hypothesis, "wait_seconds": 600},
                progress_callback=show,
            )
        if answer.is_error:
            raise ToolRefused(_text(answer))
        result = RunReply.model_validate(answer.structured_content)
        if result.value is not None:
            self._usual = time.monotonic() - begun
        return result

    def _tell(self, result: RunReply | None, what: str, decision: str, why: str) -> None:
        """One line for an experiment, and a second line with the reason, as far as it fits."""
        task, value = load(self._workspace / "program.md").task, result.value if result else None
        verdict = (result.verdict or "") if result else "refused"
        change = "" if value is None or verdict == "baseline" else percent(self._best, value, 2)
        score = "" if value is None else task.measure.number(value, 4)
        ending = f"→ {decision}" if decision else verdict
        room = max(columns(self._out) - 40, 20) if self._out.is_terminal else 40
        style = _STYLE.get(verdict, "magenta" if result is None else "red")
        self._out.print(Text(f"{clip(what, room):<{min(room, 40)}} {score:>9} {change:>9}  {ending}", style))
        told = f"    {' '.join(why.split())}"
        self._out.print(Text(clip(told, columns(self._out)) if self._out.is_terminal else told, "dim"))

    def _report(self) -> None:
        task = load(self._workspace / "program.md").task
        with Workspace.open(self._workspace, "demo", what_may_change(task)) as workspace:
            ledger = Ledger(workspace.paths.ledger, read_only=True)
            experiments, metric = list(ledger.all()), task.measure
            stand = position(ledger, metric)
            ledger.close()
        chart = self._folder / CHART
        draw(experiments, chart, metric, stand)
        self._out.print(Text("\nthe night", "bold"))
        for line in text_chart(experiments, metric, min(columns(self._out), 100)):
            self._out.print(Text(line))
        self._out.print(Text("\nfigures, as measured", "bold"))
        for line in _figures(experiments, metric, stand):
            say(self._out, line, indent=2)
        self._out.print(
            f"chart: {chart}\nreport: {write_report(workspace.paths)}\n"
            f"details: autoresearch history --workspace {shlex.quote(str(self._workspace))}\n"
            "next: autoresearch init my-night, or autoresearch adopt in your own repository",
        )


class TaskDemo(Demo):
    """The same with another example than the language model, and the changes in its folder."""

    def __init__(self, out: Console, task: str, budget: float | None) -> None:
        """Raises WorkspaceUnusable: there is no such example."""
        self._task, self._example = task, example(task)
        super().__init__(out, Path(), budget or 0.0, "")

    def _prepare(self) -> None:
        create(self._workspace, self._task)
        defined = load(self._workspace / "program.md").task
        about = f"{defined.name}: a run {run_in_words(defined)}. It measures {metric_in_words(defined)}. The changes:"
        steps = self._steps()
        self._show_plan(f"autoresearch demo --task {self._task}", f"{about} {self._example / 'changes'}", steps)

    def _options(self) -> list[str]:
        return ["--budget", str(self._budget)] if self._budget else []

    def _steps(self) -> list[Step]:
        # Each changes the files as they are at first, so the one that is kept comes last.
        changes = (self._example / "changes").glob("*.patch")
        return [read_change(path) for path in sorted(changes, key=lambda path: (path.stem == "good", path.stem))]

    def _again(self, incumbent: IncumbentSummary) -> bool:
        wanted = load(self._workspace / "program.md").task
        return not wanted.paired and wanted.keep_rule != "any" and incumbent.runs < wanted.baseline_runs


def read_change(path: Path) -> Step:
    """A change of an example: its first line says `# what it tries`, the rest is a patch."""
    head, _, patch = path.read_text(encoding="utf-8").partition("\n")
    return Step(description=head.lstrip("# ").strip() or path.stem, patch=patch)


async def _call(client: Client, kind: type[_Reply], tool: str, **arguments: Any) -> _Reply:
    answer = await client.call_tool(tool, arguments)
    if answer.is_error:
        raise ToolRefused(_text(answer))
    return kind.model_validate(answer.structured_content)


def _text(answer: Any) -> str:
    told = "\n".join(block.text for block in answer.content if block.type == "text")
    return re.sub(r"^Error executing tool \w+: ", "", told)


def _figures(rows: list[Experiment], metric: Metric, stand: Position | None = None) -> list[str]:
    experiments = [row for row in rows if row.verdict != Verdict.REFUSED and row.attempt.of is None]
    kept = [row.value for row in experiments if row.kept and row.value is not None]
    again = sum(row.attempt.of is not None for row in rows)
    results = [row.result.figures for row in rows if row.result]
    told = kept_words(stand.counts) if stand else f"{len(kept)} kept (with the baseline)"
    lines = [
        f"{len(experiments)} experiments, {again} runs to confirm them, {told}, "
        f"{sum(figures.total_seconds or 0 for figures in results):.0f} s of runs"
    ]
    headline = stand.headline if stand else None
    ends = (headline.baseline.value, headline.best.value) if headline else (kept[0], kept[-1]) if kept else None
    if len(kept) > 1 and ends:
        lines.append(metric.step(*ends, 2))
    else:
        lines.append("no idea was kept: no gain was larger than the noise")
    if headline:
        lines.append(headline_words(metric, headline))
    scored = [figures for figures in results if figures.evaluation_seconds and figures.training_seconds]
    if scored:
        overhead = [(figures.total_seconds or 0) - (figures.training_seconds or 0) for figures in scored]
        lines.append(
            f"set-up, evaluation and audit: {sum(overhead) / len(overhead):.1f} s per run in addition to the training"
        )
    return lines
