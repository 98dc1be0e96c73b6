"""A night on a prepared data set: which one, behind which guards, and what its scores compare with."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.api import views
from server.cli.doctor import _data  # pyright: ignore[reportPrivateUsage]
from server.errors import AlreadyMeasured, DatasetMissing
from server.history.comparisons import require_new, segment
from server.records import Experiment, Figures, Outcome
from server.runs.hardware import Hardware
from server.runs.run_spec import RunLimits
from server.serve_options import ServeOptions
from server.study.reruns import RerunRequest, rerun
from server.study.study import Study
from server.task.dataset import find
from tests.support.builders import attempt, finished
from tests.support.lifecycle import ran
from tests.support.polling import ended, until
from tests.support.repositories import STAND_INS, make_repository
from tests.support.runs import local_executor, start_run
from tests.trainer.datasets.test_prepare import made, texts
from trainer.sandbox import landlock

# A folder of libraries is open to train.py; a data set in it is not.
PEEK = """
import pathlib
place = pathlib.Path({place!r})
assert (place / "library.txt").read_text() == "open"
for name in ("val.bin", "holdout.bin", "train.bin", "dataset.json"):
    try:
        (place / "stories" / name).read_bytes()
    except PermissionError:
        continue
    raise SystemExit("I have read " + name)
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set `stories`."""
    folder = tmp_path_factory.mktemp("prepared")
    made(folder / "stories", texts(400))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "linux" and landlock.abi() < 1, reason="nothing here keeps train.py from files")
def test_a_night_on_a_prepared_set_is_scored_on_text_that_train_py_cannot_read(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prepared / "library.txt").write_text("open", encoding="utf-8")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(prepared))
    honest = (STAND_INS / "unigram.py").read_text(encoding="utf-8")
    folder = make_repository(tmp_path / "work", PEEK.format(place=str(prepared)) + honest)
    # A run's wall time is bounded by its budget, which this train.py does not use up: a busy machine gets enough.
    study = Study(folder, "t1", ServeOptions(profile="smoke", data=str(prepared / "stories"), budget_seconds=9))
    try:
        assert views.status(study).dataset.startswith(f"{prepared / 'stories'}: ")
        study.run("baseline")
        ended(study.executor)
        row = study.settle()
        assert row and row.result and row.result.outcome is Outcome.FINISHED, row
        assert row.score and row.score.value < 4
        assert row.result.figures.data == made(prepared / "stories", texts(400)).fingerprint
        until(lambda: not study.runs.of(1).alive())  # its supervisor has the device until it has exited
        (hidden,) = rerun(study, [row], RerunRequest(split="holdout"), lambda _: None)
        assert hidden.scores[0] < 4 and hidden.scores[0] != row.score.value
    finally:
        study.close()


def test_a_data_set_is_found_by_its_name_or_its_folder(prepared: Path, tmp_path: Path) -> None:
    for told in ("stories", "./stories", str(prepared / "stories")):
        found = find(told, prepared)
        assert found.name == "stories" and find(found.folder, tmp_path).name == found.folder
        assert found.folder == str((prepared / "stories").resolve()) and "vocabulary 300" in found.detail
    assert find("embedded", tmp_path).folder == ""


@pytest.mark.parametrize("card", [None, "{", '{"format": 0, "vocab_size": 300, "tokens": {}}'])
def test_what_was_not_prepared_is_told_with_what_there_is(prepared: Path, tmp_path: Path, card: str | None) -> None:
    shutil.copytree(prepared / "stories", tmp_path / "data" / "stories")
    (tmp_path / "data" / "other").mkdir()
    if card is not None:
        (tmp_path / "data" / "other" / "dataset.json").write_text(card, encoding="utf-8")
    with pytest.raises(DatasetMissing, match=r"'other' was not prepared; there is embedded.*stories.*prepare other"):
        find("other", tmp_path / "data")


def test_serve_refuses_data_that_was_not_prepared_and_changes_nothing(repository: Path) -> None:
    command = [sys.executable, "-m", "server", "--workspace", str(repository), "--data", "nothing"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, input="")
    assert done.returncode == 1 and "'nothing' was not prepared" in done.stderr and "Traceback" not in done.stderr
    assert not (repository / ".autoresearch").exists()


def test_a_damaged_data_set_ends_a_run_without_judging_the_idea(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "stories", tmp_path / "data" / "stories")
    (tmp_path / "data" / "stories" / "val.bin").write_bytes(b"\0\0" * 5000)
    executor = local_executor(tmp_path / "t1", tmp_path / "data", tmp_path)
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1)
    asked = attempt(1).model_copy(update={"profile": "smoke", "dataset": "stories"})
    start_run(executor, asked, "", terms)
    result = ended(executor)
    assert result.outcome is Outcome.ENV_FAIL and "is missing or damaged" in result.reason
    with pytest.raises(DatasetMissing):
        start_run(executor, asked.model_copy(update={"number": 2, "dataset": "gone"}), "", terms)
    assert not executor.runs.path(2).exists()


def test_scores_of_different_data_are_not_compared_and_code_may_be_measured_on_both(study: Study) -> None:
    row = ran(study, 2.5)
    known = (study.ledger, row.attempt.fingerprint, row.attempt.profile)
    with pytest.raises(AlreadyMeasured):
        require_new(*known, "embedded", row.attempt.budget_seconds)
    require_new(*known, "stories", row.attempt.budget_seconds)
    result = finished(2.0)
    one, other = (
        Experiment(attempt=attempt(1), result=result.model_copy(update={"figures": Figures(data=data)}))
        for data in ("a", "b")
    )
    assert segment(one) != segment(other)


def test_doctor_names_the_data_and_calls_the_embedded_corpus_a_smoke_test_on_a_gpu(prepared: Path) -> None:
    laptop = Hardware(gpu=None, gpu_memory_gb=None, driver=None, cpu="x", cores=2, memory_gb=8, platform="linux")
    large = laptop.model_copy(update={"gpu": "H200", "gpu_memory_gb": 139.0})
    assert _data(prepared, "embedded", laptop).state == "ok"
    smoke = _data(prepared, "embedded", large)
    assert (
        smoke.state == "warning"
        and "only good for a smoke test" in smoke.detail
        and "also prepared: stories" in smoke.detail
    )
    assert _data(prepared, "stories", large).state == "ok"
    assert _data(prepared, "nothing", laptop).state == "fix"
