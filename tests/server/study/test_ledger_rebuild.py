"""A ledger that is damaged, cut off, gone or of yesterday is made anew from git, row for row."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ToolError

from server.api import views
from server.api.tools import Tools
from server.errors import LedgerDamaged
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.records import Experiment
from server.serve_options import ServeOptions
from server.study import ledger_rebuild
from server.study.phase import Phase
from server.study.study import Study
from server.vcs.workspace import Workspace
from tests.support.builders import crashed
from tests.support.corruption import emptied, flipped, garbage, gone, halved
from tests.support.lifecycle import improved, ran
from tests.support.repositories import git

PATCH = "<<<<<<< SEARCH\nmodel = Bigram().to(session.device)\n=======\nmodel = Bigram(){}\n>>>>>>> REPLACE"


@pytest.fixture
def told(study: Study) -> list[Experiment]:
    """A baseline, one kept, one discarded, one crashed; then the server ends."""
    ran(study, 2.0)
    study.apply_patch(PATCH.format(".float()"))
    ran(study, 1.9)
    study.keep("better")
    for score in (2.1, crashed()):
        study.apply_patch(PATCH.replace(".to(session.device)", ".float()").format(f".float().float()  # {score}"[:30]))
        ran(study, score)
        study.discard("not better")
    rows = list(study.ledger.all())
    study.close()
    return rows


def foreign_journal(path: Path) -> None:
    """What must not be played into the new file."""
    garbage(path)
    Path(f"{path}-journal").write_bytes(path.read_bytes())


@pytest.mark.parametrize("damage", [garbage, flipped, halved, emptied, foreign_journal, gone])
def test_a_damaged_ledger_is_rebuilt_row_for_row(
    told: list[Experiment], repository: Path, damage: Callable[[Path], None]
) -> None:
    state = repository / ".autoresearch" / "t1"
    tips = git(repository, "for-each-ref")
    damage(state / "ledger.sqlite3")
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == told and after.phase() is Phase.IDLE
    assert git(repository, "for-each-ref") == tips
    assert after.ledger.category_of() and after.ledger.incumbent() == told[1]
    (note,) = views.status(after).memory.notes
    assert "ledger" in note and "rebuilt from git: 4 experiments" in after.notebook.notes[0].text
    assert damage is gone or list(state.glob("ledger.sqlite3.*.damaged"))
    assert ran(after, 1.95).number == 5
    after.close()
    again = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert len(again.notebook.notes) == 1
    again.close()


def test_a_ledger_of_yesterday_is_brought_up_to_date(study: Study, repository: Path, tmp_path: Path) -> None:
    ran(study, 2.0)
    shutil.copy(repository / ".autoresearch" / "t1" / "ledger.sqlite3", tmp_path / "backup")
    study.apply_patch(PATCH.format(".float()"))
    ran(study, 1.9)
    rows = list(study.ledger.all())
    study.close()
    shutil.copy(tmp_path / "backup", repository / ".autoresearch" / "t1" / "ledger.sqlite3")
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == rows and after.phase() is Phase.IMPROVED
    after.close()


def test_a_rebuild_that_is_killed_is_begun_again(
    told: list[Experiment], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    garbage(path)
    with Workspace.open(repository, "t1") as workspace, monkeypatch.context() as patched:
        patched.setattr(Path, "rename", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger_rebuild.open_ledger(workspace, Notebook(tmp_path / "notes.json"), workspace.listed())
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == told
    after.close()


def test_a_row_whose_copy_is_unreadable_is_named_and_the_others_are_there(
    told: list[Experiment], repository: Path
) -> None:
    (repository / "junk").write_text("{", encoding="utf-8")
    blob = git(repository, "hash-object", "-w", "junk")
    git(repository, "update-ref", "refs/autoresearch-rows/t1/3", blob)
    garbage(repository / ".autoresearch" / "t1" / "ledger.sqlite3")
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert [row.number for row in after.ledger.all()] == [1, 2, 4]
    assert "Rows without a readable copy: 3." in after.notebook.notes[0].text
    after.close()


def test_a_number_is_never_given_twice(told: list[Experiment], repository: Path) -> None:
    (repository / "junk").write_text("{", encoding="utf-8")
    git(repository, "update-ref", "refs/autoresearch-rows/t1/4", git(repository, "hash-object", "-w", "junk"))
    garbage(repository / ".autoresearch" / "t1" / "ledger.sqlite3")
    for notes in (1, 1):  # what cannot be read is told once, and does not make every start a rebuild
        after = Study(repository, "t1", ServeOptions(profile="smoke"))
        assert [row.number for row in after.ledger.all()] == [1, 2, 3] and len(after.notebook.notes) == notes
        after.close()
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    after.apply_patch(PATCH.format(".float().float()").replace(".to(session.device)", ".float()"))
    assert after.run("another idea").number == 5
    after.close()


def test_a_row_that_could_not_be_read_for_a_moment_is_there_after_the_next_start(
    told: list[Experiment], repository: Path
) -> None:
    garbage(repository / ".autoresearch" / "t1" / "ledger.sqlite3")
    blob = git(repository, "rev-parse", "refs/autoresearch-rows/t1/2")
    held = repository / ".git" / "objects" / blob[:2] / blob[2:]
    away = held.rename(repository / "away")
    Study(repository, "t1", ServeOptions(profile="smoke")).close()
    away.rename(held)
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == told and after.phase() is Phase.IDLE
    after.close()


def test_a_row_of_the_ledger_that_is_damaged_inside_is_read_from_git(told: list[Experiment], repository: Path) -> None:
    path = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    path.write_bytes(path.read_bytes().replace(b'"train_sha256":', b'"train_sha257":', 1))
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == told and "cannot be read" in after.notebook.notes[0].text
    after.close()


def test_a_decision_that_only_git_knows_is_not_forgotten(study: Study, repository: Path, tmp_path: Path) -> None:
    path = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    improved(study)
    shutil.copy(path, tmp_path / "backup")
    row = study.keep("lower")
    study.close()
    shutil.copy(tmp_path / "backup", path)
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert after.ledger.get(2) == row and after.phase() is Phase.IDLE
    after.close()


def test_refs_that_a_power_cut_has_emptied_are_written_again(told: list[Experiment], repository: Path) -> None:
    before = git(repository, "for-each-ref")
    for ref in ("heads/autoresearch/t1", "autoresearch/t1/4", "autoresearch/t1/2", "autoresearch-rows/t1/4"):
        emptied(repository / ".git" / "refs" / ref)
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert list(after.ledger.all()) == told and after.phase() is Phase.IDLE and not after.notebook.notes
    assert git(repository, "for-each-ref") == before
    after.close()


@pytest.mark.parametrize("damage", [garbage, halved, gone])
def test_a_ledger_that_is_damaged_under_a_server_is_rebuilt_by_its_next_call(
    study: Study, damage: Callable[[Path], None]
) -> None:
    row = improved(study)
    damage(study.workspace.state / "ledger.sqlite3")
    tools = Tools(study)
    told = anyio.run(lambda: tools.keep("lower"))
    assert told.decision == "kept" and study.ledger.incumbent() == study.ledger.get(2) != row
    assert study.workspace.tip() == row.commit


def test_a_rebuild_that_fails_under_a_server_is_tried_again_by_the_next_call(study: Study) -> None:
    row, tools, way = improved(study), Tools(study), study.workspace.state / "ledger.new"
    garbage(study.workspace.state / "ledger.sqlite3")
    way.mkdir()
    for _ in range(2):
        with pytest.raises(ToolError):
            anyio.run(lambda: tools.keep("lower"))
    way.rmdir()
    assert anyio.run(lambda: tools.keep("lower")).decision == "kept" and study.workspace.tip() == row.commit


def test_a_reader_is_told_that_the_ledger_is_damaged_and_what_to_do(told: list[Experiment], repository: Path) -> None:
    path = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    garbage(path)
    with pytest.raises(LedgerDamaged, match="A server moves it aside and rebuilds it from git"):
        Ledger(path, read_only=True)
    assert path.exists()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
