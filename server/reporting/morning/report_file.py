"""The report of a study in its three forms, and the file that it leaves at its end."""

from pathlib import Path

from server.files import write_whole
from server.metric import Metric
from server.paths import StudyPaths
from server.reporting.morning.contents import Report
from server.reporting.morning.gather import gather
from server.reporting.morning.page import html
from server.reporting.morning.text_page import markdown

FORMS = ("html", "md", "json")


def render(paths: StudyPaths, form: str) -> str:
    """The report of a study in one of `FORMS`. Raises LedgerUnavailable."""
    report = gather(paths)
    if form == "json":
        return report.model_dump_json(indent=1, exclude={"summary": {"rows", "cursor"}}) + "\n"
    return {"html": html, "md": markdown}[form](report, metric_of(report))


def write_report(paths: StudyPaths) -> Path:
    """Write `report.html` into the study's folder. Raises LedgerUnavailable, OSError."""
    write_whole(paths.report, render(paths, "html"))
    return paths.report


def metric_of(report: Report) -> Metric:
    """What the report's numbers are."""
    view = report.summary.study.metric
    return Metric(view.name, view.direction, view.unit, view.scale, places=None if view.places is None else 6)
