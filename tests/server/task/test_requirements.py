"""What a task needs and what is not there is found before anything runs, each in one sentence with the next step."""

from pathlib import Path
from typing import Any

import pytest

from server.task.definition import Task
from server.task.requirements import editable_files, lacking, other_workspaces, to_try
from server.task.task_words import metric_in_words, run_in_words, words_of

JUDGE = "import random\n\ndef cases(seed):\n    yield 1, 2\n\ndef score(answer, truth):\n    return 1.0\n"
FILES = {
    "program.md": "",
    "bench.sh": "echo METRIC ms=1\n",
    "src/a.py": "x = 1\n",
    "src/b.py": "x = 2\n",
    "judge/judge.py": JUDGE,
    "judge/worker.py": "",
    "data/hidden/x.txt": "",
}
COMMAND: dict[str, Any] = {"command": "bash bench.sh", "editable": ["src/**"]}
JUDGED: dict[str, Any] = {"judge": "judge/judge.py", "worker": "{python} judge/worker.py", "editable": ["src/a.py"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def told(root: Path, fields: dict[str, Any], **more: Any) -> list[tuple[str, bool]]:
    found = list(lacking(Task.model_validate({**fields, **more}), root, list(FILES)))
    assert all(lack.remedy and len(lack.problem.splitlines()) == 1 for lack in found)
    return [(lack.problem, lack.fatal) for lack in found]


@pytest.mark.parametrize(
    "fields",
    [
        COMMAND,
        JUDGED,
        {**COMMAND, "build": "cd src && sh -c true", "checks": "A=1 python3 -m pytest -q", "link": ["data"]},
        {**COMMAND, "command": "{python} src/a.py"},
        {**COMMAND, "command": "for i in 1 2; do bash bench.sh; done"},
        {**COMMAND, "command": "./bench.sh --fast"},
        {**COMMAND, "command": "{out}/x < data/x.txt"},
        {**COMMAND, "command": "echo 'it''s"},
        {**COMMAND, "editable": ["src/a.py", "src/new/**"]},
        {**COMMAND, "editable": ["src"]},
        {**JUDGED, "hidden": ["data/hidden/**"]},
        {**JUDGED, "hidden": ["data/hidden"]},
        {"name": "a language model"},
    ],
)
def test_nothing_lacks_where_all_is_there(root: Path, fields: dict[str, Any]) -> None:
    assert not [problem for problem, fatal in told(root, fields) if fatal]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({**COMMAND, "editable": ["lib/**"]}, "editable: lib/** matches no file in git"),
        ({**COMMAND, "editable": ["lib/a.py"]}, "editable: git has no lib/a.py"),
        ({**COMMAND, "off_limits": ["src/*"]}, "there is no file that the agent may change"),
        ({**COMMAND, "command": "no-such-program --fast"}, "command: there is no program no-such-program on PATH"),
        ({**COMMAND, "command": "A=1 no-such-program"}, "command: there is no program no-such-program on PATH"),
        ({**COMMAND, "command": "./measure.sh"}, "command: git has no ./measure.sh"),
        ({**COMMAND, "command": "bash measure.sh"}, "command: git has no measure.sh"),
        ({**COMMAND, "command": "/no/such/program"}, "command: git has no /no/such/program"),
        ({**COMMAND, "build": "no-such-make"}, "build: there is no program no-such-make on PATH"),
        ({**COMMAND, "checks": "no-such-test"}, "checks: there is no program no-such-test on PATH"),
        ({**JUDGED, "worker": "no-such-worker"}, "worker: there is no program no-such-worker on PATH"),
        ({**JUDGED, "worker": "{python} judge/serve.py"}, "worker: git has no judge/serve.py"),
        ({**JUDGED, "judge": "judge/other.py"}, "judge: git has no judge/other.py"),
        ({**JUDGED, "hidden": ["data/secret/**"]}, "hidden: data/secret/** matches no file in git"),
        ({**COMMAND, "link": [".venv"]}, "link: there is no .venv in "),
    ],
)
def test_what_is_not_there_is_told(root: Path, fields: dict[str, Any], problem: str) -> None:
    assert any(found.startswith(problem) for found, fatal in told(root, fields) if fatal), told(root, fields)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def cases(seed): ...\n", "judge: judge/judge.py has no `score`"),
        ("x = 1\n", "judge: judge/judge.py has no `cases` and `score`"),
        ("def cases(:\n", "judge: judge/judge.py cannot be read: "),
        ("from base import cases\nscore = max\n", ""),
        ("from base import *\n", ""),
        ("if True:\n    def cases(seed): ...\n    score: int = 1\n", ""),
    ],
)
def test_a_judge_has_its_two_functions(root: Path, text: str, problem: str) -> None:
    (root / "judge/judge.py").write_text(text, encoding="utf-8")
    found = [lack for lack, _ in told(root, JUDGED)]
    assert (found[0].startswith(problem) and len(found) == 1) if problem else not found


