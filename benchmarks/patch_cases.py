"""Diffs of train.py and of generated C, CSS and Markdown, in the ways that models and tools write them.

Each is made from edits that are known, so that the right result is known without reading a diff.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[1]
WORDS = "left right width decay rate scale token block value loss norm gate state depth margin color border".split()


class Edit(NamedTuple):
    """Lines start..end of the base become `new`."""

    start: int
    end: int
    new: list[str]


class Hunk(NamedTuple):
    """A hunk as a diff has it; numbers from 0."""

    old: int
    new: int
    body: list[str]  # each line with its mark

    def count(self, marks: str) -> int:
        return sum(line[0] in marks for line in self.body)


class Case(NamedTuple):
    """One diff with what it is a diff of."""

    base: list[str]
    after: list[str]
    hunks: list[Hunk]
    context: int


class Written(NamedTuple):
    """A patch, the text it is applied to, and the text that must come out; None: it must be refused."""

    patch: str
    text: str
    expected: str | None
    base: str = ""  # the text that the patch was made from, where it is another one


def edited(base: list[str], edits: list[Edit]) -> list[str]:
    """The base with its edits, which are in order and do not touch."""
    out: list[str] = []
    at = 0
    for edit in edits:
        out += base[at : edit.start] + edit.new
        at = edit.end
    return out + base[at:]


def hunks_of(base: list[str], edits: list[Edit], context: int) -> list[Hunk]:
    """The hunks of a diff, made from the edits themselves."""
    groups: list[list[Edit]] = []
    for edit in edits:
        if groups and edit.start - groups[-1][-1].end <= 2 * context:
            groups[-1].append(edit)
        else:
            groups.append([edit])
    hunks, grown = list[Hunk](), 0
    for group in groups:
        start, stop = max(0, group[0].start - context), min(len(base), group[-1].end + context)
        body, at = list[str](), start
        for edit in group:
            body += [" " + line for line in base[at : edit.start]]
            body += ["-" + line for line in base[edit.start : edit.end]] + ["+" + line for line in edit.new]
            at = edit.end
        body += [" " + line for line in base[at:stop]]
        hunks.append(Hunk(start, start + grown, body))
        grown += sum(len(edit.new) - (edit.end - edit.start) for edit in group)
    return hunks


def random_edits(rng: random.Random, base: list[str], most: int, copies: bool = True) -> list[Edit]:
    """Some edits that do not touch each other; each changes something. `copies`: some of it by a copy of a line."""
    edits: list[Edit] = []
    at = 0
    for start in sorted(rng.sample(range(len(base)), min(most, len(base)))):
        if start < at:
            continue
        kind = rng.choice(("replace", "replace", "insert", "delete"))
        goes = 0 if kind == "insert" else rng.randint(1, min(3, len(base) - start))
        new = [] if kind == "delete" else [_line(rng, base, start, copies) for _ in range(rng.randint(1, 3))]
        if new and goes and (new[0] == base[start] or new[-1] == base[start + goes - 1]):
            continue
        if not goes and (new[0] == base[start] or (start and new[-1] == base[start - 1])):
            continue
        edits.append(Edit(start, start + goes, new))
        at = start + goes + 1
    return edits or [Edit(len(base) // 2, len(base) // 2, ["only_here = 1"])]


def _line(rng: random.Random, base: list[str], near: int, copies: bool) -> str:
    """A line that somebody might write here: new, blank, or a copy of another."""
    indent = base[near][: len(base[near]) - len(base[near].lstrip())]
    draw = rng.random()
    if draw < 0.1:
        return ""
    if draw < 0.25 and copies:
        return rng.choice(base)
    return f"{indent}{rng.choice(WORDS)}_{rng.choice(WORDS)} = {rng.randint(0, 999)}"


def bases(rng: random.Random) -> list[list[str]]:
    """train.py, and texts of other languages, full of lines and of whole blocks that stand there twice."""
    train = (_ROOT / "train.py").read_text(encoding="utf-8").split("\n")[:-1]
    start = rng.randint(0, len(train) - 100)
    return [train, train[start : start + 100], _c(rng), _css(rng), _markdown(rng)]


def _c(rng: random.Random) -> list[str]:
    lines = ["#include <stdio.h>", ""]
    for number in range(rng.randint(4, 12)):
        lines += ["/*", f" * {rng.choice(WORDS)} of the {rng.choice(WORDS)}", " */"]
        lines += [f"static int {rng.choice(WORDS)}_{number % 3}(int n)", "{", "\tint i, sum = 0;"]
        lines += [
            f"\tfor (i = 0; i < {rng.choice(('n', '10'))}; i++) {{",
            f"\t\tsum += i * {rng.randint(1, 4)};",
            "\t}",
        ]
        lines += ['\tprintf("%d\\n", sum);'] * rng.randint(0, 2) + ["\treturn sum;", "}", ""]
    return lines


def _css(rng: random.Random) -> list[str]:
    lines = list[str]()
    for _ in range(rng.randint(5, 20)):
        lines += [f".{rng.choice(WORDS)} {{"]
        lines += [f"  {word}: {rng.randint(0, 3)}px;" for word in rng.sample(WORDS, rng.randint(1, 4))]
        lines += ["}"] + [""] * rng.randint(0, 2)
    return lines


def _markdown(rng: random.Random) -> list[str]:
    lines = ["# Title", ""]
    for _ in range(rng.randint(4, 12)):
        lines += [f"## {rng.choice(WORDS).title()}", ""]
        lines += [f"- {rng.choice(WORDS)} and “{rng.choice(WORDS)}”" for _ in range(rng.randint(0, 4))]
        lines += ["", f"A {rng.choice(WORDS)} is no {rng.choice(WORDS)}.", "", "```", "x = 1", "```", ""]
    return lines


def text_of(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def header(hunk: Hunk, moved: int = 0) -> str:
    """The line that begins a hunk of a unified diff."""
    old, new = hunk.count(" -"), hunk.count(" +")
    return f"@@ -{hunk.old + (old > 0) + moved},{old} +{hunk.new + (new > 0) + moved},{new} @@"


def unified(hunks: list[Hunk], heads: list[str] | None = None, name: str = "train.py") -> str:
    """A unified diff, with other headers if they are given."""
    heads = heads or [header(hunk) for hunk in hunks]
    body = "".join(text_of([head, *hunk.body]) for head, hunk in zip(heads, hunks, strict=True))
    return f"--- a/{name}\n+++ b/{name}\n{body}"


def begin(hunks: list[Hunk]) -> str:
    """The hunks as *** Begin Patch."""
    body = "".join(text_of(["@@", *hunk.body]) for hunk in hunks)
    return f"*** Begin Patch\n*** Update File: train.py\n{body}*** End Patch\n"


def blocks(hunks: list[Hunk], less: str = "") -> str:
    """The hunks as SEARCH/REPLACE blocks, each line without the indentation `less`."""
    out = ""
    for hunk in hunks:
        sides = ([line[1:].removeprefix(less) for line in hunk.body if line[0] in marks] for marks in (" -", " +"))
        old, new = map(text_of, sides)
        out += f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n"
    return out


def rewritten(hunks: list[Hunk], change: Callable[[str], str]) -> str:
    """A unified diff with other lines below the same headers."""
    changed = [hunk._replace(body=[change(line) for line in hunk.body]) for hunk in hunks]
    return unified(changed, [header(hunk) for hunk in hunks])


def _plain(case: Case, rng: random.Random) -> Written:
    return written(case, unified(case.hunks))


def written(case: Case, patch: str) -> Written:
    return Written(patch, text_of(case.base), text_of(case.after))


def _shuffled(case: Case, rng: random.Random) -> Written:
    return written(case, unified(rng.sample(case.hunks, len(case.hunks))))


def _sections(case: Case, rng: random.Random) -> Written:
    return written(case, "".join(begin([hunk]) for hunk in rng.sample(case.hunks, len(case.hunks))))


def _bare(case: Case, rng: random.Random) -> Written:
    return written(case, unified(case.hunks, ["@@"] * len(case.hunks)))


def _begin(case: Case, rng: random.Random) -> Written:
    return written(case, begin(case.hunks))


def _blocks(case: Case, rng: random.Random) -> Written:
    return written(case, blocks(case.hunks))


def _numbers(case: Case, rng: random.Random) -> Written:
    """Numbers that are off, all by as much or each by itself; none is right, so that none says where."""
    together = rng.choice((0, rng.choice((-7, -2, -1, 1, 2, 3, 11))))
    heads = []
    for hunk in case.hunks:
        moved = together or rng.choice((-5, -1, 1, 4, 50))
        moved = moved if hunk.old + moved >= 0 and not _stands(case.base, hunk, hunk.old + moved) else 400
        heads.append(header(hunk, moved))
    return written(case, unified(case.hunks, heads))


def _one_number(case: Case, rng: random.Random) -> Written:
    """One number that is off."""
    off = rng.randrange(len(case.hunks))
    moved = rng.choice((1, 2, 5))
    moved = 400 if _stands(case.base, case.hunks[off], case.hunks[off].old + moved) else moved
    heads = [header(hunk, moved if at == off else 0) for at, hunk in enumerate(case.hunks)]
    return written(case, unified(case.hunks, heads))


def _stands(base: list[str], hunk: Hunk, at: int) -> bool:
    """Whether a number that is off names a copy of what the hunk changes; a hunk that only adds is nowhere."""
    old = [line[1:] for line in hunk.body if line[0] != "+"]
    return bool(old) and base[at : at + len(old)] == old


def _counts(case: Case, rng: random.Random) -> Written:
    heads = [f"@@ -{hunk.old + 1},{rng.randint(1, 9)} +{hunk.new + 1},{rng.randint(1, 9)} @@" for hunk in case.hunks]
    return written(case, unified(case.hunks, heads))


def _no_blank(case: Case, rng: random.Random) -> Written:
    return written(case, rewritten(case.hunks, lambda line: line[1:] if line[:1] == " " else line))


def _no_blank_lines(case: Case, rng: random.Random) -> Written:
    return written(case, rewritten(case.hunks, lambda line: "" if line == " " else line))


def _trailing(case: Case, rng: random.Random) -> Written:
    return written(case, rewritten(case.hunks, lambda line: line + "  " if line[0] in " -" else line))


def _spaced(case: Case, rng: random.Random) -> Written:
    return written(case, rewritten(case.hunks, lambda line: f"{line[0]} {line[1:]}" if line[1:] else line))


def _crlf(case: Case, rng: random.Random) -> Written:
    return written(case, unified(case.hunks).replace("\n", "\r\n"))


def _crlf_base(case: Case, rng: random.Random) -> Written:
    ends = (text_of(lines).replace("\n", "\r\n") for lines in (case.base, case.after))
    return Written(unified(case.hunks), *ends)


def _mixed(case: Case, rng: random.Random) -> Written:
    """Some lines end otherwise: what is not touched must keep its end, and its form feeds."""
    base = [line + "\r" if rng.random() < 0.3 else line + "\x0c" if rng.random() < 0.1 else line for line in case.base]
    (hunk,) = hunks_of(base, [Edit(at := rng.randrange(len(base)), at + 1, ["only_here = 1"])], 3)
    after = [*base[:at], "only_here = 1" + "\r" * base[at].endswith("\r"), *base[at + 1 :]]
    return Written(rewritten([hunk], lambda line: line.rstrip("\r")), text_of(base), text_of(after))


def _prose(case: Case, rng: random.Random) -> Written:
    above = rng.choice(
        ("Here is the change:\n\n", "- raises the rate\n- copy from the paper: 0.04\n\n", "### optimizer.lr\n\n")
    )
    below = rng.choice(
        ("-- \n2.43.0\n", "```\nThat is all.\n", "\n- It raises the rate.\n- It is small.\n", "\nThat is all.\n")
    )
    return written(case, above + ("```diff\n" if below[0] == "`" else "") + unified(case.hunks) + below)


def _prose_begin(case: Case, rng: random.Random) -> Written:
    return written(case, f"I change this:\n- the rate\n\n{begin(case.hunks)}\n- so that it is higher.\n")


def _prose_blocks(case: Case, rng: random.Random) -> Written:
    return written(case, f"### optimizer.lr\n{blocks(case.hunks)}\n- so that it is higher: 0.04\n")


def _typographic(case: Case, rng: random.Random) -> Written:
    table = str.maketrans({"'": "\u2019", '"': "\u201d", "-": "\u2013"})
    return written(case, rewritten(case.hunks, lambda line: line.translate(table) if line[0] == " " else line))


def _names(case: Case, rng: random.Random) -> Written:
    old = rng.choice(
        (
            "train.py.orig",
            "train.py\t2026-01-01 10:00:00",
            "train.py   2026-01-01 10:00:00.0 +0000",
            "train.py (original)",
        )
    )
    return written(case, unified(case.hunks).replace("--- a/train.py", f"--- {old}").replace("+++ b/", "+++ "))


def _shifted(case: Case, rng: random.Random) -> Written:
    """Blocks with less indentation than the file, by as much in every line."""
    whole = [line[1:] for hunk in case.hunks for line in hunk.body if line[1:].strip()]
    less = next((blank for blank in ("    ", "  ", "\t") if all(line.startswith(blank) for line in whole)), "")
    left = [[line[1:].removeprefix(less) for line in hunk.body if line[0] != "+"] for hunk in case.hunks]
    if all(any(case.base[at : at + len(old)] == old for at in range(len(case.base))) for old in left):
        less = ""  # nothing in the patch tells that it is another place than the one where it stands as written
    return written(case, blocks(case.hunks, less))


def _anchored(case: Case, rng: random.Random) -> Written:
    """Each hunk below the nearest line above that is not indented."""
    out = ""
    for hunk in case.hunks:
        above = [line for line in case.base[: hunk.old] if line[:1].strip()]
        out += text_of([f"@@ {above[-1]}" if above else "@@", *hunk.body])
    return written(case, f"*** Begin Patch\n*** Update File: train.py\n{out}*** End Patch\n")


def _twice(case: Case, rng: random.Random) -> Written:
    return written(case, unified([*case.hunks, rng.choice(case.hunks)]))


def _context_changed(case: Case, rng: random.Random) -> Written:
    """One line that must be there is another one: nothing may be applied."""
    at = rng.randrange(len(case.hunks))
    body = list(case.hunks[at].body)
    places = [n for n, line in enumerate(body) if line[0] != "+"]
    if not places:
        return Written(unified(case.hunks).replace("@@ -", "@@ ", 1), text_of(case.base), None)
    place = rng.choice(places)
    body[place] = body[place][0] + f"  another_{rng.randint(0, 99)} line"
    hunks = [*case.hunks[:at], case.hunks[at]._replace(body=body), *case.hunks[at + 1 :]]
    return Written(unified(hunks), text_of(case.base), None)


def _applied(case: Case, rng: random.Random) -> Written:
    return Written(unified(case.hunks), text_of(case.after), None)


def _escaped(case: Case, rng: random.Random) -> Written:
    return Written(unified(case.hunks).replace("\n", "\\n"), text_of(case.base), None)


# Kinds that leave the place determined: a refusal is a loss.
CLEAR = {
    "as it is": _plain,
    "shuffled": _shuffled,
    "wrong counts": _counts,
    "blank lines empty": _no_blank_lines,
    "no blank before context": _no_blank,
    "blanks at line ends": _trailing,
    "a blank behind each mark": _spaced,
    "CRLF": _crlf,
    "CRLF file": _crlf_base,
    "mixed ends": _mixed,
    "prose": _prose,
    "typographic": _typographic,
    "names": _names,
}
# Kinds that take numbers or lines away: what stands twice, or has no context, must be refused.
POORER = {
    "bare headers": _bare,
    "Begin Patch": _begin,
    "Begin Patch in prose": _prose_begin,
    "sections": _sections,
    "anchors": _anchored,
    "blocks": _blocks,
    "blocks in prose": _prose_blocks,
    "blocks less indented": _shifted,
    "numbers off": _numbers,
    "one number off": _one_number,
    "a hunk twice": _twice,
}
NONE = {"a line changed": _context_changed, "applied before": _applied, "escaped": _escaped}
