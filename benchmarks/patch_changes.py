"""Diffs that were changed on their way: escaped, quoted, indented; and texts that have what a patch may have."""

import html
import random

from benchmarks.patch_cases import (
    CLEAR,
    NONE,
    POORER,
    WORDS,
    Case,
    Written,
    begin,
    blocks,
    text_of,
    unified,
    written,
)


def odd_bases(rng: random.Random) -> list[list[str]]:
    """Texts full of what a patch itself may have: escapes, quotes, markers."""
    return [_html(rng), _manual(rng)]


def _html(rng: random.Random) -> list[str]:
    """Lines that are there as they are, and escaped."""
    lines = ["<html>", "<body>"]
    for _ in range(rng.randint(4, 12)):
        a, b = rng.choice(WORDS), rng.choice(WORDS)
        lines += rng.sample(
            [f"<p>{a} & {b}</p>", f"&lt;p&gt;{a} &amp; {b}&lt;/p&gt;", f"  {a} &lt; {b}", f"  {a} < {b}"], 3
        )
        lines += ["<br>"] * rng.randint(0, 2) + [f"<!-- &quot;{b}&quot; -->", ""]
    return [*lines, "</body>", "</html>"]


def _manual(rng: random.Random) -> list[str]:
    """Lines that a patch may have, of a page about patches."""
    lines = ["# Patches", ""]
    for _ in range(rng.randint(4, 10)):
        a, b = rng.choice(WORDS), rng.choice(WORDS)
        diff = ["@@ -1 +1 @@", f"-{a} = 1", f"+{a} = 2"]
        block = ["<<<<<<< SEARCH", f"{a} = 1", "=======", f"{a} = 2", ">>>>>>> REPLACE"]
        before = rng.choice(("> ", "    ", "  "))
        lines += [f"{before}{line}" for line in rng.choice((diff, block))] + ["", f"{b} = 3", f"A {b}.", ""]
    return lines


def _each(text: str, before: str) -> str:
    return "".join(
        f"{before}{line}".rstrip() + "\n" if not line.strip() else f"{before}{line}\n" for line in text.split("\n")[:-1]
    )


def _escaped_for_html(case: Case, patch: str, rng: random.Random) -> str:
    """The patch, escaped if the lines to look for tell it: they are nowhere in the file as they are then."""
    old = [html.escape(line[1:], quote=False) for hunk in case.hunks for line in hunk.body if line[0] != "+"]
    return patch if set(old) <= set(case.base) else html.escape(patch, quote=rng.random() < 0.5)


def _html_escaped(case: Case, rng: random.Random) -> Written:
    return written(case, _escaped_for_html(case, unified(case.hunks), rng))


def _html_blocks(case: Case, rng: random.Random) -> Written:
    return written(case, _escaped_for_html(case, blocks(case.hunks), rng))


def _quoted(case: Case, rng: random.Random) -> Written:
    above, below = rng.choice((("", ""), ("I would change this:\n\n", "\nThat is all.\n")))
    return written(case, above + _each(unified(case.hunks), rng.choice(("> ", ">", "> > "))) + below)


def _quoted_blocks(case: Case, rng: random.Random) -> Written:
    return written(case, _each(blocks(case.hunks), rng.choice(("> ", ">"))))


def _indented(case: Case, rng: random.Random) -> Written:
    before = rng.choice(("  ", "    ", "\t", "   "))
    above, below = rng.choice((("", ""), (f"1. This:\n\n{before}```diff\n", f"{before}```\n")))
    return written(case, above + _each(unified(case.hunks), before) + below)


def _indented_begin(case: Case, rng: random.Random) -> Written:
    return written(case, _each(begin(case.hunks), rng.choice(("  ", "    ", "\t"))))


def _indented_blocks(case: Case, rng: random.Random) -> Written:
    return written(case, _each(blocks(case.hunks), rng.choice(("  ", "    ", "\t"))))


def _markers(case: Case, rng: random.Random) -> Written:
    """Markers that are indented, or narrower, or in small letters; all of them, or those of one block."""
    before, width = rng.choice(("  ", "    ", "\t", "")), rng.choice((3, 4, 7, 7, 10))
    some = rng.randrange(len(case.hunks)) if rng.random() < 0.5 else None
    out = ""
    for at, hunk in enumerate(case.hunks):
        sides = ([line[1:] for line in hunk.body if line[0] in marks] for marks in (" -", " +"))
        old, new = map(text_of, sides)
        left, wide, search = (before, width, "search") if some in (None, at) else ("", 7, "SEARCH")
        out += f"{left}{'<' * wide} {search}\n{old}{left}{'=' * wide}\n{new}{left}{'>' * wide} REPLACE\n"
    return written(case, out)


def _carriage_returns(case: Case, rng: random.Random) -> Written:
    return written(case, unified(case.hunks).replace("\n", rng.choice(("\r", "\r\r\n"))))


# As in patch_cases: kinds that leave the place determined, and kinds that take numbers or lines away.
CHANGED_CLEAR = {
    "HTML": _html_escaped,
    "quoted": _quoted,
    "indented": _indented,
    "CR": _carriage_returns,
}
CHANGED_POORER = {
    "HTML blocks": _html_blocks,
    "quoted blocks": _quoted_blocks,
    "indented blocks": _indented_blocks,
    "indented Begin Patch": _indented_begin,
    "other markers": _markers,
}
KINDS = {**CLEAR, **CHANGED_CLEAR, **POORER, **CHANGED_POORER, **NONE}
