"""A candidate of several files by globs, in git and in the worktree, where an agent edits with tools of its own."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import PatchRefused, WorkspaceUnusable
from server.source.candidate import Candidate
from server.source.editable import OF_TASKS, Editable
from server.vcs.workspace import Workspace
from tests.support.builders import NOON
from tests.support.repositories import git, make_repository

RULES = Editable(
    ["src/**", "*.sql"],
    files={"src/bench.sh": "it is named in `command`"},
    modules=sys.stdlib_module_names,
    limits=OF_TASKS,
)
FIRST = {"src/a.c": "int a;\n", "src/deep/b.c": "int b;\r\nno end", "src/run.sh": "#!/bin/sh\n", "q.sql": "select 1;\n"}
OTHERS = {"src/bench.sh": "./run.sh\n", "README.md": "read\n", ".gitignore": "*.log\n/src/out/\n"}


def put(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_repository(tmp_path_factory.mktemp("globs") / "work", "x = 1\n")
    put(root, FIRST | OTHERS)
    (root / "src/run.sh").chmod(0o755)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "several files")
    return root


@pytest.fixture
def workspace(made: Path, tmp_path: Path):
    root = tmp_path / "work"
    shutil.copytree(made, root, symlinks=True)
    with Workspace.open(root, "t1", RULES) as workspace:
        workspace.prepare()
        yield workspace


def kept(workspace: Workspace, candidate: Candidate) -> str:
    """The candidate as the branch's commit."""
    commit = workspace.commit(candidate, workspace.tip(), "next\n", NOON)
    workspace.advance(commit, workspace.tip())
    return commit


def test_what_the_globs_match_is_read_and_nothing_else(workspace: Workspace) -> None:
    assert dict(workspace.candidate()) == dict(workspace.files(workspace.tip())) == FIRST
    workspace.require_unspoiled()


def test_files_are_changed_added_and_deleted_in_a_commit_and_modes_stay(workspace: Workspace) -> None:
    base = workspace.tip()
    texts = {"src/run.sh": "#!/bin/sh\necho\n", "src/new/n.c": "int n;\n", "q.sql": "select 1;\n", "src/a.c": ""}
    commit = workspace.commit(Candidate(texts), base, "two\n", NOON)
    assert commit == workspace.commit(Candidate(texts), base, "two\n", NOON)
    assert dict(workspace.files(commit)) == texts and dict(workspace.files(base)) == FIRST
    told = git(workspace.root, "diff", "--raw", "--no-renames", "--abbrev=1", base, commit).splitlines()
    assert [(line.split()[:2], line.split()[4:]) for line in told] == [
        ([":100644", "100644"], ["M", "src/a.c"]),
        ([":100644", "000000"], ["D", "src/deep/b.c"]),
        ([":000000", "100644"], ["A", "src/new/n.c"]),
        ([":100755", "100755"], ["M", "src/run.sh"]),
    ]


def test_a_file_comes_where_a_folder_was_and_a_folder_where_a_file_was(workspace: Workspace) -> None:
    texts = {"src/a.c/inner.c": "1\n", "src/deep": "2\n", "q.sql": "3\n"}
    workspace.write_candidate(Candidate(texts))
    assert dict(workspace.candidate()) == texts
    kept(workspace, Candidate(texts))
    assert git(workspace.worktree, "status", "--porcelain") == ""
    workspace.write_candidate(Candidate(FIRST))
    assert dict(workspace.candidate()) == FIRST


def test_a_candidate_is_written_and_taken_back_whole(workspace: Workspace) -> None:
    texts = {"src/run.sh": "#!/bin/sh\necho\n", "src/new/n.c": "int n;\n", "q.sql": "select 2;\n"}
    workspace.write_candidate(Candidate(texts))
    assert dict(workspace.candidate()) == texts and not (workspace.worktree / "src/deep").exists()
    assert os.access(workspace.worktree / "src/run.sh", os.X_OK)
    workspace.require_unspoiled()
    workspace.write_candidate(Candidate(FIRST))
    assert dict(workspace.candidate()) == FIRST and not (workspace.worktree / "src/new").exists()
    assert git(workspace.worktree, "status", "--porcelain", "src/run.sh", "q.sql", "src/new") == ""
    assert not [path for path in workspace.state.iterdir() if path.name.startswith("candidate")]


