"""What somebody else puts at refs of ours, and refs whose files are damaged: nothing of theirs or ours is lost."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api import views
from server.api.tools import Tools
from server.cli.doctor import examine
from server.paths import Home
from server.records import Experiment
from tests.support.corruption import emptied, garbage, halved
from tests.support.lost_refs import (
    OURS,
    delete,
    delete_all,
    everything_is_there,
    prune,
    refs,
    served,
)
from tests.support.repositories import git


def foreign(repository: Path) -> str:
    return git(repository, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "theirs")


@pytest.mark.parametrize("living", [False, True])
def test_what_somebody_puts_at_a_ref_of_ours_is_kept_beside_it(
    told: list[Experiment], repository: Path, living: bool
) -> None:
    before, theirs = refs(repository), foreign(repository)
    blob = git(repository, "hash-object", "-w", "program.md")

    def put() -> None:
        git(repository, "update-ref", "refs/autoresearch/t1/3", theirs)
        git(repository, "update-ref", "refs/autoresearch-rows/t1/4", blob)
        git(repository, "update-ref", "refs/autoresearch/t1/9", theirs)

    if not living:
        put()
    with served(repository) as study:
        if living:
            put()
            study.settle()
        delete(repository, "refs/autoresearch/t1/9")
        prune(repository)
        assert refs(repository) == before and len(study.notebook.notes) == 1
        for name in (f"3-{theirs[:12]}", f"4-{blob[:12]}", f"9-{theirs[:12]}"):
            assert f"refs/autoresearch-found/t1/{name}" in study.notebook.notes[0].text
            git(repository, "cat-file", "-e", f"refs/autoresearch-found/t1/{name}")
        everything_is_there(study, told)
        assert len(study.notebook.notes) == 1


def test_a_symbolic_ref_in_place_of_ours_moves_nothing_of_the_users(told: list[Experiment], repository: Path) -> None:
    before, main = refs(repository), git(repository, "rev-parse", "main")
    git(repository, "symbolic-ref", "refs/autoresearch/t1/6", "refs/heads/main")
    git(repository, "symbolic-ref", "refs/autoresearch/t1/4", "refs/heads/nowhere")
    with served(repository) as after:
        assert git(repository, "rev-parse", "main") == main and refs(repository) == before
        everything_is_there(after, told)


def test_an_earlier_verdict_of_ours_is_not_kept(told: list[Experiment], repository: Path) -> None:
    before = refs(repository)
    git(repository, "update-ref", "refs/autoresearch/t1/6", told[5].attempt.commit)
    with served(repository) as after:
        assert refs(repository) == before and not after.notebook.notes
    assert git(repository, "for-each-ref", "refs/autoresearch-found") == ""


@pytest.mark.parametrize("forged", [False, True])
def test_a_copy_that_an_older_server_had_no_time_to_write_is_ours(
    told: list[Experiment], repository: Path, forged: bool
) -> None:
    before, row = refs(repository), told[5].model_copy(update={"decision": None})
    assert row.result
    if forged:
        row = row.model_copy(update={"result": row.result.model_copy(update={"reason": "forged"})})
    path = repository / "row"
    path.write_text(row.model_dump_json(exclude_none=True), encoding="utf-8")
    git(repository, "update-ref", "refs/autoresearch-rows/t1/6", git(repository, "hash-object", "-w", str(path)))
    path.unlink()
    with closing(sqlite3.connect(Home(repository).study("t1").ledger)) as old, old:
        old.executescript("DROP TABLE chain; PRAGMA user_version = 2;")
    with served(repository) as after:
        assert refs(repository) == before and bool(after.notebook.notes) is forged
    assert bool(git(repository, "for-each-ref", "refs/autoresearch-found")) is forged


def nulled(path: Path) -> None:
    """As some file systems leave it: as long as it was, and nothing in it."""
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [emptied, garbage, halved, nulled])
def test_damaged_files_of_refs_are_written_again(
    told: list[Experiment], repository: Path, damage: Callable[[Path], None]
) -> None:
    before = refs(repository)
    for name in ("autoresearch/t1/1", "autoresearch/t1/5", "autoresearch-rows/t1/3", "heads/autoresearch/t1"):
        damage(repository / ".git" / "refs" / name)
    with served(repository) as after:
        assert refs(repository) == before
        everything_is_there(after, told)


@pytest.mark.parametrize("damage", [emptied, garbage, halved, nulled, Path.unlink])
@pytest.mark.parametrize("living", [False, True])
def test_damaged_packed_refs_cost_no_experiment(
    told: list[Experiment], repository: Path, damage: Callable[[Path], None], living: bool
) -> None:
    before, path = refs(repository), repository / ".git" / "packed-refs"
    git(repository, "tag", "-a", "-m", "theirs", "theirs")
    if living:
        with served(repository) as study:
            git(repository, "pack-refs", "--all")
            damage(path)
            anyio.run(Tools(study).status)
            assert refs(repository) == before
            everything_is_there(study, told)
        return
    git(repository, "pack-refs", "--all")
    damage(path)
    if damage is halved:
        assert next(check.state for check in examine(repository) if check.name == "workspace") == "fix"
    with served(repository) as after:
        assert refs(repository) == before
        everything_is_there(after, told)
        assert bool(list(path.parent.glob("packed-refs.*.damaged"))) == (damage in (garbage, halved, nulled))


def test_readable_lines_of_packed_refs_stay(told: list[Experiment], repository: Path) -> None:
    git(repository, "tag", "-a", "-m", "theirs", "theirs")
    git(repository, "pack-refs", "--all")
    path = repository / ".git" / "packed-refs"
    before = git(repository, "for-each-ref")
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:45]
    lines.insert(5, "\x00\x00 nonsense")
    path.write_text("\n".join(lines) + "\n")
    with served(repository) as after:
        assert git(repository, "for-each-ref") == before and "packed-refs was damaged" in after.notebook.notes[0].text


def test_a_ref_that_cannot_be_made_is_named_and_the_others_are_made(told: list[Experiment], repository: Path) -> None:
    delete_all(repository)
    git(repository, "update-ref", "refs/autoresearch/t1/3/theirs", "HEAD")
    for name in ("4", "2"):
        lock = repository / ".git" / "refs" / "autoresearch" / "t1" / f"{name}.lock"
        lock.touch()
        os.utime(lock, (0, 0))  # of a git that was killed long ago
    with served(repository) as after:
        lost = views.status(after).lost
        assert "refs/autoresearch/t1/3" in lost and len(refs(repository).splitlines()) == 13
        delete(repository, "refs/autoresearch/t1/3/theirs")
        assert views.status(after).lost == ""
        everything_is_there(after, told)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.sets(st.integers(0, 12)), pruned=st.booleans(), packed=st.booleans())
def test_any_refs_may_be_deleted(
    told: list[Experiment], repository: Path, lost: set[int], pruned: bool, packed: bool
) -> None:
    before = refs(repository)
    names = git(repository, "for-each-ref", "--format=%(refname)", *OURS, "refs/heads/autoresearch").split()
    if packed:
        git(repository, "pack-refs", "--all")
    delete(repository, *(names[index] for index in lost))
    if pruned:
        prune(repository)
    with served(repository) as after:
        assert refs(repository) == before
        everything_is_there(after, told)


@pytest.mark.parametrize("kind", ["", "^{tree}", ":train.py"])
def test_an_object_of_an_experiment_that_is_gone_by_itself_is_made_again(
    told: list[Experiment], repository: Path, kind: str
) -> None:
    name = git(repository, "rev-parse", f"{told[2].commit}{kind}")
    copy = git(repository, "rev-parse", "refs/autoresearch-rows/t1/3")
    for lost in (name, copy):
        (repository / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with served(repository) as after:
        everything_is_there(after, told)
