"""The chart of a report as SVG: every experiment a mark, the best so far a line with its error."""

from collections.abc import Sequence
from typing import NamedTuple

from server.metric import Metric
from server.reporting.morning.axis import Axis, decimals
from server.reporting.morning.elements import Html, el, shown
from server.reporting.morning.labels import Box, Room
from server.reporting.morning.measured import with_error
from server.reporting.morning.summary_paragraph import minus
from server.reporting.view_model import Kind, Standing, Summary

_WIDTH = 860
_HEIGHT = 410
_LEFT = 62
_RIGHT = 12
_TOP = 34
_BOTTOM = 26
_FAILED = 16  # the row of those without a score
_LABELS = 8
_LABEL = 42  # characters
_SHORT = 24  # where there is no room for so many
_LETTER = 7.0  # width of one in a label, about
_BOLD = 7.8  # and of one in its gain
_DOT = 4.0  # from the middle of a mark that was not kept to its edge, about
_MOST_TITLES = 400  # marks that say what they are: more would make the page large
_RINGS = {Standing.NOISE: "noise", Standing.PROVISIONAL: "once"}


class Mark(NamedTuple):
    """One experiment on the chart."""

    number: int
    kind: Kind
    standing: Standing
    value: float | None
    error: float | None
    change: float | None
    change_error: float | None
    description: str


def marks(summary: Summary, metric: Metric) -> list[Mark]:
    """The experiments that the last definition of the task has measured, or that failed."""
    rows, found = summary.rows, list[Mark]()
    for at, number in enumerate(rows.number):
        kind, value = Kind(summary.kinds[rows.kind[at]]), rows.value[at]
        if not rows.comparable[at] or kind in (Kind.RUNNING, Kind.REFUSED) or (value and metric.problem(value)):
            continue
        standing = Standing(summary.standings[rows.standing[at]])
        again = rows.again[at]
        told = (number, kind, standing, value if again is None else again, rows.value_error[at])
        found.append(Mark(*told, rows.change[at], rows.error[at], rows.description[at]))
    return found


def chart(summary: Summary, metric: Metric) -> Html | None:
    """The picture; None where nothing was measured."""
    every = marks(summary, metric)
    kept = [mark for mark in every if mark.kind is Kind.KEPT and mark.value is not None]
    if not kept:
        return None
    sheet = Sheet(every, kept, metric, summary.noise.sigma if summary.noise else None)
    label = f"{metric.name} of every experiment, and the best so far"
    return el(
        "svg",
        el("title", label),
        sheet.grid(),
        sheet.band(),
        sheet.others(),
        sheet.line(),
        sheet.kept(),
        sheet.labels(),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="chart" if len(every) <= _MOST_TITLES else "chart crowded",
    )


def caption(summary: Summary, metric: Metric) -> str:
    """What the marks mean."""
    every = marks(summary, metric)
    kept = [mark for mark in every if mark.kind is Kind.KEPT and mark.value is not None]
    told = ["Filled: kept, and larger than the noise."]
    if any(mark.standing in _RINGS for mark in kept):
        told.append("Open: kept, and not larger than the noise by itself.")
    told.append("Grey: not kept. The line is the best so far, its band one standard error.")
    if kept and Sheet(every, kept, metric, summary.noise.sigma if summary.noise else None).axis.stretched:
        told.append("The scale is stretched near the best.")
    return " ".join([*told, f"{metric.direction.capitalize()} is better."])