def test_an_agent_may_edit_the_files_with_its_own_tools(workspace: Workspace) -> None:
    tree = workspace.worktree
    put(tree, {"src/a.c": "int A;\n", "src/new.c": "n\n", "run.log": "x\n", "src/out/o.c": "ignored\n"})
    (tree / "src/deep/b.c").unlink()
    for path in ("src/__pycache__/a.cpython-311.pyc", "src/a.o", "src/prog", "__pycache__/x.pyc"):
        (tree / path).parent.mkdir(exist_ok=True)
        (tree / path).write_bytes(b"\x7fELF\0\xff")
    workspace.require_unspoiled()
    due = {"src/a.c": "int A;\n", "src/new.c": "n\n", "src/run.sh": FIRST["src/run.sh"], "q.sql": FIRST["q.sql"]}
    assert dict(workspace.candidate()) == due
    assert dict(workspace.files(kept(workspace, workspace.candidate()))) == due


def rewritten(path: str) -> Callable[[Path], None]:
    return lambda tree: put(tree, {path: "other\n"})


def linked(path: str, target: str) -> Callable[[Path], None]:
    def make(tree: Path) -> None:
        (tree / path).unlink(missing_ok=True)
        (tree / path).symlink_to(target)

    return make


def hidden(tree: Path) -> None:
    put(tree, {"README.md": "other\n"})
    git(tree, "update-index", "--assume-unchanged", "README.md")


def staged(tree: Path) -> None:
    put(tree, {"added.txt": "other\n"})
    git(tree, "add", "added.txt")


def nested(tree: Path) -> None:
    make_repository(tree / "src" / "dep", "x = 1\n")


def removed(tree: Path) -> None:
    (tree / "README.md").unlink()


def switched(tree: Path) -> None:
    (tree / "src/bench.sh").chmod(0o755)


