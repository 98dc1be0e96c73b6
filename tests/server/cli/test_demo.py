"""The demo: its script fits this release's train.py, and one short night of it, driven as a user drives it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.errors import PatchRefused
from server.history.ledger import Ledger
from server.records import Verdict
from server.source.patch import apply, check
from tests.support.repositories import git

ROOT = Path(__file__).parents[3]
TRAIN = (ROOT / "train.py").read_text(encoding="utf-8")
STEPS = tomllib.loads((ROOT / "server" / "templates" / "demo.toml").read_text(encoding="utf-8"))["step"]
REFUSED = "a syntax error"
ENDINGS = {
    "a slip: one head width that does not divide": Verdict.REFUSED,
    "another slip: a name that does not exist, met in the tenth step": Verdict.CRASHED,
    "a cheat: claims that are five percent too good": Verdict.INVALID,
}
DUPLICATE = "the same code with another comment"


def patched(text: str, patch: str) -> str:
    """What apply_patch would write."""
    after = apply(text, patch)
    check(after)
    return after


def test_every_patch_of_the_script_applies_in_turn_but_the_one_that_must_not() -> None:
    assert len(STEPS) >= 6
    text, refused = TRAIN, list[str]()
    for step in STEPS:
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


@pytest.mark.timeout(300)  # a dozen processes import torch
def test_a_night_in_miniature(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    autoresearch(tmp_path, "init", checkout)
    before = git(checkout, "for-each-ref"), sorted(path.name for path in checkout.iterdir())
    shown = autoresearch(tmp_path, "demo", "--workspace", checkout, "--profile", "smoke", "--budget", "0.5")

    (folder,) = tmp_path.glob("autoresearch-demo-*")
    ledger = Ledger(folder / "workspace" / ".autoresearch" / "demo" / "ledger.sqlite3", read_only=True)
    experiments = list(ledger.all())
    ledger.close()
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

    assert (git(checkout, "for-each-ref"), sorted(path.name for path in checkout.iterdir())) == before
    assert git(checkout, "status", "--porcelain", "--ignored") == ""
