"""Hunks that all speak of the same text, placed in it and applied. Pure."""

import re
from collections import Counter, defaultdict

from server.errors import PatchRefused
from server.source import patch_refusals
from server.source.hunks import COMES, GONE, Edit, Hunk, Line
from server.source.patch_places import Finder, Fit

_WORD = re.compile(r"\w")
_AROUND = 15  # lines from where a header says within which a changed copy is looked for
_ALIKE = 0.5  # of it, from which on it is a copy
_MOVED = 5  # lines by which a number may be miscounted, or an edit move what no other hunk tells to have moved
_SHORT = 3  # lines of a hunk that one edit may take away, so that nothing is left of the place that was meant
_KNOWN = _SHORT + 1  # lines that stand once in the file, by which a hunk is known: more than one edit takes away


class Round:
    """One round. A hunk is placed in the whole text, whatever the order, before anything is changed."""

    def __init__(self, lines: list[Line], hunks: list[Hunk], file: str, exact: bool, form: int = 0) -> None:
        """
        Args:
            exact: the hunks were written against these lines. form: in which places count, see Finder.fits.

        Raises:
            PatchRefused: a hunk has no one place.
        """
        self._lines, self._hunks, self._file, self._exact = lines, hunks, file, exact
        self._finder = Finder([line.text for line in lines])
        self._fits = [self._finder.fits(hunk, form) for hunk in hunks]
        unique = [(hunk, fits[0]) for hunk, fits in zip(hunks, self._fits, strict=True) if len(fits) == 1]
        told = [(hunk.start, fit.at) for hunk, fit in unique if hunk.start is not None and fit.whole]
        self._numbers_hold = all(start == at for start, at in told)
        self._shifted = any(fit.shifted for fits in self._fits for fit in fits)
        self._moved = {start: at - start for start, at in told}
        self._sizes = {hunk.start: len(hunk.before) for hunk in hunks}
        self._offsets = Counter(self._moved.values())
        try:
            self._placed = [self._place(hunk, fits) for hunk, fits in zip(hunks, self._fits, strict=True)]
        except PatchRefused as refusal:
            if not all(self._fits):
                raise
            raise patch_refusals.Undecided(refusal.problem, refusal.next_step) from None

    @property
    def form(self) -> int:
        """The loosest form that a hunk of it needs."""
        return max((fit.form for fit in self._placed), default=0)

    def result(self) -> list[Line]:
        """The lines after the round. Raises PatchRefused: two hunks change the same place."""
        gone: dict[int, Hunk] = {}
        comes: dict[int, tuple[Hunk, list[Line]]] = {}
        for hunk, fit in zip(self._hunks, self._placed, strict=True):
            for at, lines in self._changes(hunk, fit, gone).items():
                if at in comes:
                    raise patch_refusals.overlapping(hunk, comes[at][0], at + 1, self._file)
                comes[at] = hunk, lines
        after: list[Line] = []
        for at in range(len(self._lines) + 1):
            after += comes[at][1] if at in comes else ()
            after += self._lines[at : at + 1] if at not in gone else ()
        return _joined(after)

    def _changes(self, hunk: Hunk, fit: Fit, gone: dict[int, Hunk]) -> dict[int, list[Line]]:
        """Note the lines that go in `gone`; return those that come, by the index of the line before which they do."""
        at, pending = fit.at, list[Line]()
        comes: defaultdict[int, list[Line]] = defaultdict(list)
        for edit in fit.edits:
            if edit.mark == COMES:
                model = pending.pop(0) if pending else self._neighbour(at)
                comes[at].append(Line(edit.text, _end(edit, model, hunk.ends)))
                continue
            pending = pending if edit.mark == GONE else []
            if edit.mark == GONE:
                if at in gone:
                    raise patch_refusals.overlapping(hunk, gone[at], at + 1, self._file)
                gone[at] = hunk
                pending.append(self._lines[at])
            at += 1
        return comes

    def _neighbour(self, at: int) -> Line:
        """The line whose end one takes that comes before line `at`."""
        return self._lines[max(at - 1, 0)] if self._lines else Line("", "\n")

    def _place(self, hunk: Hunk, fits: list[Fit]) -> Fit:
        """The one place where the hunk belongs. Raises PatchRefused."""
        if not hunk.before:
            return self._insertion(hunk)
        if not any(map(str.strip, hunk.before)) and (self._shifted or _is_spaced(hunk)):
            raise patch_refusals.no_position(hunk, self._file)
        fits = self._below(hunk, fits)
        if not fits:
            raise patch_refusals.no_match(hunk, self._finder, self._file)
        if len(fits) > 1:
            fits = self._numbered(hunk, fits) or (self._last(fits) if hunk.at_end else []) or fits
        if len(fits) > 1:
            raise patch_refusals.ambiguous(hunk, fits, self._file)
        self._refuse_repeated(hunk, fits[0])
        alone = sum(map(self._finder.is_unique, hunk.before))
        if fits[0].less and alone < (_KNOWN if self._finder.repeats else 1):
            raise patch_refusals.without_blanks(hunk, fits[0], self._file)
        self._refuse_copy(hunk, fits[0], alone)
        return fits[0]

    def _below(self, hunk: Hunk, fits: list[Fit]) -> list[Fit]:
        """The places below the hunk's anchors. Raises PatchRefused: there is none."""
        if not hunk.anchors:
            return fits
        scopes = self._finder.below(hunk.anchors)
        if scopes is None:
            raise patch_refusals.anchor_not_found(hunk, self._finder, self._file)
        for ranges in scopes:
            if found := [fit for fit in fits if any(fit.at in scope for scope in ranges)]:
                return found
        if fits:
            raise patch_refusals.not_below_anchor(hunk, fits, self._file)
        return []

    def _numbered(self, hunk: Hunk, fits: list[Fit]) -> list[Fit]:
        """The place that the header's number names exactly, unless it is out of date.

        After an earlier round the number may mean the line as it was before or as it is: then both must agree. Among
        blank lines and brackets the next place may be the one that has moved.
        """
        if not self._numbers_hold or hunk.start is None:
            return []
        near = any(0 < abs(fit.at - hunk.start) <= _MOVED for fit in fits)
        if near and not (self._exact or self._is_between(hunk.start) or any(map(_WORD.search, hunk.before))):
            return []
        named = [fit for fit in fits if fit.whole and fit.at == hunk.start]
        earlier = [fit for fit in fits if fit.whole and self._lines[fit.at].origin == hunk.start]
        return named if all(fit in named for fit in earlier) else []

    def _is_between(self, start: int) -> bool:
        """Whether hunks above and below it tell whether something has moved."""
        return min(self._moved, default=start) < start < max(self._moved, default=start)

    def _last(self, fits: list[Fit]) -> list[Fit]:
        """The place that ends the file, but for blank lines."""
        texts = self._finder.texts
        end = next((at + 1 for at in range(len(texts) - 1, -1, -1) if texts[at].strip()), 0)
        return [fit for fit in fits if fit.at + sum(edit.old for edit in fit.edits) >= end]

    def _refuse_repeated(self, hunk: Hunk, fit: Fit) -> None:
        """A hunk that only adds, with lines on one side alone, fits again beside what it has added."""
        marks = [edit.mark for edit in fit.edits]
        if GONE in marks or (marks[0] != COMES and marks[-1] != COMES):
            return
        new, texts = [edit.text for edit in fit.edits if edit.mark == COMES], self._finder.texts
        below = fit.at + len(marks) - len(new)
        at = below if marks[-1] == COMES else fit.at - len(new)
        stands = at >= 0 and texts[at : at + len(new)] == new
        if stands and any(text.strip() for text in new) and not (self._exact and hunk.counted):
            raise patch_refusals.already_added(hunk, at + 1, self._file)

    def _refuse_copy(self, hunk: Hunk, fit: Fit, alone: int) -> None:
        """Where the header names a place that is nearly the same, that one was meant, and somebody has changed it.

        Then lines that were there twice stand once. `alone`: how many lines of the hunk stand once in the file.
        """
        if self._exact or hunk.start is None or hunk.block or self._offsets[fit.at - hunk.start] > 1:
            return
        size, wanted = len(hunk.before), hunk.start
        around = min(_AROUND, abs(fit.at - wanted) - 1)  # nearer than the place where it fits
        near = (at for at in range(wanted - around, wanted + around + 1) if abs(at - fit.at) >= size)
        least = _ALIKE if alone >= _KNOWN else _ALIKE / 2
        other = next((at for at in near if self._finder.likeness(hunk.before, at) >= least), None)
        if other is not None:
            raise patch_refusals.almost_at_its_line(hunk, fit, other, self._file)
        doubtful = size <= _SHORT and self._finder.repeats
        known = alone >= _KNOWN or (alone and self._is_in_line(wanted, size, fit.at - wanted, doubtful))
        if fit.at != wanted and (fit.shifted or not known):
            raise patch_refusals.not_at_its_line(hunk, fit, self._file)

    def _is_in_line(self, start: int, size: int, offset: int, doubtful: bool) -> bool:
        """Whether a hunk has moved as far as the hunks above and below it, or by something in between.

        About as far is enough, but for one that is `doubtful`. What was between two hunks stays between them.
        """
        above = max((at for at in self._moved if at < start), default=None)
        below = min((at for at in self._moved if at > start), default=None)
        upper = 0 if above is None else self._moved[above]
        lower = upper if below is None else self._moved[below]
        if above is not None and above + self._sizes[above] <= start < above + self._sizes[above] + upper - offset:
            return False
        if below is not None and start + size <= below < start + size + offset - lower:
            return False
        slack = 0 if doubtful else _MOVED
        return min(upper, lower) - slack <= offset <= max(upper, lower) + slack

    def _insertion(self, hunk: Hunk) -> Fit:
        """The place of a hunk without a line to be found by: only a number tells it. Raises PatchRefused.

        A number may be right in the other hunks and wrong in this one, so that it counts for a known base alone.
        """
        if not self._lines or hunk.at_end:
            return Fit(len(self._lines), hunk.edits)
        at = hunk.start
        if at is not None and hunk.counted and at <= len(self._lines) and self._exact:
            return Fit(at, hunk.edits)
        raise patch_refusals.no_position(hunk, self._file)


def _is_spaced(hunk: Hunk) -> bool:
    """Whether a blank stands behind each mark, as some models write it: blank lines do not tell that it is none."""
    new = [edit.text for edit in hunk.edits if edit.mark == COMES and not edit.blank]
    return bool(new) and not hunk.block and all(text[0] == " " for text in new) and any(text[1] != " " for text in new)


def _end(edit: Edit, model: Line, meant: bool) -> str:
    """The end of a line that comes: the patch's own if it means it, else that of the line `model`."""
    if meant or not edit.end:
        return edit.end
    return model.end or "\n"


def _joined(lines: list[Line]) -> list[Line]:
    """Every line but the last ends with a line end, also where a file without one grew."""
    return [line if line.end or at == len(lines) - 1 else line._replace(end="\n") for at, line in enumerate(lines)]
