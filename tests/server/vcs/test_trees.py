"""The files of a commit: laid out byte for byte, refused where they are no candidate, and made again without git."""

import os
import shutil
from pathlib import Path

import pytest
from git import Repo
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import WorkspaceUnusable
from server.source.editable import OF_TASKS, Editable
from server.vcs import objects
from server.vcs.git_environment import open_repository
from server.vcs.objects import Made, Objects
from server.vcs.trees import Trees
from server.vcs.workspace import Workspace
from tests.support.builders import NOON
from tests.support.repositories import git, make_repository

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
SUBMODULE = "160000,1111111111111111111111111111111111111111,third_party/dep"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", "x = 1\n")


def add(root: Path, files: dict[str, bytes], *index: str) -> str:
    """A commit of these files, and of lines of the index."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    git(root, "add", "--all")
    for line in index:
        git(root, "update-index", "--add", "--cacheinfo", line)
    git(root, "commit", "--quiet", "-m", "more")
    return git(root, "rev-parse", "HEAD")


def laid_out(root: Path, commit: str, folder: Path) -> list[str]:
    with open_repository(root) as repo:
        return Trees(repo).lay_out(commit, folder)


def raw_tree(root: Path, entries: list[tuple[str, str, bytes]]) -> str:
    """A commit whose tree has names that git itself would refuse: mode, name, content."""
    with open_repository(root) as repo:
        made = [(mode, name, Made("blob", data)) for mode, name, data in entries]
        content = b"".join(f"{m} {n}\0".encode() + bytes.fromhex(blob.name) for m, n, blob in made)
        tree = Made("tree", content)
        commit = objects.commit(tree.name, git(root, "rev-parse", "HEAD"), "odd\n", NOON)
        Objects(repo).add([*(blob for _, _, blob in made), tree, commit])
    return commit.name


def test_files_are_laid_out_byte_for_byte(root: Path, tmp_path: Path) -> None:
    data = {
        "crlf.txt": b"a\r\nb\n",
        "bin/tool": b"#!/bin/sh\n",
        "raw.bin": bytes(range(256)) * 9000,  # longer than one read
        "twin/raw.bin": bytes(range(256)) * 9000,
        "empty": b"",
        "deep/er/ü ö.txt": b"x",
        "$Id.c": b"$Id$\n",
        "secret.txt": b"not exported\n",
        ".gitattributes": b"* text eol=crlf ident\nsecret.txt export-ignore\n*.bin -text\n",
    }
    (root / "bin").mkdir()
    (root / "bin/tool").touch(0o755)
    (root / "bin/tool").chmod(0o755)
    git(root, "config", "core.autocrlf", "false")
    (root / ".git/info/attributes").write_text("* -text -ident\n", encoding="utf-8")  # the blobs are as written
    commit = add(root, data)
    (root / ".git/info/attributes").unlink()
    assert laid_out(root, commit, tmp_path / "out") == []
    found = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {path: place.read_bytes() for path, place in found.items() if path in data} == data
    assert set(found) == {*data, "program.md", "train.py"}
    assert [path for path, place in found.items() if os.access(place, os.X_OK)] == ["bin/tool"]


def test_links_stay_inside_and_submodules_are_left_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("told\n", encoding="utf-8")
    links = {
        "inside": "sub/a.txt",
        "sub/up": "../program.md",
        "dangling": "nowhere",
        "loop": "loop",
        "folder": "sub",
        "absolute": str(root / "program.md"),
        "outside": "../secret",
        "sub/outside": "../../secret",
        "chain": "outside",
        "round": "folder/../../secret",
        "out-and-in": f"../{root.name}/program.md",
    }
    (root / "sub").mkdir()
    for name, target in links.items():
        (root / name).symlink_to(target)
    commit = add(root, {"sub/a.txt": b"a\n"}, SUBMODULE)
    left = laid_out(root, commit, tmp_path / "out")
    kept = {"inside", "sub/up", "dangling", "loop", "folder"}
    assert left == sorted({*links, "third_party/dep"} - kept)
    assert {name: os.readlink(tmp_path / "out" / name) for name in kept} == {name: links[name] for name in kept}
    assert not any(os.path.lexists(tmp_path / "out" / name) for name in left)


@pytest.mark.parametrize(
    "entries",
    [
        [("100644", "../escaped", b"x")],
        [("100644", "..", b"x")],
        [("100644", ".git", b"x")],
        [("100644", "/tmp/escaped", b"x")],
        [("120000", "a", b".."), ("100644", "a/escaped", b"x")],
        [("100644", "a", b"x"), ("100644", "a", b"y")],
        [("100644", "a", b"x"), ("100644", "a/b", b"y")],
    ],
)
def test_nothing_is_written_outside_whatever_the_names_are(
    root: Path, tmp_path: Path, entries: list[tuple[str, str, bytes]]
) -> None:
    commit = raw_tree(root, entries)
    before = sorted(tmp_path.rglob("*"))
    try:
        laid_out(root, commit, tmp_path / "out")
    except WorkspaceUnusable as refused:
        assert refused.next_step and not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    new = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert not [path for path in new if ".git/" not in str(path)] and not Path("/tmp/escaped").exists()


def test_a_lost_file_and_a_folder_that_is_there_are_told(root: Path, tmp_path: Path) -> None:
    commit = add(root, {"src/a.c": b"1\n"})
    (tmp_path / "there").mkdir()
    with pytest.raises(WorkspaceUnusable, match="File exists"):
        laid_out(root, commit, tmp_path / "there")
    blob = git(root, "rev-parse", "HEAD:src/a.c")
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(WorkspaceUnusable, match=f"{blob} is missing"):
        laid_out(root, commit, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_unicode_is_laid_out_as_it_is(root: Path, tmp_path: Path) -> None:
    commit = raw_tree(root, [("100644", "plain", b"x")])
    name = os.fsdecode(b"caf\xe9.txt")
    with open_repository(root) as repo:
        blob = Made("blob", b"latin")
        tree = Made("tree", b"100644 " + os.fsencode(name) + b"\0" + bytes.fromhex(blob.name))
        made = objects.commit(tree.name, commit, "latin\n", NOON)
        Objects(repo).add([blob, tree, made])
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this disk has Unicode names alone")
    laid_out(root, made.name, tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"latin"


RULES = ["src/**", "*.sql"]


def opened(root: Path, globs: list[str] = RULES, **more: dict[str, str]) -> None:
    Workspace.open(root, "t1", Editable(globs, limits=OF_TASKS, **more)).close()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"docs/a.c": b"1\n"}, r"No file in the commit \w+ is editable by src/\*\*, \*\.sql\."),
        ({"src/a.c": b"1\n", "src/logo.png": b"\x89PNG\0"}, r"Not every .* plain text file: src/logo\.png \(binary\)"),
        ({"src/latin.txt": b"caf\xe9"}, r"src/latin\.txt \(binary\)"),
        ({"src/big.txt": b"x" * 1_100_000}, r"src/big\.txt \(1100000 bytes, 1048576 are allowed\)"),
        ({f"src/{n}.txt": b"x" * 1_000_000 for n in range(5)}, "5 editable files have 5000000 bytes"),
        ({"src/model.bin": POINTER.encode()}, r"src/model\.bin \(a pointer of Git LFS\)"),
    ],
)
def test_what_can_be_no_candidate_is_refused_at_the_door(root: Path, files: dict[str, bytes], words: str) -> None:
    add(root, files)
    with pytest.raises(WorkspaceUnusable, match=words) as refusal:
        opened(root)
    assert "program.md" in refusal.value.next_step or "off_limits" in refusal.value.next_step


def test_what_is_no_text_can_be_named_off_limits_and_a_submodule_is_no_file(root: Path) -> None:
    (root / "src/dep").mkdir(parents=True)
    (root / "src/link.c").symlink_to("../train.py")
    add(root, {"src/a.c": b"1\n", "src/logo.png": b"\x89PNG\0"}, SUBMODULE.replace("third_party", "src"))
    with pytest.raises(WorkspaceUnusable, match=r"src/link\.c \(a link\), src/logo\.png \(binary\)"):
        opened(root)
    rules = Editable(RULES, dict.fromkeys(["src/*.png", "src/link.c"], "it is in `off_limits`"), limits=OF_TASKS)
    with Workspace.open(root, "t1", rules) as workspace:
        workspace.prepare()
        (workspace.worktree / "src/dep").mkdir(exist_ok=True)
        (workspace.worktree / "src/dep/inner.c").write_text("2\n", encoding="utf-8")
        assert dict(workspace.candidate()) == {"src/a.c": "1\n"}


def test_a_folder_that_has_lost_its_last_file_to_a_candidate_is_no_obstacle(root: Path) -> None:
    add(root, {"lib/a.c": b"1\n", "src/a.c": b"1\n"})
    rules = Editable([*RULES, "lib"], limits=OF_TASKS)
    with Workspace.open(root, "t1", rules) as workspace:
        workspace.prepare()
        commit = workspace.commit(workspace.candidate().without("lib/a.c"), workspace.tip(), "less\n", NOON)
        workspace.advance(commit, workspace.tip())
    Workspace.open(root, "t1", rules).close()


def test_globs_that_match_only_what_judges_are_told_so(root: Path) -> None:
    add(root, {"judge/judge.py": b"x = 1\n", "bench.sh": b"true\n"})
    with pytest.raises(WorkspaceUnusable, match=r"withheld: judge/judge\.py \(it is the judge\)"):
        opened(root, ["judge/**"], files={"judge/judge.py": "it is the judge"})
    opened(root, ["**"], files={"judge/judge.py": "it is the judge", "bench.sh": "it is named in `command`"})
    with pytest.raises(WorkspaceUnusable, match=r"There is no src/parser\.c in the commit"):
        opened(root, ["src/parser.c", "**"])


def test_what_a_run_lacks_or_withholds_is_told(root: Path) -> None:
    add(root, {"src/a.c": b"1\n", "data.bin": POINTER.encode(), "bench.sh": b"true\n"}, SUBMODULE)
    kept = {"bench.sh": "it is named in `command`", "data.bin": "it is in `off_limits`"}
    rules = Editable(["**"], files=kept, limits=OF_TASKS)
    with open_repository(root) as repo:
        assert Trees(repo).doubts(git(root, "rev-parse", "HEAD")) == [
            "Submodules are left out of a run: third_party/dep.",
            "A run has Git LFS pointers instead of the files: data.bin.",
        ]
    assert rules.reserved(["bench.sh", "src/a.c", "program.md"]) == {"bench.sh": "it is named in `command`"}
    withheld = rules.withheld(["bench.sh", "src/a.c", "program.md"])
    assert withheld == {"bench.sh": "it is named in `command`", "program.md": "program.md is the operator's"}


EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the tree without entries
NAMES = st.sampled_from(["a", "a-b", "a.c", "a/b", "a/b.c", "a/b/c", "a0", "b/a", "b/a.c", "z"])
CHANGES = st.dictionaries(NAMES, st.none() | st.sampled_from(["1\n", "2\n", ""]), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    root = make_repository(tmp_path_factory.mktemp("store") / "work", "x = 1\n")
    with open_repository(root) as repo:
        yield repo


@settings(max_examples=15, deadline=None)
@given(CHANGES, CHANGES)
def test_a_tree_made_without_git_is_the_one_that_git_makes(
    store: Repo, first: dict[str, str | None], second: dict[str, str | None]
) -> None:
    made: dict[str, Made] = {}
    kept = Objects(store)

    def read(name: str) -> Made | None:
        return made.get(name) or kept.read(name)

    tree, index = "", Path(str(store.common_dir)) / "index.test"
    index.unlink(missing_ok=True)
    for changes in (first, second):
        blobs = {path: Made("blob", text.encode()) for path, text in changes.items() if text is not None}
        if any(other.startswith(f"{path}/") for path in blobs for other in blobs):
            return  # no disk has both
        before = objects.files_of(read, tree) if tree else {}
        # As the callers do: what a new file takes the place of is removed.
        clashing = {
            old for old in before for new in blobs if f"{old}/".startswith(f"{new}/") or new.startswith(f"{old}/")
        }
        gone = (changes.keys() | clashing) - blobs.keys()
        trees = objects.with_files(
            read, tree, {**dict.fromkeys(gone), **{path: one.name for path, one in blobs.items()}}
        )
        made |= {one.name: one for one in (*trees, *blobs.values())}
        kept.add(list(blobs.values()))
        with store.git.custom_environment(GIT_INDEX_FILE=str(index)):
            for path in sorted(gone):
                store.git.update_index("--force-remove", path)
            for path, one in blobs.items():
                store.git.update_index("--add", "--cacheinfo", f"100644,{one.name},{path}")
            theirs = str(store.git.write_tree())
        tree = trees[-1].name if trees else ""
        assert (tree or EMPTY) == theirs
        assert len(objects.files_of(read, tree) if tree else ()) == len(
            str(store.git.ls_tree("-r", theirs)).splitlines()
        )
