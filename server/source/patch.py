"""Patch text and file text in, new file text out, or a refusal that says why. Pure."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from server.errors import PatchRefused, StaleText
from server.source.candidate import Candidate, sha256
from server.source.editable import OF_TRAIN, Editable, Limits, distinct, listed, nearest
from server.source.hunks import COMES, Hunk, split_lines
from server.source.patch_formats import (
    FileHunks,
    is_in_a_format,
    parse_files,
    parse_patch,
    readings,
    with_line_feeds,
)
from server.source.patch_places import Finder
from server.source.patch_refusals import Undecided, refusal
from server.source.patch_round import Round
from server.source.python_source import BOM, line_count
from server.text import clip

_UNSEEN = BOM + "\u200b\u2060"  # characters without width that a patch may begin with
MAX_LINES = OF_TRAIN.lines or 0
MAX_BYTES = OF_TRAIN.file_bytes
MAX_PATCH_BYTES = 256 * 1024
_NOTHING = "/dev/null"


class AppliedPatch(NamedTuple):
    """What a patch has done: `diff` makes `after`, the candidate, of `before`, the incumbent."""

    before: Candidate
    after: Candidate
    diff: str
    base_sha256: str  # of the candidate that the patch was applied to


def apply(text: str, patch: str, file: str = "train.py", *, exact: bool = False) -> str:
    """The text after the patch. What must match is the text; numbers decide between places that match alike.

    Lines end at "\\n" alone, each keeps the end it has, and one that comes takes its neighbour's. `exact`: the patch
    was written against this text, so that its numbers can be trusted where a hunk has no text to be found by.

    Raises:
        PatchRefused: the patch is malformed, matches nowhere or at several places, or changes nothing.
    """
    _refuse_unreadable(patch)
    if text.startswith(BOM):  # nobody sees it in what read_train() shows
        return BOM + apply(text.removeprefix(BOM), patch.replace(BOM, ""), file, exact=exact)
    patch = with_line_feeds(patch.lstrip(_UNSEEN), text)
    try:
        return _as_written(text, patch, file, exact)
    except Undecided:
        raise
    except PatchRefused as error:
        return _as_meant(text, patch, file, error)


def _as_meant(text: str, patch: str, file: str, first: PatchRefused) -> str:
    """The text after the one other reading of the patch that fits. Raises PatchRefused: there is none, or two."""
    found: set[str] = set()
    other: PatchRefused | None = None
    for reading in readings(patch, file, text):
        try:
            found.add(_as_written(text, reading, file, exact=False))
        except PatchRefused as error:
            other = other or error
    if len(found) > 1:
        raise PatchRefused(
            "The patch can be read in two ways that change different lines.",
            "Start each marker, and each line of the patch, at the start of a line, without quoting or escaping it.",
        )
    if found:
        return found.pop()
    raise first if other is None or is_in_a_format(patch) else other


def _as_written(text: str, patch: str, file: str, exact: bool) -> str:
    rounds = parse_patch(patch, file)
    after, form = _applied(text, rounds, file, exact)
    if form:
        after, _ = _applied(text, rounds, file, exact, form)
    if after == text:
        raise PatchRefused(
            "The patch changes nothing: the old and the new lines are equal.",
            f"Call read_train() to see {file} as it is.",
        )
    return after


def _applied(text: str, rounds: Iterable[list[Hunk]], file: str, exact: bool, form: int = 0) -> tuple[str, int]:
    """The text after the rounds, and the loosest form that a hunk needs.

    What one hunk of a patch has lost on its way, all have: all are placed once more, where places count that fit in
    the `form` that one needs. A place of another hunk that fits as written may then be one of two.
    """
    lines, needed = split_lines(text), form
    for at, hunks in enumerate(rounds):
        this = Round(lines, hunks, file, exact and at == 0, form)
        lines, needed = this.result(), max(needed, this.form)
    return "".join(line.text + line.end for line in lines), needed


def patched(base: Candidate, patch: str, file: str, *, exact: bool = False) -> Candidate:
    """`base` with a patch applied to one of its files. Raises PatchRefused."""
    return base.with_file(file, apply(base[file], patch, file, exact=exact))


def patched_files(
    base: Candidate, patch: str, editable: Editable, tree: Collection[str] = (), base_sha256: str = ""
) -> Candidate:
    """`base` with a patch applied that may change, add, delete and rename several files, or nothing of it.

    Args:
        tree: all paths of the repository, which a new file must not be in the way of.
        base_sha256: of the candidate, or of the one file that is patched; "" is not compared.

    Raises:
        PatchRefused: as of `apply`, for each file; a file is not editable. StaleText: `base_sha256` is another one.
    """
    _refuse_unreadable(patch)
    known, patch = {*base}, with_line_feeds(patch.lstrip(_UNSEEN), "")
    changes = parse_files(patch, lambda path: path in known or editable.allows(path), known)
    if base_sha256:
        _refuse_stale(base, changes, base_sha256)
    made = _Files(base, editable, tree, bool(base_sha256))
    made.take_all(changes)
    if made.form:
        made = _Files(base, editable, tree, bool(base_sha256), made.form)
        made.take_all(changes)
    return made.result()


def _refuse_stale(base: Candidate, changes: list[FileHunks], base_sha256: str) -> None:
    files = {name for change in changes for name in (change.old, change.new)} & base.keys() or base.keys()
    alone = sha256(base[next(iter(files))]) if len(files) == 1 else ""
    if base_sha256 not in (base.sha256, alone):
        told = f", {next(iter(files))} alone {alone}" if alone else ""
        raise StaleText(
            f"The candidate has sha256 {base.sha256}{told}; the patch was written against {base_sha256}.",
            "Call read_train(), and write the patch against the text that it shows.",
        )


class _Files:
    """The files of a candidate while a patch is applied."""

    def __init__(self, base: Candidate, editable: Editable, tree: Collection[str], exact: bool, form: int = 0) -> None:
        self._base, self._texts, self._editable, self._exact = base, dict(base), editable, exact
        self._tree, self._met = {*tree} | base.keys(), set[str]()
        self._form, self.form = form, form  # that counts, see `_applied`, and the loosest that was needed

    def take_all(self, changes: list[FileHunks]) -> None:
        """Apply what the patch does to each file. Raises PatchRefused."""
        for change in changes:
            self.take(change)

    def take(self, change: FileHunks) -> None:
        """Apply what the patch does to one file. Raises PatchRefused."""
        if not change.old:
            change = change._replace(old=self._only(), new=self._only())
        if change.adds or (change.old not in self._texts and _only_adds(change.hunks)):
            self._add(change.new, _new_text(change, any("\r\n" in text for text in self._base.values())))
            return
        if change.old not in self._texts:
            raise self._unknown(change.old)
        text = self._changed(change)
        if change.deletes and text.strip():
            raise PatchRefused(
                f"The patch deletes {change.old} and leaves {len(text.splitlines())} lines of it.",
                "Use '*** Delete File: PATH', or remove every line.",
            )
        if change.deletes or change.old != change.new:
            self._delete(change.old)
        if change.old != change.new:
            self._add(change.new, text)
        elif not change.deletes:
            self._texts[change.new] = text

    def _only(self) -> str:
        """The file that a patch without a name is for. Raises PatchRefused: there are several."""
        if len(self._base) == 1:
            return next(iter(self._base))
        raise PatchRefused(
            f"The patch names no file, and there are several: {listed(self._base)}.",
            "Name one: '--- a/PATH' and '+++ b/PATH', '*** Update File: PATH', or PATH above each SEARCH block.",
        )

    def result(self) -> Candidate:
        """Raises PatchRefused: nothing is changed, or nothing is left."""
        if not self._texts:
            raise PatchRefused("The patch deletes every editable file.", "Leave at least one.")
        if self._texts == dict(self._base):
            raise PatchRefused(
                "The patch changes nothing: the old and the new lines are equal.",
                "Call read_train() to see the files as they are.",
            )
        return Candidate(self._texts)

    def _changed(self, change: FileHunks) -> str:
        """The text of a file after its hunks; the numbers of the first can be trusted where the base is known."""
        path, text = change.old, self._texts[change.old]
        exact = self._exact and path not in self._met
        self._met.add(path)
        if change.deletes and not change.hunks:
            return ""
        mark = BOM if text.startswith(BOM) else ""
        hunks = [
            replace(one, edits=[e._replace(text=e.text.replace(BOM, "")) for e in one.edits]) for one in change.hunks
        ]
        rounds = [hunks if mark else change.hunks] if hunks else []
        try:
            after, form = _applied(text.removeprefix(mark), rounds, path, exact, self._form)
        except Undecided:
            raise
        except PatchRefused as error:
            raise self._in_another(change) or error from None
        self.form = max(self.form, form)
        return mark + after

    def _in_another(self, change: FileHunks) -> PatchRefused | None:
        """That what the patch looks for is in another file than it says; None if it is not in one alone."""
        texts = [(path, text) for path, text in self._texts.items() if path != change.old]
        found = [(path, at) for path, text in texts if (at := _first_fit(text, change.hunks)) is not None]
        if len(found) != 1:
            return None
        path, at = found[0]
        return refusal(
            f"The lines that the patch searches for in {change.old} are in {path}, from line {at + 1} on.",
            f"Name {path} above them, if it is what you mean.",
        )

    def _add(self, path: str, text: str) -> None:
        if path in self._texts:
            raise PatchRefused(f"{path} exists already.", "Change it with '*** Update File: PATH' or a diff of it.")
        if why := self._editable.why_not_add(path, self._tree):
            raise self._withheld(path, why, "added")
        self._texts[path] = text
        self._tree.add(path)

    def _delete(self, path: str) -> None:
        if self._editable.requires(path):
            raise PatchRefused(
                f"{path} cannot be deleted: program.md names it in `editable`.", "Change its text, or leave it."
            )
        del self._texts[path]
        self._tree.discard(path)

    def _unknown(self, path: str) -> PatchRefused:
        if path in self._base:
            return PatchRefused(f"The patch has deleted {path} before it changes it.", "Do one of the two.")
        if path in self._tree or not self._editable.allows(path):
            return self._withheld(path, self._editable.why_not(path) or "it is not a plain text file")
        step = "To add a file, use '*** Add File: PATH', or a diff from /dev/null."
        return PatchRefused(f"There is no {path} in the candidate. {nearest(path, self._base.keys())}", step)

    def _withheld(self, path: str, why: str, what: str = "changed") -> PatchRefused:
        files = listed(self._base)
        return PatchRefused(
            f"{path} cannot be {what}: {why}.", f"The editable files are {self._editable}; the candidate has {files}."
        )


def _first_fit(text: str, hunks: list[Hunk]) -> int | None:
    """Where the first of the hunks fits a text that all of them fit; None if one does not."""
    finder = Finder([line.text for line in split_lines(text)])
    try:
        fits = finder.fits(hunks[0])
        return fits[0].at if fits and all(map(finder.fits, hunks[1:])) else None
    except PatchRefused:
        return None


def _only_adds(hunks: list[Hunk]) -> bool:
    """Whether these are blocks that can make a file: there is no line that must be there already."""
    return bool(hunks) and all(hunk.block and not hunk.before for hunk in hunks)


def _new_text(change: FileHunks, returns: bool) -> str:
    """The text of a new file. Raises PatchRefused: a line is not marked as new.

    Args:
        returns: whether a line of the other files ends with "\\r\\n": else it is the way that the patch came.
    """
    edits = [edit for hunk in change.hunks for edit in hunk.edits]
    if bad := next((edit for edit in edits if edit.mark != COMES and edit.text), None):
        raise PatchRefused(
            f"A line of the new file {change.new} is not marked: {clip(bad.text)}", "Start each of its lines with '+'."
        )
    meant = returns or any(hunk.ends for hunk in change.hunks)
    return "".join(edit.text + (edit.end if meant or not edit.end else "\n") for edit in edits)


def check(candidate: Candidate, limits: Limits = OF_TRAIN, before: Candidate | None = None) -> None:
    """Hold every file against its rules. Raises PatchRefused.

    Args:
        before: what is as it was there is not read again.
    """
    for file, text in candidate.items():
        _check(text, file, limits)
    if (size := sum(len(text.encode()) for text in candidate.values())) > limits.all_bytes:
        raise PatchRefused(
            f"The editable files would have {size} bytes, {limits.all_bytes} are allowed.", "Remove something first."
        )
    if why := distinct(candidate.keys()):
        raise PatchRefused(why, "Rename one of them.")
    candidate.check(before)


def _check(text: str, file: str, limits: Limits) -> None:
    if "\0" in text:
        raise PatchRefused(f"{file} would contain a NUL character.", "Send text only.")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise PatchRefused(f"{file} would not be valid UTF-8: {error.reason}.", "Send text only.") from None
    count = line_count(text)
    if limits.lines is not None and count > limits.lines:
        raise PatchRefused(f"{file} would have {count} lines, {limits.lines} are allowed.", "Remove something first.")
    if size > limits.file_bytes:
        raise PatchRefused(
            f"{file} would have {size} bytes, {limits.file_bytes} are allowed.", "Remove something first."
        )


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The unified diff of two candidates, or of some of their files, file after file; empty if they are equal."""
    return "".join(_diff(before.get(file), after.get(file), file) for file in sorted({*before, *after}))


def _diff(before: str | None, after: str | None, file: str) -> str:
    """A diff of one file; None: it is not there. Of an empty one that comes or goes, there is a header alone."""
    old, new = ([line.text + line.end for line in split_lines(text or "")] for text in (before, after))
    names = (_NOTHING if before is None else f"a/{file}", _NOTHING if after is None else f"b/{file}")
    lines = difflib.unified_diff(old, new, *names)
    if before != after and not (before or after):
        what = "new" if before is None else "deleted"
        return f"diff --git a/{file} b/{file}\n{what} file mode 100644\n"
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _refuse_unreadable(patch: str) -> None:
    size = len(patch.encode("utf-8", errors="surrogatepass"))
    if size > MAX_PATCH_BYTES:
        raise PatchRefused(f"The patch has {size} bytes, {MAX_PATCH_BYTES} are allowed.", "Send one idea at a time.")
    if not patch.strip():
        raise PatchRefused("The patch is empty.", "Send a unified diff or a SEARCH/REPLACE block.")
    if "\0" in patch:
        raise PatchRefused("The patch is binary: it contains a NUL character.", "Send text only.")
