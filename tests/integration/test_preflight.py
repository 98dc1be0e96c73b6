"""The rehearsal before the clock starts: what is certain to fail is refused in seconds, and nothing else is."""

import json
from pathlib import Path

import pytest

from server.records import Outcome, Result
from server.runs.run_spec import RunLimits
from tests.attack.cases import BASE
from tests.support.builders import attempt
from tests.support.polling import ended
from tests.support.repositories import STAND_INS
from tests.support.runs import local_executor, start_run

BUDGET = 40.0  # seconds: more than any test here may take
# Without torch, whose import is most of such a run; of a long budget, too, it takes no more than five steps.
FRAMES = (STAND_INS / "unigram.py").read_text("utf-8").replace('10**9 if config["budget_seconds"] > 10 else ', "")
SUBMITS = 'channel.send("submit", model.tobytes(), **figures)'
TERMS = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=0.5, confine=False)


def run(folder: Path, data: Path, text: str, budget: float = BUDGET, terms: RunLimits = TERMS) -> tuple[Result, str]:
    executor = local_executor(folder / "a tag", data, folder / "imports")
    start_run(executor, attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": budget}), text, terms)
    return ended(executor), executor.runs.of(1).log_tail(10_000)


@pytest.mark.parametrize(
    ("stand_in", "words"),
    [
        ("crash", "ValueError: shapes 3 and 4 do not match"),
        ("leave", "without session.submit(model)"),
        pytest.param("wrong_shape", "must give logits of shape", marks=pytest.mark.thorough),
        pytest.param("lookahead", "The audit failed", marks=pytest.mark.slow),
        pytest.param("forgetful", "registered buffers", marks=pytest.mark.thorough),
        ("garbage", "broke the protocol"),
    ],
)
def test_what_is_certain_to_fail_is_refused_before_the_clock_starts(
    tmp_path: Path, data: Path, stand_in: str, words: str
) -> None:
    result, _ = run(tmp_path, data, (STAND_INS / f"{stand_in}.py").read_text(encoding="utf-8"))
    assert result.outcome is Outcome.REFUSED, result
    assert result.reason.startswith("Preflight: ") and words in result.reason
    assert result.figures.training_seconds is None or result.figures.training_seconds < BUDGET / 2


def test_what_a_refused_train_py_printed_is_kept_and_its_exception_is_told(tmp_path: Path, data: Path) -> None:
    text = FRAMES.replace(SUBMITS, 'print("about to fail")\n        raise KeyError("head")')
    result, log = run(tmp_path, data, text)
    assert "about to fail" in log
    line = text.splitlines().index('        raise KeyError("head")') + 1
    assert "KeyError: 'head'" in result.reason and f"line {line}" in result.traceback


@pytest.mark.slow
def test_a_rehearsal_leaves_no_trace_in_the_run(tmp_path: Path, data: Path) -> None:
    text = FRAMES.replace("\ntry:\n", '\nprint("started")\nopen("trace", "x").close()\ntry:\n')
    result, log = run(tmp_path, data, text, 0.5, TERMS.model_copy(update={"confine": True}))
    assert result.outcome is Outcome.FINISHED, result
    assert log.count("started") == 1  # the run's own; the replica was muted
    points = (tmp_path / "a tag" / "runs" / "00001" / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(point)["step"] for point in points] == sorted({json.loads(point)["step"] for point in points})
    assert result.figures.steps and result.figures.steps > 2


COMPILED = """
@torch.compile({options})
def loss_of(rows):
    {more}
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


tokens = session.start()"""
USED = ("F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())", "loss_of(rows)")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ("fullgraph=True", "torch._dynamo.graph_break()", "Unsupported"),
        ('mode="fast"', "", "mode"),
    ],
    ids=["a graph that breaks", "a mode that there is not"],
)
def test_what_cannot_be_compiled_is_refused(tmp_path: Path, data: Path, options: str, more: str, words: str) -> None:
    text = BASE.replace(*USED).replace("tokens = session.start()", COMPILED.format(options=options, more=more))
    result, _ = run(tmp_path, data, text, budget=2.0)
    if result.figures.compiler:
        pytest.skip(f"nothing is compiled here: {result.figures.compiler}")
    assert result.outcome is Outcome.REFUSED and words in result.reason, result


@pytest.mark.thorough
def test_a_rehearsal_generates_no_code(tmp_path: Path, data: Path) -> None:
    told = 'import glob, os\nprint("code:", glob.glob(os.environ.get("TORCHINDUCTOR_CACHE_DIR", "?") + "/**/*.cpp"))'
    text = BASE.replace(*USED).replace("tokens = session.start()", COMPILED.format(options="", more=""))
    result, log = run(tmp_path, data, text.replace("session.submit(model)", f'{told}\nraise KeyError("enough")'))
    assert result.outcome is Outcome.REFUSED and "KeyError" in result.reason, result
    assert "code: []" in log


def test_what_fails_only_later_is_not_refused(tmp_path: Path, data: Path) -> None:
    text = FRAMES.replace("        time.sleep(0.01)", "        assert step < 5, 'later'")
    result, _ = run(tmp_path, data, text)
    assert result.outcome is Outcome.CRASHED and "AssertionError: later" in result.reason
