"""A study of a task with several editable files: patched, kept, given up, done again, lost by git and found again."""

import shutil
from pathlib import Path

import pytest

from server.api import views
from server.errors import PatchRefused, StaleText
from server.serve_options import ServeOptions
from server.source.candidate import sha256
from server.study.lane import what_may_change
from server.study.phase import Phase
from server.study.study import Study
from server.study.sweep_queue import Sweep
from server.task.definition import Task
from tests.support.lifecycle import ran
from tests.support.lost_refs import delete_all, prune, refs
from tests.support.repositories import copy_repository, git, make_repository
from trainer.contract import RunFile

PROGRAM = """---
name: parser
command: bash bench.sh && python -m tools.report
checks: python src/check.py
metric: ms
editable: [src/**, rules.txt]
off_limits: [src/vendor/**]
budget_seconds: 5
keep_rule: any
---
Make it fast.
"""
FILES = {
    "src/a.c": "int a;\nint b;\n",
    "src/params.py": "DEPTH = 3\n",
    "src/deep/b.c": "one\n",
    "src/check.py": "assert True\n",
    "src/vendor/v.c": "int v;\n",
    "rules.txt": "be fast\n",
    "bench.sh": "echo METRIC ms=1\n",
    "tools/report.py": "print('METRIC ms=1')\n",
}
EDITABLE = ["rules.txt", "src/a.c", "src/deep/b.c", "src/params.py"]
PATCH = """*** Begin Patch
*** Update File: src/a.c
@@
-int a;
+int A;
*** Add File: src/new/n.c
+int n;
*** Delete File: src/deep/b.c
*** End Patch
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a baseline."""
    root = make_repository(tmp_path_factory.mktemp("several") / "made", "x = 1\n")
    for path, text in {**FILES, "program.md": PROGRAM}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "a parser")
    study = opened(root)
    ran(study, 2.0)
    study.close()
    return root


def opened(root: Path) -> Study:
    return Study(root, "t1", ServeOptions(profile="smoke"))


@pytest.fixture
def study(made: Path, tmp_path: Path):
    study = opened(copy_repository(made, tmp_path / "work"))
    yield study
    study.close()


def test_what_judges_is_never_editable(study: Study) -> None:
    assert list(study.lane.candidate()) == EDITABLE and study.phase() is Phase.IDLE
    (doubt,) = study.workspace.doubts()
    assert "src/check.py (it is named in `checks`)" in doubt and "vendor" not in doubt
    rules = study.workspace.editable
    for path, words in (
        ("src/check.py", "named in `checks`"),
        ("src/vendor/v.c", "off_limits"),
        ("bench.sh", "not editable"),
    ):
        assert words in rules.why_not(path)
    asked = {"worker": "python judge/worker.py", "judge": "judge/judge.py", "hidden": ["data/test/**"]}
    everything = what_may_change(Task.model_validate({**asked, "editable": ["**"], "off_limits": ["judge/**", "*.md"]}))
    for path in (
        "judge/judge.py",
        "judge/cases.py",
        "judge/worker.py",
        "data/test/x.txt",
        "program.md",
        "json.py",
        ".autoresearch/t1/x",
    ):
        assert everything.why_not_add(path, []), path
    assert everything.allows("src/judge.py")
    module = what_may_change(Task(command="./run.sh; python -m tools.report", editable=["**"], off_limits=["*.md"]))
    assert not any(map(module.allows, ("run.sh", "tools/report.py", "tools/report/__main__.py")))
    assert what_may_change(Task(command="python train.py", editable=["train.py"])).allows("train.py")
    assert what_may_change(Task()).plain == ("train.py",)


def test_what_the_operator_withdraws_in_mid_study_is_not_run(study: Study) -> None:
    """A server goes on with the files that it was started with, but measures no change that is allowed no more."""
    study.apply_patch(PATCH)
    for text, told in (
        (PROGRAM.replace("[src/**, rules.txt]", "rules.txt"), "src/a.c .* any more: it is not editable"),
        (PROGRAM.replace("src/vendor/**", "src/deep/**"), "src/deep/b.c .* any more: it is in `off_limits`"),
    ):
        study.workspace.program.write_text(text, encoding="utf-8")
        with pytest.raises(PatchRefused, match=told):
            study.run("withdrawn")
        assert study.phase() is Phase.PATCHED and study.ledger.last() == study.ledger.get(1)
    study.workspace.program.write_text(PROGRAM.replace("rules.txt]", "rules.txt, tools/**]"), encoding="utf-8")
    study.verdicts.require_valid(study.lane.candidate(), study.phase(), study.program().task, study.words())


