"""A real judge in a process of its own: what it gives, and every way in which it fails."""

import json
import py_compile
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.support.polling import until
from trainer.commands.judge_process import JudgeProcess
from trainer.contract import Spec, TaskSpec
from trainer.judging import WrongAnswer
from trainer.run.clock import RunEnded

_SUMS = """
from random import Random
from trainer.judging import WrongAnswer

def cases(seed):
    draw = Random(seed)
    for _ in range(3):
        numbers = [draw.randrange(100) for _ in range(4)]
        yield numbers, sum(numbers)

def score(answer, truth):
    if answer != truth:
        raise WrongAnswer(f"{answer} is no sum")
    return {"score": 1.5, "length": len(str(answer))}
"""

Judge = Callable[..., JudgeProcess]


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    made: list[JudgeProcess] = []

    def start(
        text: str = _SUMS,
        editable: tuple[str, ...] = ("src/**",),
        seconds: float = 20.0,
        off_limits: tuple[str, ...] = (),
    ) -> JudgeProcess:
        tree, scratch = tmp_path / "tree", tmp_path / "scratch"
        (tree / "judge").mkdir(parents=True, exist_ok=True)
        scratch.mkdir(exist_ok=True)
        (tree / "judge" / "judge.py").write_text(text, encoding="utf-8")
        task = TaskSpec("points", source="score", worker="x", judge="judge/judge.py", editable=editable)
        task = replace(task, off_limits=off_limits)
        spec = Spec(1, "smoke", 42, 60.0, 1.0, 60.0, seconds, "", "", str(tmp_path), task=task, referee="judged")
        made.append(JudgeProcess(tree, scratch, spec, lambda: None))
        return made[-1]

    yield start
    for one in made:
        one.close()


def _begin(one: JudgeProcess) -> None:
    one.load()
    one.begin(7)


def _ends(work: Callable[[], object]) -> RunEnded:
    with pytest.raises(RunEnded) as ended:
        work()
    assert ended.value.outcome == "env_fail" and ended.value.cause == "judge"
    assert "judge/judge.py" in str(ended.value) and "operator" in str(ended.value)
    return ended.value


def test_a_judge_draws_cases_and_scores_answers(judge: Judge) -> None:
    one = judge()
    terms = one.load()
    one.begin(7)
    assert (terms.case_seconds, terms.case_cpu_seconds, terms.has_total) == (10.0, None, False)
    for _ in range(3):
        numbers = json.loads(one.case() or b"")
        found = one.score(str(sum(numbers)).encode(), "candidate")
        assert found.score == 1.5 and found.figures["length"] == len(str(sum(numbers)))
    assert one.case() is None
    assert one.total("candidate").score == 1.5


def test_the_same_seed_draws_the_same_cases_and_another_one_others(judge: Judge) -> None:
    one = judge()
    one.load()
    one.begin(7)
    first = one.case()
    one.begin(8)
    other = one.case()
    one.begin(7)
    assert one.case() == first != other


def test_a_wrong_answer_is_told_in_the_judges_words(judge: Judge) -> None:
    one = judge()
    _begin(one)
    one.case()
    with pytest.raises(WrongAnswer, match=r"^-1 is no sum$"):
        one.score(b"-1", "candidate")


_NO_JSON = [
    (b"", "no JSON"),
    (b"nonsense", "no JSON"),
    (b"1 2", "no JSON"),
    (b"NaN", "NaN"),
    (b"[Infinity]", "Infinity"),
    (b"-Infinity", "Infinity"),
    (b"1e999", "too large"),
    (b"1" * 400, "400 digits"),
    (b"9" * 100_000, "100000 digits"),
    (b'{"a": 1, "a": 2}', "twice"),
    (b"[" * 100_000 + b"]" * 100_000, "nested"),
    (b"[" * 300 + b"]" * 300, "nested"),
    (b'"\\ud800"', "half of a character"),
    (b'{"\\udfff": 1}', "half of a character"),
    (b"\xff\xfe1\x00", "UTF-8"),
    (b'"\xed\xa0\x80"', "UTF-8"),
    (b'"\x00"', "no JSON"),
]


