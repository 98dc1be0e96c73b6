"""Candidates of several files: read from a worktree by globs, written there, told from other changes, and merged."""

import shlex
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from git import Repo

from server.errors import PatchRefused, WorkspaceUnusable
from server.source.candidate import Candidate
from server.source.editable import Editable, listed
from server.vcs.merging import merge_file
from server.vcs.trees import PLAIN_MODES, Entry, is_text
from server.vcs.worktree import Worktree

_HEAD = 8192  # bytes by which a text is known
_NAMED = 20  # paths in a command
_QUOTED = 4000  # characters of a conflict
_MANY_LINES = 20  # of a change: which share of them a candidate has tells whether it was built on it
_NEARLY_ALL = 0.9


class Tree(Protocol):
    """Where the branch of a study is."""

    def tip(self) -> str: ...

    def names(self) -> dict[str, Entry]:
        """Everything in the tree of the branch, by path."""
        ...


class CandidateFolder:
    """The candidate of one worktree: one file, or several."""

    def __init__(self, worktree: Worktree, editable: Editable, tree: Tree) -> None:
        self.worktree, self._editable, self._tree = worktree, editable, tree
        self.files = CandidateFiles(worktree, editable)

    def candidate(self) -> Candidate:
        """The editable files in the worktree. Raises WorkspaceUnusable if one is no plain text file."""
        if self._editable.plain:
            return self.worktree.read(self._editable.plain)
        return self.files.read(self._tree.names())

    def sha256(self) -> str:
        """Of the editable files in the worktree; empty if one is no plain text file."""
        with suppress(WorkspaceUnusable):
            return self.candidate().sha256
        return ""

    def require_unspoiled(self) -> None:
        """Refuse a worktree that differs from the branch where the candidate may not. Raises PatchRefused.

        A language model's is not looked at: nothing of it but train.py is ever taken.
        """
        if not self._editable.plain:
            self.files.require_unspoiled(self._tree.tip(), self._tree.names())

    def write(self, candidate: Candidate) -> None:
        """Replace the editable files in the worktree, all or none; by globs, what the candidate lacks is removed.

        Raises WorkspaceUnusable, PatchRefused (git ignores a new file); then nothing is changed.
        """
        if self._editable.plain:
            self.worktree.write(candidate)
        else:
            self.files.write(candidate, self._tree.names())


class CandidateFiles:
    """Those of one worktree. `names` is everything in the tree of the branch, by path."""

    def __init__(self, worktree: Worktree, editable: Editable) -> None:
        self._worktree, self._editable = worktree, editable

    def read(self, names: dict[str, Entry]) -> Candidate:
        """The files of the branch that are still there, and text files that somebody has added.

        What git ignores, and output of a build, is not taken. Raises WorkspaceUnusable: one is no plain text file.
        """
        known, fresh = self._present(names)
        added = {path: text for path in fresh if (text := self._worktree.text(path)) is not None}
        found = {**(self._worktree.read(known) if known else {}), **added}
        if not found:
            raise WorkspaceUnusable(
                f"No file in {self._worktree.path} is editable by {self._editable}.",
                "Restore one with discard(), or with `git checkout` in the worktree.",
            )
        return Candidate(found)

    def carry_over(
        self,
        commit: str,
        texts: tuple[dict[str, str], dict[str, str]],
        names: tuple[dict[str, Entry], dict[str, Entry]],
    ) -> None:
        """Make the worktree that of `commit`; an editable file that was changed by hand stays as it is.

        Args:
            texts: of the editable files, at the commit that the worktree is of and at the new one. names: all files.
        """
        (before, after), now = texts, texts[0]
        with suppress(WorkspaceUnusable):  # what is no text is not taken along
            now = dict(self.read(names[0]))
        changed = {path: text for path, text in now.items() if before.get(path) != text}
        deleted = before.keys() - now.keys()
        self._worktree.lay(commit)
        merged = {path: text for path, text in {**after, **changed}.items() if path not in deleted}
        self.write(Candidate(merged or after), names[1])

    def write(self, candidate: Candidate, names: dict[str, Entry]) -> None:
        """Replace the files, all or none; what the candidate lacks is removed.

        Raises WorkspaceUnusable, PatchRefused (git ignores a new file); then nothing is changed.
        """
        known, fresh = self._present(names)
        if ignored := self._worktree.ignored([path for path in candidate if path not in names and path not in fresh]):
            raise PatchRefused(
                f"Git ignores {listed(sorted(ignored))}: a file there would not be part of the candidate.",
                "Choose another name, or ask the operator to change .gitignore.",
            )
        gone = {*known, *fresh} - candidate.keys()
        executable = {path for path in candidate if path in names and names[path].mode == PLAIN_MODES[1]}
        self._worktree.write(candidate, sorted(gone), executable)

    def require_unspoiled(self, commit: str, names: dict[str, Entry]) -> None:
        """Refuse a worktree that differs from the branch's commit where the candidate may not.

        Raises PatchRefused, with the paths and how to go on; WorkspaceUnusable.
        """
        self.read(names)  # an editable file that is a link, or no text, is told in its own sentence
        changes = {
            path: what for path, what in self._worktree.changes(commit).items() if not self._is_output(path, what)
        }
        spoiled = {path: why for path in changes if (why := self._why_spoiled(path, names))}
        if not spoiled:
            return
        told = listed([f"{path} ({changes[path]}: {why})" for path, why in spoiled.items()])
        tracked = [shlex.quote(path) for path in spoiled if path in names]
        steps = [f"`git checkout {commit[:12]} -- {' '.join(tracked[:_NAMED])}`"] if tracked else []
        if added := [path for path in spoiled if path not in names]:
            steps.append(f"remove {listed(added)}")
        raise PatchRefused(
            f"The worktree differs from the branch outside the candidate: {told}.",
            f"In {self._worktree.path}: {' and '.join(steps)}; or ask the operator to change `editable` in program.md.",
        )

    def _present(self, names: dict[str, Entry]) -> tuple[list[str], list[str]]:
        """What lies at editable paths: what the branch has as well, and what is new there."""
        found = self._worktree.matching(self._editable)
        # A file that bears its name in program.md is part of each candidate: where it is gone, that is told.
        known = {path for path in names if self._editable.requires(path)}.union(path for path in found if path in names)
        fresh = [path for path in found if path not in names and not _below_submodule(path, names)]
        ignored = self._worktree.ignored(fresh)
        return sorted(known), [path for path in fresh if path not in ignored]

    def _why_spoiled(self, path: str, names: dict[str, Entry]) -> str:
        """Why a path that differs from the branch's commit may not; empty if it may."""
        if path in names:
            return self._editable.why_not(path)
        if why := self._editable.why_not_add(path, names):
            return why
        return "" if self._worktree.text(path) is not None else "it is a link, a repository of its own, or too large"

    def _is_output(self, path: str, what: str) -> bool:
        """Whether a new file is no text, or Python's cache: a build may have left it, and nobody takes it."""
        place = self._worktree.path / path
        if what != "added" or self._editable.is_cache(path):
            return what == "added"
        with suppress(OSError):
            return place.is_file() and not place.is_symlink() and not is_text(_head(place.read_bytes()))
        return False


