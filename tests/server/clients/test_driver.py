"""A night without anybody at the client: it is started, started again, and ended when the night is over."""

import fcntl
import os
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.clients.driver import DriveLimits, Driver
from server.errors import Unavailable
from server.history.ledger import Ledger
from server.study.find_study import OperatorRequest, write_request
from tests.support.builders import attempt
from tests.support.polling import is_gone, until
from tests.support.repositories import QUICK, STAND_INS, UNGUARDED, make_repository

SHIFT = DriveLimits(experiments=2, pauses=(0.0,))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", QUICK)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def drive(repository: Path, data: Path) -> Driver:
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    return Driver("claude-code", repository, ["--tag", "t1", "--profile", "smoke", *UNGUARDED], "go")


@pytest.mark.slow
def test_a_client_that_stops_too_early_is_started_again(repository: Path, data: Path, path: Path) -> None:
    client = (STAND_INS / "client.py").read_text(encoding="utf-8")
    program(path / "claude", client.replace("/usr/bin/env python3", sys.executable))
    told: list[str] = []
    study = drive(repository, data)
    assert study.run(SHIFT, told.append) == "2 experiments are done"
    assert study.measured() == 2 and "after 1 experiments" in told[0]
    assert "val_bpb" in study.log.read_text(encoding="utf-8")


@pytest.mark.thorough
def test_a_night_that_has_come_to_its_limit_is_not_driven_on(repository: Path, data: Path, path: Path) -> None:
    task = repository / "program.md"
    task.write_text(task.read_text(encoding="utf-8").replace("name:", "stop: {experiments: 1}\nname:"), "utf-8")
    client = (STAND_INS / "client.py").read_text(encoding="utf-8")
    program(path / "claude", client.replace("/usr/bin/env python3", sys.executable))
    study = drive(repository, data)
    assert study.run(DriveLimits(pauses=(0.0,)), lambda line: None) == "the limit of 1 experiment was reached"
    assert study.measured() == 1


