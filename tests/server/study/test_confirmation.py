"""A better score is promising; what becomes of it is the server's to say, whatever is called in which order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api import views
from server.errors import AlreadyMeasured, Refusal, WrongPhase
from server.history.comparisons import STALE_RUNS
from server.history.export import tsv
from server.records import Experiment, Outcome, Purpose, Verdict
from server.serve_options import ServeOptions
from server.study import limits
from server.study.find_study import OperatorRequest, write_request
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import crashed
from tests.support.lifecycle import measured, ran
from tests.support.repositories import STAND_INS, make_repository

LINE = "model = Bigram().to(session.device)"
OTHERS = ["model = Bigram()", "model = Bigram().train()", "model = Bigram().float()"]
SETTINGS = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def patch(line: str, before: str = LINE) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{line}\n>>>>>>> REPLACE"


def opened(folder: Path) -> Study:
    train = (STAND_INS / "honest.py").read_text(encoding="utf-8")
    repository = make_repository(folder, train)
    (repository / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    return Study(repository, "t1", ServeOptions(profile="smoke"))


@pytest.fixture
def study(tmp_path: Path):
    study = opened(tmp_path / "work")
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    yield study
    study.close()


def root(study: Study) -> Experiment:
    found = study.ledger.measured()
    assert found
    return found


def test_the_baseline_is_measured_again_until_the_noise_is_known(tmp_path: Path) -> None:
    study = opened(tmp_path / "work")
    ran(study, 2.0)
    first = views.status(study)
    assert first.incumbent and first.incumbent.runs == 1 and first.noise and first.noise.repeats == 0
    assert "assumed" in first.noise.note and first.next_actions[0].startswith("run_experiment")
    assert "1 of 3" in first.next_actions[0]
    for score in (2.002, 1.998):
        assert ran(study, score).attempt.purpose is Purpose.REFERENCE
    then = views.status(study)
    assert then.incumbent and then.incumbent.runs == 3 and then.incumbent.value == pytest.approx(2.0)
    assert then.noise and then.noise.repeats == 2 and then.noise.sigma == pytest.approx(0.002, rel=0.05)
    assert then.next_actions[0].startswith("apply_patch") and then.experiments == 1
    study.close()


def test_a_confirmation_without_a_score_says_why_beside_the_verdict(study: Study) -> None:
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 1.99)
    row = ran(study, crashed().model_copy(update={"outcome": Outcome.CANCELLED, "reason": "Cancelled: another first."}))
    told = views.show_run(study, 0)
    assert row.attempt.purpose is Purpose.CONFIRM and (told.status, told.verdict) == ("cancelled", Verdict.PROMISING)
    assert told.why and told.why.startswith(f"Run {row.number}: Cancelled: another first.")
    assert "Lower, once: val_bpb 1.99" in told.why


def test_a_lucky_score_is_not_kept(study: Study) -> None:
    study.apply_patch(patch(OTHERS[0]))
    assert ran(study, 1.99).verdict == Verdict.PROMISING
    assert study.phase() is Phase.PROMISING
    for move in (study.keep, study.apply_patch):
        with pytest.raises(WrongPhase, match="may be luck"):
            move("x")
    assert ran(study, 2.001).verdict == Verdict.CONFIRMATION
    assert (
        root(study).verdict == Verdict.WITHIN_NOISE and "luck" in (root(study).judgement or crashed()).model_dump_json()
    )
    with pytest.raises(WrongPhase):
        study.keep("it was so low")
    assert study.discard("luck") and study.phase() is Phase.IDLE


def test_a_confirmed_gain_is_kept_with_the_value_that_did_not_select_it(study: Study) -> None:
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 1.979)
    confirmation = ran(study, 1.98)
    assert (confirmation.attempt.purpose, confirmation.attempt.of) == (Purpose.CONFIRM, 4)
    candidate = root(study)
    assert (
        candidate.verdict == Verdict.IMPROVED
        and candidate.value == 1.98
        and candidate.score
        and candidate.score.value == 1.979
    )
    assert study.workspace.recorded(4) == candidate.commit
    reply = views.show_run(study)
    assert (reply.experiment, reply.verdict, reply.value) == (5, "improved", 1.98)
    assert study.keep("confirmed").number == 4 and study.workspace.tip() == candidate.commit
    standing = views.status(study).incumbent
    assert standing and (standing.experiment, standing.value, standing.runs) == (4, 1.98, 0)

    study.apply_patch(patch(OTHERS[1], OTHERS[0]))
    ran(study, 1.95)
    assert ran(study, 1.96).attempt.purpose is Purpose.CONFIRM
    beside = ran(study, 1.985)  # a selected value is too good: the incumbent again
    assert (beside.verdict, beside.attempt.of) == (Verdict.REFERENCE, 4)
    standing = views.status(study).incumbent
    assert standing and (standing.value, standing.runs) == (1.985, 1)
    assert root(study).verdict == Verdict.IMPROVED
    assert [line.split("\t")[3] for line in tsv(study.ledger.all()).splitlines()[1:]] == ["keep", "keep", "open"]


def test_a_confirmation_without_a_score_leaves_the_question_open(study: Study) -> None:
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 1.98)
    assert ran(study, crashed()).verdict == Verdict.CRASHED
    assert study.phase() is Phase.PROMISING
    ran(study, 1.985)
    assert root(study).verdict == Verdict.IMPROVED


def test_the_question_may_still_be_decided_when_the_night_has_come_to_a_limit(study: Study) -> None:
    program = study.workspace.program
    program.write_text(program.read_text(encoding="utf-8").replace("---\n", "---\nstop: {target: 1.99}\n", 1), "utf-8")
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 1.979)
    assert limits.why_study_over(study) == ""
    ran(study, 1.98)
    assert study.keep("confirmed")
    assert limits.why_study_over(study) == "val_bpb 1.980000 has reached the target of 1.99"
    write_request(study.workspace.state, OperatorRequest.STOP)
    assert views.status(study).over == "the operator stopped the study"


def test_the_question_survives_the_server(study: Study, tmp_path: Path) -> None:
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 1.98)
    study.close()
    after = Study(tmp_path / "work", "t1", ServeOptions(profile="smoke"))
    assert after.phase() is Phase.PROMISING
    ran(after, 1.98)
    assert after.keep("").number == 4
    after.close()


def test_scores_of_another_machine_are_not_compared(study: Study) -> None:
    study.apply_patch(patch(OTHERS[0]))
    assert ran(study, measured(1.5, device="another")).verdict == Verdict.PROMISING
    beside = ran(study, measured(1.51, device="another"))
    assert beside.attempt.purpose is Purpose.REFERENCE and root(study).verdict == Verdict.PROMISING
    for _ in range(5):
        if study.phase() is not Phase.PROMISING:
            break
        ran(study, measured(1.51, device="another"))
    assert root(study).verdict == Verdict.WITHIN_NOISE


def test_what_was_measured_before_the_machine_drifted_does_not_count(study: Study) -> None:
    for score in (2.06, 2.061, 2.059):
        assert ran(study, score).attempt.purpose is Purpose.REFERENCE
    standing = views.status(study).incumbent
    assert standing and standing.runs == 3 and standing.value == pytest.approx(2.06)
    study.apply_patch(patch(OTHERS[0]))
    assert ran(study, 2.061).verdict == Verdict.WITHIN_NOISE  # and not worse


def test_an_incumbent_that_was_not_measured_for_long_is_run_beside_what_is_promising(study: Study) -> None:
    for number in range(STALE_RUNS):
        study.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{number})"))
        ran(study, 2.1)
        study.discard("worse")
    study.apply_patch(patch(OTHERS[0]))
    assert ran(study, 1.95).verdict == Verdict.PROMISING
    assert "runs again next to this one" in str(root(study).judgement)
    assert ran(study, 1.951).attempt.purpose is Purpose.REFERENCE  # the machine is faster now, the idea is nothing
    for score in (1.952, 1.951, 1.95, 1.952):
        if study.phase() is Phase.PROMISING:
            ran(study, score)
    assert study.phase() is Phase.WORSE


def test_less_code_is_simpler_and_may_be_kept(study: Study) -> None:
    before = study.workspace.candidate()
    line = next(line for line in before.text.splitlines() if "session.log(" in line)
    study.apply_patch(f"<<<<<<< SEARCH\n{line}\n=======\n>>>>>>> REPLACE")
    assert ran(study, 1.9995).verdict == Verdict.SIMPLER
    assert study.keep("one line less").kept


def test_code_that_was_measured_is_refused_with_its_result(study: Study) -> None:
    study.apply_patch(patch(LINE + "  # a comment"))
    with pytest.raises(AlreadyMeasured, match=r"experiment 1, which was baseline: val_bpb 2\.000000"):
        study.run("a comment")
    assert study.phase() is Phase.PATCHED and study.discard("") is None
    study.apply_patch(patch(OTHERS[0]))
    ran(study, 2.1)
    study.discard("worse")
    assert "this is experiment 4: worse" in views.apply_patch(study, patch(OTHERS[0]), "", 0).note
    with pytest.raises(AlreadyMeasured, match="experiment 4, which was worse"):
        study.run("once more")


class Agent:
    """Calls whatever it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study, self.patches = folder, opened(folder), 0
        ran(self.study, 2.0)

    def patch(self, _score: float) -> None:
        self.patches += 1
        lines = self.study.workspace.candidate().text.splitlines()
        current = next(line for line in lines if line.startswith("model = "))
        self.study.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{self.patches})", current))

    def run(self, score: float) -> None:
        if self.study.phase() in (Phase.PATCHED, Phase.PROMISING, Phase.IDLE):
            ran(self.study, score)

    def keep(self, _score: float) -> None:
        verdict = root(self.study).verdict
        self.study.keep("")
        assert verdict in (Verdict.IMPROVED, Verdict.SIMPLER)

    def discard(self, _score: float) -> None:
        self.study.discard("")

    def restart(self, _score: float) -> None:
        self.study.close()
        self.study = Study(self.folder, "t1", ServeOptions(profile="smoke"))


MOVES = st.sampled_from(["patch", "run", "run", "run", "keep", "discard", "restart"])


@SETTINGS
@given(st.lists(st.tuples(MOVES, st.floats(1.98, 2.02)), min_size=15, max_size=40))
def test_no_sequence_of_calls_keeps_what_the_rule_refuses(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, float]]
) -> None:
    agent = Agent(tmp_path_factory.mktemp("night") / "work")
    for move, score in moves:
        tip = agent.study.workspace.tip()
        try:
            getattr(agent, move)(score)
        except Refusal:
            assert agent.study.workspace.tip() == tip
        if agent.study.workspace.tip() != tip:
            assert move == "keep"
    agent.study.close()
