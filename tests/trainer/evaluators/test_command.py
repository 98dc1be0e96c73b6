"""A command's number, and everything that a command can do instead of printing one."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import log, run_command
from tests.support.polling import stretched
from trainer.contract import ALL_FIGURES, PRINTED, RunFile

PRINTS = "echo METRIC ms=12.5"


def ended(top: Path, command: str, **told: Any) -> tuple[str, str, str]:
    """Outcome, cause and reason of a run of one command."""
    result = run_command(top, {"a.txt": "a\n"}, command=command, **told)
    assert result.score is None
    assert "\n" not in result.reason
    return result.outcome, result.cause, result.reason


def test_a_printed_number_is_the_score_and_its_trust_is_printed(tmp_path: Path) -> None:
    bench = "echo loading\necho METRIC ms=3\necho METRIC rss_mb=40\necho METRIC ms=2\n"
    result = run_command(tmp_path, {"bench.sh": bench}, command="bash bench.sh", unit="ms", figures=("rss_mb",))
    assert result.score is not None, result.reason
    assert (result.score.name, result.score.value, result.score.unit, result.score.trust) == (
        "ms",
        2.0,
        "ms",
        "printed",
    )
    assert (result.score.details["samples"], result.score.details["runs"]) == (2, 1)
    assert (result.outcome, result.figures["rss_mb"]) == ("finished", 40.0)
    assert "METRIC ms=3" in log(tmp_path)
    if sys.platform == "linux":
        assert set(result.guards) == {"files", "network", "signals", "privileges"}


def test_build_checks_and_runs_see_what_they_must_and_no_more(tmp_path: Path) -> None:
    """Each run finds what was built, and nothing that another run has left in tree, output, HOME or TMPDIR."""
    files = {"checks.sh": "test -f built && test -f $1/built\n", "run.sh": RUN_ONCE}
    build, checks, command = "touch built {out}/built", "sh checks.sh {out}", "sh run.sh {out}"
    result = run_command(tmp_path, files, repeats=3, build=build, checks=checks, command=command)
    assert result.score is not None, result.reason
    assert result.score.details["runs"] == 3
    said = [line.removeprefix("--- ") for line in log(tmp_path).splitlines() if line.startswith("---")]
    assert said == ["build", "checks", "run 1 of 3", "run 2 of 3", "run 3 of 3", "checks"]


RUN_ONCE = """
test -f built || exit 3
for folder in . $1 $HOME $TMPDIR; do
  test ! -e $folder/cache || exit 4
  touch $folder/cache
done
echo METRIC ms=1
"""


def test_the_value_is_the_median_of_the_runs(tmp_path: Path) -> None:
    """The random number is another one in each run."""
    command = "echo METRIC ms=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')"
    result = run_command(tmp_path, {"a": ""}, command=command, repeats=5)
    assert result.score is not None, result.reason
    told = sorted(float(line.partition("=")[2]) for line in log(tmp_path).splitlines() if line.startswith("METRIC"))
    assert result.score.value == told[2]
    assert result.score.details["spread"] > 0


def test_a_pair_is_measured_in_turns_and_compared_by_ratios(tmp_path: Path) -> None:
    ours, theirs = {"n": "2\n"}, {"n": "4\n"}
    command = "cat n; echo METRIC ms=$(cat n)"
    result = run_command(tmp_path, ours, theirs, command=command, repeats=4, scale="log")
    assert result.score is not None, result.reason
    details = result.score.details
    assert result.score.value == 2.0
    assert (details["incumbent"], details["pairs"]) == (4.0, 4)
    assert details["log_ratio"] == pytest.approx(-0.693147, abs=1e-6)
    assert details["stderr"] == pytest.approx(0.0, abs=1e-9)
    order = [line for line in log(tmp_path).splitlines() if line in ("2", "4")]
    assert order == ["2", "4", "4", "2", "4", "2", "2", "4"]


def test_a_pair_on_the_linear_scale_has_a_difference(tmp_path: Path) -> None:
    result = run_command(tmp_path, {"n": "-2"}, {"n": "4"}, command="echo METRIC ms=$(cat n)", repeats=4)
    assert result.score is not None, result.reason
    assert (result.score.value, result.score.details["difference"]) == (-2.0, -6.0)


@pytest.mark.parametrize(("source", "unit", "least", "most"), [("cpu", "ms", 200, 3000), ("wall", "s", 0.15, 60)])
def test_seconds_are_the_referees(tmp_path: Path, source: str, unit: str, least: float, most: float) -> None:
    """Whatever the command prints; a child's work counts, also that of one that it does not wait for."""
    burn = "import sys, time\nwhile time.process_time() < 0.1: pass\nopen(sys.argv[1], 'x')\n"
    command = (
        "python3 burn.py one; (setsid python3 burn.py two &); until test -e two; do sleep 0.02; done; echo METRIC ms=0"
    )
    result = run_command(tmp_path, {"burn.py": burn}, command=command, source=source, unit=unit)
    assert result.score is not None, result.reason
    assert least <= result.score.value <= most


