"""The night as a picture: every attempt a dot, the running best a line. Better is wherever the metric says."""

# pyright: reportUnknownMemberType=false
# (matplotlib types its methods in part)

from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from server.metric import Metric
from server.records import Experiment, Verdict
from server.reporting.position import Position
from server.reporting.view_model import Standing
from server.reporting.view_words import KEPT, kept_words, shown_size
from server.text import printable

_GREEN = "#2e9e5b"
_GREY = "#b8bcc2"
_RED = "#d1495b"
_VIOLET = "#7b2cbf"
_LABEL = 40  # characters of a description
_OPEN = {Standing.NOISE: "-", Standing.PROVISIONAL: ":"}  # outlines of what is not surely better
_SPAN = 3.0  # how many times the least value the largest is where a logarithmic axis shows more than a linear one


def draw(experiments: Sequence[Experiment], path: Path, metric: Metric, stand: Position | None = None) -> None:
    """Write the picture as a PNG.

    Args:
        stand: how sure what was kept is, and what it was measured again as; without it keeps are drawn alike.

    Raises:
        OSError: the file cannot be written; what was there is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(png(experiments, metric, stand))
    temporary.replace(path)


def png(experiments: Sequence[Experiment], metric: Metric, stand: Position | None = None) -> bytes:
    """The picture as a PNG."""
    made = BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's: with LaTeX, a description would be LaTeX
        matplotlib.rcParams["text.parse_math"] = False  # a dollar in a description is a dollar
        FigureCanvasAgg(picture(experiments, metric, stand)).print_png(made)
    return made.getvalue()


def picture(experiments: Sequence[Experiment], metric: Metric, stand: Position | None = None) -> Figure:
    """Grey dots discarded, green dots kept, crosses without a score that counts, and the best so far.

    A green dot that is not filled was kept, and is not surely better. Each keep stands where the runs that did not
    select it have it.

    Of rows that were measured in another way before, none is shown: their scores are others.
    """
    now = experiments[-1].attempt.task if experiments else None
    experiments = [experiment for experiment in experiments if experiment.attempt.task == now]
    figure = Figure(figsize=(12, 6.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    experiments = [experiment for experiment in experiments if experiment.attempt.of is None or experiment.running]
    scored = [(experiment.number, value) for experiment in experiments if (value := experiment.value) is not None]
    kept = [experiment for experiment in experiments if experiment.kept and experiment.value is not None]
    if scored:
        _frame(axes, metric, [value for _, value in scored], [_value(experiment, stand) for experiment in kept])
    grey = [point for point in scored if point[0] not in {experiment.number for experiment in kept}]
    axes.scatter(*_columns(grey), s=28, color=_GREY, label="discarded", zorder=2)
    scoreless = [experiment for experiment in experiments if experiment.value is None and not experiment.running]
    edge = axes.get_ylim()[metric.direction == "lower"]  # where what is worst would be
    for label, color, revoked in (("no score", _RED, False), ("revoked", _VIOLET, True)):
        found = [experiment.number for experiment in scoreless if bool(experiment.revocation) is revoked]
        if found or not revoked:
            at = [edge] * len(found)
            axes.scatter(found, at, s=40, marker="x", color=color, label=label, zorder=4, clip_on=False)
    if kept:
        _best(axes, kept, experiments[-1].number, stand)
    title = _title(experiments, kept, metric) if stand is None else _told(experiments, metric, stand)
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel("experiment")
    axes.set_ylabel(_axis(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#eceef1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False)
    return figure


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _axis(metric: Metric) -> str:
    unit = f"{metric.unit}, " if metric.places is None and metric.unit not in ("", metric.name) else ""
    return printable(f"{metric.name} ({unit}{metric.direction} is better)")


def _frame(axes: Axes, metric: Metric, values: list[float], best: list[float]) -> None:
    """Show the baseline and the best; a diverged run must not flatten the rest."""
    worst = metric.worst(best or values)
    shown = [value for value in values if metric.sign * (worst - value) <= 0.15 * abs(worst)]
    low, high = min(shown), max(shown)
    if metric.scale == "log" and low > 0 and high > _SPAN * low:
        axes.set_yscale("log")
        axes.set_ylim(low * (low / high) ** 0.15, high * (high / low) ** 0.45)
        return
    room = max(high - low, 0.01 * max(abs(low), abs(high))) or 1.0
    axes.set_ylim(low - 0.15 * room, high + 0.45 * room)  # labels stand above the dots


def _value(kept: Experiment, stand: Position | None) -> float:
    """What a keep is drawn at."""
    line = stand.kept.get(kept.number) if stand else None
    again = line.again if line else None
    return kept.value or 0.0 if again is None else again


def _best(axes: Axes, kept: Sequence[Experiment], last: int, stand: Position | None) -> None:
    points = [(experiment.number, _value(experiment, stand)) for experiment in kept]
    # The best stays the best through later attempts that failed.
    axes.step(*_columns([*points, (last, points[-1][1])]), where="post", color=_GREEN, linewidth=1.6, zorder=1)
    # How far a task's number can be believed depends on its evaluator: the chart says it.
    marks = sorted({experiment.trust for experiment in kept if experiment.attempt.task is not None})
    trust = f" ({', '.join(marks)})" if marks else ""
    groups: dict[Standing, list[tuple[int, float]]] = defaultdict(list)
    for number, value in points:
        standing = stand.kept[number].standing if stand and number in stand.kept else Standing.SURE
        groups[standing if standing in _OPEN else Standing.SURE].append((number, value))
    for standing, here in groups.items():
        face, edge, line = ("white", _GREEN, _OPEN[standing]) if standing in _OPEN else (_GREEN, "#14532d", "-")
        label = KEPT[standing] + trust
        axes.scatter(*_columns(here), s=64, facecolor=face, edgecolor=edge, linestyle=line, label=label, zorder=3)
    for experiment, point in zip(kept, points, strict=True):
        text = printable(experiment.attempt.description)
        text = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
        axes.annotate(
            text, point, xytext=(4, 7), textcoords="offset points", rotation=30, fontsize=8.5, color="#14532d"
        )


def _told(experiments: Sequence[Experiment], metric: Metric, stand: Position) -> str:
    """How far the study has come, as page and report tell it."""
    many = sum(row.attempt.of is None and not row.running and row.verdict != Verdict.REFUSED for row in experiments)
    revoked = sum(experiment.revocation is not None for experiment in experiments)
    head = f"{many} experiments, {kept_words(stand.counts)}" + (f", {revoked} revoked" if revoked else "")
    if (found := stand.headline) is None or found.best.number == found.baseline.number:
        return head
    error = "" if found.best.error is None else f" ± {shown_size(metric, found.best.error)}"
    again = ", a provisional value" if found.provisional else ""
    way = metric.step(found.baseline.value, found.best.value, 1)
    return f"{head}\n{way}{f', known to{error}' if error else ''}{again}"


def _title(experiments: Sequence[Experiment], kept: Sequence[Experiment], metric: Metric) -> str:
    revoked = sum(experiment.revocation is not None for experiment in experiments)
    head = f"{len(experiments)} experiments, {len(kept)} kept" + (f", {revoked} revoked" if revoked else "")
    scores = [experiment.value for experiment in kept if experiment.value is not None]
    if len(scores) < 2:
        return head
    return f"{head}: {metric.step(scores[0], scores[-1], 1)}"
