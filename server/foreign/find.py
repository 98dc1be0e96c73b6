"""Which formats of other tools are in a folder, in the order in which they are preferred."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.foreign import pi
from server.foreign.autoauto_piloop import AUTOAUTO, autoauto, piloop
from server.foreign.detection import TABLES, is_likely, table
from server.foreign.workspace import Draft, ForeignWorkspace
from server.paths import HOME
from server.vcs.git_environment import tracked

_READERS: tuple[Callable[[Path, frozenset[str]], list[Draft]], ...] = (
    pi.drafts,
    autoauto,
    piloop,
)
_LOOKED_AT = ("", ".auto", ".auto/hooks", ".autoauto/programs", ".git/index", *TABLES)
_MOST_KNOWN = 4
_MOST_FILES = 50_000
_SKIPPED = {".git", HOME, "node_modules", ".venv", "venv", "target", "__pycache__"}


def find_workspaces(root: Path) -> list[ForeignWorkspace]:
    """The workspaces of other tools in `root`, the preferred one first; several programs of autoauto are one each.

    Raises:
        ProgramInvalid: a file of theirs is broken, or does not say what a task needs; with file, field and next step.
    """
    return [draft.workspace() for draft in find_drafts(root)]


def find_drafts(root: Path) -> list[Draft]:
    """What was read of each. Raises ProgramInvalid: a file of theirs is broken."""
    if not is_likely(root):
        return []
    place = root.resolve()
    if (known := _known.get(place)) and _stamps(root, known.paths) == known.stamps:
        return known.drafts
    files = repository_files(root)
    found = [draft for read in _READERS for draft in read(root, files)]
    for draft in found:
        _remark_choice(draft, [other for other in found if other is not draft])
        if draft.log is None:
            draft.log = table(root)
    paths = tuple(dict.fromkeys([*_LOOKED_AT, *(path for draft in found for path in draft.looked_at())]))
    if len(_known) >= _MOST_KNOWN:
        _known.pop(next(iter(_known)), None)
    _known[place] = _Known(paths, _stamps(root, paths), found)
    return found


class _Known(NamedTuple):
    """What was read of a folder, and by what a change of it shows."""

    paths: tuple[str, ...]
    stamps: tuple[tuple[int, ...], ...]
    drafts: list[Draft]


_known: dict[Path, _Known] = {}  # each answer asks, and a large repository takes a tenth of a second


def _stamps(root: Path, paths: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    return tuple(_stamp(root / path) for path in paths)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file, or with the list of names in a folder."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _remark_choice(draft: Draft, rest: list[Draft]) -> None:
    if rest:
        named = ", ".join(f"{other.where} ({other.format})" for other in rest)
        told = f"{draft.where} ({draft.format}) is used, but {named} is also there"
        draft.remark(told, f"`format: {rest[0].format}` in program.md chooses that one", "format")
        names = " and ".join(other.format for other in rest)
        draft.rest = f"; {names} {'are' if len(rest) > 1 else 'is'} there as well, and `format` in program.md chooses"


def choose(root: Path, name: str = "") -> Draft | None:
    """The workspace that a study is about; None where there is none, and none was asked for.

    Args:
        name: of a format, or of a program: `autoauto/PROGRAM`; empty: the preferred one.

    Raises:
        ProgramInvalid: there is none of this name, or there are several programs and none is named.
    """
    found = find_drafts(root)
    if not name:
        fitting = [draft for draft in found if draft.format == found[0].format]
        if found and "/" in found[0].format:
            fitting = [draft for draft in found if draft.format.startswith(f"{AUTOAUTO}/")]
    else:
        fitting = [draft for draft in found if name in (draft.format, draft.format.partition("/")[0], _full(draft))]
    if len(fitting) > 1:
        raise _several(fitting)
    if name and not fitting:
        known = ", ".join(draft.format for draft in found) or "none of a format that is known"
        raise ProgramInvalid(
            f"program.md, format: there is no workspace of {name!r} in {root.resolve()}; there is {known}.",
            "Correct the field, or leave it out.",
        )
    return fitting[0] if fitting else None


def _full(draft: Draft) -> str:
    """An only program of autoauto may be called by its name as well."""
    return f"{draft.format}/{Path(draft.where).name}"


def _several(drafts: Collection[Draft]) -> ProgramInvalid:
    names = ", ".join(draft.format.partition("/")[2] for draft in drafts)
    first = next(iter(drafts)).format
    return ProgramInvalid(
        f"There are several programs of {AUTOAUTO} here: {names}.",
        f"Choose one: write a program.md of three lines, `---`, `format: {first}`, `---`.",
    )


def repository_files(root: Path) -> frozenset[str]:
    """The files that git tracks; where there is not a repository, those that are there."""
    with suppress(WorkspaceUnusable):
        return frozenset(tracked(root, "."))
    return frozenset(islice(_walk(root), _MOST_FILES))


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        inner = Path(folder).relative_to(root)
        yield from ((inner / name).as_posix() for name in names)
