"""The commands after a night. A command imports what it needs when it runs: only a chart pays for matplotlib."""

import re
import sys
from contextlib import closing, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from server.cli.terminal import columns, console, print_json, say
from server.errors import LedgerUnavailable, Unavailable
from server.paths import CHART, StudyPaths
from server.study.find_study import latest_study
from server.text import printable

if TYPE_CHECKING:
    from server.finalize.ablation import Worth
    from server.finalize.branch import Branch
    from server.history.ledger import Ledger
    from server.reporting.study_view import StudyView
    from server.study.reruns import RerunRequest
    from server.vcs.stack import Stack

_out = console()
_err = console(stderr=True)
_Workspace = Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")]
_Tag = Annotated[str, typer.Option(metavar="NAME", help="Name of the study; default: the latest.")]
_Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, with different seeds.")]


class Form(StrEnum):
    """What `report` writes."""

    HTML = "html"
    MD = "md"
    JSON = "json"


class Format(StrEnum):
    """What `export` writes."""

    TSV = "tsv"
    JSONL = "jsonl"
    CSV = "csv"
    PNG = "png"


def _seconds(told: str | float) -> float:
    """Seconds, minutes or hours, as people write them."""
    found = re.fullmatch(r"([0-9.]+)\s*(s|m|h|)", str(told))
    if not found:
        raise typer.BadParameter(f"{told!r} is not a time: write 90, 30m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def history(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many experiments to show.")] = 50,
    wide: Annotated[
        bool,
        typer.Option("--wide", help="Show every run, with commit, decision and trust; repeats have their own lines."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what was tried, newest first, one line per experiment."""
    from server.cli.screens import history_list
    from server.cli.screens.layout import shown
    from server.foreign.load import task_of
    from server.history import segments
    from server.history.ledger import Ledger
    from server.reporting.position import position
    from server.reporting.table import history_table

    task = task_of(workspace / "program.md")
    with closing(Ledger(latest_study(workspace, tag).ledger, read_only=True)) as ledger:
        if json:
            print_json(history_list.as_json(history_list.listed(ledger, task), limit))
            return
        width = columns(_out)
        if wide:
            page = ledger.page(limit, 0)
            kept = position(ledger, segments.current_metric(ledger, task)).kept
            lines: list[RenderableType] = [history_table(page, segments.metric_shown(page[::-1], task), width, kept)]
        else:
            found = history_list.listed(ledger, task)
            lines = [*history_list.screen(found, limit, width), history_list.kept_in_words(found)]
        shown(_out, [*lines, *_warnings(workspace, ledger)], width)


def _warnings(workspace: Path, ledger: "Ledger") -> list[str]:
    """What is to be known of a history besides its rows."""
    from server.foreign.load import reported_summary
    from server.history import audit_failures, revocations
    from server.study.ledger_rebuild import edited, edited_now

    told = [reported_summary(workspace), audit_failures.message(ledger), *revocations.messages(ledger).values()]
    return [*told, edited(ledger), edited_now(ledger)]


def export(
    format: Annotated[
        Format,
        typer.Argument(
            help="tsv: results.tsv; jsonl: one JSON object per line; csv: a table of all figures; png: the chart."
        ),
    ],
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: standard output; for a chart, progress.png.")
    ] = None,
) -> None:
    """Write the history for other tools."""
    from server.files import write_whole
    from server.foreign.load import task_of
    from server.history.export import csv, jsonl, tsv
    from server.history.ledger import Ledger
    from server.history.segments import current_metric
    from server.reporting.position import position

    with closing(Ledger(latest_study(workspace, tag).ledger, read_only=True)) as ledger:
        experiments, metric = list(ledger.all()), current_metric(ledger, task_of(workspace / "program.md"))
        stand = position(ledger, metric)
    if format is Format.PNG:
        from server.reporting.chart import draw
        from server.vcs.git_environment import exclude_at

        target = output or Path(CHART)
        draw(experiments, target, metric, stand)
        if target.resolve() == workspace.resolve() / CHART:
            with suppress(Unavailable):  # then git shows it, which harms nothing
                exclude_at(workspace.resolve(), f"/{CHART}")
        _err.print(f"wrote {target}")
        return
    sure = {number: {"standing": line.standing.value, "error": line.error} for number, line in stand.kept.items()}
    told = {Format.JSONL: jsonl, Format.CSV: csv}.get(format)
    text = told(experiments, sure) if told else tsv(experiments)
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)


def report(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    hidden: Annotated[
        bool,
        typer.Option(
            "--hidden", help="Train baseline and best again, and score them on text that the study did not use."
        ),
    ] = False,
    seeds: _Seeds = 1,
    html: Annotated[
        bool, typer.Option("--html", help="Write the report as a web page, into the study's folder or --output.")
    ] = False,
    md: Annotated[bool, typer.Option("--md", help="Write the report as Markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.")] = None,
) -> None:
    """Show the results of a study. --hidden checks the gain on unused text, with two runs per seed."""
    forms = [form for form, wanted in ((Form.HTML, html), (Form.MD, md), (Form.JSON, json)) if wanted]
    if len(forms) > 1 or (output and not forms):
        raise typer.BadParameter("give one of --html, --md and --json")
    if forms and not hidden:
        _write_report(latest_study(workspace, tag), forms[0], output)
        return
    from server.reporting.study_view import StudyView

    paths = latest_study(workspace, tag)
    with closing(StudyView(paths)) as view:
        rows, _ = view.material()
        _print_summary(view)
    kept = [row for row in rows if row.kept]
    if hidden:
        from server.study.reruns import RerunRequest

        _again(paths, [kept[0].number, kept[-1].number] if kept else [], RerunRequest(split="holdout", seeds=seeds))
    if forms:
        _write_report(paths, forms[0], output)


def _print_summary(view: "StudyView") -> None:
    """What a study has brought, by the numbers of page and report."""

    from server.foreign.load import task_of
    from server.history.segments import metric_shown
    from server.reporting.table import history_table
    from server.reporting.view_words import headline_words, kept_words, shown_change, shown_size

    rows, metric = view.material()
    summary, stand = view.summary(), view.position()
    kept, task = [row for row in rows if row.kept], task_of(view.root / "program.md")
    table = history_table(kept, metric_shown(kept, task), columns(_out), stand.kept if stand else None)
    _out.print(table, soft_wrap=False)
    if summary.headline:
        say(_out, f"{metric.name}: {headline_words(metric, summary.headline)}")
    say(_out, f"{summary.counts.experiments} experiments, {kept_words(summary.counts)}")
    for gain in summary.lessons.gains:
        error = "" if gain.error is None else f" ± {shown_size(metric, gain.error)}"
        brought = f", {metric.name} {shown_change(metric, gain.change)}{error}" if gain.kept else ""
        say(_out, f"{gain.category}: {gain.tried} tried, {gain.kept} kept{brought}")
    for fact in summary.health.facts:
        say(
            _out,
            f"{'✓' if fact.good else '!'} {printable(fact.text).rstrip('.')}. {printable(fact.more)}".rstrip(),
            indent=2,
        )


def _write_report(paths: StudyPaths, form: Form, output: Path | None) -> None:
    from server.cli.screens.bars import waiting
    from server.files import write_whole
    from server.reporting.morning.report_file import render

    with waiting(_err, "reading the study, writing the report"):
        text = render(paths, form)
    target = output or (paths.report if form is Form.HTML else None)
    if target is None:
        sys.stdout.write(text)
        return
    try:
        write_whole(target, text)
    except OSError as error:
        step = "Free space or restore access there, or name another --output. The old file is unchanged."
        raise Unavailable(f"{target} was not written: {error.strerror or error}.", step) from error
    _err.print(f"wrote {target}")


def finalize(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    onto: Annotated[
        str, typer.Option(metavar="BRANCH", help="Branch to build on; default: the current commit of the checkout.")
    ] = "",
    name: Annotated[
        str, typer.Option(metavar="BRANCH", help="Name of the new branch; default: autoresearch-TAG.")
    ] = "",
    squash: Annotated[bool, typer.Option("--squash", help="Make one commit of all changes.")] = False,
    only: Annotated[
        str,
        typer.Option(
            metavar="sure|all|4,7", help="Which kept changes: those larger than the noise, all, or these numbers."
        ),
    ] = "sure",
    pr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the text of a pull request, with the chart beside it.")
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also measure the result without each change, to see what each is worth.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each variant, with --ablate.")] = 3,
) -> None:
    """Make a branch to merge, with one commit per kept change and its measured effect. Your checkout is unchanged."""
    from server.finalize import branch, branch_text
    from server.finalize.kept import read
    from server.vcs.stack import Stack

    paths, wish = latest_study(workspace, tag), branch.Wish(onto, name, only, squash)
    with Stack(workspace, onto, branch.scratch(paths)) as stack:
        kept = read(paths, stack)
        made, worths = branch.plan(kept, stack, wish), []
        if ablate:
            worths = _ablated(paths, made, stack, seeds)
            told = {tuple(worth.numbers): [f"Ablation: {worth.text(kept.facts.metric)}"] for worth in worths}
            made = branch.plan(kept, stack, wish, lambda numbers: told.get(tuple(numbers), ()))
        if pr:
            _write_pull_request(paths, made, pr, [worth.text(kept.facts.metric) for worth in worths])
        stack.write(made.name)
    for line in branch_text.describe(made, worths):
        say(_out, line, indent=4)


def _ablated(paths: StudyPaths, made: "Branch", stack: "Stack", seeds: int) -> "list[Worth]":
    from server.chosen_engine import engine_of, remembered
    from server.cli.screens.bars import RunBar
    from server.finalize.ablation import ablate
    from server.study.study import Study

    count = seeds * (1 + len(made.commits))
    say(_err, f"{count} runs: all changes, and all without each of them, {seeds} times each")
    choices = remembered(paths)
    with closing(Study(paths.home.root, paths.tag, choices, engine_of(choices))) as study:
        with RunBar(_err, count, study.budget_seconds()) as bar:
            return ablate(study, made, stack.merge, seeds, bar.tell)


def _write_pull_request(paths: StudyPaths, made: "Branch", file: Path, worth: list[str]) -> None:
    from server.files import write_whole
    from server.finalize.pull_request import text
    from server.history.ledger import Ledger
    from server.reporting.chart import draw
    from server.reporting.position import position

    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        rows, metric = list(ledger.all()), made.kept.facts.metric
        stand = position(ledger, metric)
    picture = file.with_suffix(".png")
    draw(rows, picture, metric, stand)
    write_whole(file, text(made, picture.name, worth))
    _err.print(f"wrote {file} and {picture}")


def notify(
    workspace: _Workspace = Path(),
    test: Annotated[bool, typer.Option("--test", help="Send a message to every address.")] = False,
) -> None:
    """Show where messages about a study go, and when. --test sends one. `watch` and `drive` send them.

    Addresses come from AUTORESEARCH_NOTIFY, or from .autoresearch/notify.toml, which only you may read.
    """
    from server.notify.notifier import test_message
    from server.notify.settings import load_settings
    from server.paths import Home

    home = Home(workspace)
    settings = load_settings(home)
    if not settings.urls:
        step = f'Write urls = ["https://ntfy.sh/TOPIC"] into {home.notify} (chmod 600), or set AUTORESEARCH_NOTIFY.'
        raise Unavailable("No address is configured, so no messages are sent.", step)
    quiet = f", not in the quiet hours {settings.quiet}" if settings.quiet else ""
    say(_out, f"messages for: {', '.join(settings.events)}{quiet}")
    told = test_message(settings, None) if test else [(channel.name, "") for channel in settings.channels]
    for name, why in told:
        say(_out, f"{name}: {why or ('sent' if test else 'not tried; --test tries it')}")
    if any(why for _, why in told):
        raise typer.Exit(1)


def transfer(
    experiment: Annotated[int, typer.Argument(min=1, help="The experiment to check.")],
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    seeds: _Seeds = 3,
    budget: Annotated[
        float, typer.Option(parser=_seconds, metavar="TIME", help="Training time per run: 90, 30m, 2h.")
    ] = 1800,
    depth: Annotated[
        int, typer.Option(min=0, help="Number of blocks of the model (DEPTH in train.py); 0: unchanged.")
    ] = 0,
) -> None:
    """Train an experiment and the baseline for longer, or with a larger model, to see whether the gain holds."""
    from server.study.reruns import RerunRequest

    question = RerunRequest(budget_seconds=budget, seeds=seeds, knobs={"DEPTH": str(depth)} if depth else {})
    _again(latest_study(workspace, tag), [0, experiment], question)


def _again(paths: StudyPaths, numbers: list[int], question: "RerunRequest") -> None:
    """Ask the two experiments, of which 0 is the baseline, and print what they say."""
    from server.chosen_engine import engine_of, remembered
    from server.cli.screens.bars import RunBar
    from server.study.reruns import gain_carries_over, rerun
    from server.study.study import Study

    choices = remembered(paths)
    with closing(Study(paths.home.root, paths.tag, choices, engine_of(choices))) as study:
        asked = (study.ledger.get(number) if number else study.ledger.baseline() for number in numbers)
        rows = [row for row in asked if row]
        if len({row.number for row in rows}) < 2:
            raise LedgerUnavailable("There are no two experiments to compare.", "Keep something first.")
        seconds = question.budget_seconds or rows[0].attempt.budget_seconds
        with RunBar(_err, question.seeds * len(rows), seconds) as bar:
            before, after = rerun(study, rows, question, bar.tell)
        metric = study.program().task.measure
    hidden, of_task = question.split == "holdout", rows[-1].attempt.task is not None
    what = (" by hidden_final" if of_task else " on hidden text") if hidden else " on validation text"
    what = "" if of_task and not hidden else what
    for row, answer in zip(rows, (before, after), strict=True):
        listed = ", ".join(metric.number(score, 6) for score in answer.scores)
        say(_out, f"experiment {row.number}: {listed}{what}; at night {metric.number(row.value or 0.0, 6)}")
    say(_out, gain_carries_over(before, after, metric))
