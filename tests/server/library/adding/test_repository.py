"""What is taken of a repository: what it says of itself, what was asked for, and nothing that could do harm."""

import subprocess
import time
from pathlib import Path

import pytest

from server.errors import SourceUnreachable
from server.library.adding.repository import Terms, documents, folder_name, repository_name
from server.library.document import Document, Kind
from server.library.fetching.git_objects import opened
from server.library.fetching.reach import Reach
from server.library.fetching.sources import read_source
from tests.support.growth import require_even
from tests.support.repositories import git

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person\n"
FILES = {
    "README.md": "# Thing\n\nIt trains.\n",
    "CHANGELOG.rst": "Changes\n=======\n\nNone yet.\n",
    "LICENSE": MIT,
    "docs/guide.md": "# Guide\n\nRead it.\n",
    "docs/deep/more.txt": "More.\n",
    "docs/build.py": "x = 1\n",
    "records/2024/muon/README.md": "# Record\n\nFaster.\n",
    "records/2024/muon/log.txt": "step 1\n",
    "src/train.py": 'def train():\n    """Train it."""\n',
    "src/data.bin": "a\0b",
    "src/empty.py": "\n",
    "INDEX.md": "# Mine\n",
    "docs/Guide.md": "# Other\n",
    "docs/nul.md": "# Nul\n",
    "docs/.hidden.md": "# Hidden\n",
}


def commit(folder: Path, files: dict[str, str]) -> None:
    """A commit of these files, which may have names that no disk can have, with links and a submodule beside them."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    lines = [f"160000 {'1' * 40}\tdocs/module.md"]
    for mode, path, text in (("120000", "docs/link.md", "/etc/passwd"), *(("100644", *one) for one in files.items())):
        oid_of = ["git", "hash-object", "-w", "--stdin"]
        oid = subprocess.run(oid_of, cwd=folder, input=text.encode(), capture_output=True, check=True).stdout.decode()
        lines.append(f"{mode} {oid.strip()}\t{path}")
    told = "\0".join(lines).encode() + b"\0"
    subprocess.run(["git", "update-index", "--add", "-z", "--index-info"], cwd=folder, input=told, check=True)
    git(folder, "commit", "-qm", "all")


def taken(folder: Path, *include: str) -> dict[str, tuple[Document, str]]:
    with opened(read_source(str(folder)), Reach()) as repository:
        terms = Terms(
            "https://example.org/me/thing.git", repository.commit, "2026-01-02T03:04:05+00:00", include=include
        )
        return documents(repository, terms)


def test_what_a_repository_says_of_itself_is_taken(tmp_path: Path) -> None:
    commit(tmp_path / "thing", FILES)
    made = taken(tmp_path / "thing")
    left = {"docs/build.py", "records/2024/muon/log.txt", "INDEX.md"}
    told = {path for path in FILES if not path.startswith("src/")} - left
    assert {document.path for document, _ in made.values()} == {"", *told}
    assert {document.licence for document, _ in made.values()} == {"MIT"}
    index, text = made["INDEX.md"]
    assert index.kind is Kind.REPOSITORY and len(index.commit) == 40
    assert index.id == f"thing@{index.commit[:7]}/INDEX"
    assert "| [docs/guide.md](<docs/guide-2.md>) | Guide | Read it. |" in text
    assert "| [records/2024/muon/README.md](<records/2024/muon/README.md>) | Record | Faster. |" in text


def test_names_are_safe_and_none_is_written_over_another(tmp_path: Path) -> None:
    commit(tmp_path / "thing", FILES)
    made = taken(tmp_path / "thing", "INDEX.md", "src/**")
    assert {place for place in made if "uide" in place} == {"docs/Guide.md", "docs/guide-2.md"}
    assert "docs/nul_.md" in made and "docs/_hidden.md" in made and "INDEX-2.md" in made
    assert len({place.casefold() for place in made}) == len(made)
    document, text = made["src/train.py.md"]
    assert document.path == "src/train.py" and "## `train()`\n\nTrain it." in text
    assert not any("data.bin" in place or "empty" in place for place in made)


def test_names_that_climb_are_left_out(tmp_path: Path) -> None:
    """Git refuses to write such a tree, and reads one that somebody else has written."""
    folder = tmp_path / "thing"
    commit(folder, {"README.md": "# x\n"})
    blob = git(folder, "rev-parse", "HEAD:README.md")
    line = f"100644 blob {blob}\tREADME.md\n"
    up = subprocess.run(["git", "mktree"], cwd=folder, input=line.encode(), capture_output=True, check=True).stdout
    inner = up.decode().strip()
    for name in ("..", "."):
        data = b"100644 README.md\0" + bytes.fromhex(blob) + f"40000 {name}\0".encode() + bytes.fromhex(inner)
        command = ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
        tree = subprocess.run(command, cwd=folder, input=data, capture_output=True, check=True).stdout.decode().strip()
        git(folder, "update-ref", "refs/heads/main", git(folder, "commit-tree", "-m", "climbs", tree))
        assert set(taken(folder, "**")) == {"INDEX.md", "README.md"}


def test_a_repository_without_anything_to_read_is_refused(tmp_path: Path) -> None:
    commit(tmp_path / "thing", {"src/a.py": "x = 1\n"})
    with pytest.raises(SourceUnreachable, match="no README"):
        taken(tmp_path / "thing")
    assert set(taken(tmp_path / "thing", "src/*.py")) == {"INDEX.md", "src/a.py.md"}


def test_more_files_than_anybody_reads_are_refused(tmp_path: Path) -> None:
    commit(tmp_path / "thing", {f"docs/{number}.md": "# x\n" for number in range(3)})
    blob = git(tmp_path / "thing", "rev-parse", "HEAD:docs/0.md")
    lines = "".join(f"100644 {blob}\tdocs/n{number}.md\n" for number in range(2001))
    subprocess.run(["git", "update-index", "--index-info"], cwd=tmp_path / "thing", input=lines.encode(), check=True)
    git(tmp_path / "thing", "commit", "-qm", "many")
    with pytest.raises(SourceUnreachable, match="2,004 files"):
        taken(tmp_path / "thing")


def test_a_tree_that_names_one_file_many_times_is_refused_soon(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        folder = tmp_path / str(count)
        if not folder.exists():
            commit(folder, {"README.md": "# x\n"})
            blob = git(folder, "rev-parse", "HEAD:README.md")
            lines = "".join(f"100644 {blob}\tdocs/n{number}.md\n" for number in range(count))
            subprocess.run(["git", "update-index", "--index-info"], cwd=folder, input=lines.encode(), check=True)
            git(folder, "commit", "-qm", "many")
        began = time.process_time()
        with pytest.raises(SourceUnreachable, match="files of that kind"):
            taken(folder)
        return time.process_time() - began

    require_even(seconds, 20_000)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://github.com/karpathy/nanoGPT", "nanoGPT"),
        ("https://github.com/karpathy/nanoGPT.git@v1", "nanoGPT"),
        ("../my repo", "my-repo"),
        ("/", "repository"),
        ("https://example.org/..git", "repository"),
    ],
)
def test_folders_are_named_after_the_repository(source: str, name: str) -> None:
    assert repository_name(source) == name
    assert folder_name(source, "0123456789") == f"{name}@0123456"