class Sheet:
    """Where things are on the picture."""

    def __init__(self, every: Sequence[Mark], kept: Sequence[Mark], metric: Metric, sigma: float | None) -> None:
        self._every, self._kept, self._metric = every, kept, metric
        best = kept[-1].value or 0.0
        values = [mark.value for mark in kept if mark.value is not None]
        reach = 0.35 * max(abs(metric.place(value) - metric.place(best)) for value in values) or (sigma or 0.0) * 6
        worst = metric.worst(values)
        limit = metric.better_by(-reach, worst)
        near = [mark.value for mark in every if mark.value is not None and not metric.reached(limit, mark.value)]
        errors = [metric.better_by(side * (kept[-1].error or 0.0), best) for side in (-1, 1)]
        self.axis = Axis(metric, [*values, *near, *errors], best, sigma)
        self._last = max(mark.number for mark in every)
        self._radius = 4.5 if len(every) <= _MOST_TITLES else 2.5

    def x(self, number: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (number - 0.5) / max(self._last, 1)

    def y(self, score: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * self.axis.height(score)

    def _within(self, score: float) -> float:
        """Its height, or that of the edge if it is beyond the picture."""
        return min(max(self.y(score), _TOP), _HEIGHT - _BOTTOM)

    def grid(self) -> Html:
        """Lines of round scores, and numbers of experiments."""
        ticks = self.axis.ticks()
        digits = decimals(ticks)
        right, foot = _WIDTH - _RIGHT, _HEIGHT - 8
        made = [
            [
                el("line", x1=_LEFT, x2=right, y1=self.y(tick), y2=self.y(tick)),
                el("text", minus(f"{tick:.{digits}f}"), x=_LEFT - 8, y=self.y(tick) + 4, text_anchor="end"),
            ]
            for tick in ticks
        ]
        step = next((size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500) if self._last / size <= 8), 1000)
        numbers = range(step, self._last + 1, step)
        below = [el("text", str(number), x=self.x(number), y=foot, text_anchor="middle") for number in numbers]
        return el("g", made, below, class_="grid")

    def band(self) -> Html:
        """One error to each side of the best so far."""
        made: list[Html] = []
        ends = [*(mark.number for mark in self._kept[1:]), self._last + 0.5]
        for mark, end in zip(self._kept, ends, strict=True):
            if mark.value is None or not mark.error:
                continue
            edges = [self._within(self._metric.better_by(side * mark.error, mark.value)) for side in (-1, 1)]
            top, height = min(edges), abs(edges[0] - edges[1])
            made.append(
                el("rect", x=self.x(mark.number), y=top, width=self.x(end) - self.x(mark.number), height=height)
            )
        return el("g", made, class_="band")

    def others(self) -> Html:
        """What was not kept: dots, crosses above for what has no score, triangles for what is beyond the picture."""
        dots: list[str] = []
        crosses: list[str] = []
        beyond: list[str] = []
        top, bottom = _TOP - 2, _HEIGHT - _BOTTOM
        for mark in self._every:
            x = round(self.x(mark.number), 1)
            if mark.value is None:
                crosses.append(f"M{x - 3:g} {_FAILED - 3}l6 6m0 -6l-6 6")
            elif mark.kind is not Kind.KEPT:
                y = self.y(mark.value)
                if top <= y <= bottom:
                    dots.append(f"M{x:g} {y:.1f}h0")
                else:
                    tip, way = (top, 1) if y < top else (bottom, -1)
                    beyond.append(f"M{x:g} {tip}l4 {6 * way}h-8z")
        made = [el("path", d="".join(told), class_=name) for name, told in (("dots", dots), ("beyond", beyond)) if told]
        if crosses:
            made.append(el("path", d="".join(crosses), class_="crosses"))
            made.append(el("text", "failed", x=_LEFT - 8, y=_FAILED + 4, text_anchor="end", class_="tick"))
        return el("g", made)

    def line(self) -> Html:
        """The best so far."""
        steps = [f"M{self.x(self._kept[0].number):.1f} {self.y(self._kept[0].value or 0.0):.1f}"]
        steps += [f"H{self.x(mark.number):.1f}V{self.y(mark.value or 0.0):.1f}" for mark in self._kept[1:]]
        return el("path", d="".join([*steps, f"H{self.x(self._last + 0.5):.1f}"]), class_="best")

    def kept(self) -> Html:
        made: list[Html] = []
        for mark in self._kept:
            what = el("title", f"{mark.number}: {mark.description}") if len(self._every) <= _MOST_TITLES else None
            name = f"kept {_RINGS.get(mark.standing, '')}".strip()
            made.append(
                el("circle", what, cx=self.x(mark.number), cy=self.y(mark.value or 0.0), r=self._radius, class_=name)
            )
        return el("g", made)

    def labels(self) -> Html:
        """The largest gains, named where there is room; a shorter name, or none, where there is none for the whole."""
        rated = [(self._metric.sign * mark.change, mark) for mark in self._kept[1:] if mark.change is not None]
        room = self._room()
        made: list[Html] = []
        for gain, mark in sorted(rated, key=lambda one: -one[0])[:_LABELS]:
            told = minus(with_error(self._metric, gain, mark.change_error)).partition(" ±")[0]
            what = " ".join(shown(mark.description).split())
            for most in (_LABEL, _SHORT, 0):
                name = f"{what if len(what) <= most else f'{what[: most - 1].rstrip()}…'} " if most else ""
                width = _LETTER * len(name.rstrip()) + _BOLD * (len(told) + 1)
                if placed := room.place(self.x(mark.number), self.y(mark.value or 0.0), width):
                    end = {"text_anchor": "end"} if placed.ends else {}
                    gained = el("tspan", told, class_="gain")
                    made.append(el("text", name, gained, x=placed.x, y=placed.y, **end))
                    break
        return el("g", made, class_="labels")

    def _room(self) -> Room:
        """What marks and the line of the best leave."""
        marks = [self._around(mark) for mark in self._every]
        lines: list[Box] = []
        ends = [*(self.x(mark.number) for mark in self._kept[1:]), self.x(self._last + 0.5)]
        for mark, end, after in zip(self._kept, ends, [*self._kept[1:], None], strict=True):
            y = self.y(mark.value or 0.0)
            below = self.y(after.value or 0.0) if after else y
            lines += [Box(self.x(mark.number), y, end, y), Box(end, min(y, below), end, max(y, below))]
        return Room(Box(_LEFT, _TOP - 8, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM), marks, lines)

    def _around(self, mark: Mark) -> Box:
        """The mark's place on the picture."""
        size = self._radius if mark.kind is Kind.KEPT else _DOT
        x, y = self.x(mark.number), _FAILED if mark.value is None else self._within(mark.value)
        return Box(x - size, y - size, x + size, y + size)


def forest(changes: Sequence[tuple[float | None, float | None, Standing]], metric: Metric) -> list[Html | None]:
    """A gain and two errors to each side of it, as a small picture each, all on one axis; better is to the right."""
    gains = [(metric.sign * change, error or 0.0) for change, error, _ in changes if change is not None]
    if not gains:
        return [None] * len(changes)
    ordered = sorted(gain + 2 * error for gain, error in gains)
    high = min(ordered[-1], 3 * ordered[len(ordered) // 2]) or 1.0  # one large gain runs off the end
    low = min(0.0, *(max(gain - 2 * error, -high / 3) for gain, error in gains))
    width, middle = 150.0, 9.0

    def x(gain: float) -> float:
        return 4 + (width - 8) * (min(max(gain, low), high) - low) / (high - low)

    made: list[Html | None] = []
    for change, error, standing in changes:
        if change is None:
            made.append(None)
            continue
        gain, half = metric.sign * change, 2 * (error or 0.0)
        name = f"kept {_RINGS.get(standing, '')}".strip()
        parts = [
            el("line", x1=x(0), x2=x(0), y1=0, y2=18, class_="zero"),
            el("line", x1=x(gain - half), x2=x(gain + half), y1=middle, y2=middle, class_="error"),
        ]
        if gain > high:
            parts.append(el("path", d=f"M{width - 8:g} 5l6 4l-6 4z", class_="kept"))
        else:
            parts.append(el("circle", cx=x(gain), cy=middle, r=4, class_=name))
        made.append(el("svg", parts, viewBox=f"0 0 {width:g} 18", class_="forest", aria_hidden="true"))
    return made
