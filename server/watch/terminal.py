"""The summary of a study in a terminal, live: what the page shows, for whoever comes over ssh."""

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from server.errors import AutoresearchError
from server.metric import Metric
from server.paths import StudyPaths
from server.reporting.study_view import StudyView
from server.reporting.view_model import Headline, MetricView, Now, Standing, Summary
from server.reporting.view_words import (
    KEPT,
    headline_words,
    kept_words,
    lanes_in_words,
    shown_change,
    shown_size,
)
from server.text import printable

_LOOK_SECONDS = 1.0
_ROWS = 12  # the last experiments
_STYLES = {"kept": "green", "failed": "red", "running": "blue", "open": "yellow", "revoked": "red"}


def follow(find: Callable[[], StudyPaths], out: Console, once: bool = False) -> None:
    """Show a study until Ctrl-C, or once."""
    view, shown = StudyView(find()), Text("…")
    with Live(shown, console=out, screen=False, auto_refresh=False, transient=False) as live:
        while True:
            if not view.paths.ledger.exists() and (found := find()) != view.paths:
                view.close()
                view = StudyView(found)
            try:
                live.update(drawn(view.summary()), refresh=True)
            except (AutoresearchError, OSError) as error:  # a ledger that is being rebuilt: what is shown stays
                live.update(Group(live.renderable, Text(printable(str(error)), style="yellow")), refresh=True)
            if once:
                return
            time.sleep(_LOOK_SECONDS)


def drawn(summary: Summary) -> RenderableType:
    """The study."""
    head, counts = summary.study, summary.counts
    told = head.state.value + (f": {head.why}" if head.why else "") + (f" ({head.asked} asked)" if head.asked else "")
    title = Text.assemble(("autoresearch ", "bold"), printable(head.tag), "  ", (printable(told), "bold"))
    line = f"{counts.experiments} experiments, {kept_words(counts)}, {counts.failed} failed"
    line += f", {counts.since_keep} since the last keep"
    parts: list[RenderableType] = [title, *_headline(summary.headline, head.metric), Text(line)]
    parts += [Text(f"{limit.name}: {limit.told}", style="dim") for limit in summary.limits]
    if summary.now:
        parts.append(_now(summary.now))
    if summary.lanes:
        parts += [Text(lane, style="dim") for lane in lanes_in_words(summary.lanes, summary.slots)]
    parts.append(_table(summary))
    warnings = [fact for fact in summary.health.facts if not fact.good]
    parts += [Text(f"! {printable(fact.text)}. {printable(fact.more)}", style="yellow") for fact in warnings]
    return Group(*parts)


def _metric(shown: MetricView) -> Metric:
    return Metric(shown.name, shown.direction, shown.unit, shown.scale, places=shown.places)


def _headline(headline: Headline | None, shown: MetricView) -> list[RenderableType]:
    if headline is None:
        return [Text("No baseline yet.", style="dim")]
    first, _, rest = headline_words(_metric(shown), headline).partition(", ")
    style = "bold green" if headline.better else "bold"
    return [Text.assemble((printable(first), style), f" {printable(shown.name)}"), Text(rest, style="dim")]


def _now(now: Now) -> RenderableType:
    again = f", experiment {now.of} again" if now.of else ""
    left = "" if now.eta is None else f"; verdict in about {now.eta:.0f} s"
    gap = "" if now.gap is None else f"; loss {abs(now.gap):.3f} {'below' if now.gap < 0 else 'above'} the incumbent's"
    lines: list[RenderableType] = [Text(printable(now.description)), Text(f"{now.stage}{left}{gap}", style="dim")]
    if now.share is not None:
        lines.append(ProgressBar(total=1.0, completed=now.share))
    return Panel(Group(*lines), title=Text(f"#{now.number}{again}"), title_align="left")


def _table(summary: Summary) -> Table:
    """The last experiments, newest first."""
    rows, metric = summary.rows, _metric(summary.study.metric)
    table = Table("#", "outcome", printable(metric.name), "Δ", "description", box=None, pad_edge=False)
    for at in reversed(range(max(len(rows.number) - _ROWS, 0), len(rows.number))):
        kind, standing = summary.kinds[rows.kind[at]], summary.standings[rows.standing[at]]
        name = KEPT.get(Standing(standing)) or summary.verdicts[rows.verdict[at]].replace("_", " ")
        value, change, error = rows.value[at], rows.change[at], rows.error[at]
        told = "" if change is None else shown_change(metric, change)
        told += f" ± {shown_size(metric, error)}" if told and error is not None else ""
        cells = (str(rows.number[at]), name, "" if value is None else metric.number(value, 4), told)
        table.add_row(*map(Text, cells), Text(printable(rows.description[at])), style=_STYLES.get(kind, ""))
    return table
