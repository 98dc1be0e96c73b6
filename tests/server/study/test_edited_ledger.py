"""A row that another process edits is found, put back and told of; where that cannot be done the study stops."""

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ToolError

from server.api import views
from server.api.tools import Tools
from server.cli.doctor import _rows  # pyright: ignore[reportPrivateUsage]
from server.errors import LedgerUnavailable
from server.history.chain import Mark
from server.history.ledger import Ledger
from server.records import Decision, Experiment
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.lifecycle import PATCH, kept_baseline, ran
from tests.support.repositories import git

ROW = "refs/autoresearch-rows/t1/2"
EDITS = {
    "a better score": """UPDATE experiments SET document = replace(document, '"val_bpb":2.5', '"val_bpb":0.5')""",
    "kept": "UPDATE experiments SET kept = 1 WHERE number = 2",
    "another verdict": "UPDATE experiments SET verdict = 'improved' WHERE number = 2",
    "gone": "DELETE FROM experiments WHERE number = 2",
    "one more": "INSERT INTO experiments SELECT 3, verdict, 1, purpose, of, fingerprint, document FROM experiments"
    " WHERE number = 1",
}


@pytest.fixture
def worse(study: Study) -> Study:
    """A baseline and a worse candidate, which waits for the discard."""
    kept_baseline(study)
    study.apply_patch(PATCH)
    ran(study, 2.5)
    return study


def edit(study: Study, statement: str) -> None:
    with closing(sqlite3.connect(study.workspace.paths.ledger)) as other, other:
        other.execute(statement)


def opened(root: Path) -> Study:
    return Study(root, "t1", ServeOptions(profile="smoke"))


def rows(study: Study) -> list[Experiment]:
    return list(study.ledger.all())


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS)
def test_an_edited_row_is_put_back_by_the_next_call_and_by_the_next_start(worse: Study, statement: str) -> None:
    before, refs, root = rows(worse), git(worse.workspace.root, "for-each-ref"), worse.workspace.root
    edit(worse, statement)
    assert rows(worse) != before or "SET" in statement
    reply = anyio.run(Tools(worse).status)
    assert reply.phase == Phase.WORSE and "Somebody else edited experiment" in " ".join(reply.memory.notes)
    assert rows(worse) == before and worse.ledger.edited() == [] and git(root, "for-each-ref") == refs
    assert len(worse.ledger.marked(Mark.RESTORED)) == 1 and "Somebody else edited" in reply.edited
    edit(worse, statement)
    with pytest.raises(LedgerUnavailable, match=r"somebody else edited|UNIQUE"):
        _write(worse, statement)
    with closing(Ledger(worse.workspace.paths.ledger, read_only=True)) as reader:
        assert len(reader.edited()) == 1
    worse.close()
    with closing(opened(root)) as again:
        assert rows(again) == before and again.phase() is Phase.WORSE and git(root, "for-each-ref") == refs
        assert sum("Somebody else edited" in note.text for note in again.notebook.notes) == 2
    with closing(opened(root)) as again:
        assert sum("Somebody else edited" in note.text for note in again.notebook.notes) == 2, "told once"


def _write(study: Study, statement: str) -> None:
    """What the server would write into the row next, had it not looked before."""
    if "DELETE" in statement:
        raise LedgerUnavailable("somebody else edited", "")  # there is no row to write into
    if "INSERT" in statement:
        return study.ledger.begin(rows(study)[0].attempt.model_copy(update={"number": 3}))
    study.verdicts.decide(2, kept=True, reason="forged")


def forge_git(study: Study, document: str) -> None:
    """Put this text at the row's ref."""
    root = study.workspace.root
    (root / "row").write_text(document, encoding="utf-8")
    git(root, "update-ref", ROW, git(root, "hash-object", "-w", "row"))
    (root / "row").unlink()


def forged(study: Study) -> str:
    row = study.ledger.get(2)
    assert row
    return row.model_dump_json(exclude_none=True).replace('"val_bpb":2.5', '"val_bpb":0.5')


