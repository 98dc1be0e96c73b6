"""A report as one HTML file: no script, no other file, no address; a reader without either sees all of it."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from server.metric import Metric
from server.reporting.bill import Bill, time_in_words, tokens_in_words
from server.reporting.morning.chart import caption, chart, forest
from server.reporting.morning.contents import Failure, KeptChange, Report, Words
from server.reporting.morning.elements import Child, Html, el, together
from server.reporting.morning.summary_paragraph import minus
from server.reporting.view_detail import DiffLine
from server.reporting.view_model import Standing

_STYLE = Path(__file__).parents[2] / "templates" / "report.css"
_MARKS = {
    Standing.SURE: "sure",
    Standing.NOISE: "within the noise",
    Standing.PROVISIONAL: "by one run",
    Standing.BASELINE: "baseline",
    Standing.NONE: "",
}
_LINES = {"+": "add", "-": "cut", "@": "at", "file": "file", " ": "same"}


@cache
def _style() -> str:
    """The style sheet without the room between its rules."""
    return "".join(line.strip() for line in _STYLE.read_text(encoding="utf-8").splitlines())


def html(report: Report, metric: Metric) -> str:
    """The file's text."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{report.title}: {metric.name}"),
        Html(f"<style>{style}</style>"),
    )
    body = el("body", el("main", _top(report, metric), _changes(report, metric), _rest(report)), _foot(report))
    return f"<!doctype html>\n{el('html', head, body, lang='en').text}\n"


def _top(report: Report, metric: Metric) -> Html:
    """Title, what a reader must know first, the paragraph, six figures and the chart."""
    picture = chart(report.summary, metric)
    figure = el("figure", picture, el("figcaption", caption(report.summary, metric))) if picture else None
    numbers = [
        el(
            "div",
            el("dt", one.name),
            el("dd", one.value, class_="value"),
            el("dd", minus(one.more), class_="more"),
        )
        for one in report.numbers
    ]
    return together(
        el("h1", report.title),
        el("p", " · ".join(report.about), class_="about"),
        [el("p", alarm, class_="alarm", role="alert") for alarm in report.alarms],
        el("p", [_word(word) for word in report.lead], class_="lead"),
        el("dl", numbers, class_="numbers"),
        figure,
    )


def _word(word: Words) -> Child:
    text = minus(word.text) if not word.quoted else word.text
    if word.gain:
        return el("span", text, class_="gain")
    if word.quoted:
        return el("i", text)
    return el("b", text) if word.strong else text


def _changes(report: Report, metric: Metric) -> Html:
    """What was kept: a table, then each change."""
    if not report.kept:
        return el("h2", "Nothing was kept")
    pictures = forest([(one.change, one.error, one.standing) for one in report.kept], metric)
    rows = [
        [str(one.number), one.description, picture, one.told, _mark(one), str(one.confirmations)]
        for one, picture in zip(report.kept, pictures, strict=True)
    ]
    head = ["#", "change", "gain, ± two errors", f"{metric.name} ± error", "how sure", "confirmed"]
    told = [one for one in report.kept if one.diff or one.title]
    fewer = f"The last {len(told)} of them in depth:" if len(told) < len(report.kept) else None
    return together(
        el("h2", "What was kept"),
        el("div", _table("What was kept", head, rows, right=(0, 3, 5)), class_="overview"),
        el("p", f"{report.kept_left} earlier ones are in the history.") if report.kept_left else None,
        el("p", fewer) if fewer else None,
        [_change(one) for one in told],
    )


def _mark(one: KeptChange) -> Html:
    return el("span", _MARKS[one.standing], class_=f"mark {one.standing.value}")


def _change(one: KeptChange) -> Html:
    beside = f"Beside it: {', '.join(one.effects)}." if one.effects else None
    more = f"… {one.cut} more lines: git show {one.commit[:12]}" if one.cut else None
    return el(
        "section",
        el(
            "header",
            el("span", str(one.number), class_="number"),
            el("h3", one.description),
            el("span", el("span", one.told, class_="gain"), " ", _mark(one), class_="told"),
        ),
        el("p", one.hypothesis, class_="why") if one.hypothesis.strip() else None,
        el("p", f"Source: {one.source}", class_="why") if one.source else None,
        el("p", ". ".join(filter(None, (one.title, minus(one.text)))), " ", beside),
        el(
            "div",
            [_diff_line(line) for line in one.diff],
            el("div", more, class_="at") if more else None,
            class_="diff",
            role="group",
            aria_label=f"Change {one.number}",
            tabindex="0",  # it scrolls sideways: keys can scroll what has the focus alone
        )
        if one.diff
        else None,
        class_="change",
    )


def _diff_line(line: DiffLine) -> Html:
    kind, parts, at = _LINES.get(line.kind, "same"), list[Child](), 0
    for start, end in line.marks:
        parts += [line.text[at:start], el("mark", line.text[start:end])]
        at = end
    sign = line.kind if line.kind in ("+", "-", " ") else ""
    return el("div", sign.replace("-", "−"), parts, line.text[at:], class_=kind)


def _rest(report: Report) -> Html:
    """What kinds of ideas helped, what did not, what failed, what next, how far to trust it, and the bill."""
    return together(
        _agents(report),
        _kinds(report),
        _others(report),
        _failed(report.failures),
        _next(report),
        _trust(report),
        _bill(report.bill),
    )


