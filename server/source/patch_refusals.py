"""Why a hunk is refused: where its text stands, and what to do next. Pure."""

import re
from collections.abc import Sequence

from server.errors import PatchRefused
from server.source.hunks import COMES, GONE, UNMARKED, Hunk
from server.source.patch_places import Finder, Fit, bare, plain
from server.text import clip

_MOST = 600  # characters of a refusal
_QUOTED = 5  # lines of the file that a refusal shows at most
_WIDTH = 60  # characters of each
_COMPARED = 8  # lines of a hunk that the nearest place is found by
_LETTER = re.compile(r"\w")
_WORD = re.compile(r"\w+|[^\w\s]")
_ADD_LINES = "Add lines above or below, so that it matches only one of them."
_COPY = "Copy whole lines exactly as read_train() shows them, without the line numbers."


class Undecided(PatchRefused):
    """Every hunk fits as it is written, but not at one place alone, so that no other reading is looked for."""


def refusal(problem: str, next_step: str) -> PatchRefused:
    """A refusal of at most 600 characters."""
    return PatchRefused(clip(problem, _MOST - 1 - len(next_step)), next_step)


def ambiguous(hunk: Hunk, fits: Sequence[Fit], file: str) -> PatchRefused:
    """It fits at several places."""
    more = ", ..." if len(fits) > 10 else ""
    step = _ADD_LINES
    if hunk.header and not hunk.counted:
        step = f"{_ADD_LINES} The numbers in its header decide only if their counts fit its lines."
    return refusal(f"{hunk.name} matches {file} at {len(fits)} places: {_lines(fits[:10])}{more}.", step)


def anchor_not_found(hunk: Hunk, finder: Finder, file: str) -> PatchRefused:
    """No line of the file is like one of its anchors."""
    missing = next((a for at, a in enumerate(hunk.anchors) if finder.below(hunk.anchors[: at + 1]) is None), "")
    fits = finder.fits(hunk)
    stands = f" The lines of the hunk are at {_lines(fits[:10])}." if fits else ""
    return refusal(
        f"{hunk.name} is anchored at a line that {file} does not have there: @@ {clip(missing)}.{stands}",
        "Write a line of the file behind '@@', or '@@' alone and more lines around the change.",
    )


def not_below_anchor(hunk: Hunk, fits: Sequence[Fit], file: str) -> PatchRefused:
    """Its text stands elsewhere."""
    return refusal(
        f"{hunk.name} does not match {file} below its anchor @@ {clip(hunk.anchors[-1])}: it is at "
        f"{_lines(fits[:10])}.",
        "Correct the anchor, or leave it out and add lines around the change.",
    )


def almost_at_its_line(hunk: Hunk, fit: Fit, other: int, file: str) -> PatchRefused:
    """It fits where its header does not say, and nearly fits where it does."""
    return refusal(
        f"{hunk.name} matches {file} at line {fit.at + 1}, but its header says line {(hunk.start or 0) + 1}, "
        f"and line {other + 1} and those below are nearly the same: they have changed since the patch was written.",
        "Call read_train(), and write the lines as they are now or '@@' without numbers.",
    )


def not_at_its_line(hunk: Hunk, fit: Fit, file: str) -> PatchRefused:
    """It fits where its header does not say, and no line of it tells that this is the place."""
    return refusal(
        f"{hunk.name} matches {file} at line {fit.at + 1}, but its header says line {(hunk.start or 0) + 1}, and its "
        "lines also occur elsewhere or with another indentation, or the other hunks have moved by less: it may be "
        "meant for lines that have changed since.",
        "Call read_train(), and write '@@' without numbers or more lines around the change.",
    )


def without_blanks(hunk: Hunk, fit: Fit, file: str) -> PatchRefused:
    """It fits without a blank line at its start or end alone, and no line of it tells that this is the place."""
    return refusal(
        f"{hunk.name} matches {file} at line {fit.at + 1} only without the blank line at its start or end, and its "
        "lines also occur elsewhere: it may be meant for lines that have changed since.",
        "Call read_train(), and write the lines as they are now, or more of them around the change.",
    )


def no_position(hunk: Hunk, file: str) -> PatchRefused:
    """It has no text to be found by."""
    only = "can be found only by blank lines" if hunk.before else "only adds lines and does not say where"
    return refusal(
        f"{hunk.name} {only}; numbers alone may be out of date.",
        f"Put the line of {file} above the place into the hunk, unchanged, or give base_sha256 as well.",
    )


def overlapping(hunk: Hunk, other: Hunk, number: int, file: str) -> PatchRefused:
    """Another hunk changes the same lines."""
    return refusal(
        f"{hunk.name} changes {file} at line {number}, where {other.name} changes it, too.",
        "Write both changes as one hunk.",
    )


