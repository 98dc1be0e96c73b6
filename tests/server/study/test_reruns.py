"""After the night: the same referee asks again, on another text, for another time, at another size."""

import json
import subprocess
from pathlib import Path

import pytest
import typer

from server.cli.reports import _seconds  # pyright: ignore[reportPrivateUsage]
from server.errors import PatchRefused, TextEnded, Unavailable
from server.metric import Metric
from server.records import Experiment, Verdict
from server.runs.run_folder import RunFolders
from server.serve_options import ServeOptions
from server.study.reruns import RerunRequest, RerunResult, attempt_path, enter_failures, gain_carries_over, rerun
from server.study.study import Study
from tests.support.builders import only
from tests.support.failing_audits import INVALID
from tests.support.lifecycle import ran
from tests.support.repositories import QUICK, git, make_repository
from trainer.contract import RunFile, public_half, sign
from trainer.datasets.corpus import Split, documents
from trainer.datasets.embedded import holdout, load

LOWER = Metric("val_bpb", "lower")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One whose runs cost little and last long enough to be seen."""
    return make_repository(tmp_path / "work", QUICK.replace("STEPS = 5", "STEPS = 50"))


@pytest.fixture
def study(study: Study) -> Study:
    """One whose runs have no guards, which cost as much as all the rest."""
    study.choices = ServeOptions(profile="smoke", confine=False)
    return study


def test_a_rerun_is_scored_on_hidden_text_and_is_no_experiment(study: Study) -> None:
    row = ran(study, 2.5)
    git(study.workspace.root, "gc", "--quiet", "--prune=now")  # as good as a clone, or a bundle: what has a ref is left
    assert git(study.workspace.root, "rev-parse", row.commit) and row.commit != row.attempt.commit
    with pytest.raises(subprocess.CalledProcessError):
        git(study.workspace.root, "cat-file", "-e", row.attempt.commit)
    shown: list[str] = []
    (hidden,) = rerun(study, [row], RerunRequest(split="holdout", budget_seconds=1), shown.append)
    (open_,) = rerun(study, [row], RerunRequest(budget_seconds=1), shown.append)
    assert 2 < hidden.scores[0] < 3.4 and 2 < open_.scores[0] < 3.4 and hidden.scores != open_.scores
    specs = [json.loads(path.read_text("utf-8")) for path in study.workspace.state.rglob("spec.json")]
    assert [(spec["first_look"], spec["audit_factor"]) for spec in specs] == [(False, 4)] * 2, "nothing confirms them"
    assert any("training" in line for line in shown)
    assert [row.number for row in study.ledger.all()] == [1]
    with pytest.raises(PatchRefused, match="sets no DEPTH"):
        rerun(study, [row], RerunRequest(knobs={"DEPTH": "12"}), shown.append)


def lying(study: Study) -> Experiment:
    """An incumbent whose claims are half of what they should be, and that has been kept all the same."""
    ran(study, 2.5)
    study.replace(only(study.incumbent().text.replace("[-weights[token] for", "[-weights[token] / 2 for")))
    ran(study, 1.5)
    return study.keep("no audit has seen it")


def require_revoked(study: Study, row: Experiment) -> None:
    revoked, failed = study.ledger.get(row.number), study.ledger.last()
    assert failed and failed.attempt.of == row.number and failed.verdict == Verdict.INVALID
    assert revoked and revoked.revocation and revoked.revocation.by == failed.number
    assert [kept.number for kept in study.ledger.kept()] == [1]
    assert study.workspace.tip() == study.ledger.kept()[0].commit
    assert study.workspace.recorded(failed.number) == failed.commit and study.runs.of(failed.number).result()


@pytest.mark.slow
def test_a_rerun_that_fails_its_audit_revokes_the_keep(study: Study) -> None:
    row = lying(study)
    with pytest.raises(Unavailable, match=r"The audit failed.* that keep is revoked"):
        rerun(study, [row], RerunRequest(split="holdout", budget_seconds=1), lambda line: None)
    require_revoked(study, row)
    with pytest.raises(TextEnded):
        rerun(study, [row], RerunRequest(), lambda line: None)


def left(study: Study, row: Experiment, key: str, signed: bool = True) -> None:
    """What a command leaves behind that was killed after its run had failed the audit."""
    runs = RunFolders(study.workspace.paths.reruns.runs)
    runs.path(7).mkdir(parents=True)
    (runs.path(7) / RunFile.PLACE).symlink_to("../places/gone")
    told = INVALID.model_dump_json().encode()
    (runs.path(7) / RunFile.RESULT).write_bytes(told)
    if signed:
        (runs.path(7) / RunFile.SIGNATURE).write_text(sign(key, 7, row.attempt.train_sha256, told))
    made = row.attempt.model_copy(update={"number": 7, "signer": public_half(key)})
    attempt_path(runs, 7).write_text(made.model_dump_json(exclude_none=True))


def test_a_failure_that_a_killed_command_has_left_counts_with_the_next_one(study: Study) -> None:
    row = lying(study)
    left(study, row, "4" * 64)
    (study.runs.folder / "entering" / RunFile.MODULES).mkdir(parents=True)  # of one that was killed even later
    with pytest.raises(TextEnded):
        rerun(study, [row], RerunRequest(), lambda line: None)
    require_revoked(study, row)
    assert len(list(study.ledger.all())) == 3 and not (study.runs.folder / "entering").exists()


@pytest.mark.parametrize("forged", ["unsigned", "another key", "no attempt", "no signer"])
def test_a_failure_that_no_supervisor_has_signed_revokes_nothing(study: Study, forged: str) -> None:
    row = lying(study)
    left(study, row, "4" * 64, signed=forged != "unsigned")
    path = attempt_path(RunFolders(study.workspace.paths.reruns.runs), 7)
    if forged == "another key":
        path.write_text(path.read_text().replace(public_half("4" * 64), public_half("5" * 64)))
    if forged == "no signer":
        path.write_text(path.read_text().replace(public_half("4" * 64), ""))
    if forged == "no attempt":
        path.unlink()
    enter_failures(study, [row])
    assert [kept.number for kept in study.ledger.kept()] == [1, 2] and len(list(study.ledger.all())) == 2


def test_hidden_text_is_neither_trained_on_nor_scored_at_night(data: Path) -> None:
    chosen = {split: {d.text for d in documents() if d.split is split} for split in Split}
    assert len(chosen[Split.HOLDOUT]) > 50
    assert not chosen[Split.HOLDOUT] & (chosen[Split.TRAIN] | chosen[Split.VAL])
    shards = load(data)
    hidden = holdout()
    assert (hidden == shards.bos).sum() == len([d for d in documents() if d.split is Split.HOLDOUT])
    start = hidden[:64].tobytes()
    assert start not in shards.train.tobytes() and start not in shards.val.tobytes()


def test_a_gain_holds_when_it_is_beyond_two_standard_errors() -> None:
    before, better = (
        RerunResult(experiment=1, scores=[2.0, 2.01, 1.99]),
        RerunResult(experiment=5, scores=[1.95, 1.96, 1.94]),
    )
    told = gain_carries_over(before, better, LOWER)
    assert told == "2.000000 → 1.950000 (-0.050000, -2.50 %) ± 0.008165: the gain holds"
    close = RerunResult(experiment=5, scores=[2.0, 1.98, 2.0])
    assert "does not show" in gain_carries_over(before, close, LOWER)
    one, other = RerunResult(experiment=1, scores=[2.0]), RerunResult(experiment=5, scores=[1.9])
    assert "one run each" in gain_carries_over(one, other, LOWER)

    higher, log = Metric("accuracy", "higher"), Metric("seconds", "lower", "s", "log")
    assert "does not show" in gain_carries_over(before, better, higher)
    assert gain_carries_over(better, before, higher).endswith("(+0.050000, +2.56 %) ± 0.008165: the gain holds")
    assert "the gain holds" in gain_carries_over(before, better, log)
    assert "does not show" in gain_carries_over(better, before, log)
    tiny = Metric("seconds", "lower", "s", "log", places=None)
    slow = RerunResult(experiment=1, scores=[4e-5, 4.01e-5])
    fast = RerunResult(experiment=5, scores=[2e-5, 2.005e-5])
    told = gain_carries_over(slow, fast, tiny)
    assert told == "4.005e-05 → 2.0025e-05 (-2.0025e-05, -50.00 %) ± 0.18 %: the gain holds"


@pytest.mark.parametrize(("told", "seconds"), [("90", 90), ("30m", 1800), ("1.5h", 5400), ("2s", 2)])
def test_times_are_read_as_people_write_them(told: str, seconds: float) -> None:
    assert _seconds(told) == seconds
    with pytest.raises(typer.BadParameter):
        _seconds(told + " parsecs")
