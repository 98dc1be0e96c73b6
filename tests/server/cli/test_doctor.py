"""What `doctor` makes of a machine in trouble: a line, whatever fails."""

import resource
from pathlib import Path

import pytest

from server.cli.doctor import _account, _client, _disk, examine  # pyright: ignore[reportPrivateUsage]
from server.clients.client_config import ServerEntry, write


def test_a_check_that_fails_costs_its_own_line_and_no_other() -> None:
    found = list(examine(Path("a\0b")))  # a path that no file can have
    assert {"python", "workspace", "disk", "client", "confinement", "torch", "device", "compiler"} <= {
        check.name for check in found
    }
    broken = [check for check in found if "cannot be checked: " in check.detail]
    assert broken and all(check.state == "fix" for check in broken)
    assert "cannot be checked" not in next(check.detail for check in found if check.name == "port")


def test_a_home_that_cannot_be_read_is_told_and_hides_no_other_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("not a folder", encoding="ascii")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert "the home folder cannot be read: " in _client(tmp_path).detail
    write("claude-code", ServerEntry.local(tmp_path, "python"), tmp_path, tmp_path)
    found = _client(tmp_path)
    assert found.state == "warning" and found.detail.startswith("configured: claude-code; the home folder cannot")


def test_a_disk_on_which_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        found = _disk(tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found.state == "fix" and found.detail.endswith("cannot be written: File too large")
    assert "GB free" in _disk(tmp_path / "new").detail and not list(tmp_path.iterdir())


def test_a_server_that_is_started_as_usual_is_no_warning(tmp_path: Path) -> None:
    found = _account(tmp_path)
    assert found.state == "ok" and found.detail.startswith("same account: ") and not found.remedy
