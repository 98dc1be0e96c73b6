"""A report as Markdown, for a pull request, an issue or a chat."""

from server.metric import Metric
from server.reporting.bill import time_in_words, tokens_in_words
from server.reporting.morning.contents import KeptChange, Report, Words
from server.reporting.morning.markdown import escaped, fenced, table

_DIFFS = 40  # changes whose diff is shown
_MARKS = {"sure": "sure", "noise": "within the noise", "provisional": "by one run"}


def markdown(report: Report, metric: Metric) -> str:
    """The page."""
    parts = [
        f"# {escaped(report.title)}",
        escaped(" · ".join(report.about)),
        *(f"> **{escaped(alarm)}**" for alarm in report.alarms),
        "".join(map(_word, report.lead)),
        table([escaped(one.name) for one in report.numbers], [[_cell(one.value, one.more) for one in report.numbers]]),
        *_kept(report, metric),
        *_agents(report),
        *_others(report),
        *_failed(report),
        *_next(report),
        "## How far to trust it",
        "\n".join(f"- {'✓' if good else '**!**'} {escaped(f'{text} {more}')}" for good, text, more in report.trust),
        "## The bill",
        _bill(report),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _cell(value: str, more: str) -> str:
    return f"**{escaped(value)}** {escaped(more)}"


def _word(word: Words) -> str:
    text = escaped(word.text)
    lead, end = " " * word.text.startswith(" "), " " * word.text.endswith(" ")
    mark = "*" if word.quoted else "**" if word.strong or word.gain else ""
    return f"{lead}{mark}{text}{mark}{end}"


def _kept(report: Report, metric: Metric) -> list[str]:
    if not report.kept:
        return ["## Nothing was kept"]
    head = ["#", "change", f"{escaped(metric.name)} ± error", "", "confirmed"]
    rows = [
        [
            str(one.number),
            escaped(one.description),
            escaped(one.told),
            _MARKS.get(one.standing, ""),
            str(one.confirmations),
        ]
        for one in report.kept
    ]
    left = f"{report.kept_left} earlier ones are in the history." if report.kept_left else ""
    return ["## What was kept", table(head, rows), left, *map(_change, report.kept[-_DIFFS:])]


def _change(one: KeptChange) -> str:
    lines = [
        f"{line.kind if line.kind in '+- ' else '#'}{'' if line.kind in '+- ' else ' '}{line.text}" for line in one.diff
    ]
    more = [f"# {one.cut} more lines"] if one.cut else []
    summary = f"{one.number}: {escaped(one.description)} ({escaped(one.told)})"
    why = escaped(one.hypothesis)
    source = f"Source: {escaped(one.source)}" if one.source else ""
    beside = escaped(f"Beside it: {', '.join(one.effects)}.") if one.effects else ""
    head, diff = f"<details><summary>\n\n{summary}\n\n</summary>", fenced("\n".join([*lines, *more]), "diff")
    inner = [head, why, source, beside, diff]
    return "\n\n".join([*filter(None, inner), "</details>"])


def _agents(report: Report) -> list[str]:
    if not report.agents:
        return []
    head = ["agent", "changes tried", "kept", "sure", "best gain ± error", report.bill.time_of]
    return ["## Who found what", table(head, [[escaped(cell) for cell in line] for line in report.agents])]


def _others(report: Report) -> list[str]:
    if not report.others:
        return []
    rows = [
        [str(one.number), escaped(one.description), escaped(one.told), escaped(one.verdict)] for one in report.others
    ]
    left = f"{report.others_left} more are in the history." if report.others_left else ""
    return ["## What did not help", table(["#", "change", "difference ± error", "verdict"], rows), left]


def _failed(report: Report) -> list[str]:
    if not report.failures:
        return []
    lines: list[str] = []
    for one in report.failures:
        lines.append(f"- {escaped(one.cause)}: {len(one.numbers)}")
        lines += [f"  - {escaped(example)}" for example in one.examples]
    return ["## What failed, and why", "\n".join(lines)]


def _next(report: Report) -> list[str]:
    told = report.next
    lines = [*told.near, *(f"together: {pair}" for pair in told.pairs), *(f"idea: {idea}" for idea in told.ideas)]
    lines += [f"note: {note}" for note in told.notes]
    return (
        ["## What nearly worked, and what to try next", "\n".join(f"- {escaped(line)}" for line in lines)]
        if lines
        else []
    )


def _bill(report: Report) -> str:
    bill = report.bill
    rows = [[name, time_in_words(seconds)] for name, seconds in bill.lines()]
    if bill.agent and bill.agent.tokens:
        price = "no price reported" if bill.agent.usd is None else f"${bill.agent.usd:.2f}"
        rows.append([escaped(bill.agent.client), escaped(f"{tokens_in_words(bill.agent.tokens)} tokens, {price}")])
    return table(["", ""], [[escaped(cell) for cell in row] for row in rows])
