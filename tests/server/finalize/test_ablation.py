"""Is each change still worth it beside the later ones: real runs of a command, under the referee."""

import fcntl
from contextlib import closing
from pathlib import Path

import pytest

from server.errors import Unavailable
from server.finalize import branch, branch_text
from server.finalize.ablation import Worth, ablate
from server.finalize.branch import Wish
from server.finalize.kept import read
from server.metric import Metric
from server.paths import StudyPaths
from server.records import Verdict
from server.serve_options import ServeOptions
from server.study.study import Study
from server.vcs.stack import Stack
from tests.support.night import TAG, Night
from tests.support.repositories import git, make_repository

TASK = """---
name: t
command: "{python} bench.py"
metric: cost
editable: [src/**]
budget_seconds: 20
---
"""
BENCH = """\
import random, sys
sys.path.insert(0, "src")
from knobs import GOOD, USELESS, NEEDED
if not NEEDED:
    assert not GOOD, "without it nothing works"
print(f"METRIC cost={10 - GOOD - 0 * USELESS + random.gauss(0, 0.01)}")
"""


def knobs(good: int = 0, useless: int = 0, needed: int = 0) -> dict[str, str]:
    return {"src/knobs.py": f"GOOD = {good}\n\nUSELESS = {useless}\n\nNEEDED = {needed}\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study that has kept what the rest needs, a gain, and, by luck, a change that does nothing."""
    root = make_repository(tmp_path / "work", "")
    (root / "program.md").write_text(TASK, encoding="utf-8")
    (root / "bench.py").write_text(BENCH, encoding="utf-8")
    (root / "src").mkdir()
    (root / "src" / "knobs.py").write_text(knobs()["src/knobs.py"], encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "task")
    night = Night(root, seconds=1.0)
    night.baseline(10.0, (10.01, 9.99))
    night.tried(knobs(needed=1), 9.5, Verdict.IMPROVED, "needed", [9.5])
    night.tried(knobs(needed=1, useless=1), 9.3, Verdict.IMPROVED, "useless", [9.3])
    night.tried(knobs(needed=1, useless=1, good=1), 9.0, Verdict.IMPROVED, "good", [9.0])
    night.write()
    return root


@pytest.mark.thorough
def test_a_change_that_does_nothing_any_more_is_found(root: Path) -> None:
    paths, shown = StudyPaths(root / ".autoresearch" / TAG), list[str]()
    with Stack(root, "", branch.scratch(paths)) as stack:
        made = branch.plan(read(paths, stack), stack, Wish(only="all"))
        with closing(Study(root, TAG, ServeOptions())) as study:
            before = [row.number for row in study.ledger.all()]
            worths = ablate(study, made, stack.merge, 3, shown.append)
            assert [row.number for row in study.ledger.all()] == before, "nothing of it is an experiment"
    needed, useless, good = worths
    assert (needed.worth is None and "without it nothing works" in needed.why) or "exit" in needed.why
    assert useless.useless and good.worth is not None and not good.useless and abs(good.worth - 1) < 0.1
    assert "no longer worth anything" in useless.text(Metric("cost", "lower", places=None))
    assert any("all without" in line for line in shown)
    told = "\n".join(branch_text.describe(made, worths))
    assert "--only 4,8 --name" in told


def test_what_a_worth_says() -> None:
    metric = Metric("val_bpb", "lower")
    assert Worth([4], 0.0009, 0.0003).text(metric) == "still worth -0.0009 ± 0.0003"
    assert Worth([4], 0.0001, 0.0003).text(metric).startswith("no longer worth anything: -0.0001")
    assert Worth([4], -0.0009, 0.0003).text(metric).startswith("worse than without: +0.0009")
    assert Worth([4], None, None, "it crashed").text(metric) == "not measured: it crashed"
    higher = Metric("ms", "lower", "ms", "log", places=None)
    assert "still worth -9.5 %" in Worth([4], 0.1, 0.01).text(higher)


def test_a_study_in_which_something_runs_is_not_asked(root: Path) -> None:
    paths = StudyPaths(root / ".autoresearch" / TAG)
    with Stack(root, "", branch.scratch(paths)) as stack:
        made = branch.plan(read(paths, stack), stack, Wish(only="all"))
        with closing(Study(root, TAG, ServeOptions())) as study:
            last = study.ledger.last()
            assert last
            study.ledger.begin(last.attempt.model_copy(update={"number": last.number + 1}))
            folder = study.runs.path(last.number + 1)
            folder.mkdir(parents=True)
            with (folder / "lease").open("wb") as lease:
                fcntl.flock(lease, fcntl.LOCK_EX)
                with pytest.raises(Unavailable, match="is running"):
                    ablate(study, made, stack.merge, 2, lambda line: None)
