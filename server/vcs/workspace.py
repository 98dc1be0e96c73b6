"""The git memory: a branch and a worktree a tag, one ref an attempt. The user's checkout is never written to.

Every attempt is a commit object made by plumbing with an index of its own; refs move by compare-and-swap. One exception
to "never written": `/.autoresearch/` is added once to the repository's info/exclude.
"""

import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from git import Repo
from git.exc import GitCommandError

from server.errors import HeadMoved, WorkspaceUnusable
from server.paths import HOME, LIBRARY_INDEX, Home
from server.records import MAIN, Attempt, Result, Verdict
from server.source.candidate import Candidate
from server.source.editable import Editable, listed
from server.vcs import repository_checks
from server.vcs.commit_message import attempt_message
from server.vcs.editing import CandidateFolder, merge, rebase
from server.vcs.git_environment import content, exclude, open_repository, translating_git_errors
from server.vcs.objects import Made, Objects, blob, commit, with_files
from server.vcs.refs import NOTHING, Refs, mend_packed, way_back
from server.vcs.trees import PLAIN_MODES, Entry, Trees, module
from server.vcs.worktree import Worktree

_NUMBER = re.compile(r"[1-9][0-9]*")
_IMPORT = r"""(import|from)[[:space:]](.*[^[:alnum:]_])?trainer([^[:alnum:]_]|$)|["']trainer"""  # as git greps
_MAX_MODULES = 5000  # a workspace with more has something else in mind
_REMEMBERED = 8  # commits whose files are at hand: the incumbent, the candidate and what they were built on


class Listed(NamedTuple):
    """What the refs of a tag name, by the number of the experiment."""

    attempts: dict[int, str]
    rows: dict[int, str]
    found: set[str]  # refs to what somebody else had put at one of the others


