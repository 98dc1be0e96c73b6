"""A night in miniature: the real server over stdio, a real client, real training, and no LLM.

The patches are written down in server/templates/demo.toml; what they do to the score is measured, not promised.
"""

import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from mcp import Client, StdioServerParameters
from pydantic import TypeAdapter
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from server.api.schemas import DecisionReply, PatchReply, RunReply, StatusReply
from server.cli.scaffold import create, example
from server.cli.terminal import columns
from server.clients.client_config import serving
from server.foreign.load import load
from server.history.ledger import Ledger
from server.metric import Metric
from server.paths import CHART
from server.records import Experiment, Purpose, Value, Verdict
from server.reporting.chart import draw
from server.reporting.morning.write import leave
from server.reporting.summary import IncumbentSummary
from server.reporting.table import history_table
from server.scoring.decision_rule import mean
from server.study.lane import what_may_change
from server.task.task_words import metric_in_words, run_in_words, words_of
from server.vcs.git_environment import clone_repository
from server.vcs.workspace import Workspace

_SCRIPT = Path(__file__).parents[1] / "templates" / "demo.toml"
_Reply = TypeVar("_Reply", bound=Value)
_BASELINE_RUNS = 3
_NOT_IN = {True: "", False: "only"}  # the steps that a quick demo, or a whole one, leaves out
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
    """The server said no, and what to do instead."""


class Step(Value):
    """One idea of the demo's researcher."""

    description: str
    hypothesis: str = ""
    patch: str
    quick: Literal["", "also", "only"] = ""  # whether the quick demo tries it, also or only


class Demo:
    """Drives the loop and shows it."""

    def __init__(self, out: Console, workspace: Path, budget: float, profile: str, quick: bool = False) -> None:
        self._out, self._source, self._budget, self._profile = out, workspace, budget, profile
        self._quick = quick
        self._folder = Path(tempfile.mkdtemp(prefix="autoresearch-demo-"))
        self._workspace = self._folder / "workspace"

    async def run(self) -> None:
        """Baseline, every step of the script, then the table, the log, the chart, and what to do next."""
        self._prepare()
        arguments = [*serving(), "--workspace", str(self._workspace), "--tag", "demo", *self._options()]
        server = StdioServerParameters(command=sys.executable, args=arguments)
        async with Client(server) as client:
            if await self._baseline(client):
                for step in self._steps():
                    await self._try(client, step)
        self._report()

    def _options(self) -> list[str]:
        """Of `serve`."""
        return ["--budget", str(self._budget), "--profile", self._profile]

    def _steps(self) -> list[Step]:
        script = tomllib.loads(_SCRIPT.read_text(encoding="utf-8"))["step"]
        steps = TypeAdapter(list[Step]).validate_python(script)
        return [step for step in steps if step.quick != _NOT_IN[self._quick]]

    def _prepare(self) -> None:
        if (self._source / "program.md").exists() and (self._source / ".git").exists():
            clone_repository(self._source, self._workspace)
            origin = f"a clone of {self._source.resolve()}"
        else:
            create(self._workspace)
            origin = "a new workspace"
        self._out.print(
            Panel(
                f"{self._budget:g} s of training a run, profile {self._profile}, in {origin}:\n{self._workspace}\n"
                "Your own checkout is not touched. A real night has 300 s a run and an agent instead of this script.",
                title="autoresearch demo",
            ),
            soft_wrap=False,
        )

    async def _baseline(self, client: Client) -> bool:
        """Measure the baseline, until its spread is known. Returns whether it has a score."""
        task = load(self._workspace / "program.md").task
        original, metric = words_of(task).original, task.measure
        self._out.rule(Text.assemble(("baseline", "bold"), f": {original}, until its spread is known"))
        if (await self._measure(client, "baseline", "")).value is None:
            return False
        while (runs := (await _call(client, StatusReply, "status")).incumbent) and self._again(runs):
            await self._measure(client, "baseline again", "")
        noise = (await _call(client, StatusReply, "status")).noise
        if noise:
            sigma, effect = metric.number(noise.sigma, 4), metric.number(noise.smallest_effect, 4)
            self._out.print(f"  σ {sigma}; visible from {effect} on")
        return True

    def _again(self, incumbent: IncumbentSummary) -> bool:
        """Whether the baseline is run once more."""
        return incumbent.runs < _BASELINE_RUNS

    async def _try(self, client: Client, step: Step) -> None:
        self._out.rule(Text(step.description, "bold"))
        for line in step.patch.strip().splitlines():
            self._out.print(Text("    " + line, style="dim"))
        try:
            await _call(client, PatchReply, "apply_patch", patch=step.patch)
            result = await self._measure(client, step.description, step.hypothesis)
            while result.verdict == "promising":
                result = await self._measure(client, f"confirmation: {step.description}", "")
        except ToolRefused as refused:
            self._out.print(Text(f"refused: {refused}", style="magenta"))
            await client.call_tool("discard", {"reason": "it was refused"})  # the candidate, if there is one
            return
        move = "keep" if result.verdict in _KEPT else "discard"
        decided = await _call(client, DecisionReply, move, reason=result.why or "")
        self._out.print(Text.assemble("→ ", (decided.decision, "bold")))

    async def _measure(self, client: Client, description: str, hypothesis: str) -> RunReply:
        with Live(Text("starting"), console=self._out, transient=True) as live:

            async def show(progress: float, total: float | None, message: str | None) -> None:
                live.update(Text("  " + (message or "")))

            answer = await client.call_tool(
                "run_experiment",
                {"description": description, "hypothesis": hypothesis, "wait_seconds": 600},
                progress_callback=show,
            )
        if answer.is_error:
            raise ToolRefused(_text(answer))
        result = RunReply.model_validate(answer.structured_content)
        style = _STYLE.get(result.verdict or "", "red")
        self._out.print(Text(f"{result.verdict}: {result.why}", style=style))
        if result.figures and result.figures.tokens:
            self._out.print(f"  {result.figures.steps} steps, {result.figures.tokens:,} tokens")
        return result

    def _report(self) -> None:
        task = load(self._workspace / "program.md").task
        with Workspace.open(self._workspace, "demo", what_may_change(task)) as workspace:
            log = workspace.log(20)
            ledger = Ledger(workspace.paths.ledger, read_only=True)
            experiments = list(ledger.all())
            ledger.close()
        chart = self._folder / CHART
        metric = task.measure
        draw(experiments, chart, metric)
        self._out.rule(Text("the night", "bold"))
        self._out.print(history_table(experiments, metric, columns(self._out)), soft_wrap=False)
        self._out.rule(Text(f"git log {workspace.branch}", "bold"))
        for line in log:
            self._out.print(Text(line))
        self._out.rule(Text("figures, as measured", "bold"))
        for line in _figures(experiments, metric):
            self._out.print(line)
        self._out.print(
            f"chart: {chart}\nreport: {leave(workspace.paths)}\n"
            "Next: `autoresearch connect claude-code --write` in your repository, then start Claude "
            "Code there and say: start a night of experiments.",
        )


