"""Judges that read the answers, through a real supervisor: each side has a conversation, and no trick pays in it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.judged_runs import JudgedTask
from trainer.contract import MetricSource

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
PACKER = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "NEW_WORKER" in text)
RLE = """
import re
def work(question):
    do, text = question
    if do == "pack":
        return re.sub(r"(.)\\1{3,8}", lambda run: f"{len(run[0])}{run[1]}", text)
    return re.sub(r"(\\d)(.)", lambda run: int(run[1]) * run[2], text)
"""
PLAIN = "def work(question):\n    return question[1]\n"
KEEPS = """
kept = []
def work(question):
    do, text = question
    if do == "pack":
        kept.append(text)
        return str(len(kept) - 1)
    return kept[int(text)]
"""
LEAVES = """
import json, os, tempfile
kept = os.path.join(os.environ.get("TMPDIR", "/tmp"), "kept")
places = [kept, "/tmp/kept-by-autoresearch-test", "kept"]
def work(question):
    do, text = question
    if do == "pack":
        for place in places:
            try:
                with open(place, "a") as file:
                    file.write(text)
            except OSError:
                pass
        return ""
    for place in places:
        try:
            return open(place).read()[:2000]
        except OSError:
            pass
    return ""
"""
# A number is guessed; each answer is told whether it was too low. The score is the number of guesses, lower is better.
GUESS = """
from random import Random
from trainer.judging import WrongAnswer

def cases(seed):
    hidden, said, guesses = Random(seed).randrange(1000), "begin", 0
    while said != "right":
        guess = yield said, hidden
        guesses += 1
        said = "right" if guess == hidden else "higher" if guess < hidden else "lower"
        {more}

def score(answer, truth):
    if not isinstance(answer, int):
        raise WrongAnswer("a guess is a whole number")
    return answer == truth

def total(scores):
    return len(scores)
"""
HALVES = """
bounds = [0, 1000]
def work(said):
    if said == "begin":
        bounds[:] = [0, 1000]
    elif said == "higher":
        bounds[0] = middle() + 1
    else:
        bounds[1] = middle()
    return middle()
def middle():
    return sum(bounds) // 2
