"""What program.md may say about keeping: guardrails, and several runs from the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.experiment import Figures, Purpose, Verdict
from server.phase import Phase
from server.program import load
from server.rule import Guardrail, Rule
from server.session import Session
from tests.steps import measured, ran

MEMORY = "guardrails:\n  peak_memory_mb: {max: 900, share: 1.2}\n  tokens_per_second: {min: 50}\n"


def settle(night: Session, rule: str) -> None:
    program = night.workspace.program
    program.write_text(f"---\nbudget_seconds: 1\n{rule}---\n", encoding="utf-8")


def figures(night: Session, val_bpb: float, **known: float) -> str:
    """The verdict on a run with these figures."""
    result = measured(val_bpb)
    return ran(night, result.model_copy(update={"figures": Figures(device="cpu", **known)})).verdict  # type: ignore[arg-type]


def patch(night: Session, number: int) -> None:
    night.replace(night.incumbent_text().replace("lr=", f"betas=(0.8, 0.9{number}), lr="))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"peak_memory_mb": 850.0}, "1.42 times the incumbent's 600"),
        ({"peak_memory_mb": 901.0}, "above the ceiling of 900"),
        ({"peak_memory_mb": 600.0, "tokens_per_second": 49.0}, "below the floor of 50"),
    ],
)
def test_a_better_score_beyond_a_guardrail_is_not_kept(night: Session, known: dict[str, float], words: str) -> None:
    settle(night, MEMORY)
    assert figures(night, 2.0, peak_memory_mb=600.0) == Verdict.BASELINE
    patch(night, 1)
    assert figures(night, 1.5, **known) == Verdict.GUARDRAIL
    found = night.ledger.measured()
    assert found and found.judgement and words in found.judgement.why
    assert night.phase() is Phase.WORSE


def test_within_the_guardrails_the_score_decides(night: Session) -> None:
    settle(night, MEMORY)
    figures(night, 2.0, peak_memory_mb=600.0)
    patch(night, 1)
    assert figures(night, 1.5, peak_memory_mb=719.0, tokens_per_second=50.0) == Verdict.PROMISING
    assert figures(night, 1.5) == Verdict.CONFIRMATION  # an absent figure breaks nothing


def test_a_share_below_one_is_a_floor() -> None:
    speed = Guardrail(share=0.9)
    assert speed.complaint("tokens_per_second", 89, 100) and not speed.complaint("tokens_per_second", 90, 100)


def test_a_guardrail_must_bound_a_figure_that_there_is() -> None:
    with pytest.raises(ValidationError, match="no figure of a run"):
        Rule.model_validate({"guardrails": {"beauty": {"min": 1}}})
    with pytest.raises(ValidationError, match="min, max or share"):
        Guardrail()


def test_several_seeds_from_the_start_are_run_before_any_verdict(night: Session) -> None:
    settle(night, "seeds: 3\n")
    for score in (2.0, 2.01, 1.99):
        ran(night, score)
    patch(night, 1)
    assert ran(night, 2.5).verdict == Verdict.PROMISING  # however bad
    assert "1 of the 3 runs" in str(night.ledger.measured())
    assert ran(night, 1.9).attempt.purpose is Purpose.CONFIRM
    assert ran(night, 1.9).attempt.purpose is Purpose.CONFIRM
    assert night.phase() is Phase.WORSE  # their mean is 2.1
    night.discard("worse")
    patch(night, 2)
    for score in (1.9, 1.9, 1.9, 1.9):
        assert night.phase() in (Phase.PATCHED, Phase.PROMISING)
        ran(night, score)
    assert night.phase() is Phase.IMPROVED


def test_the_program_that_comes_with_us_is_valid(night: Session) -> None:
    task = load(Path(__file__).parent.parent / "program.md").task
    assert task.guardrails["peak_memory_mb"].share == 1.5 and task.seeds == 1
