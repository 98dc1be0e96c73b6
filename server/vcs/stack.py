"""Commits on top of one of the user's: made in memory, written at once, and the branch that names them comes last.

No checkout, index, stash or worktree is read or written.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType

from git.exc import GitCommandError

from server.errors import WorkspaceUnusable
from server.vcs.git_environment import IDENTITY, open_repository, translating_git_errors
from server.vcs.merging import merge_file
from server.vcs.objects import FOLDER, Made, Objects, TreeEntry, blob, tree_entries, with_files
from server.vcs.refs import Refs

Files = Mapping[str, str | None]  # texts by path; None: the file is removed
Change = Mapping[str, tuple[str | None, str | None]]  # before and after, by path
_OURS = "autoresearch/"  # branches of studies, which a server moves
_SIDES = ("there", "before", "the change")


class Stack:
    """Commits that are not in the repository yet."""

    def __init__(self, path: Path, onto: str = "", scratch: Path | None = None) -> None:
        """Begin on a branch or another commit of the repository at `path`; empty: where its checkout is.

        Args:
            scratch: a folder for files that are gone afterwards; None: the system's.

        Raises:
            WorkspaceUnusable: there is no such repository or commit.
        """
        self._repo, self._scratch = open_repository(path), scratch
        self._objects, self._made = Objects(self._repo), dict[str, Made]()
        self._refs = Refs(self._repo)
        self.onto = self.tip = self._commit(onto)
        self.tree = self.tree_of(self.tip)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._repo.close()

    def require_new(self, branch: str) -> None:
        """Refuse a name that is taken, or that git or a server cannot have. Raises WorkspaceUnusable."""
        step = "Choose another one with --name."
        if branch.startswith(("-", _OURS)) or branch == "HEAD":
            raise WorkspaceUnusable(f"{branch!r} cannot be the name: a server moves branches of such names.", step)
        try:
            with translating_git_errors("Checking the name"):
                self._repo.git.check_ref_format(f"refs/heads/{branch}")
        except WorkspaceUnusable:
            raise WorkspaceUnusable(f"{branch!r} is not a valid branch name.", step) from None
        if self._refs.resolve(f"refs/heads/{branch}"):
            raise WorkspaceUnusable(f"The branch {branch} exists.", f"{step[:-1]}, or `git branch -D {branch}`.")

    def tree_of(self, commit: str) -> str:
        """The tree of a commit. Raises WorkspaceUnusable: git has lost it."""
        found = self._read(commit)
        if found is None or found.kind != "commit":
            raise WorkspaceUnusable(f"Git has lost the commit {commit[:12]}.", "Look with `git fsck`.")
        return found.content.split(b"\n", 1)[0].split()[1].decode()

    def changed(self, before: str, after: str) -> Change:
        """The text files in which two commits differ. Raises WorkspaceUnusable: one is lost, or is no text."""
        with translating_git_errors(f"Comparing {before[:12]} and {after[:12]}"):
            found = list(self._differing(self.tree_of(before), self.tree_of(after)))
        return {path: (self._text(path, old), self._text(path, new)) for path, old, new in found}

    def text(self, path: str) -> str | None:
        """A file as the stack has it now; None if there is none. Raises WorkspaceUnusable: it is no text file."""
        tree, (*folders, name) = self.tree, path.split("/")
        with translating_git_errors(f"Reading {path}"):
            for folder in folders:
                entry = tree_entries(self._read, tree).get(folder)
                if entry is None or entry.mode != FOLDER:
                    return None
                tree = entry.name
            return self._text(path, tree_entries(self._read, tree).get(name))

    def merge(self, texts: tuple[str, str, str]) -> tuple[str, str]:
        """Base, ours and theirs of a file as git merges them: the text, and where they conflict, both sides."""
        return merge_file(self._repo, self._scratch, texts, _SIDES)

    def put(self, files: Files) -> None:
        """Write and remove files, for the next commit. A file keeps its mode. Raises WorkspaceUnusable."""
        made = {path: blob(text) for path, text in files.items() if text is not None}
        self._made |= {one.name: one for one in made.values()}
        names = {path: made[path].name if path in made else None for path in files}
        with translating_git_errors("Making a tree"):
            trees = with_files(self._read, self.tree, names) or [Made("tree", b"")]
        self._made |= {one.name: one for one in trees}
        self.tree = trees[-1].name

    def commit(self, message: str, date: str) -> str:
        """Commit what was put, as the repository's user. `date`: when it was made, ISO 8601; it is committed now."""
        when = datetime.fromisoformat(date)
        author = f"author {self._user} {int(when.timestamp())} {when:%z}"
        committer = f"committer {self._user} {int(time.time())} +0000"
        head = f"tree {self.tree}\nparent {self.tip}\n{author}\n{committer}\n\n"
        made = Made("commit", (head + message).encode())
        self._made[made.name], self.tip = made, made.name
        return made.name

    def rewind(self) -> None:
        """Forget everything that was put and committed."""
        self._made.clear()
        self.tip = self.onto
        self.tree = self.tree_of(self.onto)

    def write(self, branch: str) -> None:
        """Write all objects, then the branch. Raises WorkspaceUnusable, HeadMoved: there is a branch of that name."""
        self._objects.add(list(self._made.values()))
        self._refs.swap(f"refs/heads/{branch}", self.tip, None)

    def _commit(self, told: str) -> str:
        for name in (f"refs/heads/{told}", told) if told else ("HEAD",):
            with translating_git_errors(f"Looking for {told}"):
                try:
                    return str(
                        self._repo.git.rev_parse("--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
                    )
                except GitCommandError:
                    continue
        raise WorkspaceUnusable(f"There is no commit {told or 'HEAD'}.", "Name a branch with --onto.")

    def _read(self, name: str) -> Made | None:
        return self._made.get(name) or self._objects.read(name)

    def _differing(
        self, one: str, other: str, above: str = ""
    ) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
        """Path, and both entries, of what is no folder and differs; equal folders are not read."""
        before, after = (tree_entries(self._read, tree) if tree else {} for tree in (one, other))
        for name in sorted({*before, *after}):
            pair = before.get(name), after.get(name)
            if pair[0] == pair[1]:
                continue
            inner = [entry.name if entry and entry.mode == FOLDER else "" for entry in pair]
            if any(inner):
                yield from self._differing(inner[0], inner[1], f"{above}{name}/")
            old, new = (None if entry is None or entry.mode == FOLDER else entry for entry in pair)
            if old or new:
                yield f"{above}{name}", old, new

    def _text(self, path: str, entry: TreeEntry | None) -> str | None:
        if entry is None:
            return None
        found = self._read(entry.name) if entry.plain else None
        if found is None:
            raise WorkspaceUnusable(f"{path} is not a file, or git has lost it.", "Look with `git fsck`.")
        try:
            return found.content.decode("utf-8")
        except UnicodeDecodeError:
            raise WorkspaceUnusable(f"{path} is not a text file there.", "Choose another branch with --onto.") from None

    @cached_property
    def _user(self) -> str:
        """Name and address, as git knows the user; ours where it knows none."""
        try:
            return str(self._repo.git.var("GIT_AUTHOR_IDENT")).rsplit(" ", 2)[0]
        except GitCommandError:
            return f"{IDENTITY[0]} <{IDENTITY[1]}>"