def filled(path: str, data: bytes) -> Callable[[Path], None]:
    def fill(tree: Path) -> None:
        (tree / path).write_bytes(data)

    return fill


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rewritten("README.md"), r"README\.md \(changed: it is not editable\)"),
        (rewritten("src/bench.sh"), r"src/bench\.sh \(changed: it is named in `command`\)"),
        (rewritten("notes.txt"), r"notes\.txt \(added: it is not editable\)"),
        (rewritten(".gitignore"), r"\.gitignore \(changed"),
        (rewritten("program.md"), r"program\.md \(changed"),
        (rewritten("src/sitecustomize.py"), r"src/sitecustomize\.py \(added: Python or pytest runs"),
        (rewritten("json.py"), r"json\.py \(added"),
        (rewritten("src/A.c"), r"src/A\.c \(added: it differs from src/a\.c only in capitals"),
        (removed, r"README\.md \(deleted: it is not editable\)"),
        (switched, r"src/bench\.sh \(changed"),
        (linked("src/link.c", "a.c"), r"src/link\.c \(added: it is a link"),
        (linked("README.md", "q.sql"), r"README\.md \(made something else"),
        (filled("src/big.txt", b"x" * (1 << 20) + b"\n"), r"src/big\.txt \(added: .*too large"),
        (hidden, r"README\.md \(changed"),
        (staged, r"added\.txt \(added"),
        (nested, r"src/dep/ \(added"),
    ],
)
def test_what_else_differs_in_the_worktree_is_refused_by_name(
    workspace: Workspace, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(workspace.worktree)
    with pytest.raises(PatchRefused, match=words) as refusal:
        workspace.require_unspoiled()
    assert str(workspace.worktree) in refusal.value.next_step
    step = refusal.value.next_step
    if "git checkout" in step:
        command = step[step.index("git checkout ") + 4 :].partition("`")[0]
        git(workspace.worktree, *command.split())
        workspace.require_unspoiled()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (linked("src/a.c", "/etc/passwd"), "not a regular file"),
        (filled("src/a.c", b"\xff\xfe"), "not UTF-8"),
        (filled("src/a.c", b"x" * ((1 << 20) + 1)), "bytes"),
    ],
)
def test_an_editable_file_that_is_no_text_is_told_and_can_be_restored(
    workspace: Workspace, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(workspace.worktree)
    for ask in (workspace.candidate, workspace.require_unspoiled):
        with pytest.raises(WorkspaceUnusable, match=words):
            ask()
    assert workspace.candidate_sha256() == ""
    workspace.write_candidate(Candidate(FIRST))
    assert dict(workspace.candidate()) == FIRST


def test_a_folder_that_leads_elsewhere_is_never_written_through(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (workspace.worktree / "src/deep").rename(outside)
    (workspace.worktree / "src/deep").symlink_to(outside)
    assert "src/deep/b.c" not in workspace.candidate()
    with pytest.raises(PatchRefused, match=r"src/deep \(added: it is a folder"):
        workspace.require_unspoiled()
    with pytest.raises(WorkspaceUnusable, match="is a link"):
        workspace.write_candidate(Candidate({**FIRST, "src/deep/b.c": "through\n"}))
    assert (outside / "b.c").read_bytes() == FIRST["src/deep/b.c"].encode()


def test_a_new_file_that_git_ignores_is_refused(workspace: Workspace) -> None:
    with pytest.raises(PatchRefused, match=r"Git ignores src/out/x\.c"):
        workspace.write_candidate(Candidate({**FIRST, "src/out/x.c": "1\n"}))
    assert dict(workspace.candidate()) == FIRST and not (workspace.worktree / "src/out").exists()


def test_no_editable_file_is_no_candidate(workspace: Workspace) -> None:
    for path in FIRST:
        (workspace.worktree / path).unlink()
    with pytest.raises(WorkspaceUnusable, match=r"No file in .* is editable"):
        workspace.candidate()
    workspace.write_candidate(Candidate(FIRST))
    assert dict(workspace.candidate()) == FIRST


SECOND = {"src/a.c": "int A;\n", "src/new/n.c": "int n;\n", "q.sql": "select 2;\n", "src/run.sh": "echo\n"}


@pytest.mark.parametrize("after", range(8))
def test_a_kill_at_any_rename_or_removal_leaves_one_candidate_or_the_other(
    workspace: Workspace, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, unlink, left = Path.replace, Path.unlink, [after]

    def counted(self: Path) -> None:
        if workspace.worktree in self.parents:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    def replaced(self: Path, target: Path) -> Path:
        counted(self)
        return replace(self, target)

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        counted(self)
        unlink(self, missing_ok)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "unlink", unlinked)
        workspace.write_candidate(Candidate(SECOND))
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert killed == (after < 5), "one removal and four renames"
    assert dict(workspace.candidate()) == (FIRST if killed else SECOND)
    assert not (workspace.state / "candidate.before").exists() and (workspace.worktree / "src/new").exists() != killed
    workspace.require_unspoiled()
    workspace.write_candidate(Candidate(SECOND))
    assert dict(workspace.candidate()) == SECOND and not list(workspace.worktree.rglob(".*.new"))


def test_a_merge_adds_and_deletes_files(workspace: Workspace) -> None:
    base = Candidate({"a": "1\n2\n3\n", "b": "x\n", "c": "y\n"})
    theirs = Candidate({"a": "1\n2\nthree\n", "c": "y\n", "d": "new\n"})
    ours = base.with_file("a", "one\n2\n3\n").with_file("e", "mine\n")
    merged = {"a": "one\n2\nthree\n", "c": "y\n", "d": "new\n", "e": "mine\n"}
    assert dict(workspace.merge(base, ours, theirs, "that")) == merged
    for mine, words in (
        (base.with_file("b", "changed\n"), r"b: that has deleted it, and the candidate has changed it"),
        (base.without("a"), r"a: the candidate has deleted it, and that has changed it"),
        (base.with_file("d", "other\n"), r"(?s)conflicts.*\nd:\n.*other.*new"),
    ):
        with pytest.raises(PatchRefused, match=words):
            workspace.merge(base, mine, theirs, "that")
    with pytest.raises(PatchRefused, match="already"):
        workspace.merge(base, theirs, theirs, "that")


NAMES = st.sampled_from(["src/a.c", "src/b/c.c", "src/b/d/e.c", "q.sql", "r.sql", "src/x/y"])
SETS = st.dictionaries(NAMES, st.text("ab\n\r", max_size=6), min_size=1, max_size=5).map(Candidate)


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("shared") / "work"
    shutil.copytree(made, root, symlinks=True)
    with Workspace.open(root, "t1", RULES) as workspace:
        workspace.prepare()
        yield workspace


@settings(max_examples=12, deadline=None)
@given(SETS)
def test_any_candidate_is_read_as_it_was_written(shared: Workspace, candidate: Candidate) -> None:
    shared.write_candidate(candidate)
    assert shared.candidate() == candidate
    assert shared.files(shared.commit(candidate, shared.tip(), "any\n", NOON)) == candidate