def test_an_answer_that_is_no_plain_json_is_wrong_and_the_judge_goes_on(judge: Judge) -> None:
    one = judge()
    _begin(one)
    numbers = json.loads(one.case() or b"")
    for answer, told in _NO_JSON:
        with pytest.raises(WrongAnswer, match=told):
            one.score(answer, "candidate")
    assert one.score(str(sum(numbers)).encode(), "candidate").score == 1.5


def test_an_answer_that_score_cannot_read_is_wrong_once_others_were_read(judge: Judge) -> None:
    text = _SUMS.replace("if answer != truth", "if len(answer['sum']) < 0 or int(answer['sum']) != truth")
    one = judge(text)
    _begin(one)
    numbers = json.loads(one.case() or b"")
    right = json.dumps({"sum": str(sum(numbers))}).encode()
    one.score(right, "incumbent")
    for answer in (b"null", b'{"total": 1}', b'{"sum": 1}', b"[]"):
        with pytest.raises(WrongAnswer, match="another form"):
            one.score(answer, "candidate")
    _ends(lambda: one.score(b'{"sum": "x"}', "candidate"))  # of the same form: the judge has to take it


_NOISY = """
import os
for descriptor in range(3, 9):
    try:
        os.write(descriptor, b"noise\\n")
    except OSError:
        pass
"""
_FAILURES = {
    "no text": ("def cases(:", "line 1: its text raised SyntaxError"),
    "raises at once": ("import json\nraise RuntimeError('no data')", "line 2: its text raised RuntimeError: no data"),
    "imports what is not there": ("import nowhere_to_be_found", "line 1: its text raised ModuleNotFoundError"),
    "exits": ("import sys\nsys.exit(3)", "raised SystemExit: 3"),
    "dies": ("import os\nos._exit(7)", "exit code 7"),
    "is killed": ("import os\nos.kill(os.getpid(), 9)", "signal 9"),
    "no cases": ("def score(answer, truth): pass", "no function cases"),
    "no score": ("def cases(seed): pass", "no function score"),
    "no iterable": (_SUMS.replace("def cases", "def cases(seed): return 3\ndef others"), "TypeError"),
    "no seconds": (_SUMS + "\nCASE_SECONDS = -1", "CASE_SECONDS is -1"),
    "no CPU seconds": (_SUMS + "\nCASE_CPU_SECONDS = 'two'", "CASE_CPU_SECONDS is 'two'"),
    "writes into the pipe": (_SUMS + _NOISY, "disturbs"),
}


@pytest.mark.parametrize("name", _FAILURES)
def test_a_judge_that_cannot_be_loaded_is_named_with_its_line(judge: Judge, name: str) -> None:
    text, told = _FAILURES[name]
    assert told in str(_ends(lambda: _begin(judge(text))))


_BAD_CASES = {
    "raises": ("def cases(seed):\n    yield 1, 2\n    raise KeyError('x')", "line 4: cases() raised KeyError: 'x'"),
    "no pair": ("def cases(seed):\n    yield 1, 2\n    yield 3", "cases() yields 3: a case is a pair"),
    "no JSON": ("def cases(seed):\n    yield 1, 2\n    yield {1, 2}, 3", "no JSON value"),
    "not a number": ("def cases(seed):\n    yield 1, 2\n    yield float('nan'), 3", "no JSON value"),
    "exits": ("def cases(seed):\n    yield 1, 2\n    raise SystemExit", "raised SystemExit"),
}


@pytest.mark.parametrize("name", _BAD_CASES)
def test_a_judge_with_a_bad_case_is_named(judge: Judge, name: str) -> None:
    text, told = _BAD_CASES[name]
    one = judge(f"{text}\ndef score(answer, truth): return 1".replace("def cases", "\ndef cases", 1))
    _begin(one)
    assert one.case() == b"1"
    assert told in str(_ends(one.case))