class Workspace:
    """One tag in one repository."""

    def __init__(self, repo: Repo, tag: str, editable: Editable) -> None:
        self._repo, self.tag, self.editable = repo, tag, editable
        self.file = editable.globs[0]  # what a patch changes, and what a run folder holds, where there is one file
        self.root = Path(str(repo.working_tree_dir))
        self.branch = f"autoresearch/{tag}"
        self.paths = Home(self.root).study(tag)
        self.state, self.worktree = self.paths.state, self.paths.worktree
        self.program = self.root / "program.md"
        self.refs, self._linked = Refs(repo, self.attempts, self.rows), Worktree(repo, self.worktree)
        self.main = CandidateFolder(self._linked, editable, self)
        self.objects, self.trees = Objects(repo), Trees(repo)
        self._modules: dict[str, Made] = {}  # by name: most are the same at every commit
        self._trains: dict[str, bool] = {}  # by commit: whether some file there imports our `trainer`
        self._read: dict[str, Candidate] = {}  # by commit: what a name stands for never changes

    @classmethod
    def open(cls, path: Path, tag: str, editable: Editable | tuple[str, ...] = ("train.py",)) -> "Workspace":
        """Check the repository and change nothing. `editable` says which of its files are the candidate's.

        Raises:
            WorkspaceUnusable: one sentence, and the next step.
        """
        if not path.is_dir():
            raise WorkspaceUnusable(f"{path} is not a directory.", "Name a git repository with --workspace.")
        editable = editable if isinstance(editable, Editable) else Editable.of(editable)
        repo = open_repository(path)
        try:
            with translating_git_errors("Looking at the repository"):
                repository_checks.check_repository(repo, path, tag, editable)
                workspace = cls(repo, tag, editable)
                if not workspace.state.exists():
                    workspace._linked.require_free(workspace.branch)
                    if not workspace.archived():
                        repository_checks.check_new_tag(repo, tag)
        except BaseException:
            repo.close()
            raise
        return workspace

    def prepare(self, base: str | None = None) -> bool:
        """Make what the tag needs: folder, exclude line, branch, worktree. May be called again and again.

        Returns whether the worktree had to be made.

        Args:
            base: the commit that the branch is at if it has to be made; None: where the user's checkout is.
        """
        with translating_git_errors("Preparing the workspace"):
            self.state.mkdir(parents=True, exist_ok=True)  # first: what is begun is finished by the next server
            exclude(self._repo, f"/{HOME}/")
            if (library := self.paths.home.library).is_dir():  # its index is no file of the user's
                exclude(self._repo, f"/{library.name}/{LIBRARY_INDEX}*")
            if self.refs.resolve(self._head) is None:
                self._repo.git.update_ref(self._head, base or "HEAD", NOTHING)
        made = self._linked.mount(self.branch)
        if made:
            self.write_candidate(self.files(base or self.tip()))  # git may have changed line ends on the way
        return made

    def folder(self, lane: str) -> CandidateFolder:
        """Where a lane's candidate is, or will be: `main` stands on the branch, any other on no branch."""
        if lane == MAIN:
            return self.main
        return CandidateFolder(Worktree(self._repo, self.paths.lane_worktree(lane)), self.editable, self)

    def tip(self) -> str:
        """The commit that the branch is at."""
        found = self.refs.resolve(self._head)
        if found is None:
            raise HeadMoved(f"The branch {self.branch} is gone.", "Restart the server: it creates the branch again.")
        return found

    def require_at(self, commit: str) -> None:
        """Refuse a branch that somebody else has moved away from `commit`; one that is gone was not. Raises HeadMoved.

        It only looks.
        """
        found = self.refs.resolve(self._head)
        if found is not None and found != commit:
            raise HeadMoved(
                f"The branch {self.branch} is at {found[:12]}, the incumbent is {commit[:12]}: somebody else moved it.",
                f"It was not touched. {way_back(self._head, commit)}",
            )

    def has_branch(self) -> bool:
        """Whether nobody has deleted the branch."""
        return self.refs.has(self._head)

    def restore_branch(self, commit: str) -> None:
        """Make a deleted branch again, at `commit`. Raises WorkspaceUnusable."""
        if self.refs.resolve(self._head) is None:
            self.refs.swap(self._head, commit, None)

    def restart(self) -> tuple[str, str] | None:
        """Move the branch, on which nothing is kept, to where the checkout is. What is changed by hand stays so.

        Returns the old commit and the new one; None: it is there, or the checkout is in no state to begin from. Raises
        WorkspaceUnusable: no candidate can be made of what the checkout has; then nothing is changed.
        """
        with translating_git_errors("Looking at the checkout"):
            tip, commit = self.tip(), repository_checks.next_start(self._repo)
            if commit is None or commit == tip:
                return None
            self.trees.require_usable(commit, self.editable)
            if not self._repo.is_ancestor(*map(self._repo.commit, (tip, commit))):  # nobody's commits are lost
                self.refs.swap(f"{self.found}/branch-{tip[:12]}", tip, None)
        texts, names = (self._texts(tip), self._texts(commit)), (self.trees.entries(tip), self.trees.entries(commit))
        self.main.files.carry_over(commit, texts, names)
        self.refs.swap(self._head, commit, tip)
        return tip, commit

    def files(self, commit: str) -> Candidate:
        """The editable files at `commit`, its full name. Raises WorkspaceUnusable."""
        if commit not in self._read:
            with translating_git_errors(f"Reading {self.editable} at {commit[:12]}"):
                found = Candidate(self._texts(commit))
            if len(self._read) >= _REMEMBERED:
                del self._read[next(iter(self._read))]
            self._read[commit] = found
        return self._read[commit]

    def _texts(self, commit: str) -> dict[str, str]:
        if self.editable.plain:
            tree = self._repo.commit(commit).tree
            return {path: content(tree / path).decode("utf-8") for path in self.editable.plain}
        ours = self._ours(commit)
        read = self.trees.texts(ours)
        return {path: read[entry.name].decode("utf-8") for path, entry in ours.items()}

    def _ours(self, commit: str) -> dict[str, Entry]:
        """The editable files in the tree of a commit."""
        entries = self.trees.entries(commit)
        return {path: entry for path, entry in entries.items() if entry.plain and self.editable.allows(path)}

    def names(self) -> dict[str, Entry]:
        """Everything in the tree of the branch, by path; empty where git has lost it."""
        with suppress(WorkspaceUnusable):
            if tip := self.refs.resolve(self._head):
                return self.trees.entries(tip)
        return {}

    def doubts(self) -> list[str]:
        """What a run will not have, or a candidate not change, as the author of globs may think: a sentence each."""
        if self.editable.plain:
            return []
        told, reserved = self.trees.doubts(self.base()), self.editable.reserved(self.trees.entries(self.base()))
        if named := [f"{path} ({why})" for path, why in reserved.items()]:
            told.append(
                "A glob matches these files, but they are editable only if `editable` names them in full: "
                f"{listed(named)}."
            )
        return told

    def lay_out(self, commit: str, folder: Path) -> list[str]:
        """Write all files of `commit` into a new folder. Returns what is left out. Raises WorkspaceUnusable."""
        return self.trees.lay_out(commit, folder)

    def modules(self, commit: str) -> dict[str, bytes]:
        """The other Python files at `commit` that train.py can import, by path. Raises WorkspaceUnusable."""
        with translating_git_errors(f"Listing the modules at {commit[:12]}"):
            listed = str(self._repo.git.ls_tree("-r", "-l", "-z", "--full-tree", commit)).split("\0")
        names = dict(filter(None, map(module, listed)))
        names.pop(self.file, None)
        chosen = sorted(names, key=lambda path: (path.count("/"), path))[:_MAX_MODULES]
        before, self._modules = self._modules, {}
        for name in {names[path] for path in chosen}:
            if found := before.get(name) or self.objects.read(name):  # what git has lost cannot be imported
                self._modules[name] = found
        return {path: self._modules[names[path]].content for path in chosen if names[path] in self._modules}

    def candidate(self) -> Candidate:
        """The editable files in the worktree. Raises WorkspaceUnusable if one is no plain text file."""
        return self.main.candidate()

    def candidate_sha256(self) -> str:
        """Of the editable files in the worktree; empty if one is no plain text file."""
        return self.main.sha256()

    def require_unspoiled(self) -> None:
        """Refuse a worktree that differs from the branch where the candidate may not. Raises PatchRefused."""
        self.main.require_unspoiled()

    def write_candidate(self, candidate: Candidate) -> None:
        """Replace the editable files in the worktree: `CandidateFolder.write`."""
        self.main.write(candidate)

    def commit(self, candidate: Candidate, parent: str, message: str, date: str) -> str:
        """A commit object: `parent` with the editable files replaced. Moves no ref; equal arguments, equal commit.

        By globs a file keeps the mode that it has in `parent`, and what the candidate lacks is removed.
        """
        modes, gone = self._against(candidate, parent)
        with translating_git_errors("Making a commit"):
            if "\0" in message:
                raise ValueError("a NUL in the message of a commit")
            blobs = {path: blob(candidate[path]) for path in modes}
            names = {path: one.name for path, one in blobs.items()}
            top = self._read_object(self._read_object(parent, "commit").content[5:45].decode(), "tree")
            changes = {**dict.fromkeys(gone), **names}
            trees = with_files(self.objects.read, top.name, changes, keep_modes=not self.editable.plain)
            made = commit((trees or [Made("tree", b"")])[-1].name, parent, message, date)
            self.objects.write([*blobs.values(), *trees, made])
            return made.name

    def _read_object(self, name: str, kind: str) -> Made:
        """Raises ValueError: git has lost it."""
        found = self.objects.read(name)
        if found is None or found.kind != kind:
            raise ValueError(f"object file {name} is missing")  # as git says it
        return found

    def _against(self, candidate: Candidate, parent: str) -> tuple[dict[str, str], list[str]]:
        """What a commit on `parent` changes: the mode of each file that it writes, and the paths that it removes."""
        if self.editable.plain:
            return dict.fromkeys(candidate, PLAIN_MODES[0]), []
        before = self._ours(parent)
        modes = {path: before[path].mode if path in before else PLAIN_MODES[0] for path in candidate}
        same = {path for path in before if path in candidate and before[path].name == blob(candidate[path]).name}
        return {path: mode for path, mode in modes.items() if path not in same}, sorted(
            before.keys() - candidate.keys()
        )

    def commit_attempt(
        self, attempt: Attempt, candidate: Candidate, result: Result | None = None, verdict: Verdict | None = None
    ) -> str:
        """The commit object that is run; with result and verdict, the one that stands for the finished attempt.

        The attempt says everything but its own commit: number and words, parent, date. Equal arguments, equal commit.
        """
        return self.commit(candidate, attempt.parent, attempt_message(attempt, result, verdict), attempt.committed_at)

    def merge(self, base: Candidate, ours: Candidate, theirs: Candidate, name: str) -> Candidate:
        """`ours` with what `theirs` changed since `base`. Raises PatchRefused with both sides of what conflicts."""
        return merge(self._repo, self.state, (base, ours, theirs), name)

    def rebase(self, base: Candidate, ours: Candidate, theirs: Candidate, name: str) -> Candidate:
        """As `merge`, also where `ours` has all that already. Raises PatchRefused."""
        return rebase(self._repo, self.state, (base, ours, theirs), name)

    def recorded(self, number: int) -> str | None:
        """The commit of an attempt's ref."""
        return self.refs.resolve(self._ref(number))

    def record(self, number: int, commit: str, expected: str | None) -> None:
        """Move an attempt's ref from `expected` (None: it must be new) to `commit`. Raises HeadMoved."""
        self.refs.swap(self._ref(number), commit, expected)

    def archive(self, number: int, document: str) -> None:
        """Keep an experiment's row in git as well: a blob of its own, at a ref of its own."""
        row, ref = blob(document), f"{self.rows}/{number}"
        found = self.refs.resolve(ref)
        if found == row.name:  # a move that is finished writes its last row once more
            return
        self.objects.write([row])
        self.refs.swap(ref, row.name, found)

    def archived(self) -> list[int]:
        """The numbers whose rows are in git, in order."""
        return self.refs.numbers(self.rows)

    def listed(self) -> Listed:
        """All refs of the tag; those that say nothing any more are removed."""
        told = self.refs.all(self._head, self.attempts, self.rows, self.found)
        numbered: dict[str, dict[int, str]] = {self.attempts: {}, self.rows: {}}
        for ref, named in told.items():
            prefix, _, number = ref.rpartition("/")
            if prefix in numbered and _NUMBER.fullmatch(number):
                numbered[prefix][int(number)] = named
        found = {ref for ref in told if ref.startswith(f"{self.found}/")}
        return Listed(numbered[self.attempts], numbered[self.rows], found)

    def advance(self, commit: str, expected: str) -> None:
        """Move the branch from `expected` to `commit`, and the worktree's own index with it. Raises HeadMoved."""
        self.refs.swap(self._head, commit, expected)
        self._linked.align(commit)

    def log(self, limit: int) -> list[str]:
        """The branch's commits that the user's checkout does not have, one line each, newest first."""
        with translating_git_errors("Reading the log"):
            return self._repo.git.log("--oneline", "--no-decorate", f"-{limit}", f"HEAD..{self.branch}").splitlines()

    @property
    def rows(self) -> str:
        """Where the copies of the rows are."""
        return f"refs/autoresearch-rows/{self.tag}"

    @property
    def attempts(self) -> str:
        """Where the refs of the attempts are."""
        return f"refs/autoresearch/{self.tag}"

    @property
    def found(self) -> str:
        """Where what somebody else had put there is kept."""
        return f"refs/autoresearch-found/{self.tag}"

    def base(self) -> str:
        """The commit that the next run is built on: the branch's, or that of the checkout where there is no branch."""
        with translating_git_errors("Looking for the commit to start from"):
            return self.refs.resolve(self._head) or str(self._repo.head.commit.hexsha)

    def trains_here(self) -> bool:
        """Whether some Python file of the branch, or of the checkout's commit, imports our `trainer`."""
        if (base := self.base()) not in self._trains:
            with translating_git_errors("Looking for a Session"):
                try:
                    self._repo.git.grep("--quiet", "-I", "-E", "-e", _IMPORT, base, "--", "*.py")
                    self._trains[base] = True
                except GitCommandError as error:
                    if error.status != 1:  # 1: there is none
                        raise
                    self._trains[base] = False
        return self._trains[base]

    def close(self, pack: bool = False) -> None:
        """End the git processes that serve this object. `pack`: have git pack our refs first, if many are files."""
        if pack:
            with suppress(WorkspaceUnusable):  # it saves time at the next start, and no more
                self.refs.pack()
        self._repo.close()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _head(self) -> str:
        return f"refs/heads/{self.branch}"

    def _ref(self, number: int) -> str:
        return f"{self.attempts}/{number}"


def mended(path: Path) -> Path | None:
    """Mend what keeps git from reading the refs of the repository at `path`. Returns where the old file is kept."""
    with open_repository(path) as repo:
        return mend_packed(Path(str(repo.common_dir)))
