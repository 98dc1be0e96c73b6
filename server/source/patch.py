"""Patch text and file text in, new file text out, or a refusal that says why. Pure."""

import difflib
from typing import NamedTuple

from server.errors import PatchRefused
from server.source.candidate import Candidate
from server.source.hunks import split_lines
from server.source.patch_formats import is_in_a_format, parse_patch, readings, with_line_feeds
from server.source.patch_round import Round
from server.source.python_source import BOM

_UNSEEN = BOM + "\u200b\u2060"  # characters without width that a patch may begin with
MAX_LINES = 630
MAX_BYTES = 64 * 1024
MAX_PATCH_BYTES = 256 * 1024


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
    except PatchRefused as refusal:
        return _as_meant(text, patch, file, refusal)


def _as_meant(text: str, patch: str, file: str, refusal: PatchRefused) -> str:
    """The text after the one other reading of the patch that fits. Raises PatchRefused: there is none, or two."""
    found: set[str] = set()
    other: PatchRefused | None = None
    for reading in readings(patch, file):
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
    raise refusal if other is None or is_in_a_format(patch) else other


def _as_written(text: str, patch: str, file: str, exact: bool) -> str:
    lines = split_lines(text)
    for at, hunks in enumerate(parse_patch(patch, file)):
        lines = Round(lines, hunks, file, exact and at == 0).result()
    after = "".join(line.text + line.end for line in lines)
    if after == text:
        raise PatchRefused(
            "The patch changes nothing: old and new are equal.", f"Call read_train() to see {file} as it is."
        )
    return after


def patched(base: Candidate, patch: str, file: str, *, exact: bool = False) -> Candidate:
    """`base` with a patch applied to one of its files. Raises PatchRefused."""
    return base.with_file(file, apply(base[file], patch, file, exact=exact))


def check(candidate: Candidate) -> None:
    """Hold every file against its rules. Raises PatchRefused."""
    for file, text in candidate.items():
        _check(text, file)
    candidate.check()


def _check(text: str, file: str) -> None:
    if "\0" in text:
        raise PatchRefused(f"{file} would contain a NUL character.", "Send text only.")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise PatchRefused(f"{file} would not be valid UTF-8: {error.reason}.", "Send text only.") from None
    count = len(text.splitlines())
    if count > MAX_LINES:
        raise PatchRefused(f"{file} would have {count} lines, {MAX_LINES} are allowed.", "Remove something first.")
    if size > MAX_BYTES:
        raise PatchRefused(f"{file} would have {size} bytes, {MAX_BYTES} are allowed.", "Remove something first.")


def diff(before: Candidate, after: Candidate) -> str:
    """The unified diff of two candidates, file after file; empty if they are equal."""
    return "".join(_diff(before.get(file, ""), text, file) for file, text in after.items())


def _diff(before: str, after: str, file: str) -> str:
    old, new = ([line.text + line.end for line in split_lines(text)] for text in (before, after))
    lines = difflib.unified_diff(old, new, f"a/{file}", f"b/{file}")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _refuse_unreadable(patch: str) -> None:
    size = len(patch.encode("utf-8", errors="surrogatepass"))
    if size > MAX_PATCH_BYTES:
        raise PatchRefused(f"The patch has {size} bytes, {MAX_PATCH_BYTES} are allowed.", "Send one idea at a time.")
    if not patch.strip():
        raise PatchRefused("The patch is empty.", "Send a unified diff or a SEARCH/REPLACE block.")
    if "\0" in patch:
        raise PatchRefused("The patch is binary: it contains a NUL character.", "Send text only.")
