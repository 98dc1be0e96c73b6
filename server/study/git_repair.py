"""What the ledger knows and git has lost is made again: refs of experiments, copies of rows, and commits.

Refs are lost by a pruning fetch, a script that cleans up or a damaged packed-refs; `git gc` then takes the commits. A
commit is made from the train.py of its run's folder, and counts only if it has the name that the ledger says.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from server.errors import WorkspaceUnusable
from server.files import set_aside, write_whole
from server.history.chain import Mark, Stored, copy_name, numbers_in_words
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.paths import StudyPaths
from server.records import Experiment
from server.runs.run_folder import RunFolders
from server.source.candidate import Candidate
from server.starting.request import AT_START
from server.vcs import objects
from server.vcs.commit_message import attempt_message
from server.vcs.objects import Made, TreeEntry
from server.vcs.refs import Move
from server.vcs.workspace import Listed, Workspace
from trainer.contract import RunFile

_NAMED = 12  # refs in a sentence
_ROOM = 600  # characters
_COMMIT = re.compile(r'"commit":"([0-9a-f]{40})"')


class Wanted(NamedTuple):
    """What git should have of a row, by name."""

    commit: str
    copy: str


def wanted(ledger: Ledger, copies: Mapping[int, str], found: Stored | None = None) -> dict[int, Wanted]:
    """Of each row. A row that differs from its copy in git is read, so that a damaged one shows here.

    Args:
        copies: names of the copies that git has, by the experiment's number.
        found: filled with what the ledger holds.

    Raises:
        LedgerDamaged.
    """
    wants: dict[int, Wanted] = {}
    for number, text, columns in ledger.documents():
        name = copy_name(text)
        if found is not None:
            found[number] = (name, columns)
        # The text is as it was when it was copied: no need to validate all of it.
        if copies.get(number) == name and (commit := _commit(text)):
            wants[number] = Wanted(commit, name)
        elif row := ledger.get(number):
            wants[row.number] = Wanted(row.commit, document(row).name)
    return wants


def _commit(text: str) -> str:
    """Experiment.commit, of a row as it is written; empty if it cannot be told."""
    # A quote within a text is escaped, so this is a key; the judgement's comes after the attempt's.
    if found := _COMMIT.match(text, text.rfind('"commit":')):
        return found[1]
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        row = json.loads(text)
        return str((row.get("judgement") or row["attempt"])["commit"])
    return ""


def document(row: Experiment) -> Made:
    """The copy of a row."""
    return Made("blob", row.model_dump_json(exclude_none=True).encode())


def copy(workspace: Workspace, name: str) -> Experiment | None:
    """The row that a blob is the copy of; None if there is none that can be read."""
    found = workspace.objects.read(name) if name else None
    with suppress(ValueError):
        return Experiment.model_validate_json(found.content) if found else None
    return None


def lost(state: Path) -> str:
    """What git has lost of the night in `state` and could not be given back; empty if nothing."""
    with suppress(OSError, UnicodeDecodeError):
        return StudyPaths(state).lost.read_text(encoding="utf-8")
    return ""


def repair_refs(
    ledger: Ledger,
    workspace: Workspace,
    notebook: Notebook,
    listed: Listed | None = None,
    wants: dict[int, Wanted] | None = None,
) -> None:
    """Give git back what it has lost. What cannot be had is written down for `lost`.

    Raises:
        WorkspaceUnusable: git cannot write. LedgerDamaged.
    """
    listed = listed or workspace.listed()
    wants = wants or wanted(ledger, listed.rows)
    repair = _Repair(ledger, workspace, listed, wants)
    repair.find()
    failed = repair.write()
    for text in repair.told():
        notebook.add(text, idea=False, after=max(wants, default=0))
    workspace.refs.mended = None
    if (losses := repair.losses()) and not wants:
        set_aside(workspace.paths.results)  # all that is left of the night: the next row would overwrite it
    _write_down(workspace.paths.lost, [*losses, *failed])
    workspace.refs.accept(whole=not failed)


def _write_down(path: Path, told: list[str]) -> None:
    text = " ".join(told)
    text = text if len(text) <= _ROOM else text[: _ROOM - 4] + " ..."
    if text != lost(path.parent):
        write_whole(path, text)
    if not text:
        path.unlink(missing_ok=True)


class _Repair:
    """Compares git with the ledger once, and writes what git lacks."""

    def __init__(self, ledger: Ledger, workspace: Workspace, listed: Listed, wants: dict[int, Wanted]) -> None:
        self._ledger, self._workspace, self._listed, self._wants = ledger, workspace, listed, wants
        self._lost_commits = LostCommits(ledger, workspace)
        self._again: list[int] = []  # experiments whose commits were made again
        self._gone: dict[int, str] = {}  # experiments whose commits were not, and why
        self._kept: list[Move] = []  # to what our refs named in place of ours

    def find(self) -> None:
        """Find out what is missing, and make it in memory."""
        wants, rows = self._wants, self._listed.rows
        self._lost_commits.lacking = self._workspace.objects.lacking([name for want in wants.values() for name in want])
        odd = list(dict.fromkeys(number for number, _ in self._moves()))
        if odd or self._lost_commits.lacking:
            self._look_closer()
        for number, want in wants.items():
            if want.copy in self._lost_commits.lacking or rows.get(number) != want.copy:
                made = document(self._row(number))
                self._lost_commits.made[made.name] = made
                wants[number] = want._replace(copy=made.name)  # another one if an earlier version wrote the row
            if want.commit in self._lost_commits.lacking:
                self._rebuild(self._row(number))
        for number in odd:
            self._keep_others(self._row(number))
        strays = [number for number in self._listed.attempts if number > self._last]
        if strays != [self._last + 1]:  # that is a run which was broken off before it had a row
            for number in strays:
                self._keep(number, self._listed.attempts[number])

    def write(self) -> list[str]:
        """Write it: the objects first. Returns what failed, and why. Raises WorkspaceUnusable."""
        self._workspace.objects.add(list(self._lost_commits.made.values()))
        moves = [move for _, move in self._moves()]
        return self._workspace.refs.put([*self._kept, *moves])

    def told(self) -> list[str]:
        """What was done that somebody should know."""
        told: list[str] = []
        if self._again:
            numbers = numbers_in_words(self._again)
            told.append(f"Git had lost the commits of experiments {numbers}: they were created again.")
        if aside := self._workspace.refs.mended:
            told.append(f"packed-refs was damaged: its unreadable lines were removed. The old file is {aside.name}.")
        if self._kept:
            names = ", ".join(move.ref for move in self._kept[:_NAMED]) + (", ..." if len(self._kept) > _NAMED else "")
            told.append(f"Somebody else had changed refs of experiments. Their own commits are kept: {names}.")
        return told

    def losses(self) -> list[str]:
        """What git, or the ledger, has lost for good."""
        told: list[str] = []
        for why in dict.fromkeys(self._gone.values()):
            numbers = [number for number, other in self._gone.items() if other == why]
            told.append(f"Git has lost the commits of experiments {numbers_in_words(numbers)}: {why}.")
        if rowless := [number for number in range(1, self._last + 1) if number not in self._wants]:
            told.append(f"The rows of experiments {numbers_in_words(rowless)} are lost, both in the ledger and in git.")
        if told:
            told.append("The operator must restore what is missing from a backup or a clone, and restart the server.")
        return told

    @cached_property
    def _last(self) -> int:
        """The last number that was given to an experiment."""
        return max([*self._wants, *self._listed.rows, *self._lost_commits.folders], default=0)

    @cached_property
    def _written(self) -> set[tuple[int, str]]:
        self._ledger.chain(found := set[tuple[int, str]]())
        return found

    def _row(self, number: int) -> Experiment:
        row = self._ledger.get(number)
        assert row is not None, number
        return row

    def _moves(self) -> Iterator[tuple[int, Move]]:
        """What has to happen to the two refs of each experiment."""
        workspace, attempts, rows = self._workspace, self._listed.attempts, self._listed.rows
        for number, (commit, copy) in self._wants.items():
            if attempts.get(number) != commit and number not in self._gone:
                yield number, Move(f"{workspace.attempts}/{number}", commit, attempts.get(number))
            if rows.get(number) != copy:
                yield number, Move(f"{workspace.rows}/{number}", copy, rows.get(number))

    def _look_closer(self) -> None:
        """Something was at work here: look for each commit's text, and for what the lost ones were built on."""
        objects = self._workspace.objects
        commits = {want.commit for want in self._wants.values()} - self._lost_commits.lacking
        texts = [(name, commit) for commit in commits for name in self._lost_commits.texts_of(commit)]
        with suppress(WorkspaceUnusable):  # in a partial clone the first ones are somewhere else
            lacking = objects.lacking(dict.fromkeys(name for name, _ in texts))
            self._lost_commits.lacking |= {commit for name, commit in texts if name in lacking}
        lost = [number for number, want in self._wants.items() if want.commit in self._lost_commits.lacking]
        self._lost_commits.lacking |= objects.lacking({self._row(number).attempt.parent for number in lost})

    def _rebuild(self, row: Experiment) -> None:
        """Make a commit again; those before it were."""
        if why := self._lost_commits.commit(row):
            self._gone[row.number] = why
        else:
            self._again.append(row.number)

    def _keep_others(self, row: Experiment) -> None:
        """Keep what somebody else has put at the refs of an experiment."""
        attempt, blob = self._listed.attempts.get(row.number), self._listed.rows.get(row.number)
        if attempt and attempt not in (row.commit, row.attempt.commit):
            if self._work(attempt) != self._work(row.commit):  # an earlier verdict's is ours
                self._keep(row.number, attempt)
        if blob and blob != self._wants[row.number].copy:
            if (found := copy(self._workspace, blob)) is None or not self._ours(found, blob, row):
                self._keep(row.number, blob)

    def _ours(self, found: Experiment, blob: str, row: Experiment) -> bool:
        """Whether a server wrote what was found in the place of a row's copy."""
        if found == row or (row.number, blob) in self._written:  # the same: as an earlier version wrote it
            return True
        # The chain does not know what a row was before it came in as a whole.
        return row.number in self._unlinked and _earlier(found, row)

    @cached_property
    def _unlinked(self) -> set[int]:
        marks = (Mark.BEFORE, Mark.REBUILT, Mark.BROKEN)
        return {number for mark in marks for number in self._ledger.marked(mark)}

    def _work(self, name: str) -> bytes | None:
        """A commit without its message: an attempt's changes without the verdict."""
        found = self._lost_commits.read(name)
        return found.content.partition(b"\n\n")[0] if found and found.kind == "commit" else None

    def _keep(self, number: int, name: str) -> None:
        ref = f"{self._workspace.found}/{number}-{name[:12]}"
        if ref not in self._listed.found and self._lost_commits.read(name):
            self._kept.append(Move(ref, name, None))


