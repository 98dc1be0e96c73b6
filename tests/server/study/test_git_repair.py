"""Refs and commits of experiments that somebody deletes are made again from the ledger; what cannot be is named."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from server.api import views
from server.api.tools import Tools
from server.cli.doctor import examine
from server.records import Experiment
from server.study.phase import Phase
from server.study.study import Study
from server.vcs import refs as vcs_refs
from tests.server.cli.test_control import autoresearch
from tests.support.lifecycle import begin, ran
from tests.support.lost_refs import (
    OURS,
    PATCH,
    delete,
    delete_all,
    empty_packed,
    everything_is_there,
    fetch_and_prune,
    last_patch,
    leave_text,
    prune,
    refs,
    remove_folders,
    served,
)
from tests.support.repositories import git

LOSSES = [delete_all, remove_folders, fetch_and_prune, empty_packed]


@pytest.mark.parametrize("lose", LOSSES)
def test_refs_that_are_deleted_between_two_servers_come_back(
    told: list[Experiment], repository: Path, lose: Callable[[Path], None]
) -> None:
    before = refs(repository)
    lose(repository)
    assert refs(repository) != before
    with served(repository) as after:
        assert refs(repository) == before
        prune(repository)
        everything_is_there(after, told)
        assert not after.notebook.notes


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("branch", [False, True])
def test_commits_that_git_has_pruned_are_made_again_byte_for_byte(
    told: list[Experiment], repository: Path, lose: Callable[[Path], None], branch: bool
) -> None:
    before = refs(repository)
    lose(repository)
    if branch:
        (repository / ".git" / "worktrees" / "worktree" / "HEAD").write_text("ref: refs/heads/autoresearch/t1\n")
        git(repository, "update-ref", "-d", "refs/heads/autoresearch/t1")
    prune(repository)
    gone = [row for row in told if _lacks(repository, row.commit)]
    assert len(gone) >= 3
    with served(repository) as after:
        assert refs(repository) == before
        everything_is_there(after, told)
        assert [note.text.split(":")[0][:35] for note in after.notebook.notes] == [
            "Git had lost the commits of experim"
        ]
        prune(repository)
        everything_is_there(after, told)
        after.apply_patch(last_patch().replace("the last", "more"))
        assert ran(after, 1.0).number == 7 and after.keep("lower").commit == after.workspace.tip()


def test_a_patch_asks_for_no_commit_that_git_may_take(told: list[Experiment], repository: Path) -> None:
    prune(repository)
    assert _lacks(repository, told[0].attempt.commit)  # the judgement's took its place
    with served(repository) as after:
        after.apply_patch(last_patch().replace("the last", "more"))


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("pruned", [False, True])
def test_refs_that_are_deleted_under_a_server_come_back_with_its_next_call(
    told: list[Experiment], repository: Path, lose: Callable[[Path], None], pruned: bool
) -> None:
    with served(repository) as study:
        before, tools = refs(repository), Tools(study)
        lose(repository)
        if pruned:
            prune(repository)
        assert anyio.run(tools.status).lost == "" and refs(repository) == before
        everything_is_there(study, told)


def _lacks(repository: Path, name: str) -> bool:
    return (
        subprocess.run(["git", "cat-file", "-e", name], cwd=repository, capture_output=True, check=False).returncode
        != 0
    )


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("number", [1, 3, 5, 6])
@pytest.mark.parametrize("packed", [False, True])
def test_a_single_ref_comes_back_within_a_tick_of_the_clock(
    told: list[Experiment], repository: Path, kind: str, number: int, packed: bool
) -> None:
    with served(repository) as study:
        before = refs(repository)
        if packed:
            git(repository, "pack-refs", "--all")
            assert study.settle() == told[-1] and refs(repository) == before
            delete(repository, f"{kind}/t1/{number}")
        else:
            study.workspace.record(3, told[1].commit, told[2].commit)
            study.workspace.record(3, told[2].commit, told[1].commit)  # a move of ours, and at once theirs
            (repository / ".git" / kind / "t1" / str(number)).unlink()
        study.settle()
        assert refs(repository) == before


def test_moves_of_our_own_cost_no_look_at_all_refs(told: list[Experiment], repository: Path) -> None:
    with served(repository) as study:
        assert not study.workspace.refs.disturbed
        study.apply_patch(last_patch().replace("the last", "more"))
        begin(study, 7)
        row = study.ledger.get(7)
        assert row
        study.workspace.record(7, row.commit, None)
        study.verdicts.archive(row)
        assert not study.workspace.refs.disturbed
        delete(repository, "refs/autoresearch/t1/2")
        study.verdicts.archive(row.model_copy(update={"attempt": row.attempt.model_copy(update={"profile": "cpu"})}))
        assert study.workspace.refs.disturbed, "a move of ours has covered one of theirs"


def loose(repository: Path) -> list[Path]:
    return [path for name in OURS for path in (repository / ".git" / name).rglob("*") if path.is_file()]


@pytest.mark.parametrize("locked", [False, True])
def test_a_server_that_ends_packs_refs_that_are_many(
    told: list[Experiment], repository: Path, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    lock = repository / ".git" / "packed-refs.lock"
    with served(repository):
        before = refs(repository)
    assert loose(repository), "a few stay files"
    monkeypatch.setattr(vcs_refs, "_MANY", 4)
    with served(repository):
        if locked:
            lock.touch()  # by another git, or by one that was killed
    assert bool(loose(repository)) is locked and refs(repository) == before
    lock.unlink(missing_ok=True)
    with served(repository) as study:
        assert not study.notebook.notes and not study.workspace.refs.disturbed
        everything_is_there(study, told)
        study.apply_patch(last_patch().replace("the last", "more"))
        begin(study, 7)
        study.settle()
        assert not study.workspace.refs.disturbed


def test_a_run_under_way_whose_commit_is_pruned_is_judged(told: list[Experiment], repository: Path) -> None:
    with served(repository) as study:
        study.apply_patch(last_patch().replace("the last", "more"))
        begin(study, 7)
        leave_text(study, 7)
        delete_all(repository)
        prune(repository)
        study.close()
    with served(repository) as after:
        row = after.settle()
        assert row and row.number == 7 and row.verdict == "lost"
        assert git(repository, "rev-parse", "refs/autoresearch/t1/7") == row.commit and views.status(after).lost == ""


def test_what_cannot_be_made_again_is_named_and_the_rest_is_there(told: list[Experiment], repository: Path) -> None:
    runs, state = repository / ".autoresearch" / "t1" / "runs", repository / ".autoresearch" / "t1"
    away = (runs / "00003").rename(repository / "away")
    (runs / "00006" / "train.py").write_text("x = 1\n", encoding="utf-8")
    delete_all(repository)
    prune(repository)
    for _ in range(2):
        with served(repository) as after:
            assert list(after.ledger.all()) == told and after.phase() is Phase.IDLE
            lost = views.status(after).lost
            assert "commits of experiments 3, 6: no copy of their train.py is left" in lost
            assert git(repository, "rev-parse", "refs/autoresearch/t1/4") == told[3].commit
            assert len(git(repository, "for-each-ref", "refs/autoresearch-rows").splitlines()) == 6
            assert len(after.notebook.notes) == 1, "what is lost is told by status; a note a start would be too many"
            code, said = autoresearch(repository, "health")
            assert lost.split(".")[0] in said and code in (0, 1)
            check = next(check for check in examine(repository) if check.name == "workspace")
            assert check.state == "warning" and check.detail == lost
    away.rename(runs / "00003")
    (runs / "00006").rename(runs / "00006.20260101T000000.damaged")
    shutil.copytree(runs / "00005", runs / "00006")
    (state / "worktree" / "train.py").write_text(_text_of_6(repository, told), encoding="utf-8", newline="")
    with served(repository) as after:  # the candidate is looked at as well
        assert (
            views.status(after).lost == "" and git(repository, "rev-parse", "refs/autoresearch/t1/6") == told[5].commit
        )
        assert not (state / "lost").exists()


def _text_of_6(repository: Path, told: list[Experiment]) -> str:
    text = git(repository, "show", f"{told[4].commit}:train.py")
    return text.replace("import torch\n", "import torch\n# the last\n", 1) + "\n"


def test_a_lost_ledger_whose_refs_are_lost_as_well_is_told(told: list[Experiment], repository: Path) -> None:
    state = repository / ".autoresearch" / "t1"
    table = (state / "results.tsv").read_text(encoding="utf-8")
    (state / "ledger.sqlite3").unlink()
    delete_all(repository)
    with served(repository) as after:
        assert "rows of experiments 1 to 6 are lost" in views.status(after).lost
        assert after.run("the baseline").number == 7, "a number was given twice"
    (aside,) = state.glob("results.tsv.*.damaged")
    assert aside.read_text(encoding="utf-8") == table


def test_a_lost_row_of_a_lost_ledger_is_told(told: list[Experiment], repository: Path) -> None:
    (repository / ".autoresearch" / "t1" / "ledger.sqlite3").unlink()
    delete(repository, "refs/autoresearch-rows/t1/3")
    with served(repository) as after:
        assert [row.number for row in after.ledger.all()] == [1, 2, 4, 5, 6]
        assert "rows of experiments 3 are lost" in views.status(after).lost


def test_a_ledger_of_yesterday_keeps_the_rows_whose_copies_are_gone(
    study: Study, repository: Path, tmp_path: Path
) -> None:
    path = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    ran(study, 2.0)
    shutil.copy(path, tmp_path / "yesterday")
    study.apply_patch(PATCH.format(".float()"))
    ran(study, 1.9)
    rows = list(study.ledger.all())
    study.close()
    shutil.copy(tmp_path / "yesterday", path)
    delete(repository, "refs/autoresearch-rows/t1/1")
    with served(repository) as after:
        assert list(after.ledger.all()) == rows
