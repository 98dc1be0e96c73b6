"""Where a hunk belongs in a file: at the one place that its text determines. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from server.errors import PatchRefused
from server.source.hunks import COMES, GONE, KEPT, UNMARKED, Edit, Hunk

_MOST = 1000  # places that are looked at
_REPEATED = 0.2  # of the lines of a file that stand more than once: code has half of it, style sheets twice
_TYPED = {  # what an editor or a model makes of what is on the keyboard
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
    **dict.fromkeys("\xa0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
}
_PLAIN = str.maketrans(_TYPED)


def plain(line: str) -> str:
    """The line with the quotes, dashes and blanks of a keyboard, without blanks at its end."""
    return (line if line.isascii() else line.translate(_PLAIN)).rstrip()


def bare(line: str) -> str:
    """The line without the blanks around it, as `plain` has it."""
    return plain(line).strip()


class Fit(NamedTuple):
    """A hunk at a place."""

    at: int  # index of the first line
    edits: list[Edit]  # as they are applied here
    whole: bool = True  # whether nothing of the hunk was left away above
    less: bool = False  # whether a blank line was left away at either end
    shifted: bool = False  # whether it is indented otherwise than in the patch
    form: int = 0  # how loosely it was compared, see Finder.fits


class Finder:
    """Looks for hunks in the lines of a file."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self._bodies: dict[Callable[[str], str], str] = {}
        self._scopes: dict[tuple[str, ...], tuple[list[range], list[range]]] = {}

    def find(self, sought: list[str], form: Callable[[str], str] = str) -> list[int]:
        """Where these lines stand, compared in a form."""
        if form not in self._bodies:
            self._bodies[form] = "\n".join(["", *map(form, self.texts), ""])
        body, needle = self._bodies[form], "\n".join(["", *map(form, sought), ""])
        found: list[int] = []
        last, line, at = 0, 0, body.find(needle)
        while at >= 0 and len(found) < _MOST:
            line += body.count("\n", last, at)
            found.append(line)
            last, at = at, body.find(needle, at + 1)
        return found

    def fits(self, hunk: Hunk, form: int = 0) -> list[Fit]:
        """The places where the hunk fits, in the strictest form in which it fits at all.

        Args:
            form: places count that fit in this form, too: 0 as written, 1 but for blanks at line ends, 2 but for the
                quotes and dashes of a word processor, 3 but for the blank before context, 4 but for indentation.
        """
        forms = (self._exact, self._trimmed, self._typed, self._unmarked, self._shifted)
        for variant, cut, less in self._variants(hunk):
            found: dict[int, Fit] = {}
            for number, places in enumerate(forms if variant.before else ()):
                if not found or number <= form:
                    found = {fit.at: fit._replace(form=number) for fit in places(variant)} | found
            if found:
                return [found[at]._replace(whole=not cut, less=less) for at in sorted(found)]
        return []

    def below(self, anchors: list[str]) -> tuple[list[range], list[range]] | None:
        """The blocks that begin with these anchors, and all that is below each; None if an anchor is nowhere."""
        key = tuple(anchors)
        if key not in self._scopes:
            blocks, wider = [range(len(self.texts))], [range(len(self.texts))]
            for anchor in anchors:
                blocks, wider = self._inside(blocks, anchor, block=True), self._inside(wider, anchor, block=False)
            self._scopes[key] = blocks, wider
        return self._scopes[key] if self._scopes[key][1] else None

    def likeness(self, sought: list[str], at: int) -> float:
        """Which part of the lines of a hunk, counted by their characters, stands at line `at`, in any order."""
        here = Counter(self._stripped[max(at, 0) : max(at, 0) + len(sought)])
        wanted = Counter(map(bare, sought))
        same = sum(len(line) * min(count, here[line]) for line, count in wanted.items())
        return same / max(sum(len(line) * count for line, count in wanted.items()), 1)

    def _variants(self, hunk: Hunk) -> Iterator[tuple[Hunk, int, bool]]:
        """The hunk, then without what may not belong to it, how many lines above its place, and if any at all."""
        for known in self._without_prose(hunk):
            yield known, 0, False
            start, stop = _without_blanks(known)
            edits = known.edits[start:stop]
            if len(edits) < len(known.edits) and any(edit.old for edit in edits):
                yield replace(known, edits=edits), start, True

    def _without_prose(self, hunk: Hunk) -> list[Hunk]:
        """The hunk, and without what may be prose below it. Raises PatchRefused: nobody can tell."""
        if hunk.prose is None or hunk.counted or self._is_code(hunk.edits[hunk.prose :]):
            return [hunk]
        head = replace(hunk, edits=hunk.edits[: hunk.prose], prose=None)
        marks = {edit.mark for edit in hunk.edits[hunk.prose :]}
        if COMES in marks and not head.counted and self.fits(replace(hunk, prose=None)):
            raise PatchRefused(
                f"The lines below the last blank one of {hunk.name} may be part of it, or prose.",
                "Leave out the prose, or put the patch between two lines of ```.",
            )
        return [head] if marks & {COMES, GONE} else [hunk, head]

    def _is_code(self, tail: list[Edit]) -> bool:
        """Whether a line that goes is in the file: then this is no prose."""
        return any(edit.mark == GONE and bare(edit.text) in self.bare for edit in tail)

    def is_unique(self, line: str) -> bool:
        """Whether the file has this line once, in any layout."""
        return self._counts[bare(line)] == 1 and bool(bare(line))

    @cached_property
    def repeats(self) -> bool:
        """Whether many lines stand more than once, so that a line that stands once may be the copy of one that went."""
        counts = [count for line, count in self._counts.items() if line]
        return sum(count for count in counts if count > 1) > _REPEATED * sum(counts)

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(self._stripped)

    @cached_property
    def bare(self) -> frozenset[str]:
        """The lines without the blanks around them."""
        return frozenset(map(bare, self.texts))

    def _exact(self, hunk: Hunk) -> list[Fit]:
        return [Fit(at, hunk.edits) for at in self.find(hunk.before)]

    def _trimmed(self, hunk: Hunk) -> list[Fit]:
        return [Fit(at, hunk.edits) for at in self.find(hunk.before, str.rstrip)]

    def _typed(self, hunk: Hunk) -> list[Fit]:
        places = self.find(hunk.before, plain)
        return [Fit(at, _typed(hunk, self.texts[at : at + len(hunk.before)])) for at in places]

    def _unmarked(self, hunk: Hunk) -> list[Fit]:
        """Where context has lost the blank before it."""
        if hunk.block:
            return []
        return [Fit(at, hunk.edits) for at, here in self._bare_places(hunk) if all(map(_is_context, _olds(hunk), here))]

    def _shifted(self, hunk: Hunk) -> list[Fit]:
        """Where all lines are indented by as much more or less."""
        places = ((at, _reindented(hunk, here)) for at, here in self._bare_places(hunk))
        return [Fit(at, edits, shifted=True) for at, edits in places if edits]

    def _bare_places(self, hunk: Hunk) -> list[tuple[int, list[str]]]:
        """Where the lines stand, whatever their indentation, and what stands there."""
        if not any(map(bare, hunk.before)):
            return []
        size = len(hunk.before)
        return [(at, [*map(plain, self.texts[at : at + size])]) for at in self.find(hunk.before, bare)]

    def _inside(self, scopes: list[range], anchor: str, *, block: bool) -> list[range]:
        sought = bare(anchor)
        found = [at for at, text in enumerate(self._stripped) if text == sought]
        found = found or [at for at, text in enumerate(self._stripped) if sought in text]
        inside = [(at, scope) for scope in scopes for at in found if at in scope]
        ends = [*(at for at, _ in inside[1:]), len(self.texts)]
        far = [range(at, min(end, scope.stop)) for (at, scope), end in zip(inside, ends, strict=False)]
        return [range(scope.start, self._block_end(scope)) for scope in far] if block else far

    @cached_property
    def _stripped(self) -> list[str]:
        return [bare(text) for text in self.texts]

    def _block_end(self, scope: range) -> int:
        """The first line below that is indented no more than the first one."""
        depth = _depth(self.texts[scope.start])
        below = (at for at in scope[1:] if self._stripped[at] and _depth(self.texts[at]) <= depth)
        return next(below, scope.stop)


