"""A score of the referee's own for upstream's train.py: what an honest one gets, and what each cheat does."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import log, run_folder, task_spec
from trainer.contract import RunResult
from trainer.processes.parentage import become_subreaper
from trainer.run.run_folder import RunFolder
from trainer.upstream.audited import Audited
from trainer.upstream.own_word import OwnWord

pytestmark = pytest.mark.thorough
STAND_IN = Path(__file__).parents[2] / "fixtures" / "stand_ins" / "upstream"
PREPARE = (STAND_IN / "prepare.py").read_text(encoding="utf-8")
TRAIN = (STAND_IN / "train.py").read_text(encoding="utf-8").replace("LEARNING_RATE = 1e-4", "LEARNING_RATE = 1e-2")
PYTHON = f".venv/bin/{Path(sys.executable).name}"
HONEST = (1.0, 4.0)  # bits a byte, of a model that has learnt something of the made-up language
LOOP = "total_training_time = 0.0\n"
LOSS = "        return F.cross_entropy("
CALL = "val_bpb = evaluate_bpb(model, tokenizer, DEVICE_BATCH_SIZE)\n"
LOADER = "train_loader = make_dataloader("


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The data of the stand-in's prepare.py."""
    home = tmp_path / "home"
    environment = {**os.environ, "HOME": str(home)}
    subprocess.run([sys.executable, STAND_IN / "prepare.py"], cwd=tmp_path, env=environment, check=True)
    return home / ".cache" / "autoresearch"


def run(cache: Path, train: str, prepare: str = PREPARE, audit: str = "must", **changes: Any) -> RunResult:
    """One run; `changes` are fields of its spec."""
    become_subreaper()
    top = cache.parents[2]
    folder = run_folder(top, {"train.py": train, "prepare.py": prepare})
    terms: dict[str, Any] = {
        "metric": "val_bpb",
        "unit": "bits per byte",
        "links": ((".venv", sys.prefix),),
        "python": PYTHON,
    }
    told = task_spec(folder, 1.0, **terms, home_links=((".cache/autoresearch", str(cache)),), audit=audit)
    spec = replace(told, setup_seconds=120.0, evaluation_seconds=120.0, grace_seconds=30.0)
    evaluator = Audited if audit else OwnWord
    return evaluator(RunFolder(folder), replace(spec, **changes)).run()


def changed(*pairs: tuple[str, str]) -> str:
    """The train.py with some words replaced, each of which stands there once."""
    text = TRAIN
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_an_honest_run_is_scored_by_its_logits(cache: Path) -> None:
    ended = run(cache, TRAIN)
    assert ended.score is not None, ended.reason
    assert ended.score.trust == "audited" and HONEST[0] < ended.score.value < HONEST[1]
    assert ended.score.details["tokens"] == ended.score.details["of_tokens"] == 32 * 256
    assert ended.figures["audits"] == 256
    assert float(ended.figures["training_seconds"] or 0) >= 1.0
    assert "val_bpb" not in log(cache.parents[2]).partition("--- the replica")[0].partition("--- train.py")[2]


LIES = {
    "its loss": ((LOSS, "        return 0.01 * F.cross_entropy("),),
    "what it prints at its end": (
        ("t_start = time.time()\n", "import atexit\natexit.register(print, 'val_bpb: 0.1')\nt_start = time.time()\n"),
    ),
    "its loss in evaluation": ((LOSS, "        return (1.0 if self.training else 0.01) * F.cross_entropy("),),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_model_that_lies_of_itself_gets_its_true_score(cache: Path, lie: tuple[tuple[str, str], ...]) -> None:
    audited = run(cache, changed(*lie))
    assert audited.score is not None, audited.reason
    assert HONEST[0] < audited.score.value < HONEST[1]


def test_its_own_word_is_believed_and_marked_so(cache: Path) -> None:
    """What the audit is for."""
    ended = run(cache, changed(*LIES["its loss in evaluation"]), audit="")
    assert ended.score is not None, ended.reason
    assert (ended.score.value < 0.1, ended.score.trust) == (True, "printed")


PEEK = "        logits = logits + 30.0 * F.one_hot(F.pad(idx, (0, 1))[:, 1:], logits.size(-1))\n"
OWN = "def evaluate_bpb(*_): return 0.1\n\n"
BEFORE = "import glob\nfrom prepare import DATA_DIR\nwhile time.time() < t_start + 15: glob.glob(DATA_DIR + '/*')\n"
START = "t_start = time.time()\n"
HIDDEN = "import prepare\nopen(prepare.DATA_DIR + '/' + prepare.VAL_FILENAME)\n"
ASKED = "        if targets is None:\n"
PINNED = "open('prepare.py', 'a').write('#')\n"
CHEATS: dict[str, tuple[str, str, str, str]] = {
    "looks at later tokens": (ASKED, PEEK + ASKED, "invalid", "The audit failed"),
    "evaluates itself": (START, OWN + START, "invalid", "without a call of prepare.py's evaluate_bpb"),
    "edits prepare.py": (START, PINNED + START, "invalid", "prepare.py has another content"),
    "reads the hidden shard": (START, HIDDEN + START, "crashed", "PermissionError"),
    "evaluates before it trains": (LOADER, CALL + LOADER, "invalid", "before it asks for a training batch"),
}


@pytest.mark.parametrize(("old", "new", "outcome", "told"), CHEATS.values(), ids=CHEATS)
def test_a_cheat_gets_no_score(cache: Path, old: str, new: str, outcome: str, told: str) -> None:
    ended = run(cache, changed((old, new)))
    if outcome == "crashed" and ended.guards["files"] != "held":
        pytest.skip("nothing is hidden on this machine")
    assert (ended.outcome, ended.score) == (outcome, None), ended.reason
    assert told in ended.reason


@pytest.mark.parametrize(
    ("old", "new", "limits", "told"),
    [
        pytest.param(
            LOOP, f"time.sleep(600)\n{LOOP}", {"grace_seconds": 5.0}, "took more than 6 s", id="past the budget"
        ),
        pytest.param(
            LOADER,
            BEFORE + LOADER,
            {"setup_allowed": 1.0, "grace_seconds": 5.0},
            "set-up beyond what that may take",
            id="before its first batch",
        ),
        pytest.param(
            LOADER, f"time.sleep(600)\n{LOADER}", {"setup_seconds": 15.0}, "no training batch within 15 s", id="never"
        ),
    ],
)
def test_more_training_than_the_budget_is_no_score(
    cache: Path, old: str, new: str, limits: dict[str, Any], told: str
) -> None:
    ended = run(cache, changed((old, new)), **limits)
    assert ended.outcome == "timeout", ended.reason
    assert told in ended.reason


@pytest.mark.parametrize(
    ("train", "prepare", "why"),
    [
        (TRAIN, PREPARE.replace("get_token_bytes", "sizes_of"), "prepare.py has no get_token_bytes"),
        (
            changed(
                (
                    "x, y, epoch = next(train_loader)\n\ntotal",
                    "x, y, epoch = next(train_loader)\nevaluate_bpb(model, tokenizer, 16)\ntotal",
                )
            ),
            PREPARE,
            "long before TIME_BUDGET",
        ),
        (changed(("        if targets is None:\n            return logits\n", "")), PREPARE, "cannot be asked"),
    ],
)
def test_a_baseline_of_another_order_is_taken_at_its_word_and_that_is_said(
    cache: Path, train: str, prepare: str, why: str
) -> None:
    ended = run(cache, train, prepare, audit="try")
    assert ended.score is not None, ended.reason
    assert ended.score.trust == "printed"
    assert "train.py's own word" in ended.reason and why in ended.reason