"""
STEPS = "last = [0]\ndef work(said):\n    last[0] = 0 if said == 'begin' else last[0] + 1\n    return last[0]\n"


def score(judge: str, **settings: Any) -> JudgedTask:
    settings = {"scale": "linear", **settings}
    return JudgedTask(judge=judge, source=MetricSource.SCORE, unit="", settings=settings)


def packer(**settings: Any) -> JudgedTask:
    # Long runs of one letter, so that there is something to pack.
    plain, long = '"".join(draw.choices("abcde ", k=2000))', '"".join(9 * c for c in draw.choices("abc", k=99))'
    judge = PACKER.replace(plain, long)
    assert judge != PACKER
    return score(judge.replace("range(20)", "range(3)"), **settings)


def test_a_round_trip_is_judged(tmp_path: Path) -> None:
    packed = packer().run(tmp_path / "packs", RLE, PLAIN)
    assert packed["outcome"] == "finished", packed
    details = packed["score"]["details"]
    assert packed["score"]["value"] == pytest.approx(2 / 9, abs=0.05) and details["incumbent"] == 1.0
    assert details["difference"] == pytest.approx(packed["score"]["value"] - 1) and packed["figures"]["cases"] == 6


@pytest.mark.parametrize("work", [KEEPS, pytest.param(LEAVES, marks=pytest.mark.thorough)], ids=["memory", "files"])
def test_what_a_worker_keeps_of_a_text_does_not_unpack_it(tmp_path: Path, work: str) -> None:
    result = packer().run(tmp_path / "runs" / "1", work)
    held = result["guards"]["files"] == "held" or work is KEEPS
    assert not held or (result["score"] is None and result["outcome"] in ("invalid", "crashed")), result
    for place in (Path("/tmp/kept-by-autoresearch-test"), Path("kept")):
        place.unlink(missing_ok=True)


def test_conversations_of_unequal_length_are_compared_by_their_total(tmp_path: Path) -> None:
    result = score(GUESS.format(more="")).run(tmp_path / "run", HALVES, STEPS)
    assert result["outcome"] == "finished", result
    told = result["score"]
    assert told["value"] <= 11 < told["details"]["incumbent"]
    assert told["details"]["difference"] == told["value"] - told["details"]["incumbent"] < 0
    assert told["details"]["samples"] == told["value"]


@pytest.mark.parametrize(
    ("more", "work", "reason"),
    [
        ("assert guess < 900", STEPS.replace("last[0] + 1", "950"), "cases() raised AssertionError"),
        ("", "def work(said):\n    return 'x' * (8 << 20)\n", "a guess is a whole number"),
        pytest.param("", "def work(said):\n    return -1\n", "did not end after 10000", marks=pytest.mark.thorough),
    ],
    ids=["an answer that makes cases() raise", "an answer of megabytes", "a conversation without end"],
)
def test_an_odd_answer_is_the_candidates_own_end(tmp_path: Path, more: str, work: str, reason: str) -> None:
    task = score(GUESS.format(more=more or "pass"))
    task.limits = {"budget_seconds": 300.0}
    result = task.run(tmp_path / "run", work, STEPS)
    assert (result["outcome"], result["score"]) == ("invalid", None) and reason in result["reason"], result


@pytest.mark.thorough
def test_megabytes_go_there_and_back(tmp_path: Path) -> None:
    judge = "def cases(seed):\n    answer = yield 'make', None\n    yield answer, len(answer)\n"
    judge += "def score(answer, truth):\n    return 1.0 if truth is None else float(answer == truth)\n"
    work = "def work(question):\n    return 'ü' * (1 << 20) if question == 'make' else len(question)\n"
    result = score(judge).run(tmp_path / "run", work)
    assert result["outcome"] == "finished" and result["score"]["value"] == 1.0, result


@pytest.mark.thorough
def test_times_of_conversations_are_compared_answer_by_answer(tmp_path: Path) -> None:
    judge = """
from random import Random
from trainer.judging import NEW_WORKER, WrongAnswer

def cases(seed):
    draw, made = Random(seed), []
    for _ in range(8):
        numbers = [draw.randrange(1000) for _ in range(2000)]
        made.append((numbers, (yield ["sum", numbers], None)))
    for place, (numbers, answer) in enumerate(made):
        case = ["check", [answer, sum(numbers)]], True
        yield (*case, NEW_WORKER) if place == 0 else case

def score(answer, truth):
    if truth and not answer:
        raise WrongAnswer("not the sum")
"""
    work = """
def work(question):
    do, numbers = question
    if do == "check":
        return numbers[0] == numbers[1]
    total = 0
    for _ in range({times}):
        total = 0
        for number in numbers:
            total += number
    return total{more}
"""
    task = JudgedTask(judge=judge, settings={"repeats": 64})
    fast, slow = work.format(times=10, more=""), work.format(times=30, more="")
    result = task.run(tmp_path / "run", fast, slow)
    details = result["score"]["details"]
    assert details["log_ratio"] < -0.4 and details["pairs"] % 8 == 0, result
    assert result["figures"]["practice_cases"] >= 12
    wrong = task.run(tmp_path / "wrong", work.format(times=1, more=" + 1"), slow)
    assert (wrong["outcome"], wrong["score"]) == ("invalid", None) and "not the sum" in wrong["reason"]


def test_a_judge_that_reads_no_answer_has_one_stream_for_both_sides(tmp_path: Path) -> None:
    judge = """
from random import random

def cases(seed):
    yield from [(random(), None) for _ in range(12)]

def score(answer, truth):
    return answer
"""
    same = "def work(x):\n    return x\n"
    result = score(judge).run(tmp_path / "run", same, same + "# other\n")
    assert result["score"]["details"]["difference"] == 0.0, "both were asked the same, though the seed decides nothing"