def test_a_patch_over_several_files_is_kept_as_one(study: Study) -> None:
    base = study.workspace.tip()
    reply = views.apply_patch(study, PATCH, study.lane.candidate().sha256, 0)
    assert "+++ b/src/new/n.c" in reply.diff and "+++ /dev/null" in reply.diff and reply.note.startswith("+2 -2 lines")
    assert study.phase() is Phase.PATCHED
    row = ran(study, 1.9)
    assert study.phase() is Phase.IMPROVED and study.keep("faster").commit == study.workspace.tip()
    changed = git(study.workspace.root, "diff", "--name-status", "--no-renames", base, study.workspace.tip())
    assert changed.split() == ["M", "src/a.c", "D", "src/deep/b.c", "A", "src/new/n.c"]
    assert git(study.workspace.worktree, "status", "--porcelain") == "" and row.attempt.train_sha256 == reply.sha256
    study.close()
    again = opened(study.workspace.root)
    assert again.phase() is Phase.IDLE and list(again.lane.candidate()) == [
        "rules.txt",
        "src/a.c",
        "src/new/n.c",
        "src/params.py",
    ]
    again.close()


def test_what_is_given_up_leaves_no_file_behind(study: Study) -> None:
    study.apply_patch(PATCH)
    (study.workspace.worktree / "src/more.c").write_text("by hand\n", encoding="utf-8")
    assert "src/more.c" in study.lane.candidate()
    ran(study, 2.1)
    study.discard("slower")
    assert study.phase() is Phase.IDLE and list(study.lane.candidate()) == EDITABLE
    assert git(study.workspace.worktree, "status", "--porcelain") == ""


def test_a_change_is_done_again_with_the_files_it_adds_and_deletes(study: Study) -> None:
    study.apply_patch(PATCH)
    ran(study, 2.1)
    study.discard("slower")
    study.apply_patch("*** Begin Patch\n*** Update File: rules.txt\n@@\n-be fast\n+be faster\n*** End Patch")
    study.apply_patch("", number=2)
    texts = dict(study.lane.candidate())
    assert (
        texts["src/a.c"] == "int A;\nint b;\n"
        and texts["rules.txt"] == "be faster\n"
        and texts["src/new/n.c"] == "int n;\n"
        and "src/deep/b.c" not in texts
    )
    with pytest.raises(PatchRefused, match="already in the candidate"):
        study.apply_patch("", number=2)
    with pytest.raises(StaleText, match="The candidate has sha256"):
        study.apply_patch("", "0" * 64, number=2)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (
            "*** Begin Patch\n*** Update File: src/check.py\n@@\n-assert True\n+assert 1\n*** End Patch",
            "named in `checks`",
        ),
        ("*** Begin Patch\n*** Add File: src/vendor/w.c\n+x\n*** End Patch", "off_limits"),
        ("*** Begin Patch\n*** Add File: bench2.sh\n+x\n*** End Patch", "not editable"),
        ("*** Begin Patch\n*** Delete File: rules.txt\n*** End Patch", "program.md names it"),
        (PATCH.replace("-int a;", "-int zz;"), r"does not match src/a\.c"),
        (PATCH.replace("+int n;", "+" + "x" * 200_000 + "\n+" + "y" * 50_000), ""),
    ],
)
def test_a_patch_is_all_or_nothing(study: Study, patch: str, words: str) -> None:
    before = study.lane.candidate()
    if not words:
        study.apply_patch(patch)  # far larger than a train.py may be
        return
    with pytest.raises(PatchRefused, match=words):
        study.apply_patch(patch)
    assert study.lane.candidate() == before and not (study.workspace.worktree / "src/new").exists()


def test_the_hash_of_one_file_will_do(study: Study) -> None:
    patch = "*** Begin Patch\n*** Update File: src/a.c\n@@\n-int a;\n+int A;\n*** End Patch"
    with pytest.raises(StaleText):
        study.apply_patch(patch, sha256("other"))
    study.apply_patch(patch, views.read_train(study, 1, 0, "src/a.c").sha256)
    assert study.lane.candidate()["src/a.c"] == "int A;\nint b;\n"