def test_what_is_doubtful_is_told_and_ends_nothing(root: Path) -> None:
    found = told(root, COMMAND, network=True, home=True, editable=["src/**", "bench.sh"])
    assert not any(fatal for _, fatal in found)
    problems = " ".join(problem for problem, _ in found)
    assert "the agent may change bench.sh, and so change what is measured" in problems
    assert "use the network" in problems and "the operator's home folder" in problems


def test_the_agent_may_change_what_the_globs_match_and_off_limits_does_not() -> None:
    task = Task.model_validate({**COMMAND, "off_limits": ["src/b.py"]})
    assert editable_files(task, list(FILES)) == ["src/a.py"]
    folder = Task.model_validate({**COMMAND, "editable": ["src", "data"], "off_limits": ["data"]})
    assert editable_files(folder, list(FILES)) == [path for path in FILES if path.startswith("src/")]


def test_a_workspace_of_another_tool_is_known(root: Path) -> None:
    assert other_workspaces(root, list(FILES)) == ""
    for script in ("autoresearch.sh", ".auto/measure.sh"):
        told = other_workspaces(root, [script, "program.md"])
        assert told.startswith(script) and "without a front matter" in told and "`command:" not in told


@pytest.mark.parametrize(
    ("fields", "run", "metric"),
    [
        (COMMAND, "runs `bash bench.sh`", "metric, which the command prints; lower is better"),
        (
            {**COMMAND, "build": "make", "checks": "make test", "repeats": 5, "direction": "higher"},
            "builds it with `make`, checks it with `make test` before and after and runs `bash bench.sh` 5 times",
            "metric, which the command prints; higher is better",
        ),
        (
            {**JUDGED, "paired": True, "metric": {"name": "latency", "unit": "ms", "source": "cpu"}},
            "starts `{python} judge/worker.py`, and judge/judge.py asks it secret cases, in turns",
            "latency (ms), the CPU time of all its processes as the referee reads it; lower is better",
        ),
    ],
)
def test_a_task_is_told_in_words(fields: dict[str, Any], run: str, metric: str) -> None:
    task = Task.model_validate(fields)
    assert run_in_words(task).startswith(run) and metric_in_words(task) == metric


def test_words_name_the_one_file_or_the_candidate() -> None:
    one, several, model = (words_of(Task.model_validate(fields)) for fields in (JUDGED, COMMAND, {}))
    assert (one.candidate, one.original) == ("src/a.py", "the unmodified src/a.py")
    assert (several.candidate, several.original) == ("the candidate", "the unmodified candidate")
    assert (
        model.candidate == "train.py"
        and several.fill("{Original} {invalid}") == "The unmodified candidate was found invalid"
    )


def test_the_operator_is_told_how_to_try() -> None:
    assert to_try(Task.model_validate({**COMMAND, "checks": "make test"})).endswith(
        "/tmp/try && make test && bash bench.sh"
    )
    assert to_try(Task.model_validate(JUDGED)) == ""
    built = {**COMMAND, "build": "cc -o {out}/x src/x.c", "command": "{out}/x && {python} report.py"}
    assert to_try(Task.model_validate(built)) == (
        "git clone --quiet . /tmp/try && cd /tmp/try && mkdir /tmp/try.out && cc -o /tmp/try.out/x src/x.c && "
        "/tmp/try.out/x && python3 report.py"
    )
