"""Judged tasks through a real supervisor: scores that hold, and every failure in one sentence."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.judged_runs import FAST, SLOW, SUMS, JudgedTask
from trainer.contract import COOKIE_VARIABLE, MetricSource

_POINTS = """
from trainer.judging import WrongAnswer

def cases(seed):
    for place in range(8):
        yield place, seed + place

def score(answer, truth):
    if not isinstance(answer, int):
        raise WrongAnswer("the answer is no whole number")
    return {"score": answer * 1.0, "large": float(answer > 3)}
"""
_F1 = """
def cases(seed):
    yield from [(place, place % 3 == 0) for place in range(30)]

def score(answer, truth):
    return bool(answer), truth

def total(scores):
    right = sum(found and true for found, true in scores)
    return {"score": 2 * right / max(1, sum(f + t for f, t in scores)), "found": sum(f for f, _ in scores)}
"""


def _score(**settings: Any) -> JudgedTask:
    return JudgedTask(judge=_POINTS, source=MetricSource.SCORE, unit="points", settings=settings)


def test_a_score_is_the_mean_of_the_judges_and_named_figures_are_told(tmp_path: Path) -> None:
    result = _score().run(tmp_path / "run", "def work(place):\n    return place\n")
    assert result["outcome"] == "finished", result
    assert result["score"]["value"] == 3.5 and result["score"]["trust"] == "judged"
    assert result["score"]["details"]["samples"] == 8
    assert result["score"]["details"]["spread"] == pytest.approx(0.866, abs=0.01)
    assert result["figures"]["large"] == 0.5 and result["figures"]["cases"] == 8
    assert result["figures"]["peak_memory_mb"] > 1 and result["score"]["unit"] == "points"
    assert "total_seconds" in result["figures"] and result["figures"]["setup_cpu_seconds"] >= 0


@pytest.mark.parametrize("hidden", [("data/hidden/**",), ()])
def test_the_log_tells_no_case_of_a_task_that_hides_some(tmp_path: Path, hidden: tuple[str, ...]) -> None:
    work = "def work(place):\n    print('case', place, flush=True)\n    return place\n"
    task = JudgedTask(judge=_POINTS, source=MetricSource.SCORE, unit="points", hidden=hidden)
    assert task.run(tmp_path / "run", work)["outcome"] == "finished"
    log = (tmp_path / "run" / "run.log").read_text(encoding="utf-8")
    assert ("case 3" in log) == (not hidden), log
    failing = "import sys\nprint('imports', file=sys.stderr, flush=True)\nimport no_such_module\n"
    assert task.run(tmp_path / "failing", failing)["outcome"] == "crashed"
    assert "no_such_module" in (tmp_path / "failing" / "run.log").read_text(encoding="utf-8"), "what fails is told"


@pytest.mark.thorough
def test_scores_of_pairs_are_compared_case_by_case(tmp_path: Path) -> None:
    work, incumbent = "def work(place):\n    return place + 2\n", "def work(place):\n    return place\n"
    linear = _score(direction="higher", scale="linear").run(tmp_path / "linear", work, incumbent)["score"]
    assert linear["details"]["difference"] == 2.0 and linear["details"]["stderr"] == 0.0
    assert linear["details"]["pairs"] == 12 and linear["value"] - linear["details"]["incumbent"] == pytest.approx(2)


@pytest.mark.thorough
def test_a_score_of_zero_cannot_be_compared_by_its_logarithm(tmp_path: Path) -> None:
    result = _score(scale="log").run(tmp_path / "run", *["def work(place):\n    return place\n"] * 2)
    assert (result["outcome"], result["cause"]) == ("env_fail", "judge")
    assert "scale: log" in result["reason"]


@pytest.mark.parametrize("paired", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_total_is_made_from_all_that_the_judge_gave(tmp_path: Path, paired: bool) -> None:
    task = JudgedTask(judge=_F1, source=MetricSource.SCORE, settings={"scale": "linear", "direction": "higher"})
    work, incumbent = "def work(place):\n    return place % 6 == 0\n", "def work(place):\n    return True\n"
    result = task.run(tmp_path / "run", work, incumbent if paired else None)
    assert result["outcome"] == "finished", result
    assert result["score"]["value"] == pytest.approx(2 * 5 / 15)
    assert result["figures"]["found"] == 5 and result["score"]["details"]["samples"] == 30
    if paired:
        assert result["score"]["details"]["incumbent"] == pytest.approx(0.5)
        assert result["score"]["details"]["difference"] == pytest.approx(2 * 5 / 15 - 0.5)
        assert 0 < result["score"]["details"]["stderr"] < 0.5


@pytest.mark.thorough
def test_the_same_code_makes_no_difference_in_time(tmp_path: Path) -> None:
    result = JudgedTask(settings={"repeats": 64}).run(tmp_path / "run", SLOW, SLOW)
    details = result["score"]["details"]
    assert abs(details["log_ratio"]) < 5 * details["stderr"], result
    assert details["stderr"] < 0.2 and 12 <= details["pairs"] <= 64
    assert result["figures"]["practice_cases"] >= 12


@pytest.mark.parametrize("source", [MetricSource.CPU, pytest.param(MetricSource.WALL, marks=pytest.mark.thorough)])
def test_less_time_is_a_clear_gain_after_few_pairs(tmp_path: Path, source: MetricSource) -> None:
    details = JudgedTask(source=source).run(tmp_path / "run", FAST, SLOW)["score"]["details"]
    assert details["log_ratio"] < -0.4 and details["pairs"] < 240
    assert details["log_ratio"] < -4 * details["stderr"]


@pytest.mark.thorough
def test_times_on_a_linear_scale_are_told_as_a_difference(tmp_path: Path) -> None:
    score = JudgedTask(settings={"scale": "linear"}).run(tmp_path / "run", FAST, SLOW)["score"]
    assert score["details"]["difference"] < -4 * score["details"]["stderr"] < 0
    assert score["value"] < score["details"]["incumbent"]


@pytest.mark.thorough
def test_memory_is_that_of_the_worker_at_its_highest(tmp_path: Path) -> None:
    judge = SUMS.replace("range(400)", "range(3)")
    task = JudgedTask(judge=judge, source=MetricSource.MEMORY, unit="MiB", settings={"repeats": 4})
    large = "kept = bytearray(100 << 20)\nkept[::4096] = b'x' * len(kept[::4096])\n" + FAST
    score = task.run(tmp_path / "run", large, FAST)["score"]
    assert 100 < score["value"] < 160 and score["details"]["incumbent"] < 60
    assert score["details"]["pairs"] == 4 and score["details"]["log_ratio"] > 0.5


@pytest.mark.thorough
def test_a_worker_may_use_as_much_cpu_time_as_the_judge_allows(tmp_path: Path) -> None:
    judge = _POINTS + "\nCASE_CPU_SECONDS = 0.2\nCASE_SECONDS = 60\n"
    task = JudgedTask(judge=judge, source=MetricSource.SCORE)
    burn = "import time\ntime.process_time()\ndef work(place):\n    end = time.process_time() + {}\n"
    burn += "    while time.process_time() < end: pass\n    return place\n"
    assert task.run(tmp_path / "within", burn.format(0.02))["outcome"] == "finished"
    beyond = task.run(tmp_path / "beyond", burn.format(0.5))
    assert (beyond["outcome"], beyond["cause"]) == ("timeout", "cpu") and "allows 0.2" in beyond["reason"]


@pytest.mark.thorough
def test_a_build_makes_what_the_worker_runs(tmp_path: Path) -> None:
    settings = {
        "build": "cp src/work.py {out}/built.py && echo compiled",
        "worker": "{python} judge/worker.py {out}",
    }
    worker = "import sys\nsys.path.append(sys.argv[1])\n"
    worker += "from trainer.judging import serve\nfrom built import work\nserve(work)\n"
    task = JudgedTask(judge=_POINTS, worker=worker, source=MetricSource.SCORE, settings=settings)
    result = task.run(tmp_path / "run", "def work(place):\n    return place\n")
    assert result["outcome"] == "finished", result
    assert "compiled" in (tmp_path / "run" / "run.log").read_text()


@pytest.mark.parametrize(
    ("build", "outcome", "told"),
    [
        ("echo it does not compile >&2; exit 3", "refused", "it does not compile"),
        pytest.param("sleep 600", "refused", "build_seconds", marks=pytest.mark.thorough),
        pytest.param("echo '#' >> judge/worker.py", "invalid", "judge/worker.py", marks=pytest.mark.thorough),
    ],
)
def test_a_candidate_that_does_not_build_is_refused(tmp_path: Path, build: str, outcome: str, told: str) -> None:
    seconds = 2.0 if "sleep" in build else 300.0
    task = JudgedTask(judge=_POINTS, source=MetricSource.SCORE, settings={"build": build, "build_seconds": seconds})
    result = task.run(tmp_path / "run", FAST)
    assert (result["outcome"], result["score"]) == (outcome, None) and told in result["reason"], result


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ("def cases(seed): return []\ndef score(answer, truth): return 1.0\n", "yields no case"),
        pytest.param(
            "def cases(seed):\n    yield 1, 1\ndef score(answer, truth): return float('nan')\n",
            "no finite number",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_judge_that_fails_is_told_to_the_operator(tmp_path: Path, judge: str, told: str) -> None:
    result = JudgedTask(judge=judge, source=MetricSource.SCORE).run(tmp_path / "run", "def work(x):\n    return x\n")
    assert (result["outcome"], result["cause"], result["score"]) == ("env_fail", "judge", None)
    assert told in result["reason"] and "judge/judge.py" in result["reason"] and "operator" in result["reason"]


@pytest.mark.thorough
def test_times_are_not_taken_of_cases_that_a_worker_could_remember(tmp_path: Path) -> None:
    judge = "def cases(seed):\n    yield from [(n, n) for n in range(4)]\ndef score(answer, truth): pass\n"
    result = JudgedTask(judge=judge).run(tmp_path / "run", "def work(x):\n    return x\n")
    assert result["outcome"] == "env_fail" and "draw" in result["reason"], result


@pytest.mark.thorough
def test_cases_without_end_are_told_to_the_operator(tmp_path: Path) -> None:
    judge = "def cases(seed):\n    while True: yield 1, 1\ndef score(answer, truth): return 1.0\n"
    task = JudgedTask(judge=judge, source=MetricSource.SCORE, limits={"budget_seconds": 0.5})
    result = task.run(tmp_path / "run", "def work(x):\n    return x\n")
    assert result["outcome"] == "timeout" and "lets it end" in result["reason"], result


@pytest.mark.thorough
def test_a_budget_that_is_over_too_early_is_a_timeout_that_says_so(tmp_path: Path) -> None:
    task = _score()
    task.limits = {"budget_seconds": 0.5}
    result = task.run(tmp_path / "run", "import time\ndef work(place):\n    time.sleep(0.4)\n    return place\n")
    assert (result["outcome"], result["cause"]) == ("timeout", "budget")
    assert "0.5 s" in result["reason"] and "cases" in result["reason"]


@pytest.mark.thorough
def test_an_incumbent_that_fails_alone_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    result = _score(scale="linear").run(
        tmp_path / "run", "def work(place):\n    return 1\n", "def work(place):\n    return ''\n"
    )
    assert (result["outcome"], result["cause"]) == ("env_fail", "incumbent"), result


@pytest.mark.thorough
def test_a_run_can_be_repeated_with_its_seed(tmp_path: Path) -> None:
    judge = "def cases(seed):\n    yield seed % 1000, 0\ndef score(answer, truth): return answer\n"
    task = JudgedTask(judge=judge, source=MetricSource.SCORE)
    values = list[float]()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        task.limits = {"seed": seed}
        values.append(task.run(tmp_path / name, "def work(x):\n    return x\n")["score"]["value"])
    assert values[0] == values[1] != values[2]


def test_a_worker_that_prints_much_waits_for_nobody(tmp_path: Path) -> None:
    judge = "def cases(seed):\n    yield 0, 0\ndef score(answer, truth):\n    return answer\n"
    work = "import sys\ndef work(place):\n    sys.stderr.write('x' * (16 << 20))\n    return 1\n"
    task = JudgedTask(judge=judge, source=MetricSource.SCORE)
    result = task.run(tmp_path / "run", work)
    assert result["outcome"] == "finished", result


@pytest.mark.parametrize("worker", ["{python} ./judge/worker.py", "{python} 'judge/the worker.py'"])
def test_the_worker_is_found_however_its_path_is_written(tmp_path: Path, worker: str) -> None:
    task = _score(worker=worker)
    task.files = {"judge/the worker.py": task.worker}
    result = task.run(tmp_path / "run", "def work(place):\n    return place\n")
    assert result["outcome"] == "finished", result


def test_the_judge_alone_reads_what_is_hidden_of_a_link(tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    for name in ("test/truth.txt", "train/seen.txt"):
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text("7", encoding="utf-8")
    judge = "def cases(seed):\n    yield 0, open('data/test/truth.txt').read()\n"
    judge += "def score(answer, truth):\n    return answer + int(truth)\n"
    work = """