def test_memory_is_the_referees(tmp_path: Path) -> None:
    """The kernel's own peak tells nothing below the size of the process that starts commands: here, of the tests."""
    lines = "import time", "begun = time.monotonic()", "held = b'x' * (60 << 20)"
    hold = "\n".join((*lines, "while time.monotonic() - begun < 1.5 or time.process_time() < 0.8: held.count(1)"))
    command = f'python3 -c "{hold}"'
    result = run_command(tmp_path, {"a": ""}, command=command, source="memory")
    assert result.score is not None, result.reason
    assert 60 <= result.score.value <= 400


@pytest.mark.parametrize(
    ("command", "told", "outcome", "words"),
    [
        ("no-such-program --fast", {}, "env_fail", "not found. Install it, add its folder to PATH"),
        ("true", {}, "invalid", "The command printed no number named ms: a line `METRIC ms=12.5` is due"),
        ("echo METRIC ms=nan", {}, "invalid", "not finite"),
        ("echo METRIC a=1; echo METRIC b=2", {}, "invalid", "but a, b"),
        ("echo METRIC ms=-3", {"scale": "log"}, "invalid", "compares numbers above 0"),
        ("echo METRIC ms=1; echo broken >&2; exit 3", {}, "crashed", "exit code 3. Its last line: broken"),
        ("echo METRIC ms=1; kill -SEGV $$", {}, "crashed", "was killed by signal 11"),
        ("echo METRIC ms=1; sleep 100", {"budget_seconds": 0.5}, "timeout", "0 of 1 runs"),
        ("python3 -c 'raise MemoryError'", {}, "oom", "exit code 1. Its last line: MemoryError"),
        ("sh -c 'kill -SEGV $$'; exit $?", {}, "crashed", "exit code 139, as of a program that signal 11 has killed"),
        ("truncate -s 50G a.txt; echo METRIC ms=1", {}, "invalid", "a.txt has another content"),
        ("test -t 0 || { echo no terminal; exit 1; }", {}, "crashed", "no terminal"),
        ("read line || exit 9", {}, "crashed", "exit code 9. It printed nothing."),
        ("exec 3<>/dev/tty || exit 5", {}, "crashed", "exit code"),
        ("echo x >> a.txt; echo METRIC ms=1", {}, "invalid", "a.txt has another content"),
        ("rm a.txt; echo METRIC ms=1", {}, "invalid", "a.txt is gone"),
        ("rm a.txt; ln -s /etc/passwd a.txt; echo METRIC ms=1", {}, "invalid", "a.txt has another content"),
        ("echo METRIC ms=1", {"build": "echo no compiler; exit 1"}, "refused", "The build ended with exit code 1."),
        ("echo METRIC ms=1", {"checks": "echo 3 failed; false"}, "refused", "The checks ended with exit code 1."),
        (
            "echo METRIC ms=1",
            {"build": "sleep 100", "build_seconds": 0.5},
            "refused",
            "not end within 0.5 s (build_sec",
        ),
        ("touch x; echo METRIC ms=1", {"checks": "test ! -e x"}, "refused", "After the last run the checks"),
    ],
)
def test_what_is_no_score_is_said_in_one_sentence(
    tmp_path: Path, command: str, told: dict[str, Any], outcome: str, words: str
) -> None:
    found, cause, reason = ended(tmp_path, command, **told)
    assert (found, words in reason) == (outcome, True), reason
    assert cause