class TaskDemo(Demo):
    """The same with an example that is no language model's, and the changes in its folder."""

    def __init__(self, out: Console, task: str, budget: float | None) -> None:
        """Raises WorkspaceUnusable: there is no such example."""
        self._task, self._example = task, example(task)
        super().__init__(out, Path(), budget or 0.0, "")

    def _prepare(self) -> None:
        create(self._workspace, self._task)
        defined = load(self._workspace / "program.md").task
        self._out.print(
            Panel(
                Text(
                    f"{defined.name}: a run {run_in_words(defined)}.\nIt measures {metric_in_words(defined)}.\n"
                    f"{self._workspace}\nAn agent takes the place of this script, which tries the changes in "
                    f"{self._example / 'changes'}."
                ),
                title=f"autoresearch demo --task {self._task}",
            ),
            soft_wrap=False,
        )

    def _options(self) -> list[str]:
        return ["--budget", str(self._budget)] if self._budget else []

    def _steps(self) -> list[Step]:
        return [read_change(path) for path in sorted((self._example / "changes").glob("*.patch"))]

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
    return "\n".join(block.text for block in answer.content if block.type == "text")


def _figures(rows: list[Experiment], metric: Metric) -> list[str]:
    experiments = [row for row in rows if row.verdict != Verdict.REFUSED and row.attempt.of is None]
    kept = [row.value for row in experiments if row.kept and row.value is not None]
    again = sum(row.attempt.of is not None for row in rows)
    results = [row.result.figures for row in rows if row.result]
    lines = [
        f"{len(experiments)} experiments, {again} runs to judge them, {len(kept)} kept (the baseline is one), "
        f"{sum(figures.total_seconds or 0 for figures in results):.0f} s of runs"
    ]
    # The baseline by all its runs: the first alone may have been lucky or not.
    repeats = [row for row in rows if row.attempt.of == 1 and row.attempt.purpose is Purpose.REFERENCE]
    baseline = [row.score.value for row in (*experiments[:1], *repeats) if row.score]
    if len(kept) > 1:
        lines.append(metric.step(mean(baseline), kept[-1], 2))
    else:
        lines.append("no idea was kept: none was better than the noise")
    scored = [figures for figures in results if figures.evaluation_seconds and figures.training_seconds]
    if scored:
        overhead = [(figures.total_seconds or 0) - (figures.training_seconds or 0) for figures in scored]
        lines.append(f"set-up, evaluation and audit: {sum(overhead) / len(overhead):.1f} s a run beside the training")
    return lines