_BAD_SCORES = [
    ("1 / 0", "line 2: score() raised ZeroDivisionError"),
    ("float('nan')", "score() gives nan, which is no finite number"),
    ("float('inf')", "no finite number"),
    ("None", "score() gives None"),
    ("'high'", "score() gives 'high'"),
    ("10**400", "no finite number"),
    ("{'points': 3}", "score() gives None"),
    ("{'score': 3, 'beside': 'x'}", "score() gives 'beside' = 'x'"),
    ("{'score': 3, **{str(n): n for n in range(99)}}", "too many"),
    ("{'score': 3, 'steps': 2}", "'steps', which is a name of the referee's"),
    ("exit(1)", "score() raised SystemExit"),
    ("type('Bad', (), {'__repr__': lambda self: 1/0})()", "no finite number"),
]


def test_a_judge_with_a_bad_score_is_named(judge: Judge) -> None:
    one = judge("def score(answer, truth):\n    return eval(answer)\ndef cases(seed):\n    yield 1, 2")
    _begin(one)
    one.case()
    for given, told in _BAD_SCORES:
        assert told in str(_ends(lambda given=given: one.score(json.dumps(given).encode(), "candidate")))


@pytest.mark.parametrize("where", ["load", "case", "score"])
def test_a_judge_that_hangs_is_ended(judge: Judge, where: str) -> None:
    text = {
        "load": "import time\ntime.sleep(600)",
        "case": "import time\ndef cases(seed):\n    time.sleep(600)\n    yield\ndef score(answer, truth): pass",
        "score": "import time\ndef cases(seed):\n    yield 1, 1\ndef score(answer, truth):\n    time.sleep(600)",
    }[where]
    one = judge(text, seconds=1.0)

    def work() -> None:
        _begin(one)
        one.case()
        one.score(b"1", "candidate")

    assert "within 1 s" in str(_ends(work))


def test_a_judge_without_a_file_is_named(judge: Judge, tmp_path: Path) -> None:
    one = judge()
    (tmp_path / "tree" / "judge" / "judge.py").unlink()
    assert "judge.py" in str(_ends(lambda: _begin(one)))
    task = TaskSpec("points", judge="nowhere.py")
    spec = Spec(1, "smoke", 42, 60.0, 1.0, 60.0, 5.0, "", "", "", task=task)
    with pytest.raises(RunEnded, match=r"no nowhere\.py at this commit"):
        JudgeProcess(tmp_path / "tree", tmp_path / "scratch", spec, lambda: None)


def test_a_judge_that_imports_what_the_candidate_may_change_is_refused(judge: Judge, tmp_path: Path) -> None:
    one = judge("import sys\nsys.path.append('src')\nimport tokens\n" + _SUMS, editable=("src",))
    (tmp_path / "tree" / "src").mkdir()
    (tmp_path / "tree" / "src" / "tokens.py").write_text("", encoding="utf-8")
    assert "imports src/tokens.py" in str(_ends(lambda: _begin(one)))


@pytest.mark.parametrize("caught", [False, True])
def test_what_the_candidate_may_change_is_refused_before_it_runs(judge: Judge, tmp_path: Path, caught: bool) -> None:
    imported = "import sys\nsys.path.append('src')\n"
    imported += "try:\n    import tokens\nexcept Exception:\n    pass\n" if caught else "import tokens\n"
    one = judge(imported + _SUMS, editable=("src/*.py",))
    (tmp_path / "tree" / "src").mkdir()
    (tmp_path / "tree" / "src" / "tokens.py").write_text("open('ran', 'w').close()", encoding="utf-8")
    assert "imports src/tokens.py" in str(_ends(lambda: _begin(one)))
    assert not list(tmp_path.rglob("ran"))


def test_a_judge_may_import_what_is_off_limits_in_an_editable_folder(judge: Judge, tmp_path: Path) -> None:
    one = judge("import sys\nsys.path.append('src')\nimport fixed\n" + _SUMS, off_limits=("src/fixed.py",))
    (tmp_path / "tree" / "src").mkdir()
    (tmp_path / "tree" / "src" / "fixed.py").write_text("", encoding="utf-8")
    _begin(one)
    assert one.case()


