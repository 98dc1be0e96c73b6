"""Scores of every metric, in the form that stored rows have, and open figures."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.history.export import jsonl
from server.records import Experiment, Figures, Result, Score, Trust
from server.task.policy import Guardrail, KeepRule
from tests.support.builders import NOON, finished

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROWS: list[dict[str, Any]] = [
    {name: value for name, value in row.items() if name != "trust"}
    for page in FIXTURES.glob("study-*.json")
    for study in json.loads(page.read_text(encoding="utf-8"))["studies"].values()
    for row in study["rows"]
]
LM = {"val_bpb": 3.25, "val_tokens": 4092, "val_bytes": 15117}
ACCURACY = Score(name="accuracy", value=-0.5, unit="%", trust=Trust.AUDITED, details={"cases": 7})
HELD = {"files": "held", "network": "held"}


def test_rows_of_earlier_versions_are_equal_to_the_last_byte_when_they_are_written_again() -> None:
    """So git's copy of a row, whose name is its content's hash, is not taken for another."""
    assert any("score" in row.get("result", {}) for row in ROWS)
    for row in ROWS:
        read = Experiment.model_validate_json(json.dumps(row))
        assert json.loads(read.model_dump_json(exclude_none=True)) == row
        if read.score:
            stored = read.score.model_dump_json()
            assert stored == json.dumps(row["result"]["score"], separators=(",", ":"))


def test_a_stored_score_of_a_language_model_is_read_with_what_it_was_made_from() -> None:
    read = Score.model_validate(LM)
    assert (read.name, read.value, read.unit, read.trust) == ("val_bpb", 3.25, "bits per byte", Trust.SEALED)
    assert read.details == {"val_tokens": 4092, "val_bytes": 15117}
    assert Score.model_validate(dict(read)) == read and read.model_dump() == LM


@pytest.mark.parametrize(
    "wrong", [{"val_bpb": -1.0}, {"val_tokens": 0}, {"val_bytes": None}, {"val_bpb": "x"}, {"noise": 1}]
)
def test_a_stored_score_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Score.model_validate({name: value for name, value in {**LM, **wrong}.items() if value is not None})


def test_the_score_of_another_metric_is_stored_by_the_names_that_every_metric_has() -> None:
    stored = json.loads(ACCURACY.model_dump_json())
    assert stored == {"name": "accuracy", "value": -0.5, "unit": "%", "trust": "audited", "details": {"cases": 7}}
    assert Score.model_validate(stored) == ACCURACY
    changes: list[dict[str, Any]] = [{"trust": Trust.AUDITED}, {"details": {}}, {"unit": "nats"}]
    for odd in changes:  # which the stored form would lose
        changed = Score.model_validate(LM).model_copy(update=odd)
        assert Score.model_validate_json(changed.model_dump_json()) == changed


def test_an_export_has_both_forms_and_is_read_again() -> None:
    row = Experiment.model_validate(next(row for row in ROWS if "score" in row.get("result", {})))
    document = json.loads(jsonl([row]))
    score = document["result"]["score"]
    assert score["val_bpb"] == score["value"] and score["details"]["val_bytes"] == score["val_bytes"]
    document.pop("trust")
    assert Experiment.model_validate(document) == row


@pytest.mark.parametrize(
    ("most", "guards", "trust"),
    [
        (Trust.SEALED, HELD, Trust.SEALED),
        (Trust.SEALED, {**HELD, "network": "missing"}, Trust.AUDITED),
        (Trust.AUDITED, HELD, Trust.AUDITED),
        (Trust.AUDITED, {"files": "missing"}, Trust.UNCONFINED),
        (Trust.UNCONFINED, HELD, Trust.UNCONFINED),
    ],
)
def test_trust_is_the_lower_of_what_the_evaluator_gives_and_the_guards_allow(
    most: Trust, guards: dict[str, str], trust: Trust
) -> None:
    score = ACCURACY.model_copy(update={"trust": most})
    assert Result(outcome="finished", reason="ok", score=score, guards=guards, finished_at=NOON).trust is trust  # pyright: ignore[reportArgumentType]
    assert Result(outcome="lost", reason="no", guards=HELD, finished_at=NOON).trust is Trust.SEALED  # pyright: ignore[reportArgumentType]


def test_an_evaluators_own_figures_are_finite_numbers_that_guardrails_may_bound() -> None:
    figures = Figures.model_validate({"steps": 7, "recall": 0.25})
    assert (figures.number("steps"), figures.number("recall"), figures.number("loss")) == (7, 0.25, None)
    assert Figures(device="cpu").number("device") is None
    assert Figures.model_validate_json(figures.model_dump_json(exclude_none=True)) == figures
    assert "recall" not in finished(1.0).figures.model_dump_json()
    rule = KeepRule.model_construct(guardrails={"recall": Guardrail(share=0.9)})
    assert rule.complaint(figures, Figures.model_validate({"recall": 0.3})).startswith("recall is 0.25, 0.83 times")
    assert not rule.complaint(figures, Figures())
    for wrong in ("text", float("nan"), None):
        with pytest.raises(ValidationError):
            Figures.model_validate({"recall": wrong})


@pytest.mark.parametrize("details", [{"val_tokens": 0, "val_bytes": 10}, {"val_tokens": 5, "val_bytes": 10.5}])
def test_a_score_that_could_not_be_read_again_is_refused(details: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Score(name="val_bpb", value=2.0, unit="bits per byte", details=details)
    with pytest.raises(ValidationError):
        Score(name="val_bpb", value=-1.0, unit="bits per byte", details={"val_tokens": 5, "val_bytes": 10})