def _earlier(found: Experiment, row: Experiment) -> bool:
    """Whether `found` may be what `row` was before: the same attempt, with less of what became of it."""
    parts = (found.result, row.result), (found.decision, row.decision), (found.revocation, row.revocation)
    later = {name: getattr(row.attempt, name) for name in ("commit", *(AT_START if found.queued else ()))}
    same = found.attempt.model_copy(update=later) == row.attempt
    return same and all(before is None or before == now for before, now in parts)


_MOST = 1 << 20  # bytes of a train.py


class LostCommits:
    """Makes lost commits again, in memory; the caller writes their objects."""

    def __init__(self, ledger: Ledger, workspace: Workspace) -> None:
        self._ledger, self._workspace = ledger, workspace
        self.made: dict[str, Made] = {}
        self.lacking: set[str] = set()  # names of objects that git does not have

    @cached_property
    def folders(self) -> dict[int, list[Path]]:
        """The folders of runs, also those that were set aside."""
        found: dict[int, list[Path]] = defaultdict(list)
        for number, path in RunFolders(self._workspace.paths.runs).copies():
            found[number].append(path)
        return found

    def texts_of(self, commit: str) -> list[str]:
        """Names by which git can be asked for the editable files of a commit; one that it lacks if a tree is lost."""
        if paths := self._workspace.editable.plain:
            return [f"{commit}:{path}" for path in paths]
        ours = self._ours(commit)
        return [f"{commit}:"] if ours is None else [entry.name for entry in ours.values()]

    def commit(self, row: Experiment) -> str:
        """Make a commit and what is in it. Returns why it cannot be made; empty if it was."""
        attempt = row.attempt
        texts = next((found for found in self._texts(row) if _sha256(found) == attempt.train_sha256), None)
        if texts is None:
            return "no copy of their train.py is left"
        blobs = {path: Made("blob", text) for path, text in texts.items()}
        trees = self._trees(attempt.parent, {path: blob.name for path, blob in blobs.items()})
        if not trees:
            return "the commit they were built on is lost as well"
        message = attempt_message(attempt, row.result, row.judgement.verdict if row.judgement else None)
        made = objects.commit(trees[-1].name, attempt.parent, message, attempt.committed_at)
        if made.name != row.commit:
            return "their train.py gives a different commit"
        self.made |= {one.name: one for one in (*blobs.values(), *trees, made)}
        return ""

    def _trees(self, parent: str, blobs: dict[str, str]) -> list[Made]:
        """The trees of a commit on `parent` with these files, that of the top last; empty if one is lost."""
        with suppress(ValueError):
            if self._workspace.editable.plain:
                tree, (file,) = self._tree(parent), blobs
                return [objects.with_file(tree.content, file, blobs[file])] if tree else []
            before = self._ours(parent)
            if (tree := self._tree(parent)) and before is not None:
                return objects.with_files(self.read, tree.name, {**dict.fromkeys(before), **blobs})
        return []

    def read(self, name: str) -> Made | None:
        """An object of git's, or one that was made; None if it is lost."""
        if name in self.made:
            return self.made[name]
        return None if name in self.lacking else self._workspace.objects.read(name)

    def _texts(self, row: Experiment) -> Iterator[dict[str, bytes]]:
        """What may be its editable files: of its run, of a run of the same text, of a commit, or the candidate."""
        twins = [row, *self._twins[row.attempt.train_sha256]]
        for folder in (folder for twin in twins for folder in self.folders.get(twin.number, [])):
            with suppress(OSError):
                yield self._left_in(folder)
        for commit in (row.attempt.parent, *(twin.commit for twin in twins)):
            if found := self._committed(commit):
                yield found
        with suppress(WorkspaceUnusable):
            yield {path: text.encode() for path, text in self._workspace.candidate().items()}

    def _left_in(self, folder: Path) -> dict[str, bytes]:
        """The editable files that a run has left in its folder. Raises OSError."""
        editable, top = self._workspace.editable, folder / RunFile.TREE
        below: Iterable[Path] = () if editable.plain else top.rglob("*")
        paths = {self._workspace.file: folder / RunFile.TRAIN} if editable.plain else {}
        paths |= {path.relative_to(top).as_posix(): path for path in below}
        return {name: path.read_bytes() for name, path in paths.items() if editable.allows(name) and _is_small(path)}

    def _committed(self, commit: str) -> dict[str, bytes]:
        """The editable files of a commit; empty if one is lost."""
        if self._workspace.editable.plain:
            tree, file = self._tree(commit), self._workspace.file
            names = {file: objects.blob_of(tree.content, file)} if tree else {}
        else:
            names = {path: entry.name for path, entry in (self._ours(commit) or {}).items()}
        found = {path: blob.content for path, name in names.items() if (blob := self.read(name))}
        return found if len(found) == len(names) else {}

    def _ours(self, commit: str) -> dict[str, TreeEntry] | None:
        """The editable files in the tree of a commit, whatever refs say; None if a tree is lost."""
        with suppress(ValueError):
            if tree := self._tree(commit):
                found = objects.files_of(self.read, tree.name).items()
                return {path: one for path, one in found if one.plain and self._workspace.editable.allows(path)}
        return None

    def _tree(self, commit: str) -> Made | None:
        """The tree of a commit; None if it is lost."""
        found = self.read(commit)
        return self.read(found.content[5:45].decode()) if found and found.kind == "commit" else None

    @cached_property
    def _twins(self) -> dict[str, list[Experiment]]:
        """The rows by their train.py."""
        found: dict[str, list[Experiment]] = defaultdict(list)
        for row in self._ledger.all():
            found[row.attempt.train_sha256].append(row)
        return found


def _is_small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST


def _sha256(texts: dict[str, bytes]) -> str:
    """The hash of a candidate of these files, which may be no text at all; empty of none."""
    with suppress(ValueError):
        return Candidate({path: text.decode() for path, text in texts.items()}).sha256
    return ""
