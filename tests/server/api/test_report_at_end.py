"""The report is left in the study's folder when the study is over, by the server itself."""

from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest
from mcp import Client

from server.api import app
from server.paths import StudyPaths
from server.records import Verdict
from server.reporting.morning.report_file import write_report
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.night import TAG, Night, constants
from tests.support.polling import until
from tests.support.repositories import make_repository


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """A study that has reached its limit."""
    monkeypatch.setattr(app, "_REPORT_SECONDS", 0.05)
    root = make_repository(tmp_path / "work", constants(A=1))
    text = (root / "program.md").read_text(encoding="utf-8")
    (root / "program.md").write_text(text.replace("name:", "stop: {experiments: 2}\nname:"), encoding="utf-8")
    night = Night(root)
    night.baseline(2.0, (2.0,))
    night.tried({"train.py": constants(A=2)}, 1.8, Verdict.IMPROVED, "A to 2", [1.8])
    return StudyPaths(night.write())


async def test_a_study_that_is_over_leaves_its_report(paths: StudyPaths) -> None:
    with closing(Study(paths.home.root, TAG, ServeOptions(profile="smoke"))) as study:
        async with Client(app.create(study, write_report)):
            await anyio.to_thread.run_sync(until, paths.report.exists)
    text = paths.report.read_text(encoding="utf-8")
    assert "val_bpb fell from 2.0000 to 1.8000" in text and "experiments was reached" in text


async def test_a_study_that_goes_on_leaves_none(paths: StudyPaths) -> None:
    program = paths.home.root / "program.md"
    program.write_text(
        program.read_text(encoding="utf-8").replace("experiments: 2", "experiments: 3"), encoding="utf-8"
    )
    with closing(Study(paths.home.root, TAG, ServeOptions(profile="smoke"))) as study:
        assert app.limits.end_of(study) == ""
        program.write_text(program.read_text(encoding="utf-8").replace("experiments: 3", "experiments: 1"), "utf-8")
        assert app.limits.end_of(study) == "4: the limit of 1 experiment was reached"
