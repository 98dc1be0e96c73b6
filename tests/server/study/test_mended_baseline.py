"""A task whose baseline has no score goes on under the same tag from what the operator has committed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.api import views
from server.api.next_actions import next_calls
from server.records import Outcome, Result, Verdict
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.server.study.test_task_verdicts import result
from tests.support.builders import NOON
from tests.support.lifecycle import PATCH, begin, leave_result, ran
from tests.support.repositories import HARDLY_LEARNS, git, make_repository
from trainer.contract import RunFile

TASK = "---\ncommand: bash bench.sh\neditable: {}\nmetric: {{name: ms, unit: ms}}\n---\n"
BENCH = "echo METRIC ms=1\n"


def commit(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "mended")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    commit(root, program__md=TASK.format("train.py"), bench__sh="exit 1\n", old__txt="old\n")
    return root


Opened = Callable[[], Study]


@pytest.fixture
def opened(root: Path) -> Iterator[Opened]:
    made: list[Study] = []

    def again() -> Study:
        if made:
            made[-1].close()
        made.append(Study(root, "t1", ServeOptions(profile="smoke")))
        return made[-1]

    yield again
    made[-1].close()


def failed(outcome: Outcome = Outcome.ENV_FAIL, cause: str = "") -> Result:
    return Result(outcome=outcome, reason="It did not work.", cause=cause, finished_at=NOON)


def why(study: Study, number: int) -> str:
    row = study.ledger.get(number)
    assert row and row.judgement
    return row.judgement.why


@pytest.mark.parametrize(
    "how",
    [failed(Outcome.ENV_FAIL, "judge"), failed(Outcome.REFUSED, "checks"), failed(Outcome.INVALID)],
    ids=lambda how: str(how.outcome),
)
def test_what_the_operator_commits_is_the_next_baseline(root: Path, opened: Opened, how: Result) -> None:
    study = opened()
    assert not ran(study, how).kept and study.phase() is Phase.BASELINE_FAILED
    before = study.workspace.tip()
    mended = commit(root, bench__sh=BENCH, train__py=HARDLY_LEARNS + "# mended\n")
    (root / "old.txt").unlink()
    mended = commit(root)
    assert study.phase() is Phase.BASELINE_FAILED and study.workspace.tip() == mended
    assert study.lane.candidate().text.endswith("# mended\n"), "what is read is what will be measured"
    row = ran(study, result(50))
    assert row.kept and row.attempt.baseline and row.attempt.parent == mended and study.phase() is Phase.IDLE
    study.workspace.lay_out(row.commit, root.parent / "laid")
    assert (root.parent / "laid" / "bench.sh").read_text() == BENCH and not (root.parent / "laid" / "old.txt").exists()
    assert git(study.workspace.worktree, "status", "--porcelain") == ""
    told = f"It ran commit {mended[:12]} of the checkout, and experiment 1 ran {before[:12]}."
    assert told in why(study, 2) and any(mended[:12] in note.text for note in study.notebook.notes)
    first = study.ledger.get(1)
    assert first and first.commit and study.workspace.files(first.commit), "nothing is lost"
    study.apply_patch(PATCH)
    assert ran(study, result(40)).verdict == Verdict.PROMISING
    again = opened()
    assert again.workspace.tip() == row.commit and again.phase() is Phase.PROMISING and not again.head_moved


def test_before_the_first_run_it_begins_where_the_checkout_is(root: Path, opened: Opened) -> None:
    study = opened()
    mended = commit(root, bench__sh=BENCH)
    assert ran(study, result(50)).attempt.parent == mended
    assert not study.notebook.notes


def test_once_there_is_a_score_the_checkout_counts_no_more(root: Path, opened: Opened) -> None:
    study = opened()
    kept = ran(study, result(50))
    commit(root, bench__sh=BENCH)
    assert study.phase() is Phase.IDLE and study.workspace.tip() == kept.commit
    assert opened().workspace.tip() == kept.commit


def test_a_run_under_way_is_not_disturbed(root: Path, opened: Opened) -> None:
    study = opened()
    attempt = begin(study, 1)
    commit(root, bench__sh=BENCH)
    assert study.phase() is Phase.RUNNING or study.workspace.tip() != attempt.parent  # its lease is free: it is lost
    study = opened()
    attempt = begin(study, study.next_number())
    commit(root, bench__sh=BENCH + "# more\n")
    leave_result(study, attempt.number, result(50))
    row = study.settle()
    assert row and row.kept and row.attempt.parent == attempt.parent and study.workspace.tip() == row.commit


def test_an_amended_commit_counts_and_nobodys_commit_is_lost(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed())
    first = commit(root, bench__sh="false\n")
    assert study.phase() is Phase.BASELINE_FAILED and study.workspace.tip() == first
    (root / "bench.sh").write_text(BENCH, encoding="utf-8")
    git(root, "commit", "--quiet", "--all", "--amend", "-m", "mended better")
    amended = git(root, "rev-parse", "HEAD")
    assert study.phase() is Phase.BASELINE_FAILED and study.workspace.tip() == amended and not study.head_moved
    assert first in git(root, "for-each-ref", "--format=%(objectname)", "refs/autoresearch-found/t1")
    assert ran(study, result(50)).kept and opened().phase() is Phase.IDLE


@pytest.mark.parametrize("state", ["detached", "merge"])
def test_a_checkout_in_the_middle_of_something_is_waited_for(root: Path, opened: Opened, state: str) -> None:
    study = opened()
    ran(study, failed())
    before = study.workspace.tip()
    mended = commit(root, bench__sh=BENCH)
    if state == "detached":
        git(root, "checkout", "--quiet", "--detach")
    else:
        (root / ".git" / "MERGE_HEAD").write_text(mended + "\n")
    assert study.phase() is Phase.BASELINE_FAILED and study.workspace.tip() == before
    if state == "detached":
        git(root, "switch", "--quiet", "main")
    else:
        (root / ".git" / "MERGE_HEAD").unlink()
    assert study.phase() is Phase.BASELINE_FAILED and study.workspace.tip() == mended


def test_other_editable_files_count_after_a_restart(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed())
    mended = commit(root, program__md=TASK.format("[src/**]"), **{"src/code__py": "x = 1\n"})
    assert any("restarts the server" in action.why for action in next_calls(study))
    study = opened()
    assert study.workspace.tip() == mended and list(study.lane.candidate()) == ["src/code.py"]
    assert ran(study, result(50)).kept


def test_what_was_changed_by_hand_stays(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed())
    (study.workspace.worktree / "train.py").write_text("x = 1\n", encoding="utf-8")
    commit(root, bench__sh=BENCH)
    assert study.phase() is Phase.BASELINE_FAILED and study.lane.candidate().text == "x = 1\n"
    assert ran(study, result(50)).kept and study.phase() is Phase.PATCHED


def test_a_corrected_program_md_needs_no_commit(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed(cause="no_command"))
    (root / "program.md").write_text(TASK.format("train.py").replace("bench.sh", "bench.sh --fast"), encoding="utf-8")
    (notice,) = [action for action in next_calls(study) if "different measurement" in action.why]
    assert "the next run measures the baseline again" in notice.why and not notice.tool
    assert ran(study, result(50)).kept
    assert "program.md defines a different measurement from that of experiment 1" in why(study, 2)
    assert not any("different measurement" in action.why for action in next_calls(study))


def test_the_agent_is_told_how_it_goes_on(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed(Outcome.INVALID))
    told = views.status(study)
    assert told.next_tools == ["run_experiment"] and "--tag" not in " ".join(told.next_actions)
    assert "the next run measures the latest commit" in " ".join(told.next_actions)


def test_a_branch_that_moved_before_its_note_is_the_baselines(root: Path, opened: Opened) -> None:
    """As a server leaves it that is killed between the two: the next one goes on."""
    study = opened()
    ran(study, failed())
    mended = commit(root, bench__sh=BENCH)
    assert study.workspace.restart()
    assert opened().workspace.tip() == mended and not opened().head_moved
    study = opened()
    assert ran(study, result(50)).attempt.parent == mended


def test_a_lost_row_is_rebuilt_whatever_its_commit(root: Path, opened: Opened) -> None:
    study = opened()
    ran(study, failed())
    commit(root, bench__sh=BENCH)
    ran(study, result(50))
    rows = list(study.ledger.all())
    study.close()
    study.workspace.paths.ledger.unlink()
    again = opened()
    assert list(again.ledger.all()) == rows and again.phase() is Phase.IDLE
    assert not (again.workspace.state / RunFile.TREE).exists()
