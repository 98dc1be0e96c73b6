"""The tag's linked worktree: a folder that git knows, with the candidate in it."""

import glob
import json
import os
import re
import stat
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from git import Git, Repo
from git.exc import GitCommandError

from server.errors import WorkspaceUnusable
from server.files import scratch, set_aside, write_all, write_whole
from server.paths import StudyPaths
from server.source.candidate import Candidate
from server.source.editable import Editable, listed
from server.vcs.git_environment import Repository, harden, translating_git_errors

_MAX_FILE = 1 << 20
_LEFT = re.compile(r"(?:.*/)?\.[^/]+\.[0-9]+\.new")  # of a write that was broken off
_CHANGES = {"M": "changed", "?": "added", "D": "deleted", "T": "made something else", "A": "added"}


class Worktree:
    """A folder where the branch of a night is checked out."""

    def __init__(self, repo: Repo, path: Path) -> None:
        self._repo, self.path = repo, path
        self._entries = Path(str(repo.common_dir)) / "worktrees"
        self._before = path.with_name("candidate.before")  # the old files, while several are replaced

    def exists(self) -> bool:
        return self.path.exists()

    def mount(self, branch: str, commit: str = "") -> bool:
        """Make the folder if it is not there, half made, or not this repository's. Whether it was made.

        Args:
            branch: that is checked out in it. commit: in its place, in a folder that is on no branch.
        """
        with translating_git_errors("Preparing the worktree"):
            if self._linked(commit or f"ref: refs/heads/{branch}"):
                return False
            set_aside(self.path)
            self._before.unlink(missing_ok=True)
            # Twice: over what git remembers of a folder that is gone, too. Never `prune`: the user's may be unplugged.
            what = ("--detach", str(self.path), commit) if commit else (str(self.path), branch)
            self._repo.git.worktree("add", "--force", "--force", "--no-checkout", *what)
            with Repository(self.path) as linked:
                harden(
                    linked, self._repo.git.version_info
                )  # before a file is written: the user's filters may depend on where this is
                linked.git.reset("--hard", "--quiet", "--no-recurse-submodules")
        return True

    def remove(self) -> None:
        """Remove the folder with what is in it, and what git knows of it. Raises WorkspaceUnusable."""
        with translating_git_errors("Removing the worktree"):
            self._repo.git.worktree("remove", "--force", "--force", str(self.path))

    def read(self, paths: Iterable[str]) -> Candidate:
        """Files of the folder. Raises WorkspaceUnusable if one is no plain text file."""
        self._undo()
        return Candidate({path: self._text(path) for path in paths})

    def write(self, candidate: Candidate, gone: Iterable[str] = (), executable: Container[str] = ()) -> None:
        """Replace files of the folder, all of them or none. Raises WorkspaceUnusable; then they are unchanged.

        One file is replaced by one rename. Several take as many: the old texts are written down before the first, and
        put back if a rename fails, or, after a kill, by whoever reads next.

        Args:
            gone: files to be removed. executable: paths that git has as such.
        """
        texts, gone = {self._place(path): text for path, text in candidate.items()}, tuple(gone)
        with translating_git_errors(f"Writing {listed(candidate)}"):
            if len(candidate) == 1 and not gone:
                self._put(texts, (), executable)
                self._before.unlink(missing_ok=True)
                return
            self._undo()
            texts = {place: text for place, text in texts.items() if not _holds(place, text)}
            if not texts and not gone:
                return
            with suppress(WorkspaceUnusable):  # what cannot be read is no candidate to go back to
                changed = [path for path in candidate if self._place(path) in texts]
                before = {path: self._text(path) if self._is_there(path) else None for path in (*changed, *gone)}
                write_whole(self._before, json.dumps(before))
            try:
                self._put(texts, gone, executable)
            except OSError:
                self._undo()
                raise
            self._before.unlink(missing_ok=True)

    def _put(self, texts: Mapping[Path, str], gone: Iterable[str], executable: Container[str] = ()) -> None:
        """Remove files, then write the others: a file may come where a folder was, and a folder where a file was."""
        for path in gone:
            self._remove(path)
        for place in texts:
            if place.parent != self.path:
                place.parent.mkdir(parents=True, exist_ok=True)
            _clear(place)
        write_all(texts)
        for place in texts:
            if place.relative_to(self.path).as_posix() in executable:
                place.chmod(0o755)

    def _remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty without it."""
        place = self._place(path)
        if not place.is_dir() or place.is_symlink():
            _clear(place)
            with suppress(FileNotFoundError, NotADirectoryError):
                place.unlink()
        for folder in [place, *place.parents][: path.count("/") + 1]:
            with suppress(OSError):  # it is no folder, or something is left in it
                folder.rmdir()

    def _undo(self) -> None:
        """Put back what several files were before they were replaced in part."""
        if self._before.exists():
            with translating_git_errors("Restoring the candidate"):
                try:
                    before: dict[str, str | None] = json.loads(self._before.read_bytes())
                except ValueError:  # nothing can be put back from it
                    set_aside(self._before)
                    return
                modes = {path for path in before if self._is_executable(path)}
                places = {self._place(path): text for path, text in before.items() if text is not None}
                changed = {place: text for place, text in places.items() if not _holds(place, text)}
                self._put(changed, [path for path, text in before.items() if text is None], modes)
                self._before.unlink()

    def matching(self, editable: Editable) -> list[str]:
        """The files, links and whatever else is no folder, that these rules let a candidate have."""
        self._undo()
        found: list[str] = []
        for root in editable.roots:
            top = self.path / root
            if top.is_symlink() or not top.is_dir():
                found += [root] if os.path.lexists(top) else []
                continue
            for folder, inner, files in os.walk(top):
                links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
                inner[:] = [name for name in inner if name != ".git" and name not in links]
                below = Path(folder).relative_to(self.path)
                found += [(below / name).as_posix() for name in (*files, *links)]
        return sorted({path for path in found if editable.allows(path) and not _LEFT.fullmatch(path)})

    def text(self, name: str) -> str | None:
        """A file of the folder that nobody has committed yet; None if it is not a plain text file."""
        with suppress(WorkspaceUnusable):
            return None if "\0" in (text := self._text(name)) else text
        return None

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those that git ignores."""
        told = "\0".join(paths)
        if not told:
            return set()
        with translating_git_errors("Asking git what it ignores"), TemporaryFile() as asked:
            asked.write(told.encode())
            asked.seek(0)
            try:
                said = self._git().check_ignore("-z", "--stdin", istream=asked)
            except GitCommandError as error:
                if error.status == 1:  # none
                    return set()
                raise
        return set(str(said).split("\0")) - {""}

    def changes(self, commit: str) -> dict[str, str]:
        """What differs from `commit`, by path: "changed", "added", "deleted" or "made something else".

        Files that git ignores are left out. An index of its own is asked: the folder's may hide something.
        """
        with translating_git_errors("Comparing the worktree"):
            index = self._entries.parent / "index.autoresearch"
            with scratch(index, index.with_name(f"{index.name}.lock")):
                with self._repo.git.custom_environment(GIT_INDEX_FILE=str(index)):
                    self._git().read_tree(commit)
                    said = self._git().status(
                        "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all"
                    )
        # " M path", of which the first letter compares the index with HEAD; GitPython strips nothing at the front.
        told = ((line[:2], line[3:]) for line in str(said).split("\0") if line)
        return {path: _CHANGES[mark[1]] for mark, path in told if mark[1] in _CHANGES and not _LEFT.fullmatch(path)}

    def _git(self) -> Git:
        """Git in the folder, as it is hardened for the repository."""
        return self._repo.git(C=str(self.path))

    def _is_there(self, path: str) -> bool:
        return os.path.lexists(self._place(path))

    def _is_executable(self, path: str) -> bool:
        place = self._place(path)
        return place.is_file() and os.access(place, os.X_OK)

    def _place(self, name: str) -> Path:
        """Where a file is. Raises WorkspaceUnusable if a folder on the way leads elsewhere."""
        folder = str(self.path)
        for part in name.split("/")[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):
                raise WorkspaceUnusable(f"{folder} is a link.", "Restore it with `git checkout` in the worktree.")
        return self.path / name

    def _text(self, name: str) -> str:
        path = self._place(name)
        step = "Restore it with discard(), or with `git checkout` in the worktree."
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise WorkspaceUnusable(f"{path} is not a regular file.", step)
            if found.st_size > _MAX_FILE:
                raise WorkspaceUnusable(f"{path} has {found.st_size} bytes.", step)
            return path.read_bytes().decode("utf-8")
        except OSError as error:
            raise WorkspaceUnusable(f"{path} cannot be read: {error.strerror}.", step) from error
        except UnicodeDecodeError as error:
            raise WorkspaceUnusable(f"{path} is not UTF-8 (byte {error.start}).", step) from error

    def lay(self, commit: str) -> None:
        """Make the folder that of `commit`, whatever was changed in it; what git does not know stays."""
        with translating_git_errors("Bringing the worktree to the checkout's commit"), Repository(self.path) as linked:
            harden(linked)
            linked.git.read_tree("--reset", "-u", "--no-recurse-submodules", commit)

    def align(self, commit: str) -> None:
        """Bring the folder's own index in line with `commit`, so that `git status` there shows the candidate alone."""
        with translating_git_errors("Bringing the worktree's index in line"), Repository(self.path) as linked:
            harden(linked, self._repo.git.version_info)
            fresh = Path(str(linked.git_dir)) / "index.autoresearch"
            with scratch(fresh, fresh.with_name(f"{fresh.name}.lock")):
                with linked.git.custom_environment(GIT_INDEX_FILE=str(fresh)):
                    linked.git.read_tree(commit)
                os.replace(fresh, fresh.with_name("index"))

    def _linked(self, at: str) -> bool:
        """Whether git's entry and the folder name each other; if the repository was moved or copied, they do again.

        `git worktree repair` would do for a move; in a copy it takes the original's worktrees away from it.

        Args:
            at: what its HEAD says, should a power cut have left it empty.
        """
        pointer = self.path / ".git"
        if not pointer.is_file():
            return False
        entry = self._entries / _entry(pointer).name
        if not (entry / "gitdir").is_file() or not (entry / "index").is_file():  # the index is written last
            return False
        other = entry / (entry / "gitdir").read_text(encoding="utf-8").strip()
        if not _same(other, pointer):
            if other.is_file() and _same(_entry(other), entry):  # of another folder by now
                return False
            write_whole(entry / "gitdir", f"{pointer}\n")
        head = entry / "HEAD"
        if not head.is_file() or not head.read_bytes().strip():  # as a power cut leaves it
            write_whole(head, f"{at}\n")
        if not _same(_entry(pointer), entry):
            write_whole(pointer, f"gitdir: {entry}\n")
        return True

    def require_free(self, branch: str) -> None:
        """Refuse a branch whose night is in another checkout of the repository. Raises WorkspaceUnusable."""
        for block in str(self._repo.git.worktree("list", "--porcelain")).split("\n\n"):
            lines = block.splitlines()
            if f"branch refs/heads/{branch}" in lines:
                other = Path(lines[0].removeprefix("worktree "))
                study = StudyPaths(other.parent)
                if other != self.path and study.ledger.exists():
                    raise WorkspaceUnusable(
                        f"The study of {branch} is in {study.state}.",
                        f"Use --workspace '{study.home.root}', or another --tag.",
                    )


def _entry(pointer: Path) -> Path:
    """Where a worktree's file .git says that git's entry is."""
    return pointer.parent / pointer.read_text(encoding="utf-8").removeprefix("gitdir:").strip()


def _clear(place: Path) -> None:
    """Remove what a server has left that was killed while it wrote the file."""
    for left in place.parent.glob(f".{glob.escape(place.name)}.*.new"):
        left.unlink()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
