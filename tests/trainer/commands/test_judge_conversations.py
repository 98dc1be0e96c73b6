"""A real judge that reads the answers: each side has a conversation of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainer.commands.judge_process import JudgeProcess
from trainer.contract import Spec, TaskSpec
from trainer.judging import WrongAnswer
from trainer.run.clock import RunEnded


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Callable[[str], JudgeProcess]]:
    made: list[JudgeProcess] = []

    def start(text: str) -> JudgeProcess:
        (tmp_path / "judge.py").write_text(text, encoding="utf-8")
        task = TaskSpec("points", source="score", judge="judge.py", editable=("src/**",))
        spec = Spec(1, "smoke", 42, 60.0, 1.0, 60.0, 20.0, "", "", str(tmp_path), task=task, referee="judged")
        made.append(JudgeProcess(tmp_path, tmp_path, spec, lambda: None))
        return made[-1]

    yield start
    for one in made:
        one.close()


_ASKS_BACK = """
from trainer.judging import NEW_WORKER, WrongAnswer

def cases(seed):
    first = yield seed, 1
    yield from [(first, 2), (["later", first], 3)]
    last = yield "last", 4, NEW_WORKER
    if last == "wrong":
        raise WrongAnswer("the last one")

def score(answer, truth):
    return truth
"""


def test_each_side_has_a_conversation_of_its_own(judge: Callable[[str], JudgeProcess]) -> None:
    one = judge(_ASKS_BACK)
    assert one.load().converses
    one.begin(7)
    asked = {side: list[bytes]() for side in ("candidate", "incumbent")}
    for _ in range(3):
        for side, questions in asked.items():
            drawn = one.draw(side=side)
            assert drawn and not drawn.fresh
            questions.append(drawn.question)
            assert one.score(json.dumps(side).encode(), side).score == len(questions)
    for side, questions in asked.items():
        assert questions == [b"7", json.dumps(side).encode(), json.dumps(["later", side]).encode()]
        drawn = one.draw(side=side)
        assert drawn and drawn.fresh and drawn.question == b'"last"'
        one.score(b'"right"' if side == "candidate" else b'"wrong"', side)
    assert one.draw(side="candidate") is None
    with pytest.raises(WrongAnswer, match="the last one"):
        one.draw(side="incumbent")
    one.begin(8)
    drawn = one.draw(side="candidate")
    assert drawn and drawn.question == b"8", "nothing of the conversation before is left"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yield 1, 2, NEW_WORKER", "reads no answer"),
        ("yield 1, 2, 3", "a case is a pair"),
        ("raise WrongAnswer('too early')\n    yield", "raised WrongAnswer: too early"),
    ],
)
def test_a_judge_that_asks_for_what_there_is_not_is_named(
    judge: Callable[[str], JudgeProcess], text: str, told: str
) -> None:
    head = "from trainer.judging import NEW_WORKER, WrongAnswer\ndef score(answer, truth): pass\n"
    one = judge(f"{head}def cases(seed):\n    {text}\n")
    one.load()
    one.begin(7)
    with pytest.raises(RunEnded, match=told) as ended:
        one.case()
    assert ended.value.cause == "judge"