def already_added(hunk: Hunk, number: int, file: str) -> PatchRefused:
    """What it adds stands there already."""
    return refusal(
        f"{hunk.name} seems to be applied already: the lines that it adds are at line {number} of {file}.",
        "If you want them twice, add the lines above and below the place to the hunk.",
    )


def no_match(hunk: Hunk, finder: Finder, file: str) -> PatchRefused:
    """It fits nowhere."""
    if applied := _applied(hunk, finder):
        step = "Call read_train() to see the file as it is, and go on from there."
        return refusal(f"{hunk.name} is already applied: {applied} of {file}.", step)
    if places := finder.find(hunk.before, bare) if any(map(bare, hunk.before)) else []:
        return _misindented(hunk, finder, places, file)
    stray = [edit.text for edit in hunk.edits if edit.mark == UNMARKED and bare(edit.text) not in finder.bare]
    if stray:
        return refusal(
            f"A line of {hunk.name} has no mark and is not in {file}: {clip(stray[0])}",
            "Start every line of a hunk with ' ', '-' or '+', followed by the line exactly as it is in the file.",
        )
    at = _nearest(finder.texts, hunk.before)
    first = _differing(finder, at, hunk.before)
    above = max(0, at + first - 2)
    shown = [f"{n:>4}  {clip(text, _WIDTH)}" for n, text in enumerate(finder.texts[above : above + _QUOTED], above + 1)]
    return refusal(
        f"{hunk.name} does not match {file}; nothing was changed. The first line that differs: "
        f"{clip(hunk.before[first])!r}{_standing(hunk.before[first], finder)}. "
        f"The nearest lines of {file} are:\n" + "\n".join(shown),
        "\n" + _COPY,
    )


def _standing(line: str, finder: Finder) -> str:
    """Where a line stands that is not where the lines around it are; "" if it is nowhere, or blank."""
    places = finder.find([line], bare) if bare(line) else []
    return f", which stands at {_numbers(places[:3])}{', ...' if len(places) > 3 else ''}" if places else ""


def _differing(finder: Finder, at: int, sought: list[str]) -> int:
    """The index of the first line of `sought` that the file does not have, if it is laid at line `at`."""
    here = [*map(plain, finder.texts[at : at + len(sought)]), *[None] * len(sought)]
    return next((n for n, line in enumerate(sought) if here[n] != plain(line)), 0)


def _applied(hunk: Hunk, finder: Finder) -> str:
    """What shows that its result stands already, and where; "" if nothing does."""
    gone = [edit.text for edit in hunk.edits if edit.mark == GONE]
    new = [edit.text for edit in hunk.edits if edit.mark == COMES]
    if any(map(_LETTER.search, new)):
        places = finder.find(hunk.after, plain)
        return f"its new lines stand at line {places[0] + 1}" if places else ""
    sides = [hunk.edits[0], hunk.edits[-1]]
    if new or any(bare(text) in finder.bare for text in gone) or any(edit.mark == GONE for edit in sides):
        return ""
    places = finder.find(hunk.after, plain) if all(_LETTER.search(edit.text) for edit in sides) else []
    return f"what is around the lines that it removes stands together at line {places[0] + 1}" if places else ""


def _misindented(hunk: Hunk, finder: Finder, places: list[int], file: str) -> PatchRefused:
    at = places[0]
    first = _differing(finder, at, hunk.before)
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    there, here = clip(hunk.before[first]), clip(finder.texts[at + first])
    return refusal(
        f"{hunk.name} does not match {file}: only the indentation differs from line {at + 1}{more}. "
        f"Line {at + first + 1} of {file} is {here!r}, the patch has {there!r}.",
        "Copy the blanks at the start of each line as well.",
    )


def _nearest(texts: list[str], sought: list[str]) -> int:
    """Where the file is most like `sought`: by the characters of the words that both have."""
    longest = sorted(range(len(sought)), key=lambda n: -len(sought[n].strip()))[:_COMPARED]
    words = {n: set(_WORD.findall(sought[n][:500])) for n in longest}
    here = [set(_WORD.findall(text[:500])) for text in texts]

    def likeness(at: int) -> float:
        return sum(
            _shared(words[n], here[at + n], sought[n], texts[at + n]) for n in longest if 0 <= at + n < len(texts)
        )

    starts = range(-min(len(sought) - 1, 3), len(texts))
    return max(0, max(starts, key=likeness, default=0))


def _shared(a: set[str], b: set[str], one: str, other: str) -> float:
    if not a or not b:
        return 0.0
    alike = sum(map(len, a & b)) / sum(map(len, a | b))
    return (alike * alike + (one.strip() == other.strip())) * sum(map(len, a))


def _lines(fits: Sequence[Fit]) -> str:
    return _numbers([fit.at for fit in fits])


def _numbers(places: Sequence[int]) -> str:
    return f"line{'s' if len(places) > 1 else ''} {', '.join(str(at + 1) for at in places)}"
