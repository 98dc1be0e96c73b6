"""A judge for after the night: baseline and best are run by it, and it decides nothing."""

from contextlib import closing
from pathlib import Path

import pytest

from server.errors import Unavailable
from server.records import Outcome, Result, Score
from server.serve_options import ServeOptions
from server.study.reruns import RerunRequest, gain_carries_over, rerun
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.commands import write_tree
from tests.support.judged_runs import WORKER
from tests.support.lifecycle import ran
from tests.support.repositories import git, make_repository

PROGRAM = """---
judge: judge/judge.py
worker: "{python} judge/worker.py"
metric: points
direction: higher
editable: [src/**]
keep_rule: any
paired: true
"""
JUDGE = """
LINES = {}
def cases(seed):
    yield from [(n, n) for n in LINES]
def score(answer, truth):
    return float(answer == truth * truth)
"""
LEARNT = "KNOWN = {1: 1, 2: 4, 3: 9}\ndef work(n):\n    return KNOWN.get(n, 0)\n"


def scored(value: float) -> Result:
    details: dict[str, int | float] = {"difference": value, "stderr": 0.0, "pairs": 12, "incumbent": 0.0}
    told = Score.model_validate({"name": "points", "value": value, "trust": "judged", "details": details})
    return Result(outcome=Outcome.FINISHED, reason="ok", score=told, guards={"files": "held"}, finished_at=NOON)


def test_what_was_learnt_by_heart_does_not_carry_over(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "work", "x = 1\n")
    files = {
        "program.md": f"{PROGRAM}---\n",
        "judge/judge.py": JUDGE.format([1, 2, 3]),
        "judge/final.py": JUDGE.format([4, 5, 6, 7]),
        "judge/worker.py": WORKER,
        "src/work.py": "def work(n):\n    return 0\n",
    }
    write_tree(root, files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "squares")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as study:
        baseline = ran(study, scored(0.0))
        study.apply_patch(f"*** Begin Patch\n*** Update File: src/work.py\n{_replaced(files['src/work.py'], LEARNT)}")
        best = ran(study, scored(1.0))
        study.keep("better")
        asked = RerunRequest(split="holdout", budget_seconds=300)  # the rows have one second, too little beside load
        with pytest.raises(Unavailable, match="no judge that is reserved for the end"):
            rerun(study, [baseline, best], asked, lambda _: None)
        before = study.program().task.sha256
        (root / "program.md").write_text(f"{PROGRAM}hidden_final: judge/final.py\n---\n", encoding="utf-8")
        assert study.program().task.sha256 == before, "no new segment"
        answers = rerun(study, [baseline, best], asked, lambda _: None)
        assert [answer.scores for answer in answers] == [[0.0], [0.0]]
        before_and_after = gain_carries_over(answers[0], answers[1], study.program().task.measure)
        assert before_and_after.startswith("0 → 0")
        last = study.ledger.last()
        assert last and last.number == 2, "the history knows nothing of it"


def _replaced(before: str, after: str) -> str:
    lines = [*(f"-{line}" for line in before.splitlines()), *(f"+{line}" for line in after.splitlines())]
    return "\n".join(["@@", *lines, "*** End Patch"])