def test_what_a_command_writes_outside_is_not_written(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    result = run_command(tmp_path, {"a": ""}, command=f"echo x > {outside}/x; {PRINTS}")
    assert result.outcome == "finished", result.reason
    if result.guards["files"] == "held":
        assert not list(outside.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")
def test_workspace_other_runs_and_home_are_out_of_reach(tmp_path: Path) -> None:
    """The files are the operator's, and the run's own state."""
    workspace = tmp_path / "workspace"
    (workspace / ".git").mkdir(parents=True)
    secrets = [workspace / "train.csv", workspace / ".git" / "HEAD", workspace / ".autoresearch" / "ledger.db"]
    secrets.append(workspace / ".autoresearch" / "studies" / "night" / "runs" / "00002" / "run.log")
    for path in secrets:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    told = " ".join([*map(str, secrets), str(Path.home() / ".profile")])
    result = run_command(tmp_path, {"a": ""}, command=f"cat {told}; ls {workspace} {Path.home()}; {PRINTS}")
    assert result.guards["files"] == "held", result.guards
    assert "secret" not in log(tmp_path)
    assert log(tmp_path).count("ermission denied") >= len(secrets)


def test_a_flood_fills_neither_memory_nor_disk_and_its_last_number_counts(tmp_path: Path) -> None:
    command = "echo METRIC ms=1; yes 0123456789 | head -n 1000000; echo METRIC ms=2"
    result = run_command(tmp_path, {"a": ""}, command=command)
    assert result.score is not None, result.reason
    assert (result.score.value, result.score.details["samples"]) == (2.0, 2)
    assert len(log(tmp_path)) < 2**20


def test_daemons_are_ended_and_hold_nothing_up(tmp_path: Path) -> None:
    """They keep the pipes open, and one has left its session."""
    mark = f"{os.getpid()}.25"
    command = f"sleep {mark} & (setsid sleep {mark} &) ; {PRINTS}"
    began = time.monotonic()
    result = run_command(tmp_path, {"a": ""}, command=command, repeats=2)
    assert result.outcome == "finished", result.reason
    assert time.monotonic() - began < stretched(60)
    assert not _living(mark)


def test_a_cancel_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    from tests.support.commands import run_folder, task_spec
    from trainer.evaluators import registry
    from trainer.run.run_folder import RunFolder

    folder = RunFolder(run_folder(tmp_path, {"a": ""}))
    mark = f"{os.getpid()}.5"
    folder.cancel("enough")
    result = registry.evaluate(folder, task_spec(folder.folder, command=f"sleep {mark}"))
    assert (result.outcome, result.reason) == ("cancelled", "Cancelled: enough")
    assert not _living(mark)


def test_nothing_is_left_behind_and_nothing_left_is_waited_for(tmp_path: Path) -> None:
    """Folders that none may read, and pipes that nobody writes into."""
    leaves = "mkfifo p {out}/p && mkdir -p d/e && chmod 0 d"
    result = run_command(tmp_path, {"a": ""}, command=f"mkfifo q; {PRINTS}", build=leaves, repeats=2)
    assert result.outcome == "finished", result.reason
    folder = tmp_path / "workspace" / ".autoresearch" / "studies" / "night" / "runs" / "00001"
    assert not (folder / RunFile.PLACE).is_symlink()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
def test_what_a_compiler_makes_can_be_run_at_once_and_later(tmp_path: Path) -> None:
    source = '#include <stdio.h>\nint main(void) { puts("METRIC ms=4"); return 0; }\n'
    build = "cc -o {out}/x x.c && cc -o y x.c && ./y"
    result = run_command(tmp_path, {"x.c": source}, build=build, command="{out}/x && ./y")
    assert result.score is not None, result.reason
    assert (result.score.value, result.score.details["samples"]) == (4.0, 2)


def _living(mark: str) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("folder", ["$HOME", "$HOME/tmp", "$TREE", "$OUT"])
def test_a_folder_that_a_command_replaces_by_a_link_costs_nobody_a_file(tmp_path: Path, folder: str) -> None:
    """The referee empties these folders and sets bits in them, and nothing confines the referee."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a.txt").write_text("a\n")  # as in the commit, so that the tree seems to be unchanged
    (precious / "tool").write_text("#!/bin/sh\n")
    (precious / "tool").chmod(0o600)
    move = f"mv {folder} {folder}.old && ln -s {precious} {folder}"
    result = run_command(
        tmp_path,
        {"a.txt": "a\n"},
        command=f"OUT={{out}}; TREE=$PWD; echo METRIC ms=1; {move}",
        build="touch b",
        repeats=2,
    )
    assert sorted(path.name for path in precious.iterdir()) == ["a.txt", "tool"]
    assert (precious / "tool").stat().st_mode & 0o777 == 0o600
    assert (precious.stat().st_mode & 0o777) == 0o755
    expected = "finished" if "HOME" in folder else "invalid"
    assert result.outcome == expected, result.reason


def test_a_run_that_wants_all_numbers_has_them_among_its_figures(tmp_path: Path) -> None:
    printed = "echo METRIC ms=3; echo 'cpu_seconds: 7 s'"
    ended = run_command(tmp_path, {"a": ""}, command=printed, source="wall", unit="s", figures=(ALL_FIGURES,))
    assert ended.outcome == "finished", ended.reason
    told = {name: value for name, value in ended.figures.items() if name.startswith(PRINTED)}
    assert told == {"printed METRIC ms": 3.0, "printed line cpu_seconds s": 7.0}
    assert ended.figures["cpu_seconds"] != 7.0