def test_a_judge_imports_what_lies_beside_it_and_no_file_takes_a_standard_modules_place(
    judge: Judge, tmp_path: Path
) -> None:
    one = judge("import beside, random, statistics\n" + _SUMS)
    for name in ("judge/random.py", "random.py", "judge/statistics.py", "sitecustomize.py", "judge/usercustomize.py"):
        (tmp_path / "tree" / name).write_text("raise RuntimeError('a false one')", encoding="utf-8")
    (tmp_path / "tree" / "judge" / "beside.py").write_text("", encoding="utf-8")
    _begin(one)


def test_a_judge_never_runs_what_is_left_of_another_text(judge: Judge, tmp_path: Path) -> None:
    """A compiled module in the commit may say that its text need not be looked at."""
    one, place = judge("import beside\n" + _SUMS), tmp_path / "tree" / "judge" / "beside.py"
    place.write_text("raise RuntimeError('an older text')", encoding="utf-8")
    py_compile.compile(str(place), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    place.write_text("", encoding="utf-8")
    _begin(one)


def test_a_total_reads_whatever_score_returned(judge: Judge) -> None:
    text = """
def cases(seed):
    yield from [(n, n) for n in range(4)]
def score(answer, truth):
    return answer, truth
def total(scores):
    return {"score": sum(answer for answer, _ in scores), "count": len(scores)}
"""
    one = judge(text)
    assert one.load().has_total
    one.begin(7)
    while (question := one.case()) is not None:
        one.score(question, "candidate")
    assert one.total("candidate").score == 0 + 1 + 2 + 3
    assert one.total("candidate", without=1, of=4).score == 0 + 2 + 3
    assert one.total("candidate").figures == {"count": 4}


def test_answers_that_do_not_count_are_in_no_total(judge: Judge) -> None:
    one = judge("def cases(seed):\n    while True: yield 1, 1\ndef score(answer, truth): return answer")
    _begin(one)
    one.case()
    one.score(b"9", "candidate", counts=False)
    one.score(b"1", "candidate")
    assert one.total("candidate").score == 1


def test_what_a_judge_prints_is_for_the_operator_and_disturbs_nothing(judge: Judge) -> None:
    one = judge("import sys\nprint('x' * 1000000)\nprint('loaded', file=sys.stderr)\n" + _SUMS)
    _begin(one)
    one.case()
    assert "loaded" in one.printed


def test_a_judge_reads_no_standard_input(judge: Judge) -> None:
    judge("import sys\nassert sys.stdin.read() == ''\n" + _SUMS).load()


def test_a_long_answer_reaches_the_judge_whole(judge: Judge) -> None:
    one = judge("def cases(seed):\n    yield 1, 1\ndef score(answer, truth): return len(answer)")
    _begin(one)
    one.case()
    assert one.score(b'"' + b"\xc3\xbc" * 1_000_000 + b'"', "candidate").score == 1_000_000


def test_who_cancels_ends_the_wait_for_a_judge(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text("while True: pass", encoding="utf-8")
    spec = Spec(1, "smoke", 42, 60.0, 1.0, 60.0, 60.0, "", "", "", task=TaskSpec("points", judge="judge.py"))

    def watch() -> None:
        raise RunEnded("cancelled", "Cancelled: enough")

    one = JudgeProcess(tmp_path, tmp_path, spec, watch)
    with pytest.raises(RunEnded, match="enough"):
        _begin(one)
    one.close()


def test_a_judge_ends_with_its_supervisor(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from trainer.contract import Spec, TaskSpec
from trainer.commands.judge_process import JudgeProcess
spec = Spec(1, "smoke", 42, 60.0, 1.0, 60.0, 60.0, "", "", "", task=TaskSpec("points", judge="judge.py"))
one = JudgeProcess(Path(sys.argv[1]), Path(sys.argv[1]), spec, lambda: None)
one.load()
print(one.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    (tmp_path / "judge.py").write_text(_SUMS, encoding="utf-8")
    told = subprocess.run([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, check=False).stdout
    until(lambda: _dead(int(told)))


def _dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
