"""What `doctor` makes of a machine in trouble: a line, whatever fails."""

import json
import resource
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from server.cli import main
from server.cli.doctor import _account, _client, _disk, _program, _referee, examine  # pyright: ignore[reportPrivateUsage]
from server.cli.scaffold import create
from server.clients.client_config import ServerEntry, write
from tests.support.repositories import git


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


def committed(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def test_doctor_says_which_referee_was_found_and_why_and_what_it_will_run(tmp_path: Path) -> None:
    text = "---\ncommand: bash bench.sh\nmetric: {name: ms, unit: ms}\neditable: code.py\n---\n"
    found = _referee(committed(tmp_path, program__md=text, bench__sh="echo METRIC ms=1", code__py="x = 1\n"))
    assert found.state == "ok"
    assert found.detail.startswith("command, because program.md names a command; a run runs `bash bench.sh`; 300 s")
    assert found.detail.endswith("it measures ms, which the command prints; lower is better; editable: code.py")
    checks = {check.name for check in examine(tmp_path)}
    assert "confinement" in checks and not checks & {"torch", "data", "device", "compiler"}


def test_doctor_says_what_a_task_lacks(tmp_path: Path) -> None:
    text = "---\njudge: judge.py\nworker: no-such-program\neditable: code.py\n---\n"
    found = _referee(committed(tmp_path, program__md=text, judge__py="x = 1\n", code__py="x = 1\n"))
    assert found.state == "fix" and "judge.py has no `cases` and `score`" in found.detail
    assert (
        "there is no program no-such-program on PATH" in found.detail and "judged, because program.md" in found.detail
    )


def test_doctor_asks_for_no_train_py_where_program_md_cannot_be_read(tmp_path: Path) -> None:
    committed(tmp_path, program__md="---\ncommand: bash bench.sh\neditible: code.py\n---\n", code__py="x = 1\n")
    found = {check.name: check for check in islice(examine(tmp_path), 4)}  # those of torch take seconds
    assert found["program.md"].state == "fix" and "did you mean editable" in found["program.md"].detail
    assert found["workspace"].remedy == "see program.md, below" and "train.py" not in found["workspace"].detail


def test_doctor_knows_upstreams_own_repository(tmp_path: Path) -> None:
    prepare = "def evaluate_bpb(model): ...\ndef make_dataloader(): ...\n"
    files = {"program__md": "# autoresearch\n", "prepare__py": prepare, "train__py": "import prepare\n"}
    committed(tmp_path, **files)
    found = next(check for check in examine(tmp_path) if check.name == "workspace")
    assert found.state == "fix" and "karpathy/autoresearch's repository" in found.detail
    assert "could be used as it is if prepare.py had TIME_BUDGET; until then" in found.detail
    assert "the four calls of trainer.session" in found.remedy and "`command`" in found.remedy


def test_doctor_takes_upstreams_own_repository_as_it_is_and_says_what_is_missing(tmp_path: Path) -> None:
    prepare = "TIME_BUDGET = 300\ndef make_dataloader(): ...\ndef evaluate_bpb(model): ...\n"
    files = {"program__md": "# autoresearch\n", "prepare__py": prepare, "train__py": "import prepare\n"}
    found = _referee(committed(tmp_path, **files))
    assert found.state == "fix" and found.detail.startswith(f"there is no {tmp_path}/.venv/bin/python. karpathy, becau")
    assert "only bounded: " in found.detail and "`uv sync`" in found.remedy
    checks = {check.name: check for check in examine(tmp_path)}
    assert checks["workspace"].state == "ok" and checks["program.md"].detail == "karpathy/autoresearch; 300 s a run"


def test_a_name_of_two_lines_breaks_no_line_of_doctors(tmp_path: Path) -> None:
    (tmp_path / "program.md").write_text('---\nname: "a\\nb\\tc"\n---\n', encoding="utf-8")
    assert _program(tmp_path).detail == "a b c; 300 s a run"


def test_doctor_speaks_of_the_profile_that_serve_will_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path / "night")
    with suppress(SystemExit):  # the smallest profile is for trying out
        main(["doctor", "--workspace", str(tmp_path / "night"), "--profile", "smoke", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "profile smoke" in checks["device"]["detail"]
    with pytest.raises(SystemExit):
        main(["doctor", "--workspace", str(tmp_path / "night"), "--profile", "huge"])
    assert "gpu-8gb" in capsys.readouterr().err