def test_several_files_are_listed_and_read_one_by_one(study: Study) -> None:
    told = views.read_train(study, 1, 0)
    assert [line.split()[1:3] for line in told.text.splitlines()][1] == ["src/a.c", "2"]
    assert told.lines == 4 and told.sha256 == study.lane.candidate().sha256
    assert told.next_actions[0].startswith('read_train(path="rules.txt")')
    one = views.read_train(study, 2, 0, "./src/a.c")
    assert one.text == "   2  int b;" and one.sha256 == sha256(FILES["src/a.c"]) and one.lines == 2
    assert told.lines_left is None and one.lines_left is None
    with pytest.raises(PatchRefused, match=r"no src/A\.c in the candidate\. Did you mean src/a\.c"):
        views.read_train(study, 1, 0, "src/A.c")
    with pytest.raises(PatchRefused, match=r"no bench\.sh.*Read other files in .*worktree"):
        views.read_train(study, 1, 0, "bench.sh")


def test_a_long_file_is_read_on_by_its_path(study: Study) -> None:
    (study.workspace.worktree / "src/long.c").write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 999, encoding="utf-8")
    told = views.read_train(study, 1, 0, "src/long.c")
    assert told.last_line < 1000 and told.next_actions[0].startswith(
        f'read_train(path="src/long.c", start_line={told.last_line + 1})'
    )


def test_a_run_is_refused_while_the_worktree_differs_elsewhere(study: Study) -> None:
    (study.workspace.worktree / "bench.sh").write_text("echo METRIC ms=0\n", encoding="utf-8")
    with pytest.raises(PatchRefused, match=r"bench\.sh \(changed: it is not editable\)"):
        study.run("a faster bench")
    last = study.ledger.last()
    assert last and last.number == 1


def test_a_sweep_names_the_file_or_finds_it(study: Study) -> None:
    candidate = study.incumbent()
    for knobs in ({"DEPTH": "4"}, {"src/params.py:DEPTH": "4"}):
        assert candidate.with_constants(knobs)["src/params.py"] == "DEPTH = 4\n"
    for knobs, words in (
        ({"WIDTH": "4"}, "No editable Python file sets WIDTH"),
        ({"rules.txt:DEPTH": "4"}, r"rules\.txt has no constants.*apply_patch"),
        ({"src/params.py:DEPTH": "four"}, "is not a number"),
    ):
        with pytest.raises(PatchRefused, match=words):
            views.start_sweep(study, Sweep.of("depths", [knobs]))
    other = candidate.with_file("src/b.py", "DEPTH = 1\n")
    with pytest.raises(PatchRefused, match=r"src/b\.py and src/params\.py set DEPTH"):
        other.with_constants({"DEPTH": "4"})
    with pytest.raises(PatchRefused, match="No editable file is Python"):
        candidate.without("src/params.py").with_constants({"DEPTH": "4"})


def test_a_candidate_stays_what_it_is_when_program_md_widens_editable(study: Study) -> None:
    study.close()
    program = study.workspace.root / "program.md"
    program.write_text(PROGRAM.replace("off_limits: [src/vendor/**]\n", ""), encoding="utf-8")
    again = opened(study.workspace.root)
    assert "src/vendor/v.c" in again.lane.candidate() and again.phase() is Phase.IDLE
    again.apply_patch("*** Begin Patch\n*** Update File: src/vendor/v.c\n@@\n-int v;\n+int V;\n*** End Patch")
    assert again.phase() is Phase.PATCHED
    again.close()


@pytest.mark.parametrize("left", [True, False])
def test_commits_that_git_has_lost_are_made_again_byte_for_byte(study: Study, left: bool) -> None:
    root, workspace = study.workspace.root, study.workspace
    study.apply_patch(PATCH)
    ran(study, 1.9)
    study.keep("faster")
    study.apply_patch("*** Begin Patch\n*** Add File: src/x/y.c\n+int y;\n*** End Patch")
    row = ran(study, 2.2)
    if left:  # as a run leaves its tree behind
        workspace.lay_out(row.commit, study.runs.path(3) / RunFile.TREE)
    study.discard("slower")
    before = refs(root)
    study.close()
    delete_all(root)
    shutil.rmtree(root / ".git" / "logs", ignore_errors=True)
    prune(root)
    again = opened(root)
    told = views.status(again).lost
    if left:
        assert refs(root) == before and not told
        assert dict(again.workspace.files(row.commit))["src/x/y.c"] == "int y;\n"
    else:
        gone = [line for line in before.splitlines() if line not in refs(root).splitlines()]
        assert [line.rpartition("/")[2] for line in gone] == ["3"]
        assert "commits of experiments 3" in told and "no copy" in told
    assert again.phase() is Phase.IDLE
    again.close()
