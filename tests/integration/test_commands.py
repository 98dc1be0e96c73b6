"""A command's run by the real supervisor, in a process of its own: cancelled, killed, with tools that people use."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.records import Outcome, Result, Trust
from server.runs.cleanup import end_run_processes
from server.runs.spawn import remove_scratch
from tests.support.commands import run_command, run_folder, task_spec
from tests.support.polling import PATIENCE, until
from trainer.contract import Entry, RunFile, Spec

PRINTS = "echo METRIC ms=1"


@contextmanager
def supervised(folder: Path, spec: Spec) -> Generator[subprocess.Popen[bytes]]:
    """A supervisor at work on a run."""
    (folder / RunFile.SPEC).write_text(spec.to_json(), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-P", "-m", Entry.SUPERVISOR, str(folder)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        end_run_processes(str(folder), gpu=False)


def result(folder: Path) -> Result:
    return Result.model_validate_json((folder / RunFile.RESULT).read_bytes())


def running(mark: str) -> Callable[[], list[psutil.Process]]:
    """The processes with such a word on their command line."""

    def look() -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or [])]

    return look


def test_the_server_reads_what_the_supervisor_writes(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"bench.sh": "echo METRIC ms=12.5\necho METRIC size=3\n"})
    spec = task_spec(folder, command="bash bench.sh", source="printed", figures=("size",), checks="test -f bench.sh")
    with supervised(folder, spec) as process:
        assert process.wait(PATIENCE) == 0
    found = result(folder)
    assert found.outcome is Outcome.FINISHED, found.reason
    assert found.score is not None
    assert (found.score.name, found.score.value) == ("ms", 12.5)
    assert found.trust in (Trust.PRINTED, Trust.UNCONFINED)
    assert found.figures.model_extra is not None
    assert found.figures.model_extra["size"] == 3.0


def test_a_cancel_ends_a_running_command_at_once(tmp_path: Path) -> None:
    mark = f"{os.getpid()}.75"
    folder = run_folder(tmp_path, {"a": ""})
    with supervised(folder, task_spec(folder, command=f"sleep {mark} & sleep {mark}")) as process:
        until(lambda: len(running(mark)()) == 2)
        (folder / RunFile.CANCEL).write_text("enough", encoding="utf-8")
        assert process.wait(PATIENCE) == 0
    assert (result(folder).outcome, result(folder).reason) == (Outcome.CANCELLED, "Cancelled: enough")
    assert not running(mark)()


def test_what_a_killed_supervisor_leaves_is_ended_and_removed(tmp_path: Path) -> None:
    mark = f"{os.getpid()}.85"
    folder = run_folder(tmp_path, {"a": ""})
    with supervised(folder, task_spec(folder, command=f"(setsid env -i sleep {mark} &); sleep {mark}")) as process:
        until(lambda: len(running(mark)()) == 2)
        place = (folder / RunFile.PLACE).resolve()
        process.send_signal(signal.SIGKILL)
        process.wait()
        end_run_processes(str(folder), gpu=False)
        assert not running(mark)()
        remove_scratch(folder)
        assert not place.exists()


SPAWNS = 'require("child_process").spawn("echo", ["x"]).on("close", (code) => process.exit(code))'
BASH = "diff <(echo a) <(echo a) && cat <<< x && cp -p t u && install -m 755 t v && test -x v"
CHILD = "import subprocess, sys\nsys.exit(subprocess.run(['true']).returncode)\n"


@pytest.mark.parametrize(
    ("needs", "files", "command"),
    [
        ("make", {"Makefile": "all: a b\na:\n\ttouch a\nb:\n\ttouch b\n"}, "make -s -j2 && make -q"),
        ("node", {"t.js": SPAWNS}, "node t.js"),
        ("bash", {"t": BASH}, "bash t"),
        ("awk", {"t": "1\n2\n"}, "awk '{s += $1} END {exit s != 3}' t | sort"),
        ("python3", {"t.py": CHILD}, "python3 t.py"),
        ("tar", {"t": "x"}, "tar cf t.tar t && mkdir u && tar xf t.tar -C u && cmp t u/t"),
    ],
)
def test_the_tools_of_ordinary_benchmarks_work_confined(
    tmp_path: Path, needs: str, files: dict[str, str], command: str
) -> None:
    if shutil.which(needs) is None:
        pytest.skip(f"there is no {needs}")
    ended = run_command(tmp_path, files, command=f"{{ {command}; }} && {PRINTS}")
    assert ended.outcome == "finished", ended.reason


@pytest.mark.slow
def test_pytest_checks_a_tree_and_finds_no_settings_of_the_workspace(tmp_path: Path) -> None:
    """Tools look for their settings in the folders above."""
    files = {"test_a.py": "def test_a(tmp_path):\n    (tmp_path / 'x').write_text('x')\n", "pyproject.toml": ""}
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--no-such-option'\n")
    ended = run_command(tmp_path, files, command=PRINTS, checks="{python} -m pytest -q -p no:xdist")
    assert ended.outcome == "finished", ended.reason


def test_a_link_shows_what_is_not_in_git_and_cannot_change_it(tmp_path: Path) -> None:
    modules = tmp_path / "workspace" / "node_modules"
    modules.mkdir(parents=True)
    (modules / "m.txt").write_text("linked\n")
    links = (("node_modules", str(modules)),)
    command = f"cat node_modules/m.txt && (echo x > node_modules/m.txt; true) && {PRINTS}"
    ended = run_command(tmp_path, {"a": ""}, command=command, links=links)
    assert ended.outcome == "finished", ended.reason
    assert ended.guards.get("files") != "held" or (modules / "m.txt").read_text() == "linked\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the guards are Linux's")
def test_network_and_home_are_for_those_that_ask_and_the_row_says_so(tmp_path: Path) -> None:
    command = f"python3 -c 'import socket; socket.socket()' && ls $HOME/. && {PRINTS}"
    refused = run_command(tmp_path / "a", {"a": ""}, command=command)
    assert (refused.outcome, "network: true" in refused.reason) == ("crashed", True), refused.reason
    asked = run_command(tmp_path / "b", {"a": ""}, command=f"test $HOME = ~ && {command}", network=True, home=True)
    assert asked.outcome == "finished", asked.reason
    assert {asked.guards["network"], asked.guards["files"]} == {"not held: asked for by program.md"}


def test_the_referee_costs_little_beside_the_command(tmp_path: Path) -> None:
    """CPU seconds of build, two checks and a run that do nothing: other load does not change them much."""
    used = list[float]()
    while len(used) < 3 and min(used, default=9.0) >= 1.5:  # beside load a CPU second brings less
        before = os.times()
        ended = run_command(tmp_path / str(len(used)), {"a": ""}, build="true", checks="true", command=PRINTS)
        assert ended.outcome == "finished", ended.reason
        used.append(sum(os.times()[:4]) - sum(before[:4]))
    assert min(used) < 1.5