def work(place):
    try:
        return 1000 + len(open("data/test/truth.txt").read())
    except OSError:
        return len(open("data/train/seen.txt").read())
"""
    settings = {"links": (("data", str(data)),)}
    task = JudgedTask(judge=judge, source=MetricSource.SCORE, settings=settings, hidden=("data/test/**",))
    result = task.run(tmp_path / "runs" / "1", work)
    assert result["outcome"] == "finished", result
    assert result["guards"]["files"] != "held" or result["score"]["value"] == 8.0


def test_nothing_is_left_of_a_run(tmp_path: Path) -> None:
    known = _groups()
    work = "import os\nos.fork()\ndef work(place):\n    return place\n"
    JudgedTask(judge=_POINTS).run(tmp_path / "runs" / "1", work)
    assert _groups() <= known
    cookies = {str(tmp_path / "runs" / "1")}
    assert not [one for one in psutil.process_iter() if _cookie(one) in cookies]
    kept = {path.name for path in (tmp_path / "runs" / "1").iterdir()}
    assert kept <= {"spec.json", "tree", "train.py", "result.json", "run.log", "progress.json", "supervisor.log"}
    assert json.loads((tmp_path / "runs" / "1" / "progress.json").read_text())["stage"] == "measuring"


def _groups() -> set[str]:
    """The control groups of supervisors that are dead."""
    found = [path.name for path in Path("/sys/fs/cgroup").rglob("autoresearch-[0-9]*")]
    return {name for name in found if not psutil.pid_exists(int(name.split("-")[1]))}


def _cookie(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(COOKIE_VARIABLE)
    except psutil.Error:
        return None


_ODD = """
import os, time
from trainer.judging import WrongAnswer

