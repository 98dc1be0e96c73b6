"""The tasks that `autoresearch init --task` copies: each judge takes right answers and no others, each change does what
its README says.

Workers run as they do in an experiment, but without guards; tests/integration runs whole experiments.
"""

import base64
import importlib.util
import json
import math
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from server.task.program import load
from tests.support.repositories import git
from trainer.contract import Referee
from trainer.judging import WrongAnswer

ROOT = Path(__file__).parents[3]
TASKS = ROOT / "server" / "templates" / "tasks"
NAMES = sorted(folder.name for folder in TASKS.iterdir())
CHANGES = ("good", "bad", "null", "cheat")
JSON = "json-tokenizer"
SQL = "sqlite-index"
TSP = "tsp-anytime"
RULES = "extract-rules"
BLUR = "image-blur-c"
needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
EACH = [pytest.param(name, marks=[needs_cc] if name == BLUR else []) for name in NAMES]


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Path]:
    """A copy of an example, with one of its changes where that is named."""

    def make(name: str, change: str = "") -> Path:
        folder = tmp_path / (change or "baseline")
        shutil.copytree(TASKS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        git(folder, "init", "--quiet")
        git(folder, "add", ".")
        if change:
            git(folder, "apply", "--index", f"changes/{change}.patch")
        return folder

    return make


def judge_of(folder: Path) -> Any:
    """The module judge/judge.py of a workspace."""
    spec = importlib.util.spec_from_file_location("judge", folder / "judge" / "judge.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(judge: Any, seed: int, count: int) -> list[tuple[Any, Any]]:
    """The first cases of a seed: question and truth."""
    return list(islice(judge.cases(seed), count))


def answers(folder: Path, questions: list[Any]) -> list[Any]:
    """What the candidate in a workspace answers."""
    task, out = load(folder / "program.md").task, folder.parent / f"{folder.name}.out"
    out.mkdir()
    words = {"{python}": sys.executable, "{out}": str(out)}
    build, worker = (re.sub(r"\{\w+\}", lambda name: words[name[0]], command) for command in (task.build, task.worker))
    if build:
        subprocess.run(["sh", "-c", build], cwd=folder, check=True)
    done = subprocess.run(
        ["sh", "-c", worker],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        input="".join(json.dumps(question) + "\n" for question in questions),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def measured(folder: Path, seed: int, count: int) -> float:
    """The mean score of a workspace's candidate over the first cases of a seed."""
    judge = judge_of(folder)
    cases = drawn(judge, seed, count)
    told = answers(folder, [question for question, _ in cases])
    scores = [judge.score(answer, truth) for answer, (_, truth) in zip(told, cases, strict=True)]
    return fmean(_number(score) for score in scores)


def _number(score: dict[str, float] | float) -> float:
    return score["score"] if isinstance(score, dict) else score


@pytest.mark.parametrize("name", NAMES)
def test_its_program_defines_a_judged_task_on_files_that_are_there(name: str) -> None:
    program, folder = load(TASKS / name / "program.md"), TASKS / name
    task = program.task
    assert task.kind is Referee.JUDGED and task.paired and program.gist
    assert (folder / task.judge).is_file() and (folder / "judge" / "worker.py").is_file()
    assert all(list(folder.glob(glob.replace("**", "**/*"))) for glob in (*task.editable, *task.hidden))
    readme = (folder / "README.md").read_text("utf-8")
    assert f"init DIR --task {name}\n" in readme
    assert re.findall(r"^\| `(\w+)\.patch` \|", readme, re.MULTILINE) == list(CHANGES)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_change_says_what_it_does_and_touches_what_may_be_edited(
    name: str, change: str, workspace: Callable[..., Path]
) -> None:
    folder = workspace(name, change)
    first, _, rest = (folder / "changes" / f"{change}.patch").read_text("utf-8").partition("\n")
    assert re.fullmatch(r"# \w.*\w", first) and rest.startswith("--- a/")
    editable = load(folder / "program.md").task.editable
    changed = re.findall(r"^\+\+\+ b/(.*)$", rest, re.MULTILINE)
    assert changed and all(any(fnmatch(path, glob) for glob in editable) for path in changed)


@pytest.mark.parametrize("name", EACH)
def test_the_baseline_answers_right_and_a_seed_draws_the_same_cases_again(
    name: str, workspace: Callable[..., Path]
) -> None:
    folder = workspace(name)
    judge = judge_of(folder)
    first, again, other = (drawn(judge, seed, 6 if name == JSON else 1) for seed in (3, 3, 4))
    questions = [[question for question, _ in cases] for cases in (first, again, other)]
    assert questions[0] == questions[1]
    told = answers(folder, questions[0])
    for (_, truth), (_, same), answer in zip(first, again, told, strict=True):
        assert judge.score(answer, truth) == judge.score(answer, same)
    assert name == SQL or questions[0] != questions[2]


def _edit(place: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda answer: [*answer[:place], value, *answer[place + 1 :]]


def _sql(name: str, text: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda answer: {**answer, name: text}


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0"
WIDE = f"CREATE INDEX wide ON items (quantity || '{'x' * 5000}')"
WRONG: dict[str, list[Callable[[Any], Any]]] = {
    JSON: [
        lambda answer: None,
        lambda answer: [],
        lambda answer: answer[:-1],
        lambda answer: [*answer, answer[-1]],
        _edit(0, ["{", 0, 1]),
        _edit(7, None),
        lambda answer: _edit(9, [answer[9][0], answer[9][1], answer[9][2] + 1])(answer),
        lambda answer: {"tokens": answer},
    ],
    SQL: [
        lambda answer: None,
        lambda answer: {},
        _sql("revenue.sql", 5),  # type: ignore[arg-type]
        _sql("revenue.sql", ""),
        _sql("revenue.sql", "SELECT country, 0 FROM customers"),
        _sql("revenue.sql", "SELECT 1; SELECT 2"),
        _sql("revenue.sql", "SELECT :unknown"),
        _sql("revenue.sql", ENDLESS),
        _sql("revenue.sql", "DELETE FROM orders"),
        _sql("revenue.sql", "PRAGMA writable_schema = 1"),
        _sql("revenue.sql", "ATTACH 'sqlite_stat1' AS other"),
        _sql("revenue.sql", "SELECT load_extension('other')"),
        _sql("indexes.sql", "CREATE TABLE answers (id)"),
        _sql("indexes.sql", "CREATE VIEW answers AS SELECT 1"),
        _sql("indexes.sql", "CREATE TRIGGER answers AFTER INSERT ON orders BEGIN SELECT 1; END"),
        _sql("indexes.sql", "DELETE FROM orders"),
        _sql("indexes.sql", "ATTACH 'sqlite_stat1' AS other"),
        _sql("indexes.sql", "CREATE INDEX slow ON items (hex(quantity))"),
        _sql("indexes.sql", WIDE),
    ],
    TSP: [
        lambda answer: None,
        lambda answer: [],
        lambda answer: answer[:-1],
        lambda answer: [*answer, answer[0]],
        lambda answer: _edit(0, answer[1])(answer),
        _edit(0, -1),
        _edit(0, 1000),
        lambda answer: [float(town) for town in answer],
        lambda answer: [{0: False, 1: True}.get(town, town) for town in answer],
        lambda answer: list(map(str, answer)),
    ],
    RULES: [
        lambda answer: None,
        lambda answer: answer[:-1],
        _edit(0, None),
        _edit(0, {"ip": "1.1.1.1"}),
        _edit(0, ["ip"]),
    ],
    BLUR: [
        lambda answer: None,
        lambda answer: "",
        lambda answer: answer + "=?",
        lambda answer: "é",
        lambda answer: list(base64.b64decode(answer)),
        lambda answer: base64.b64encode(base64.b64decode(answer)[:-1]).decode(),
        lambda answer: base64.b64encode(base64.b64decode(answer) + b"x").decode(),
        lambda answer: base64.b64encode(
            bytes([base64.b64decode(answer)[0] ^ 1]) + base64.b64decode(answer)[1:]
        ).decode(),
    ],
}


@pytest.mark.parametrize("name", EACH)
def test_its_judge_refuses_every_other_answer_with_a_sentence(name: str, workspace: Callable[..., Path]) -> None:
    folder = workspace(name)
    judge = judge_of(folder)
    ((question, truth),) = drawn(judge, 5, 1)
    (right,) = answers(folder, [question])
    for change in WRONG[name]:
        with pytest.raises(WrongAnswer, match=r"\w .* \w"):
            judge.score(change(right), truth)
    judge.score(right, truth)


@pytest.mark.parametrize(
    ("name", "count", "moves"),
    # How far a heuristic comes in its time varies.
    [(RULES, 4, 0.0), (SQL, 1, 0.0), pytest.param(TSP, 8, 0.03, marks=pytest.mark.thorough)],
)
def test_the_score_tells_a_good_change_from_a_bad_one_and_from_none(
    name: str, count: int, moves: float, workspace: Callable[..., Path]
) -> None:
    metric = load(TASKS / name / "program.md").task.measure
    before, *after = (measured(workspace(name, change), 7, count) for change in ("", "good", "bad", "null"))
    good, bad, null = (metric.sign * math.log(score / before) for score in after)
    assert good > 0.1 and bad < -0.05
    assert abs(null) <= moves


@pytest.mark.parametrize("name", [pytest.param(BLUR, marks=needs_cc), SQL])
def test_a_cheat_with_wrong_answers_is_refused(name: str, workspace: Callable[..., Path]) -> None:
    with pytest.raises(WrongAnswer):
        measured(workspace(name, "cheat"), 7, 2)


def test_a_cheat_that_answers_everything_scores_less(workspace: Callable[..., Path]) -> None:
    assert measured(workspace(RULES, "cheat"), 7, 2) < measured(workspace(RULES), 7, 2)


def test_a_cheat_that_thinks_longer_takes_more_cpu_time_than_its_judge_allows(workspace: Callable[..., Path]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    measured(workspace(TSP, "cheat"), 7, 1)
    taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert taken > 2 * judge_of(TASKS / TSP).CASE_CPU_SECONDS