def _agents(report: Report) -> Html | None:
    """Where there is more than one."""
    if not report.agents:
        return None
    rows: list[list[Child]] = [[*line] for line in report.agents]
    head = ["agent", "changes tried", "kept", "sure", "best gain ± error", report.bill.time_of]
    return together(el("h2", "Who found what"), _table("Who found what", head, rows, right=(1, 2, 3, 4, 5)))


def _kinds(report: Report) -> Html | None:
    """Where there is more than one."""
    if len(report.categories) < 2:
        return None
    kinds: list[list[Child]] = [[*line] for line in report.categories]
    table = _table("Kinds of ideas", ["kind of idea", "tried", "kept", "brought"], kinds, right=(1, 2, 3))
    return together(el("h2", "What kind of idea helped"), table)


def _others(report: Report) -> Html | None:
    if not report.others:
        return None
    rows: list[list[Child]] = [[str(one.number), one.description, one.told, one.verdict] for one in report.others]
    head = ["#", "change", "difference ± error", "verdict"]
    left = f"{report.others_left} more, all of them further from a gain, are in `autoresearch history`."
    return together(
        el("h2", "What did not help"),
        el("p", "Measured and not kept, the nearest to a gain first.", class_="about"),
        el("div", _table("What did not help", head, rows, right=(0, 2)), class_="dense"),
        el("p", left, class_="about") if report.others_left else None,
    )


def _failed(failures: Sequence[Failure]) -> Html | None:
    if not failures:
        return None
    made: list[Html] = []
    for one in failures:
        numbers = ", ".join(map(str, one.numbers[:20])) + (" …" if len(one.numbers) > 20 else "")
        count = len(one.numbers)
        made += [
            el("h3", f"{one.cause}: {count} run{'' if count == 1 else 's'}"),
            el("p", f"experiment{'' if count == 1 else 's'} {numbers}", class_="about"),
            el("ul", [el("li", example) for example in one.examples]),
        ]
    return together(el("h2", "What failed, and why"), made)


def _next(report: Report) -> Html | None:
    told = report.next
    parts = [
        ("Better, but within the noise", told.near),
        ("Never tried together", told.pairs),
        ("Ideas that the agent left open", told.ideas),
        ("Notes", told.notes),
    ]
    made = [
        [el("h3", name, class_="about"), el("ul", [el("li", minus(line)) for line in lines])]
        for name, lines in parts
        if lines
    ]
    return together(el("h2", "What nearly worked, and what to try next"), made) if made else None


def _trust(report: Report) -> Html:
    facts = [
        el(
            "li",
            el("span", "✓" if good else "!", class_="sign"),
            f"{minus(text).rstrip('.')}. ",
            el("span", minus(more), class_="more") if more else None,
            class_="good" if good else "bad",
        )
        for good, text, more in report.trust
    ]
    return together(el("h2", "How far to trust it"), el("ul", facts, class_="facts"))


def _bill(bill: Bill) -> Html:
    rows: list[Sequence[Child]] = [[name, time_in_words(seconds)] for name, seconds in bill.lines()]
    agent = bill.agent
    if agent and agent.tokens:
        cached = f", {tokens_in_words(agent.tokens_cached)} of them from a cache" if agent.tokens_cached else ""
        starts = f"{agent.starts} start{'' if agent.starts == 1 else 's'}"
        rows += [
            ["agent", f"{agent.client}, {starts}"],
            ["tokens in", f"{tokens_in_words(agent.tokens_in)}{cached}"],
            ["tokens out", tokens_in_words(agent.tokens_out)],
            ["cost, as the client reports it", "no price reported" if agent.usd is None else f"${agent.usd:.2f}"],
        ]
        if (price := bill.usd_a_gain) is not None:
            rows.append(["cost of one sure gain", f"${price:.2f}"])
    device = el("p", bill.device, class_="about") if bill.device else None
    return together(el("h2", "The bill"), device, el("div", _table("The bill", [], rows, right=(1,)), class_="bill"))


def _table(label: str, head: Sequence[str], rows: Sequence[Sequence[Child]], right: Sequence[int]) -> Html:
    """`right`: columns of numbers. Without a head, the first cell of each row names it."""

    def cell(name: str, at: int, inside: Child, of: str | None = None) -> Html:
        return el(name, inside, class_="n" if at in right else None, scope=of)

    def named(row: Sequence[Child]) -> list[Html]:
        first = [] if head else [cell("th", 0, row[0], "row")]
        return [*first, *(cell("td", at, inside) for at, inside in enumerate(row) if head or at)]

    top = el("thead", el("tr", [cell("th", at, name, "col") for at, name in enumerate(head)])) if head else None
    table = el("table", top, el("tbody", [el("tr", named(row)) for row in rows]))
    return el("div", table, class_="wide", role="group", aria_label=label, tabindex="0")


def _foot(report: Report) -> Html:
    tag = report.summary.study.tag
    commands = f"autoresearch finalize --tag {tag}"
    return el(
        "footer",
        el("p", "A branch with one commit for each sure change: ", el("code", commands)),
        el("p", f"Written by autoresearch {report.version}, {report.made[:16].replace('T', ' ')} UTC."),
        class_="foot",
    )
