"""Patch text and file text in, new file text out, or a refusal that says why. Pure."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

from server.errors import PatchRefused
from server.source.candidate import Candidate
from server.source.patch_formats import Hunk, parse_patch
from server.source.python_source import BOM

MAX_LINES = 630
MAX_BYTES = 64 * 1024
MAX_PATCH_BYTES = 256 * 1024
_QUOTED = 12  # lines of the file that a refusal shows at most


class AppliedPatch(NamedTuple):
    """What a patch has done: `diff` makes `after`, the candidate, of `before`, the incumbent."""

    before: Candidate
    after: Candidate
    diff: str
    base_sha256: str  # of the candidate that the patch was applied to


def apply(text: str, patch: str, file: str = "train.py") -> str:
    """The text after the patch. Line numbers are hints: what must match is the text.

    Raises:
        PatchRefused: the patch is malformed, matches nowhere or at several places, or changes nothing.
    """
    _refuse_unreadable(patch)
    if text.startswith(BOM):  # nobody sees it in what read_train() shows
        return BOM + apply(text.removeprefix(BOM), patch.replace(BOM, ""), file)
    crlf = "\r\n" in text
    lines = text.replace("\r\n", "\n").splitlines(keepends=True) if crlf else text.splitlines(keepends=True)
    for hunks in parse_patch(patch, file):
        lines = _apply_round(lines, hunks, file)
    after = "".join(lines)
    after = after.replace("\n", "\r\n") if crlf else after
    if after == text:
        raise PatchRefused("The patch changes nothing.", f"Call read_train() to see {file} as it is.")
    return after


def patched(base: Candidate, patch: str, file: str) -> Candidate:
    """`base` with a patch applied to one of its files. Raises PatchRefused."""
    return base.with_file(file, apply(base[file], patch, file))


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
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
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


def _apply_round(lines: list[str], hunks: list[Hunk], file: str) -> list[str]:
    """Apply hunks that all speak of the same text, from top to bottom."""
    result: list[str] = []
    done = 0
    for hunk in hunks:
        at = _place(lines, hunk, done, file)
        result += lines[done:at]
        for mark, text in hunk.edits:
            if mark == "+":
                result.append(text)
            elif mark != "-":
                result.append(lines[at])
            at += mark != "+"
        done = at
    return _joined(result + lines[done:])


def _joined(lines: list[str]) -> list[str]:
    """Every line but the last ends with a line end, also where a file without one grew."""
    return [line if line.endswith("\n") or at == len(lines) - 1 else line + "\n" for at, line in enumerate(lines)]


def _place(lines: list[str], hunk: Hunk, start: int, file: str) -> int:
    """The index of the one place where the hunk belongs, at or after `start`."""
    for anchor in hunk.anchors:
        found = [at for at in range(start, len(lines)) if lines[at].strip() == anchor]
        found = found or [at for at in range(start, len(lines)) if anchor in lines[at]]
        start = found[0] if len(found) >= 1 else start
    wanted = hunk.before
    if not wanted:
        return _insertion(lines, hunk, start, file)
    places = _matches(lines, wanted, start, str) or _matches(lines, wanted, start, str.rstrip)
    if len(places) == 1:
        return places[0]
    if not places:
        raise _nowhere(lines, hunk, file)
    if hunk.line is not None and hunk.line - 1 in places:
        return hunk.line - 1
    listed = ", ".join(str(at + 1) for at in places[:10])
    raise PatchRefused(
        f"{hunk.name} matches {file} at {len(places)} places: lines {listed}.",
        "Add lines above or below, so that it matches only one of them.",
    )


def _insertion(lines: list[str], hunk: Hunk, start: int, file: str) -> int:
    if not lines:
        return 0
    if hunk.line is not None and start <= hunk.line <= len(lines):
        return hunk.line  # "@@ -5,0 +6" inserts after line 5
    raise PatchRefused(
        f"{hunk.name} only adds lines and does not say where.",
        f"Put the line of {file} above the place into the hunk, unchanged.",
    )


def _matches(lines: list[str], wanted: list[str], start: int, form: Callable[[str], str]) -> list[int]:
    """Where `wanted` stands, comparing lines in a `form`; a missing last line end does not count."""
    seen = [form(line.removesuffix("\n")) for line in lines]
    sought = [form(line.removesuffix("\n")) for line in wanted]
    return [at for at in range(start, len(seen) - len(sought) + 1) if seen[at : at + len(sought)] == sought]


def _nowhere(lines: list[str], hunk: Hunk, file: str) -> PatchRefused:
    """The refusal that quotes the nearest lines of the file."""
    wanted = hunk.before
    at = _nearest(lines, wanted)
    quoted = lines[at : at + min(len(wanted) + 2, _QUOTED)]
    shown = "\n".join(f"{number:>4}  {line.rstrip()}" for number, line in enumerate(quoted, at + 1))
    first = next((line for line, seen in zip(wanted, lines[at:], strict=False) if line.rstrip() != seen.rstrip()), "")
    differing = f" The first line that differs: {first.rstrip()!r}." if first.strip() else ""
    return PatchRefused(
        f"{hunk.name} does not match {file}; nothing was changed.{differing} The nearest lines of {file} are:\n{shown}",
        "\nCopy the lines to replace exactly as read_train() shows them, without the line numbers.",
    )


def _nearest(lines: list[str], wanted: list[str]) -> int:
    """Where `lines` is most like `wanted`: by equal lines, else by likeness to the longest one."""
    stripped, sought = [line.strip() for line in lines], [line.strip() for line in wanted]
    equal = [
        sum(a == b and a != "" for a, b in zip(stripped[at:], sought, strict=False)) for at in range(len(stripped))
    ]
    if max(equal, default=0):
        return equal.index(max(equal))
    longest = max(range(len(sought)), key=lambda index: len(sought[index]))
    close = difflib.get_close_matches(sought[longest], stripped, n=1, cutoff=0.0)
    return max(0, stripped.index(close[0]) - longest) if close else 0