def _below_submodule(path: str, names: dict[str, Entry]) -> bool:
    """Whether git has another repository in a folder above: it sees nothing there."""
    parts = path.split("/")
    above = (names.get("/".join(parts[:end])) for end in range(1, len(parts)))
    return any(entry is not None and entry.submodule for entry in above)


def _head(content: bytes) -> bytes:
    """The start of a file, up to the end of a line: a letter of UTF-8 is not cut."""
    return content if len(content) <= _HEAD else content[: content.rfind(b"\n", 0, _HEAD) + 1] or content


def merge(repo: Repo, scratch: Path, sides: tuple[Candidate, Candidate, Candidate], name: str) -> Candidate:
    """The second of base, ours and theirs, with what theirs changed since base.

    Args:
        scratch: a folder for files that are gone afterwards. name: of theirs.

    Raises:
        PatchRefused: with both sides of what conflicts, or nothing is changed. WorkspaceUnusable.
    """
    merged = rebase(repo, scratch, sides, name)
    if merged == sides[1]:
        raise PatchRefused(f"The change of {name} is already in the candidate.", "Try something else.")
    return merged


def rebase(repo: Repo, scratch: Path, sides: tuple[Candidate, Candidate, Candidate], name: str) -> Candidate:
    """As `merge`, also where the second of the three has all that already."""
    conflicts: list[str] = []
    texts: dict[str, str] = {}
    for path in sorted({path for side in sides for path in side}):
        before, mine, yours = (side.get(path) for side in sides)
        if mine != before and yours not in (before, mine):  # changed on both sides
            text, told = _both(repo, scratch, (before, mine, yours), name)
            which = f"{path}: " if text is None else f"{path}:\n" * (len(sides[1]) > 1)
            conflicts += [f"{which}{told}"] if told else []
        else:
            text = yours if mine == before else mine
        if text is not None:
            texts[path] = text
    if conflicts:
        raise PatchRefused(
            "\n".join([f"The change of {name} conflicts with the candidate:", *conflicts])[:_QUOTED],
            "Write the change against the candidate with apply_patch(patch).",
        )
    if not texts:
        raise PatchRefused(f"The change of {name} would leave no editable file.", "Try something else.")
    return Candidate(texts)


def _both(
    repo: Repo, scratch: Path, texts: tuple[str | None, str | None, str | None], name: str
) -> tuple[str | None, str]:
    """One file merged, and the places that git could not merge, with both sides; None where a side has deleted it."""
    base, ours, theirs = texts
    if ours is None or theirs is None:
        who, other = (name, "the candidate") if theirs is None else ("the candidate", name)
        return None, f"{who} has deleted it, and {other} has changed it"
    merged, told = merge_file(repo, scratch, (base or "", ours, theirs), ("the candidate", "before", name))
    return (ours, "") if told and _goes_on(base or "", ours, theirs) else (merged, told)


def _goes_on(base: str, ours: str, theirs: str) -> bool:
    """Whether `ours` was made of `theirs`, before that was kept: it has nearly all of what that has added."""
    before, mine, yours = (Counter(filter(str.strip, text.splitlines())) for text in (base, ours, theirs))
    added = yours - before
    return added.total() >= _MANY_LINES and (added & mine).total() >= _NEARLY_ALL * added.total()
