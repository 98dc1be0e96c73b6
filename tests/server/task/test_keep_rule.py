"""What program.md may say about keeping: guardrails, and several runs from the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.errors import ProgramInvalid
from server.records import MEASURED, Figures, Purpose, Verdict
from server.study.phase import Phase
from server.study.study import Study
from server.task.definition import Task
from server.task.policy import Guardrail, KeepRule
from server.task.program import load
from tests.support.builders import only
from tests.support.lifecycle import measured, ran

MEMORY = "guardrails:\n  peak_memory_mb: {max: 900, share: 1.2}\n  weights_mb: {min: 50}\n"


def settle(study: Study, rule: str) -> None:
    program = study.workspace.program
    program.write_text(f"---\nbudget_seconds: 1\n{rule}---\n", encoding="utf-8")


def figures(study: Study, val_bpb: float, **known: float) -> str:
    """The verdict on a run with these figures."""
    result = measured(val_bpb)
    return ran(study, result.model_copy(update={"figures": Figures(device="cpu", **known)})).verdict  # type: ignore[arg-type]


def patch(study: Study, number: int) -> None:
    study.replace(only(study.incumbent().text.replace("lr=", f"betas=(0.8, 0.9{number}), lr=")))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"peak_memory_mb": 850.0}, "1.42 times the incumbent's 600"),
        ({"peak_memory_mb": 901.0}, "above the ceiling of 900"),
        ({"peak_memory_mb": 600.0, "weights_mb": 49.0}, "below the floor of 50"),
    ],
)
def test_a_better_score_beyond_a_guardrail_is_not_kept(study: Study, known: dict[str, float], words: str) -> None:
    settle(study, MEMORY)
    assert figures(study, 2.0, peak_memory_mb=600.0) == Verdict.BASELINE
    patch(study, 1)
    assert figures(study, 1.5, **known) == Verdict.GUARDRAIL
    found = study.ledger.measured()
    assert found and found.judgement and words in found.judgement.why
    assert study.phase() is Phase.WORSE


def test_within_the_guardrails_the_score_decides(study: Study) -> None:
    settle(study, MEMORY)
    figures(study, 2.0, peak_memory_mb=600.0)
    patch(study, 1)
    assert figures(study, 1.5, peak_memory_mb=719.0, weights_mb=50.0) == Verdict.PROMISING
    assert figures(study, 1.5) == Verdict.CONFIRMATION  # an absent figure breaks nothing


def test_a_share_below_one_is_a_floor() -> None:
    speed = Guardrail(share=0.9)
    assert speed.complaint("tokens_per_second", 89, 100) and not speed.complaint("tokens_per_second", 90, 100)


@pytest.mark.parametrize(
    ("share", "incumbent", "inside", "outside"),
    [(1.2, -5.0, -4.0, -3.9), (0.9, -5.0, -5.5, -5.6), (1.2, 0.0, 0.0, 0.1), (0.9, 0.0, 0.0, -0.1)],
)
def test_a_share_of_what_is_not_above_zero_is_as_far_to_the_same_side(
    share: float, incumbent: float, inside: float, outside: float
) -> None:
    bound = Guardrail(share=share)
    assert not bound.complaint("profit", inside, incumbent)
    assert "against the incumbent's" in bound.complaint("profit", outside, incumbent)


@pytest.mark.parametrize(
    ("metric", "scale", "scatter"),
    [
        ({"source": "cpu"}, "log", 0.03),
        ({"source": "wall"}, "linear", 0.10),
        ({"source": "memory"}, "linear", 0.01),
        ({"unit": "ms"}, "linear", 0.05),
        ({"unit": "bytes"}, "linear", 0.01),
        ({"unit": "bytes"}, "log", 0.05),
    ],
)
def test_what_is_assumed_of_the_noise_is_of_the_metrics_kind(
    metric: dict[str, str], scale: str, scatter: float
) -> None:
    fields = {"command": "bash bench.sh", "editable": "a", "metric": metric, "scale": scale}
    assert Task.model_validate(fields).measure.scatter == scatter and Task().measure.scatter == 0.001


def test_a_guardrail_must_bound_a_figure_that_there_is() -> None:
    with pytest.raises(ValidationError, match="not a figure of a run"):
        KeepRule.model_validate({"guardrails": {"beauty": {"min": 1}}})
    with pytest.raises(ValidationError, match="min, max or share"):
        Guardrail()


@pytest.mark.parametrize("name", sorted(set(Figures.model_fields) - set(MEASURED)))
def test_a_guardrail_on_what_train_py_tells_is_refused_and_those_that_are_measured_are_named(
    tmp_path: Path, name: str
) -> None:
    program = tmp_path / "program.md"
    program.write_text(f"---\nguardrails:\n  {name}: {{max: 1}}\n---\n", encoding="utf-8")
    with pytest.raises(ProgramInvalid, match=f"does not measure {name},.*peak_memory_mb, weights"):
        load(program)


def test_a_gpus_memory_as_an_earlier_version_told_it_bounds_nothing_by_its_share() -> None:
    rule = KeepRule.model_validate({"guardrails": {"peak_memory_mb": {"max": 2000, "share": 1.2}}})
    told = Figures(driver="1.2.3", peak_memory_mb=700.0)
    measured = told.model_copy(update={"setup_cpu_seconds": 3.0})
    now = Figures(driver="1.2.3", peak_memory_mb=1300.0, setup_cpu_seconds=3.0)
    assert not rule.complaint(now, told) and rule.complaint(now, measured)
    assert "ceiling" in rule.complaint(now.model_copy(update={"peak_memory_mb": 2001.0}), told)


def test_several_seeds_from_the_start_are_run_before_any_verdict(study: Study) -> None:
    settle(study, "seeds: 3\n")
    for score in (2.0, 2.01, 1.99):
        ran(study, score)
    patch(study, 1)
    assert ran(study, 2.5).verdict == Verdict.PROMISING  # however bad
    assert "1 of the 3 runs" in str(study.ledger.measured())
    assert ran(study, 1.9).attempt.purpose is Purpose.CONFIRM
    assert ran(study, 1.9).attempt.purpose is Purpose.CONFIRM
    assert study.phase() is Phase.WORSE  # their mean is 2.1
    study.discard("worse")
    patch(study, 2)
    for score in (1.9, 1.9, 1.9, 1.9):
        assert study.phase() in (Phase.PATCHED, Phase.PROMISING)
        ran(study, score)
    assert study.phase() is Phase.IMPROVED


def test_the_program_that_comes_with_us_is_valid(study: Study) -> None:
    task = load(Path(__file__).parents[3] / "program.md").task
    assert task.guardrails["peak_memory_mb"].share == 1.5 and task.seeds == 1
