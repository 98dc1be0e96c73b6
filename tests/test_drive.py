"""A night without anybody at the client: it is started, started again, and ended when the night is over."""

import os
import sys
from pathlib import Path

import pytest

from server.drive import Drive, Shift
from server.errors import Unavailable
from tests.conftest import STAND_INS

SHIFT = Shift(experiments=2, pauses=(0.0,))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def drive(repository: Path, data: Path) -> Drive:
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    return Drive("claude-code", repository, ["--tag", "t1", "--profile", "smoke"], "go")


def test_a_client_that_stops_too_early_is_started_again(repository: Path, data: Path, path: Path) -> None:
    client = (STAND_INS / "client.py").read_text(encoding="utf-8")
    program(path / "claude", client.replace("/usr/bin/env python3", sys.executable))
    told: list[str] = []
    night = drive(repository, data)
    assert night.run(SHIFT, told.append) == "2 experiments are done"
    assert night.measured() == 2 and "after 1 experiments" in told[0]
    assert "val_bpb" in night.log.read_text(encoding="utf-8")


def test_a_night_that_has_come_to_its_limit_is_not_driven_on(repository: Path, data: Path, path: Path) -> None:
    task = repository / "program.md"
    task.write_text(task.read_text(encoding="utf-8").replace("name:", "stop: {experiments: 1}\nname:"), "utf-8")
    client = (STAND_INS / "client.py").read_text(encoding="utf-8")
    program(path / "claude", client.replace("/usr/bin/env python3", sys.executable))
    night = drive(repository, data)
    assert night.run(Shift(pauses=(0.0,)), lambda line: None) == "1 experiments are done"
    assert night.measured() == 1


def test_a_client_that_never_measures_ends_the_night_with_its_log(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\necho no key\nexit 1\n")
    night = drive(repository, data)
    assert "5 times and measured nothing" in night.run(SHIFT, lambda line: None)
    assert night.log.read_text(encoding="utf-8").count("no key") == 5


def test_a_client_that_prints_all_night_fills_no_disk(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\nwhile :; do echo a line of the client; done\n")
    night = drive(repository, data)
    night.run(Shift(hours=2 / 3600, log_bytes=100_000), lambda line: None)
    kept = night.log.with_name(f"{night.log.name}.1")
    assert kept.stat().st_size > 100_000 and kept.read_text(encoding="utf-8").startswith("a line of the client\n")
    assert sorted(entry.name for entry in kept.parent.glob("*.log*")) == ["claude-code.log", "claude-code.log.1"]


def test_a_client_that_will_not_end_is_ended_when_the_night_is_over(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\nexec sleep 600\n")
    assert drive(repository, data).run(Shift(hours=1 / 36000), lambda line: None) == "2.77778e-05 hours are over"


def test_a_ledger_and_a_program_that_cannot_be_read_end_no_night(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\necho no key\nexit 1\n")
    night = drive(repository, data)
    ledger = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    ledger.parent.mkdir()
    ledger.write_bytes(b"no ledger " * 1000)
    (repository / "program.md").write_text("---\nbudget_seconds: soon\n---\n", encoding="utf-8")
    assert "5 times and measured nothing" in night.run(SHIFT, lambda line: None)
    assert night.measured() == 0


def test_settings_that_gemini_would_ignore_are_refused(repository: Path) -> None:
    repository.chmod(0o777)
    with pytest.raises(Unavailable, match="Gemini CLI ignores settings below"):
        Drive("gemini", repository, [], "go")


def test_a_client_that_is_not_there_is_named_with_what_to_do(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="cannot be driven"):
        Drive("emacs", repository, [], "go")
    monkeypatch.setenv("PATH", "/nowhere")
    for client in ("claude-code", "codex", "opencode"):
        with pytest.raises(Unavailable, match="autoresearch demo"):
            Drive(client, repository, [], "go")
