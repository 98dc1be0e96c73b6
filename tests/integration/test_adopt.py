"""`autoresearch adopt` with real commands, confined, in real repositories: from a benchmark to a program.md."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from server.adopt.adoption import Adoption, require_no_program, write_program
from server.adopt.interview import Given, Question
from server.cli import main
from server.errors import WorkspaceUnusable
from server.runs.run_folder import RunFolder
from server.task.program import load
from server.vcs.checkout import Checkout
from tests.support.commands import write_tree
from tests.support.polling import PATIENCE, until
from tests.support.repositories import git

ROOT = Path(__file__).parents[2]
BENCH = """\
import time
from src.work import work
began = time.process_time()
work()
print(f"METRIC ms={1000 * (time.process_time() - began):.3f}")
print("size: 3 kB")
"""
FILES = {
    "bench.py": BENCH,
    "src/work.py": "def work():\n    return sum(range(200_000))\n",
    "tests/test_work.py": "from src.work import work\n\n\ndef test_work():\n    assert work() == 19999900000\n",
    "README.md": "Sums.\n",
}
Adopt = Callable[..., str]


def repository(folder: Path, files: dict[str, str]) -> Path:
    write_tree(folder, files)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


@pytest.fixture
def adopt(capsys: pytest.CaptureFixture[str]) -> Adopt:
    """Call it with `--yes`; what it said. With a refusal that is what it said last."""

    def called(folder: Path, *words: str, noise: str = "1", code: int = 0) -> str:
        try:
            main(["adopt", str(folder), "--yes", "--noise", noise, *words])
            ended = 0
        except SystemExit as error:
            ended = int(error.code or 0)
        told = capsys.readouterr()
        assert ended == code, told
        return told.out + told.err

    return called


def test_a_repository_becomes_a_workspace_by_its_defaults(tmp_path: Path, adopt: Adopt) -> None:
    folder = repository(tmp_path / "sums", FILES)
    told = adopt(folder, "--goal", "Sum faster.", "--checks", "python3 bench.py", "--commit", noise="3")
    task = load(folder / "program.md").task
    assert (task.name, task.command, task.editable) == ("sums", "python3 bench.py", ["src/**"])
    assert (task.metric.name, task.metric.unit, task.source, task.direction) == ("ms", "ms", "printed", "lower")
    assert (task.scale, task.off_limits) == ("log", ["tests/**"])
    assert "A study of 8 hours can detect effects of about" in told
    assert "Sum faster." in (folder / "program.md").read_text(encoding="utf-8")
    assert git(folder, "show", "--format=%s", "--name-only", "HEAD").split("\n\n") == [
        "Add program.md for autonomous research",
        "program.md",
    ]
    assert git(folder, "status", "--short") == "" and not (folder / ".autoresearch").exists()
    assert "doctor: referee" not in told and "next: autoresearch doctor" in told


@pytest.mark.slow
def test_checks_that_were_only_proposed_and_fail_are_left_out(tmp_path: Path, adopt: Adopt) -> None:
    files = {**FILES, "Makefile": "test:\n\tfalse\n"}
    told = adopt(repository(tmp_path / "a", files), noise="0")
    assert "The checks ended with exit code" in told and "They were only a proposal" in told
    assert load(tmp_path / "a" / "program.md").task.checks == ""
    told = adopt(repository(tmp_path / "b", files), "--checks", "make test -s ", noise="0", code=1)
    assert "The checks ended with exit code" in told and "--checks ''" in told
    assert not (tmp_path / "b" / "program.md").exists()


HANGS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@pytest.mark.parametrize(
    ("script", "words", "step"),
    [
        (HANGS, "0 of 1 runs of the command ended within the 1 s", "Does it wait for input"),
        ("input('Which? ')\n", "exit code 1. Its last line: EOFError", "give the full command"),
        ("import sys\nsys.argv[1]\n", "IndexError", "give the full command"),
        ("raise SystemExit('usage: bench.py N')\n", "usage: bench.py N", "It needs arguments"),
        ("raise SystemExit('no data')\n", "Its last line: no data", "fresh clone"),
        ("import urllib.request as u\nu.urlopen('http://127.0.0.1:9')\n", "network", "--network"),
        ("open('src/work.py', 'a').write('x = 1\\n')\n", "changed a file of the commit", "new files"),
        pytest.param("import os\nos.kill(os.getpid(), 9)\n", "137", "fresh clone", marks=pytest.mark.thorough),
    ],
)
def test_a_command_that_does_not_work_is_told_with_the_next_step(
    tmp_path: Path, adopt: Adopt, script: str, words: str, step: str
) -> None:
    folder = repository(tmp_path / "a", {**FILES, "bench.py": script})
    told = adopt(folder, "--limit", "1" if script == HANGS else "60", "--checks", "", code=1)
    assert words in told and step in told, told
    assert "--command 'python3 bench.py'" in told  # the answers so far, for the next call
    assert git(folder, "status", "--short") == "" and not (folder / ".autoresearch").exists()


@pytest.mark.parametrize(
    ("script", "options", "metric"),
    [
        ("x = sum(range(9_000_000))\n", (), ("cpu_time", "cpu")),
        ("print('METRIC kb=3')\nprint('METRIC hits=4')\n", (), ("kb", "printed")),
        ("print('METRIC kb=3')\nprint('METRIC hits=4')\n", ("--metric", "hits"), ("hits", "printed")),
        ('print(\'{"took": {"mean": 1.5}}\')\n', (), ("took.mean", "printed")),
        ("print('port: 80')\nprint('elapsed: 12.5 ms')\n", (), ("elapsed", "printed")),
        ("print('METRIC kb=3')\n", ("--metric", "memory"), ("peak_memory", "memory")),
    ],
)
def test_the_metric_is_found_in_what_the_command_prints(
    tmp_path: Path, adopt: Adopt, script: str, options: tuple[str, ...], metric: tuple[str, str]
) -> None:
    folder = repository(tmp_path / "a", {**FILES, "bench.py": script})
    told = adopt(folder, "--checks", "", "--print", *options, noise="0")
    (tmp_path / "program.md").write_text(told[told.index("---\n") : told.index("same.\n")], encoding="utf-8")
    task = load(tmp_path / "program.md").task
    assert (task.metric.name, str(task.source)) == metric, told
    if metric[0] == "elapsed":
        assert (task.metric.unit, task.scale) == ("ms", "log")


def test_a_number_that_is_not_printed_is_refused_with_those_that_are(tmp_path: Path, adopt: Adopt) -> None:
    told = adopt(repository(tmp_path / "a", FILES), "--checks", "", "--metric", "speed", code=1)
    assert "no number named speed" in told and "size 3 kB" in told


def test_a_script_that_git_does_not_have_is_named_before_anything_runs(tmp_path: Path, adopt: Adopt) -> None:
    folder = repository(tmp_path / "a", {name: text for name, text in FILES.items() if name != "bench.py"})
    (folder / "bench.py").write_text("open('/tmp/never', 'w')\n", encoding="utf-8")
    told = adopt(folder, code=1)
    assert "git does not have bench.py" in told and "git add bench.py" in told


def test_a_program_md_is_never_overwritten(tmp_path: Path, adopt: Adopt) -> None:
    folder = repository(tmp_path / "a", {**FILES, "program.md": "Do research.\n"})
    assert "never overwritten" in adopt(folder, code=1)
    told = adopt(folder, "--print", "--checks", "", noise="0")
    assert "command: python3 bench.py" in told
    assert (folder / "program.md").read_text(encoding="utf-8") == "Do research.\n"


def test_without_a_terminal_it_says_what_it_would_ask_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repository(tmp_path / "a", {**FILES, "bench.py": "open('/nowhere/x', 'w')\n"})
    with pytest.raises(SystemExit) as ended:
        main(["adopt", str(folder), "--goal", "It's faster."])
    told = capsys.readouterr().out
    assert ended.value.code == 1
    assert "--command 'python3 bench.py'" in told and "--off-limits 'tests/**'" in told
    assert f"autoresearch adopt {folder} --goal 'It'\"'\"'s faster.' --yes" in told
    assert git(folder, "status", "--short") == ""


@pytest.mark.slow
def test_somebody_at_a_terminal_is_asked_and_may_decline(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", FILES)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "server.cli", "adopt", str(folder), "--editable", "src/**", "--noise", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"LANG": "C"}
    )
    os.close(slave)
    # goal, command, build, checks: none of those proposed, off limits, run it, the metric, direction, commit
    os.write(master, b"Sum faster.\n\n\n-\n\ny\nsize\nhigher\nn\n")
    said = process.communicate(timeout=PATIENCE)[0].decode()
    os.close(master)
    assert process.returncode == 0, said
    task = load(folder / "program.md").task
    assert (task.checks, task.metric.name, task.metric.unit, task.direction) == ("", "size", "kB", "higher"), said
    assert "also printed size" in said
    assert git(folder, "status", "--short") == "?? program.md"


@pytest.mark.thorough
def test_an_interrupt_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", {**FILES, "bench.py": HANGS})
    words = ["adopt", str(folder), "--yes", "--checks", ""]
    # As from a terminal: a shell that starts tests in the background has interrupts ignored.
    code = f"import signal; signal.signal(2, signal.default_int_handler); from server.cli import main; main({words})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    run = RunFolder(folder / ".autoresearch" / ".adopt" / "runs" / "00001")
    until(lambda: run.progress().stage == "measuring")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) != 0
    assert git(folder, "status", "--short") == "" and not (folder / ".autoresearch").exists()
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]


class Declines:
    """Somebody who takes every default and lets nothing run."""

    answers = True

    def __init__(self) -> None:
        self.said: list[str] = []

    def ask(self, question: Question) -> str:
        return question.default

    def agree(self, text: str) -> bool:
        return False

    def say(self, line: str) -> None:
        self.said.append(line)


def test_who_declines_gets_a_program_md_and_nothing_is_run(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", {**FILES, "bench.py": f"open('{tmp_path}/ran', 'w')\n"})
    dialogue = Declines()
    with Checkout.open(folder) as checkout:
        text = Adoption(checkout, Given(metric="ms", checks="-"), dialogue).text()
    task = write_program(folder, text)
    assert (task.metric.name, task.scale, task.repeats, task.budget_seconds) == ("ms", "log", 1, 300)
    assert not (tmp_path / "ran").exists() and "Nothing was run" in dialogue.said[0]


AUTO = {
    ".auto/measure.sh": "echo METRIC rows=3\n",
    ".auto/prompt.md": "# Rows\n\n## Files in Scope\n- `src/work.py`\n",
    ".auto/log.jsonl": '{"type":"config","metricName":"rows","metricUnit":"kilorows","bestDirection":"higher"}\n',
    "piloop.toml": 'evaluate = ["python3", "bench.py"]\n',
}


def test_the_values_of_another_tools_workspace_are_proposed(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", {**FILES, **AUTO})
    dialogue = Declines()
    with Checkout.open(folder) as checkout:
        text = Adoption(checkout, Given(), dialogue).text()
        with pytest.raises(WorkspaceUnusable, match="no workspace of three"):
            Adoption(checkout, Given(format="three"), dialogue)
    assert "# Rows" in text and "command: bash .auto/measure.sh" in text and "editable: [src/work.py]" in text
    assert "metric: {name: rows, unit: kilorows, source: printed}\n" in text
    assert "direction: higher\n" in text  # as their log has it: the name alone says nothing
    assert dialogue.said[0].startswith("This is a workspace of pi-autoresearch (.auto/")
    assert "`autoresearch serve` uses the repository as it is" in dialogue.said[1]
    assert "There is also a workspace of piloop: --format piloop proposes its values." in dialogue.said


def test_what_is_taken_as_it_is_needs_no_program_md(tmp_path: Path) -> None:
    shape = ROOT / "tests/fixtures/stand_ins/upstream"
    files = {name: (shape / name).read_text(encoding="utf-8") for name in ("prepare.py", "train.py")}
    folder = repository(tmp_path / "a", {**files, "program.md": "Go.\n"})
    with pytest.raises(WorkspaceUnusable, match="uses the repository as it is"):
        require_no_program(folder)
    dialogue = Declines()
    with (
        Checkout.open(folder) as checkout,
        pytest.raises(WorkspaceUnusable, match="No command that measures something was given"),
    ):
        Adoption(checkout, Given(), dialogue).text()
    assert "karpathy/autoresearch's" in dialogue.said[0] and "as it is" in dialogue.said[0]


def test_an_option_counts_more_than_what_another_tools_workspace_says(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", {**FILES, **AUTO})
    with Checkout.open(folder) as checkout:
        text = Adoption(checkout, Given(direction="lower", unit="rows"), Declines()).text()
        other = Adoption(checkout, Given(metric="cpu"), Declines()).text()
    assert "unit: rows," in text and "direction: lower\n" in text
    assert "direction: lower\n" in other  # theirs is of another number