def test_a_client_that_never_measures_ends_the_night_with_its_log(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\necho no key\nexit 1\n")
    study = drive(repository, data)
    assert "5 times and measured nothing" in study.run(SHIFT, lambda line: None)
    assert study.log.read_text(encoding="utf-8").count("no key") == 5


def test_a_client_that_prints_all_night_fills_no_disk(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\nyes a line of the client | head -c 30000\nexit 1\n")
    study = drive(repository, data)
    study.run(SHIFT.model_copy(update={"log_bytes": 20_000}), lambda line: None)
    kept = study.log.with_name(f"{study.log.name}.1")
    assert kept.stat().st_size > 20_000 and kept.read_text(encoding="utf-8").startswith("a line of the client\n")
    assert sorted(entry.name for entry in kept.parent.glob("*.log*")) == ["claude-code.log", "claude-code.log.1"]


def test_addresses_for_messages_are_not_handed_to_the_client(
    repository: Path, data: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_NOTIFY", "https://example.org/secret")
    program(path / "claude", "#!/bin/sh\nenv\nexit 1\n")
    study = drive(repository, data)
    study.run(SHIFT, lambda line: None)
    assert "PATH=" in (told := study.log.read_text(encoding="utf-8")) and "secret" not in told


def test_a_client_that_will_not_end_is_ended_when_the_night_is_over(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\nexec sleep 600\n")
    assert drive(repository, data).run(DriveLimits(hours=1 / 36000), lambda line: None) == "2.77778e-05 hours are over"


def test_a_provider_that_is_away_for_hours_ends_no_night_that_had_begun(
    repository: Path, data: Path, path: Path
) -> None:
    count, ledger = path / "count", repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    row = path / "row.py"
    row.write_text(ROW, encoding="utf-8")
    works = f"exec {shlex.join([sys.executable, str(row), str(ledger)])}"
    program(path / "claude", f"#!/bin/sh\necho >> {count}\ncase $(wc -l < {count}) in 1|9) {works};; esac\nexit 1\n")
    study = drive(repository, data)
    ledger.parent.mkdir()
    assert study.run(SHIFT, lambda line: None) == "2 experiments are done"
    assert count.read_text(encoding="utf-8").count("\n") == 9


def test_a_client_that_is_updated_away_is_a_start_that_failed(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", '#!/bin/sh\nrm "$0"\n')
    told: list[str] = []
    assert "5 times and measured nothing" in drive(repository, data).run(SHIFT, told.append)
    assert sum("cannot be started" in line for line in told) == 4


def test_a_run_that_outlasts_many_starts_of_its_client_is_waited_for(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\nexit 1\n")
    study, state = drive(repository, data), repository / ".autoresearch" / "t1"
    (state / "runs" / "00001").mkdir(parents=True)
    with closing(Ledger(state / "ledger.sqlite3")) as ledger:
        ledger.begin(attempt(1))
    with (state / "runs" / "00001" / "lease").open("wb") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        assert "hours are over" in study.run(DriveLimits(hours=1 / 3600, pauses=(0.0,)), lambda line: None)
    assert "measured nothing" in study.run(DriveLimits(pauses=(0.0,)), lambda line: None)
    write_request(state, OperatorRequest.STOP)  # nobody has looked at the result, and nobody will
    assert study.run(DriveLimits(), lambda line: None) == "the operator stopped the study"


def test_a_client_that_hangs_is_ended_with_all_its_processes_and_started_again(
    repository: Path, data: Path, path: Path
) -> None:
    program(path / "claude", "#!/bin/sh\nsleep 600 &\necho $!\nwait\n")
    study, told, state = drive(repository, data), list[str](), repository / ".autoresearch" / "t1"
    state.mkdir()

    def tell(line: str) -> None:
        told.append(line)
        if study.log.read_text(encoding="utf-8").count("\n") > 1:  # a busy machine may end one before it says a word
            write_request(state, OperatorRequest.STOP)

    study.run(DriveLimits(hours=60 / 3600, pauses=(0.0,), idle_seconds=0.3), tell)
    pids = [int(pid) for pid in study.log.read_text(encoding="utf-8").split()]
    assert "did nothing" in told[0]
    until(lambda: all(map(is_gone, pids)))


def test_a_word_said_before_the_first_run_is_heard(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\necho here\n")
    study, state = drive(repository, data), repository / ".autoresearch" / "t1"
    state.mkdir()
    write_request(state, OperatorRequest.PAUSE)
    assert "hours are over" in study.run(DriveLimits(hours=0.6 / 3600), lambda line: None)
    write_request(state, OperatorRequest.STOP)
    assert study.run(DriveLimits(), lambda line: None) == "the operator stopped the study"
    assert not study.log.exists()


@pytest.mark.slow
def test_who_ends_drive_ends_its_client_too(repository: Path, path: Path) -> None:
    program(path / "claude", f"#!/bin/sh\necho $$ > {path}/pid.new\nmv {path}/pid.new {path}/pid\nexec sleep 600\n")
    command = [sys.executable, "-m", "server.cli", "drive", "claude-code", "--workspace", str(repository)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        until((path / "pid").exists)
        process.terminate()
        assert "interrupted; the current run goes on" in process.communicate()[1]
    assert process.returncode == 0 and is_gone(int((path / "pid").read_text(encoding="utf-8")))


ROW = """\
import sys
from pathlib import Path
from server.records import Verdict
from server.history.ledger import Ledger
from tests.support.builders import attempt, finished, judged
ledger = Ledger(Path(sys.argv[1]))
number = len(list(ledger.all())) + 1
ledger.begin(attempt(number))
ledger.finish(number, finished(2.0), judged(number, Verdict.WORSE))
"""


SPENDS = """\
#!/bin/sh
echo '{"type": "step_finish", "part": {"cost": 0.4, "tokens": {"input": 900, "output": 100}}}'
exec sleep 600
"""


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (DriveLimits(usd=0.4), "the client has cost $0.40 of $0.40"),
        (DriveLimits(tokens=1000), "the client has used 1 k of 1 k tokens"),
    ],
)
def test_a_client_that_has_cost_enough_ends_the_night(
    repository: Path, data: Path, path: Path, limits: DriveLimits, why: str
) -> None:
    program(path / "claude", SPENDS)
    study = drive(repository, data)
    assert study.run(limits, lambda line: None) == why


def test_an_old_client_works_without_its_bill_and_not_under_a_limit_that_nobody_could_hold(
    repository: Path, data: Path, path: Path
) -> None:
    old = (
        'case "$*" in *--output-format*) echo "error: unknown option \'--output-format\'"; exit 1;; esac\necho plain\n'
    )
    program(path / "claude", f"#!/bin/sh\n{old}")
    study, told = drive(repository, data), list[str]()
    study.run(SHIFT, told.append)
    assert sum("its cost stays unknown" in line for line in told) == 1 and "plain" in study.log.read_text()
    again = Driver("claude-code", repository, ["--tag", "t1"], "go")
    assert "update it" in again.run(DriveLimits(tokens=5, pauses=(0.0,)), lambda line: None)


def test_a_limit_of_money_needs_a_client_that_tells_its_price(repository: Path, path: Path) -> None:
    program(path / "codex", "#!/bin/sh\n")
    with pytest.raises(Unavailable, match="codex does not report what it costs"):
        Driver("codex", repository, ["--tag", "t1"], "go").run(DriveLimits(usd=1), lambda line: None)


def test_a_ledger_and_a_program_that_cannot_be_read_end_no_night(repository: Path, data: Path, path: Path) -> None:
    program(path / "claude", "#!/bin/sh\necho no key\nexit 1\n")
    study = drive(repository, data)
    ledger = repository / ".autoresearch" / "t1" / "ledger.sqlite3"
    ledger.parent.mkdir()
    ledger.write_bytes(b"no ledger " * 1000)
    (repository / "program.md").write_text("---\nbudget_seconds: soon\n---\n", encoding="utf-8")
    assert "5 times and measured nothing" in study.run(SHIFT, lambda line: None)
    assert study.measured() == 0


def test_settings_that_gemini_would_ignore_are_refused(repository: Path) -> None:
    repository.chmod(0o777)
    with pytest.raises(Unavailable, match="Gemini CLI ignores settings below"):
        Driver("gemini", repository, [], "go")


def test_a_client_that_is_not_there_is_named_with_what_to_do(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="cannot be driven"):
        Driver("emacs", repository, [], "go")
    monkeypatch.setenv("PATH", "/nowhere")
    for client in ("claude-code", "codex", "opencode"):
        with pytest.raises(Unavailable, match="autoresearch demo"):
            Driver(client, repository, [], "go")
