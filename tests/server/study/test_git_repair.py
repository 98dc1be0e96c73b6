"""Refs and commits of experiments that somebody deletes are made again from the ledger; what cannot be is named."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api import history_views, views
from server.api.tools import Tools
from server.cli.doctor import examine
from server.records import Experiment
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.server.cli.test_control import autoresearch
from tests.support.builders import crashed
from tests.support.corruption import emptied, garbage, halved
from tests.support.lifecycle import begin, ran
from tests.support.repositories import git

PATCH = "<<<<<<< SEARCH\nmodel = Bigram().to(session.device)\n=======\nmodel = Bigram(){}\n>>>>>>> REPLACE"
OURS = ("refs/autoresearch", "refs/autoresearch-rows")


def leave_text(study: Study, number: int) -> None:
    """The file that a run is started from."""
    row = study.ledger.get(number)
    assert row
    folder = study.runner.folder(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(study.workspace.text(row.commit), encoding="utf-8", newline="")


@pytest.fixture
def told(study: Study) -> list[Experiment]:
    """A baseline, two kept, and between them one discarded and one crashed; then the server ends."""
    ran(study, 2.0)
    for number, score in enumerate((1.9, 2.1, crashed(), 1.8, 2.2), 2):
        old = ".to(session.device)" if number == 2 else ".float()"
        new = ".float()" + f"  # ü {number}\r" * (number > 2)
        study.apply_patch(PATCH.replace(".to(session.device)", old).format(new) if number < 6 else _last())
        ran(study, score)
        study.keep("better") if score in (1.9, 1.8) else study.discard("not better")
    for number in range(1, 7):
        leave_text(study, number)
    rows = list(study.ledger.all())
    assert [row.kept for row in rows] == [True, True, False, False, True, False]
    study.close()
    return rows


def _last() -> str:
    return "<<<<<<< SEARCH\nimport torch\n=======\nimport torch\n# the last\n>>>>>>> REPLACE"


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
        after.apply_patch(_last().replace("the last", "more"))
        assert ran(after, 1.0).number == 7 and after.keep("lower").commit == after.workspace.tip()


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
        study.apply_patch(_last().replace("the last", "more"))
        begin(study, 7)
        row = study.ledger.get(7)
        assert row
        study.workspace.record(7, row.commit, None)
        study.verdicts.archive(row)
        assert not study.workspace.refs.disturbed
        delete(repository, "refs/autoresearch/t1/2")
        study.verdicts.archive(row.model_copy(update={"attempt": row.attempt.model_copy(update={"profile": "cpu"})}))
        assert study.workspace.refs.disturbed, "a move of ours has covered one of theirs"


def test_a_run_under_way_whose_commit_is_pruned_is_judged(told: list[Experiment], repository: Path) -> None:
    with served(repository) as study:
        study.apply_patch(_last().replace("the last", "more"))
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
            (check,) = [check for check in examine(repository) if check.name == "workspace"]
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
        assert {check.state for check in examine(repository) if check.name == "workspace"} <= {"fix"}
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
