"""Ways in which refs and commits of a study are lost, and the check that everything is there again."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from server.api import history_views, views
from server.records import Experiment
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.corruption import emptied
from tests.support.repositories import git

PATCH = "<<<<<<< SEARCH\nmodel = Bigram().to(session.device)\n=======\nmodel = Bigram(){}\n>>>>>>> REPLACE"
OURS = ("refs/autoresearch", "refs/autoresearch-rows")


def leave_text(study: Study, number: int) -> None:
    """The file that a run is started from."""
    row = study.ledger.get(number)
    assert row
    folder = study.runs.path(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(study.workspace.files(row.commit).text, encoding="utf-8", newline="")


@contextmanager
def served(repository: Path) -> Generator[Study]:
    study = Study(repository, "t1", ServeOptions(profile="smoke"))
    try:
        yield study
    finally:
        study.close()


def refs(repository: Path) -> str:
    return git(repository, "for-each-ref", *OURS, "refs/heads/autoresearch")


def delete(repository: Path, *names: str) -> None:
    for name in names:
        git(repository, "update-ref", "-d", name)


def delete_all(repository: Path) -> None:
    delete(repository, *git(repository, "for-each-ref", "--format=%(refname)", *OURS).split())


def remove_folders(repository: Path) -> None:
    for name in OURS:
        shutil.rmtree(repository / ".git" / name)


def fetch_and_prune(repository: Path) -> None:
    """What mirrors everything from a server that has only the user's own branches."""
    elsewhere = repository.with_name("origin.git")
    git(repository, "clone", "--quiet", "--bare", "--single-branch", "--branch=main", str(repository), str(elsewhere))
    git(repository, "fetch", "--quiet", "--prune", str(elsewhere), *(f"+{name}/*:{name}/*" for name in OURS))


def empty_packed(repository: Path) -> None:
    """The user's own branch is a file, as it is while they work on it."""
    git(repository, "pack-refs", "--all")
    git(repository, "update-ref", "refs/heads/main", git(repository, "rev-parse", "main~0"))
    (repository / ".git" / "refs" / "heads" / "main").write_text(f"{git(repository, 'rev-parse', 'main')}\n")
    emptied(repository / ".git" / "packed-refs")


def prune(repository: Path) -> None:
    """Git forgets all that nothing names."""
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "--quiet", "--prune=now")


def everything_is_there(study: Study, told: list[Experiment]) -> None:
    """Each row, commit and copy, by git and by the tools."""
    root = study.workspace.root
    assert list(study.ledger.all()) == told and study.phase() is Phase.IDLE
    for row in told:
        git(root, "cat-file", "-e", f"{row.commit}:train.py")
        assert git(root, "rev-parse", f"refs/autoresearch/t1/{row.number}") == row.commit
        copy = git(root, "cat-file", "blob", f"refs/autoresearch-rows/t1/{row.number}")
        assert copy == row.model_dump_json(exclude_none=True)
        detail = history_views.show_experiment(study, row.number).detail
        assert detail and bool(detail.diff) == (row.number > 1)
    assert git(root, "rev-parse", "autoresearch/t1") == told[4].commit
    assert git(root, "fsck", "--no-dangling", "--connectivity-only") == ""
    assert views.status(study).lost == ""


def last_patch() -> str:
    return "<<<<<<< SEARCH\nimport torch\n=======\nimport torch\n# the last\n>>>>>>> REPLACE"
