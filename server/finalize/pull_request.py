"""The text of a pull request: headline, table, each change, how far to trust it, and how to measure it again."""

from collections.abc import Sequence

from server.finalize.branch import Branch, Made
from server.finalize.effect import Effect, together
from server.metric import percent
from server.reporting.morning.markdown import escaped, fenced, table
from server.reporting.morning.measured import with_error
from server.reporting.morning.summary_paragraph import minus
from server.source.patch import diff

_MOST = 60_000  # characters: GitHub takes 65,536
_DIFF = 6_000  # of one change
_TRUST = {
    "sealed": "the referee measured it on text that the code never saw",
    "judged": "a judge that the code never met measured it",
    "audited": "the referee measured it, but some guard around the code did not hold",
    "printed": "the code under test ran in the process that printed the number",
    "unconfined": "no guard held around the code under test",
}


def text(branch: Branch, chart: str = "", worth: Sequence[str] = ()) -> str:
    """The page in Markdown, at most 60,000 characters.

    Args:
        chart: name of a picture beside it. worth: of each commit, what an ablation says; empty: there was none.
    """
    parts = [
        _head(branch),
        _table(branch, worth),
        f"![Every experiment, and the best so far]({chart})" if chart else "",
    ]
    parts += [_trust(branch), _again(branch)]
    whole = "\n\n".join(filter(None, parts))
    blocks = ["## Each change"] + [_change(branch, made) for made in branch.commits]
    room = _MOST - len(whole) - 200
    taken: list[str] = []
    for block in blocks:
        room -= len(block) + 2
        if room < 0:
            taken.append(f"{len(blocks) - len(taken)} more changes: see the commits.")
            break
        taken.append(block)
    return "\n\n".join([*parts[:3], *taken, *parts[3:]]).replace("\n\n\n\n", "\n\n") + "\n"


def total(branch: Branch) -> Effect:
    """What all commits brought together, as each was measured at its hour."""
    return together(branch.kept.together(made.numbers) for made in branch.commits)


def _head(branch: Branch) -> str:
    metric, rows = branch.kept.facts.metric, branch.kept.rows
    effect, first, last = total(branch), rows[0], rows[-1]
    before = first.value - first.judgement.delta if first.value and first.judgement and first.judgement.delta else None
    way = ""
    if branch.measured and before is not None and last.value is not None:
        way = f" {metric.number(before, 4)} → {metric.number(last.value, 4)} ({minus(percent(before, last.value, 1))})"
    size = "" if effect.gain is None else f": {minus(with_error(metric, effect.gain, effect.error))}"
    count = len(branch.commits)
    head = f"# {escaped(metric.name)}{way}{size}"
    commits = "one commit each. Each" if count != 1 else "in one commit. Its"
    told = (
        f"{count} change{'s' if count != 1 else ''} of the autoresearch study {escaped(branch.kept.paths.tag)}, "
        f"{commits} gain was measured against the best text of its hour"
    )
    if branch.measured:
        return f"{head}\n\n{told}; the text at the tip is the one that was measured last."
    return f"{head}\n\n{told}. **The text at the tip was not measured as it is: run it once before you rely on it.**"


def _table(branch: Branch, worth: Sequence[str]) -> str:
    metric = branch.kept.facts.metric
    head = ["#", "change", f"{escaped(metric.name)} ({metric.direction} is better)", "confirmations", "trust"]
    rows: list[list[str]] = []
    for place, made in enumerate(branch.commits):
        effect, row = branch.kept.together(made.numbers), branch.kept.row(made.numbers[-1])
        numbers = ", ".join(map(str, made.numbers))
        told = [numbers, escaped(made.subject), escaped(minus(made.effect)), str(effect.confirmations), row.trust]
        rows.append([*told, *([escaped(minus(worth[place]))] if worth else [])])
    return table([*head, *(["without it"] if worth else [])], rows)


def _change(branch: Branch, made: Made) -> str:
    kept = branch.kept
    told: list[str] = []
    for number in made.numbers:
        row = kept.row(number)
        before, after = (
            {path: text for path, pair in kept.changes[number].items() if (text := pair[at]) is not None}
            for at in (0, 1)
        )
        patch = diff(before, after)
        cut = patch if len(patch) <= _DIFF else patch[: patch.rfind("\n", 0, _DIFF)] + "\n… the rest is in the commit"
        why = f"{escaped(row.attempt.hypothesis)}\n\n" if row.attempt.hypothesis.strip() else ""
        told.append(f"{why}{fenced(cut, 'diff')}")
    inner = "\n\n".join(told)
    summary = f"{', '.join(map(str, made.numbers))}: {escaped(made.subject)} ({escaped(minus(made.effect))})"
    return f"<details><summary>\n\n{summary}\n\n</summary>\n\n{inner}\n\n</details>"


def _trust(branch: Branch) -> str:
    marks = {branch.kept.row(number).trust for made in branch.commits for number in made.numbers} - {""}
    lines = [f"- `{mark}`: {_TRUST.get(mark, 'see docs/trust.md')}." for mark in sorted(marks)]
    lines.append(
        "- A gain is given with its standard error, from the spread of repeated runs. Gains of chains are sums: a "
        "text that was selected for its score is somewhat worse when it is measured again."
    )
    return "## How far to trust it\n\n" + "\n".join(lines)


def _again(branch: Branch) -> str:
    tag, numbers = branch.kept.paths.tag, [made.numbers[-1] for made in branch.commits]
    commands = [
        f"autoresearch report --tag {tag} --hidden --seeds 3   # on text that scored nothing",
        f"autoresearch transfer {numbers[-1]} --tag {tag}          # longer runs",
        f"autoresearch finalize --tag {tag} --ablate --name NAME   # is each change still worth it",
    ]
    return "## To measure it again\n\n" + fenced("\n".join(commands), "sh")