def _depth(text: str) -> int:
    return len(text) - len(text.lstrip())


def _without_blanks(hunk: Hunk) -> tuple[int, int]:
    """Which edits are left without a blank line at either end that stands there alone, before the patch and after it.

    Beside another one that goes or comes, nobody can tell which of the two the file has.
    """
    edits, sides = hunk.edits, (hunk.before, hunk.after)
    start = int(edits[0].blank and (edits[0].mark == KEPT or (hunk.block and edits[0].mark == GONE)))
    beside = [side[1] for side in sides if edits[0].mark == KEPT and len(side) > 1]
    start = start if all(line.strip() for line in beside) else 0
    start = 0 if len(edits) > start and edits[start].blank else start
    stop = len(edits) - int(edits[-1].blank and edits[-1].mark == KEPT)
    alone = all(side[-2:-1] and side[-2].strip() for side in sides)
    return start, stop if alone else len(edits)


def _olds(hunk: Hunk) -> list[Edit]:
    return [edit for edit in hunk.edits if edit.old]


def _is_context(edit: Edit, text: str) -> bool:
    """Whether the line is there, or is context that has lost the blank before it."""
    known = plain(edit.text)
    return text == known or (edit.mark in (KEPT, UNMARKED) and text == " " + known)


def _reindented(hunk: Hunk, here: list[str]) -> list[Edit] | None:
    """The edits, indented as the file is; None if it differs by more than one indentation."""
    pairs = [(plain(sought), text) for sought, text in zip(hunk.before, here, strict=True) if text.strip()]
    sought, text = pairs[0]
    longer, shorter = (text, sought) if len(text) >= len(sought) else (sought, text)
    shift = longer[: len(longer) - len(shorter)]
    deeper = longer is text
    if any((shift + a != b) if deeper else (a != shift + b) for a, b in pairs):
        return None
    edits: list[Edit] = []
    for edit in hunk.edits:
        if edit.mark != COMES or edit.blank:
            edits.append(edit)
        elif deeper:
            edits.append(edit._replace(text=shift + edit.text))
        elif edit.text.startswith(shift):
            edits.append(edit._replace(text=edit.text.removeprefix(shift)))
        else:
            return None
    return edits


def _typed(hunk: Hunk, here: list[str]) -> list[Edit]:
    """The edits with the file's quotes, dashes and blanks where the patch has others in the lines it looks for."""
    there = set("".join(here))
    made = {char for text in hunk.before for char in text if char in _TYPED and char not in there}
    table = str.maketrans({char: _TYPED[char] for char in made})
    return [edit._replace(text=edit.text.translate(table)) if edit.mark == COMES else edit for edit in hunk.edits]
