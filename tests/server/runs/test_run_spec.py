"""What a run may spend beside its budget follows from the baseline's own run, and from what it is asked."""

from server.records import Experiment, Figures, Verdict
from server.runs.run_spec import RunLimits
from server.serve_options import ServeOptions
from server.task.definition import Task
from tests.support.builders import attempt, experiment

LIMITS = RunLimits(setup_seconds=120.0, evaluation_seconds=180.0, grace_seconds=5.0)


def baseline(**figures: float) -> Experiment:
    made = experiment(1, Verdict.BASELINE, 1.0)
    assert made.result is not None
    told = Figures.model_validate(figures)
    return made.model_copy(update={"result": made.result.model_copy(update={"figures": told})})


def test_upstreams_baseline_may_compile_for_as_long_as_set_up_may_take() -> None:
    for known in (None, baseline(), baseline(setup_seconds=20.0)):
        limits = LIMITS.beside_upstream(known, attempt(2))
        assert (limits.setup_allowed, limits.grace_seconds) == (None, 120.0)


def test_upstreams_candidates_may_take_half_as_long_again_as_the_baseline() -> None:
    asked = attempt(2).model_copy(update={"budget_seconds": 300.0})
    limits = LIMITS.beside_upstream(baseline(setup_seconds=20.0, training_wall_seconds=340.0), asked)
    assert (limits.setup_allowed, limits.grace_seconds) == (45.0, 75.0)
    other = asked.model_copy(update={"profile": "another"})
    assert (
        LIMITS.beside_upstream(baseline(setup_seconds=20.0, training_wall_seconds=340.0), other).setup_allowed is None
    )


def test_what_a_baseline_took_alone_bounds_others_beside_it_in_cpu_seconds_alone() -> None:
    known = baseline(setup_seconds=20.0, training_wall_seconds=340.0)
    asked = attempt(2).model_copy(update={"profile": "gpu", "budget_seconds": 300.0})
    known = known.model_copy(update={"attempt": known.attempt.model_copy(update={"profile": "gpu", "concurrency": 1})})
    among = asked.model_copy(update={"concurrency": 4})
    assert LIMITS.beside(known, asked).setup_allowed == 90.0 and LIMITS.beside(known, among).setup_allowed is None
    on_cores = known.attempt.model_copy(update={"profile": "cpu"})
    cpu_seconds = baseline(setup_cpu_seconds=20.0).model_copy(update={"attempt": on_cores})
    assert LIMITS.beside(cpu_seconds, among.model_copy(update={"profile": "cpu"})).setup_allowed == 40.0
    assert LIMITS.beside_upstream(known, asked).setup_allowed and not LIMITS.beside_upstream(known, among).setup_allowed


def test_an_evaluation_has_time_for_all_that_it_is_asked() -> None:
    task, choices = Task(evaluation_seconds=300), ServeOptions()
    seconds = [RunLimits.of(task, choices, False, factor).evaluation_seconds for factor in (1, 16, 32)]
    assert seconds == [300, 300, 600]