@pytest.mark.parametrize("server", ["down", "up"])
def test_a_row_that_is_edited_together_with_its_copy_is_put_back_while_git_has_the_old_one(
    worse: Study, server: str
) -> None:
    before, root = rows(worse), worse.workspace.root
    forge_git(worse, forged(worse))
    edit(worse, EDITS["a better score"])
    if server == "up":
        anyio.run(Tools(worse).status)
        assert rows(worse) == before
    worse.close()
    with closing(opened(root)) as again:
        assert rows(again) == before
        assert git(root, "cat-file", "-p", ROW) == before[1].model_dump_json(exclude_none=True)
        assert git(root, "for-each-ref", "refs/autoresearch-found"), "what was put there is kept"


def test_where_nobody_can_tell_what_a_row_was_the_study_stops_and_asks(worse: Study) -> None:
    root, name = worse.workspace.root, git(worse.workspace.root, "rev-parse", ROW)
    forge_git(worse, forged(worse))
    edit(worse, EDITS["a better score"])
    (root / ".git" / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(ToolError, match="Somebody else edited experiment 2 in the ledger, and git has no copy"):
        anyio.run(Tools(worse).status)
    worse.close()
    with pytest.raises(LedgerUnavailable, match="must restore a backup"):
        opened(root)


def test_a_copy_in_git_that_is_edited_alone_is_made_again_and_kept_beside(worse: Study) -> None:
    root, refs = worse.workspace.root, git(worse.workspace.root, "rev-parse", ROW)
    forge_git(worse, forged(worse))
    put = git(root, "rev-parse", ROW)
    worse.close()
    with closing(opened(root)) as again:
        assert git(root, "rev-parse", ROW) == refs and again.phase() is Phase.WORSE
        assert put in git(root, "for-each-ref", "refs/autoresearch-found")
        assert any("Somebody else had changed refs" in note.text for note in again.notebook.notes)


def test_a_chain_that_is_edited_is_not_believed(worse: Study) -> None:
    before, root = rows(worse), worse.workspace.root
    edit(worse, "UPDATE chain SET copy = 'another' WHERE place = 3")
    with closing(Ledger(worse.workspace.paths.ledger, read_only=True)) as reader:
        check = _rows(reader)
        assert check.state == "warning" and "rows at place 3: a server will rebuild it" in check.detail
    worse.close()
    with closing(opened(root)) as again:
        assert rows(again) == before and "the chain of the ledger's rows at place 3" in again.notebook.notes[0].text
        assert again.ledger.marked(Mark.BROKEN) == [1, 2] and again.ledger.edited() == []
        assert "rebuilt from git" in views.status(again).edited and "rebuilt from git" in _rows(again.ledger).detail


def test_what_a_server_writes_meanwhile_is_no_edit_of_somebody_else(worse: Study) -> None:
    path, met = worse.workspace.paths.ledger, list[str]()
    with closing(Ledger(path)) as server, closing(Ledger(path, read_only=True)) as reader:
        for ledger in (server, reader):
            ledger._connection.execute("PRAGMA busy_timeout = 0")  # pyright: ignore[reportPrivateUsage]

        def write(statement: str) -> None:
            """Between the two looks: at the chain, and at the rows."""
            if "FROM experiments" in statement and not met:
                met.append(statement)
                with suppress(LedgerUnavailable):
                    server.decide(2, Decision(kept=False, decided_at=NOON))

        reader._connection.set_trace_callback(write)  # pyright: ignore[reportPrivateUsage]
        assert reader.edited() == [] and met


def test_rows_from_before_the_chain_are_marked_and_covered_from_then_on(worse: Study, tmp_path: Path) -> None:
    path, before = tmp_path / "ledger.sqlite3", rows(worse)
    shutil.copy(worse.workspace.paths.ledger, path)
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript("DROP TABLE chain; PRAGMA user_version = 2;")
    written = path.stat().st_mtime_ns
    with closing(Ledger(path, read_only=True)) as reader:
        assert list(reader.all()) == before and reader.chain() is None and reader.marked(Mark.BEFORE) == []
        assert _rows(reader).detail.endswith("the next server begins the chain")
    with closing(Ledger(path)) as ledger:
        assert ledger.marked(Mark.BEFORE) == [1, 2] and ledger.edited() == [] and path.stat().st_mtime_ns == written
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(EDITS["kept"])
        assert ledger.foreign and ledger.edited() == [2]


def test_status_says_nothing_where_nothing_was_edited(worse: Study) -> None:
    assert views.status(worse).edited == "" and not worse.ledger.foreign