def cases(seed):
    yield from [(place, {"hidden": place}) for place in range(6)]

def score(answer, truth):
    if answer == "hang":
        time.sleep(60)
    if answer == "exit":
        os._exit(3)
    assert answer != "assert", f"the truth is {truth}"
    return {"right": 1.0, "zero": 0, "nan": float("nan")}[answer]
"""
_RIGHT = "def work(place):\n    return 'right'\n"


def _odd(proven: bool = False, **settings: Any) -> JudgedTask:
    limits = {"proven": proven}
    return JudgedTask(judge=_ODD, source=MetricSource.SCORE, settings=settings, limits=limits, hidden=())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("other", "judge/judge.py, line 14: score() raised KeyError: 'other'"),
        pytest.param("nan", "no finite number", marks=pytest.mark.thorough),
        pytest.param("assert", "AssertionError: the truth is", marks=pytest.mark.thorough),
        pytest.param("hang", "gave nothing within 2 s", marks=pytest.mark.thorough),
        pytest.param("exit", "its process ended with exit code 3", marks=pytest.mark.thorough),
        pytest.param("zero", "a score of 0 and the incumbent one of 1", marks=pytest.mark.thorough),
    ],
)
def test_what_the_judge_cannot_score_is_the_candidates_doing(tmp_path: Path, answer: str, told: str) -> None:
    """Also of the form that others have, and of all answers: a judge that copes elsewhere is not at fault."""
    work = f"def work(place):\n    return {answer!r}\n"
    for name, task, incumbent in (
        ("paired", _odd(scale="log"), _RIGHT),
        ("alone", _odd(proven=True), None),
    ):
        if answer == "zero" and incumbent is None:
            continue  # the verdict says it
        if answer == "hang":
            task.limits["evaluation_seconds"] = 2.0
        result = task.run(tmp_path / name, work, incumbent)
        assert (result["outcome"], result["cause"], result["score"]) == ("invalid", "unscored", None), result
        assert told in result["reason"], result


def test_the_reason_tells_nothing_that_is_hidden(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task = _odd(proven=True)
    task.hidden = ("data/hidden/**",)
    result = task.run(tmp_path / "run", "def work(place):\n    return 'assert'\n")
    assert "score() raised AssertionError. It can score the baseline's answers." in result["reason"], result
    assert "the truth is" not in json.dumps(result)
    assert "the truth is" in capfd.readouterr().out, "the operator reads it in supervisor.log"


@pytest.mark.parametrize("paired", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_what_the_judge_cannot_score_of_the_baseline_is_the_operators(tmp_path: Path, paired: bool) -> None:
    work = "def work(place):\n    return 'other'\n"
    result = _odd().run(tmp_path / "run", work, work if paired else None)
    assert (result["outcome"], result["cause"]) == ("env_fail", "judge") and "operator" in result["reason"], result


@pytest.mark.thorough
def test_a_total_that_fails_for_the_candidate_alone_is_its_doing(tmp_path: Path) -> None:
    judge = _F1.replace("max(1, sum(f + t for f, t in scores))", "sum(f for f, _ in scores)")
    task = JudgedTask(judge=judge, source=MetricSource.SCORE, settings={"scale": "linear"})
    none, every = "def work(place):\n    return False\n", "def work(place):\n    return True\n"
    result = task.run(tmp_path / "run", none, every)
    assert (result["outcome"], result["cause"]) == ("invalid", "unscored"), result
    assert "total() raised ZeroDivisionError" in result["reason"]


@pytest.mark.thorough
def test_totals_are_compared_by_their_ratio_where_the_scale_says_so(tmp_path: Path) -> None:
    task = JudgedTask(judge=_F1, source=MetricSource.SCORE, settings={"scale": "log", "direction": "higher"})
    work, incumbent = "def work(place):\n    return place % 3 == 0\n", "def work(place):\n    return True\n"
    result = task.run(tmp_path / "run", work, incumbent)
    assert result["outcome"] == "finished" and result["score"]["details"]["log_ratio"] > 0.5, result
