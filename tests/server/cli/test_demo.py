"""The demo: its script fits this release's train.py, it works in a clone, and the whole of it as a user drives it.

The quick demo is run by the installed wheel, by default (tests/repo/test_packaging.py).
"""

import io
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from server.cli.demo import Demo, _figures, read_change  # pyright: ignore[reportPrivateUsage]
from server.cli.scaffold import create, example
from server.errors import PatchRefused
from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Experiment, Verdict
from server.source.patch import apply, check
from tests.support.builders import experiment, only
from tests.support.repositories import git

ROOT = Path(__file__).parents[3]
TRAIN = (ROOT / "train.py").read_text(encoding="utf-8")
STEPS = tomllib.loads((ROOT / "server" / "templates" / "demo.toml").read_text(encoding="utf-8"))["step"]
QUICK = [step for step in STEPS if step.get("quick")]
CHEAT = "a cheat: claims that are five percent too good"
REFUSED = "a syntax error"
ENDINGS = {
    "a slip: one head width that does not divide": Verdict.REFUSED,
    "another slip: a name that does not exist, met in the tenth step": Verdict.CRASHED,
    CHEAT: Verdict.INVALID,
}
DUPLICATE = "the same code with another comment"


def patched(text: str, patch: str) -> str:
    """What apply_patch would write."""
    after = apply(text, patch)
    check(only(after))
    return after


@pytest.mark.parametrize(("steps", "least"), [(STEPS, 6), (QUICK, 4)])
def test_every_patch_of_the_script_applies_in_turn_but_the_one_that_must_not(
    steps: list[dict[str, str]], least: int
) -> None:
    assert len(steps) >= least
    text, refused = TRAIN, list[str]()
    for step in steps:
        try:
            text = patched(text, step["patch"])
        except PatchRefused as refusal:
            assert "would not parse" in refusal.problem and "MLP_RATIO = = 3" in refusal.problem
            refused.append(step["description"])
    assert refused == [REFUSED]


def test_a_patch_applies_also_when_everything_before_it_was_discarded() -> None:
    for step in STEPS:
        if step["description"] != REFUSED:
            assert patched(TRAIN, step["patch"]) != TRAIN


def autoresearch(folder: Path, *arguments: str | Path) -> str:
    """What the command prints, with its temporary files in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def told(folder: Path) -> tuple[Path, list[Experiment]]:
    """The folder of the demo that had its temporary files in `folder`, and what its night has in its ledger."""
    (made,) = folder.glob("autoresearch-demo-*")
    ledger = Ledger(made / "workspace" / ".autoresearch" / "demo" / "ledger.sqlite3", read_only=True)
    experiments = list(ledger.all())
    ledger.close()
    return made, experiments


def state(checkout: Path) -> tuple[str, list[str], str]:
    """Refs, files and git's status: what a demo must leave as it was."""
    names = sorted(path.name for path in checkout.iterdir())
    return git(checkout, "for-each-ref"), names, git(checkout, "status", "--porcelain", "--ignored")


def test_it_works_in_a_clone_of_the_users_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    checkout, shown = tmp_path / "checkout", io.StringIO()
    create(checkout)
    (checkout / "train.py").write_text("the user's own, not committed", encoding="utf-8")
    before = state(checkout)
    Demo(Console(file=shown), checkout, 0.5, "smoke")._prepare()  # pyright: ignore[reportPrivateUsage]
    (folder,) = tmp_path.glob("autoresearch-demo-*")
    assert git(folder / "workspace", "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")
    assert (folder / "workspace" / "train.py").read_text(encoding="utf-8") == TRAIN
    assert state(checkout) == before and "a clone of" in shown.getvalue()


@pytest.mark.thorough
@pytest.mark.timeout(1800)  # a dozen processes import torch
def test_a_night_in_miniature(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    autoresearch(tmp_path, "init", checkout)
    before = state(checkout)
    shown = autoresearch(tmp_path, "demo", "--workspace", checkout, "--profile", "smoke", "--budget", "0.5")

    folder, experiments = told(tmp_path)
    tried = [experiment.attempt.description for experiment in experiments if experiment.attempt.of is None]
    assert tried == ["baseline", *(name for step in STEPS if (name := step["description"]) not in {REFUSED, DUPLICATE})]
    assert sum(experiment.attempt.of == 1 for experiment in experiments) >= 2  # the noise
    assert all(experiment.decision for experiment in experiments if experiment.attempt.of is None)
    assert experiments[0].kept and not all(experiment.kept for experiment in experiments)
    verdicts = {row.attempt.description: row.verdict for row in experiments}
    for description, verdict in ENDINGS.items():
        assert verdicts[description] == verdict
    for said in (
        "refused: ",
        "MLP_RATIO = = 3",
        "crashed: ",
        "invalid: The audit failed",
        "→ discarded",
        "the night",
        str(folder / "progress.png"),
    ):
        assert said in shown
    assert (folder / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert state(checkout) == before and before[2] == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["extract-rules", pytest.param("sqlite-index", marks=pytest.mark.thorough)])
def test_the_demo_of_an_example_measures_every_change_and_keeps_the_good_one(tmp_path: Path, name: str) -> None:
    shown = autoresearch(tmp_path, "demo", "--task", name)
    changes = {path.stem: read_change(path).description for path in (example(name) / "changes").glob("*.patch")}
    _, experiments = told(tmp_path)
    tried = [row for row in experiments if row.attempt.of is None]
    assert [row.attempt.description for row in tried if row.kept] == ["baseline", changes["good"]]
    assert sorted(row.attempt.description for row in tried) == sorted(["baseline", *changes.values()])
    assert "the night" in shown and "1 kept" in shown


@pytest.mark.parametrize(("direction", "kept", "change"), [("lower", 1.9, "-5.00 %"), ("higher", 2.1, "+5.00 %")])
def test_the_figures_tell_the_way_of_the_score(direction: Literal["lower", "higher"], kept: float, change: str) -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.IMPROVED, kept, kept=True)]
    told = _figures(rows, Metric("score", direction))
    assert f"score 2.0000 → {kept:.4f} ({change})" in told
