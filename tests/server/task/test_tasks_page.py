"""docs/tasks.md says what is so: every field with an example that is read, and front matters that are."""

import re
import shutil
from pathlib import Path

import pytest

from server.records import Outcome, Result, Score, Trust
from server.task.definition import Task
from server.task.program import load
from tests.support.repositories import STAND_INS
from trainer.contract import Referee

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")
FRONT_MATTERS = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("---\n")]
ROWS = [
    line.split(" | ")
    for line in PAGE.partition("## The fields")[2].splitlines()
    if re.match(r"\| `[a-z_.]+`(, `\w+`)* \| `", line)
]


def read(folder: Path, text: str) -> Task:
    """The task of a program.md, in a folder that has upstream's two files as well."""
    shutil.copytree(STAND_INS / "upstream", folder, dirs_exist_ok=True)
    (folder / "program.md").write_text(text, encoding="utf-8")
    return load(folder / "program.md").task


@pytest.mark.parametrize("text", FRONT_MATTERS)
def test_the_front_matters_are_read(tmp_path: Path, text: str) -> None:
    assert len(FRONT_MATTERS) == 5
    assert read(tmp_path, text + "Go.\n").kind in (Referee.COMMAND, Referee.JUDGED)


def test_every_field_of_a_task_is_in_the_table() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([a-z_]+)`", row[0])}
    told = {"preflight", "early_stop", "guardrails", "setup_seconds", "evaluation_seconds"}
    assert set(Task.model_fields) <= named | told
    assert all(f"`{name}`" in PAGE for name in told)


def test_the_example_of_every_field_is_read(tmp_path: Path) -> None:
    for row in ROWS:
        example = re.findall(r"`([^`]*)`", row[1])[0]
        example = f"metric: {{{example}}}" if row[0].startswith("| `metric.") else example
        kind = ["command: c", "editable: a.c"]
        if re.match("judge|worker|hidden|referee", example):
            kind = ["judge: j.py", "worker: w", "editable: a.c"]
        elif re.match("python|audit", example):
            kind = ["referee: karpathy"]
        fields = {line.partition(":")[0]: line for line in [*kind, example]}
        read(tmp_path, "\n".join(["---", *fields.values(), "---", "Go.\n"]))


@pytest.mark.parametrize("page", ["tasks.md", "trust.md"])
def test_the_table_of_trust_is_the_codes(page: str) -> None:
    """Of evaluator and guards: every guard held, some did not, none did."""
    table = re.findall(
        r"^\| `(sealed|judged|command|karpathy)` \| `(\w+)` \| `(\w+)` \| `(\w+)` \|$",
        (DOCS / page).read_text("utf-8"),
        re.M,
    )
    gives = {"sealed": Trust.SEALED, "judged": Trust.JUDGED, "command": Trust.PRINTED, "karpathy": Trust.AUDITED}
    assert [row[0] for row in table] == list(gives)
    for evaluator, *marks in table:
        score = Score(name="ms", value=1.0, unit="ms", trust=gives[evaluator])
        for guards, mark in zip(({"a": "held"}, {"a": "held", "b": "no"}, {"a": "no"}), marks, strict=True):
            result = Result(outcome=Outcome.FINISHED, reason="", score=score, guards=guards, finished_at="")
            assert result.trust == mark
