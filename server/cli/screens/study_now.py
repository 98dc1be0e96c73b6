"""`autoresearch status`: one snapshot of a study for people, and the same for programs."""

from typing import Any

from server.cli.screens.layout import whole
from server.cli.screens.next_steps import state_in_words, steps_of
from server.metric import Metric
from server.paths import StudyPaths
from server.reporting.bill import time_in_words
from server.reporting.study_view import StudyView
from server.reporting.view_model import AgentView, Headline, Measured, MetricView, NoiseView, Summary
from server.reporting.view_words import lanes_in_words, shown_change, shown_size
from server.text import printable, shorten

_TABLES = {"rows", "lessons", "kinds", "standings", "verdicts", "categories", "cursor"}
_CURVES = {"curve", "against"}
_WORDS = 120  # bytes of a description


def summary_of(paths: StudyPaths) -> Summary:
    """The study as it is on disk; no lock is taken. Raises LedgerUnavailable."""
    view = StudyView(paths)
    try:
        return view.summary()
    finally:
        view.close()


def as_json(summary: Summary, paths: StudyPaths) -> dict[str, Any]:
    """The snapshot for programs: the summary without its tables and curves, and the next commands."""
    told = summary.model_dump(
        mode="json", exclude={**dict.fromkeys(_TABLES, True), "now": _CURVES, "lanes": {"__all__": {"now": _CURVES}}}
    )
    steps = [{"command": command, "what": what} for command, what in steps_of(summary)]
    return {"workspace": str(paths.home.root.resolve()), **told, "next": steps}


def facts_of(summary: Summary, paths: StudyPaths) -> list[tuple[str, str]]:
    """The snapshot for people, a name and some words a line."""
    head, now = summary.study, summary.now
    metric = metric_of(head.metric)
    better = f"{head.metric.name}{f' in {head.metric.unit}' if head.metric.unit else ''}, {head.metric.direction}"
    ideas = [f"{note.number}: {shorten(note.text, _WORDS)}" for note in summary.notes if note.idea and note.open]
    return [
        ("study", f"{head.tag} on branch {head.branch}"),
        ("workspace", whole(str(paths.home.root.resolve()))),
        ("state", state_in_words(summary)),
        ("now", shorten(now.description, _WORDS) if now else ""),
        ("lanes", "; ".join(lanes_in_words(summary.lanes, summary.slots))),
        ("task", f"{head.task + ': ' if head.task else ''}{better} is better"),
        ("a run", _run(summary)),
        ("best", _best(summary.headline, metric)),
        ("noise", _noise(summary.noise, metric)),
        ("tried", _tried(summary)),
        ("agents", "; ".join(_agent(one, metric) for one in summary.agents)),
        ("limits", "; ".join(f"{limit.name}: {limit.told}" for limit in summary.limits)),
        ("ideas", "; ".join(ideas)),
        ("trust", "; ".join(fact.text for fact in summary.health.facts if not fact.good)),
        ("disk", f"{summary.health.disk_gb:.1f} GB free" if summary.health.disk_gb is not None else ""),
    ]


def metric_of(shown: MetricView) -> Metric:
    """The metric of a summary."""
    return Metric(shown.name, shown.direction, shown.unit, shown.scale, places=shown.places)


def _run(summary: Summary) -> str:
    head = summary.study
    parts = [f"{head.budget:g} s" if head.budget else "", f"profile {head.profile}" if head.profile else ""]
    parts.append(f"data {head.dataset}" if head.dataset and head.metric.places is not None else "")
    return ", ".join(part for part in parts if part)


def _best(headline: Headline | None, metric: Metric) -> str:
    if headline is None:
        return "no baseline yet"
    best, first = headline.best, headline.baseline
    told = f"experiment {best.number}: {_measured(best, metric)}, {shorten(best.description, _WORDS)}"
    if best.number == first.number:
        return f"the baseline, {told}"
    error = "" if headline.error is None else f" ± {shown_size(metric, headline.error)}"
    sure = "; its value is provisional: not measured again yet" if headline.provisional else ""
    return (
        f"{told}; {shown_change(metric, headline.change)}{error} from the baseline's {_measured(first, metric)}{sure}"
    )


def _measured(one: Measured, metric: Metric) -> str:
    error = "" if one.error is None else f" ± {shown_size(metric, one.error)}"
    return f"{metric.number(one.value, 4)}{error}"


def _agent(one: AgentView, metric: Metric) -> str:
    best = f", best {shown_change(metric, one.change)} (#{one.best})" if one.change is not None else ""
    return f"{printable(one.name) or 'without a name'} kept {one.kept} of {one.experiments}{best}"


def _noise(noise: NoiseView | None, metric: Metric) -> str:
    if noise is None:
        return ""
    known = f"from {noise.repeats} repeats" if noise.repeats else "assumed: no run was repeated yet"
    return f"one run scatters by {shown_size(metric, noise.sigma)} ({known})"


def _tried(summary: Summary) -> str:
    counts = summary.counts
    if not counts.runs:
        return ""
    parts = {
        "kept": counts.kept,
        "discarded": counts.discarded,
        "failed": counts.failed,
        "open": counts.open,
        "refused": counts.refused,
        "revoked": counts.revoked,
    }
    told = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    more = f"; {counts.since_keep} since the last keep" if counts.since_keep else ""
    took = f"; {counts.runs} runs in {time_in_words(summary.spent.seconds)}" if summary.spent.seconds else ""
    return printable(f"{counts.experiments} experiments{f': {told}' if told else ''}{more}{took}")
