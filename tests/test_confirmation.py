"""A better score is promising; what becomes of it is the server's to say, whatever is called in which order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server import answer, curfew
from server.choices import Choices
from server.errors import AlreadyMeasured, Refusal, WrongPhase
from server.evidence import STALE_RUNS
from server.experiment import Experiment, Purpose, Verdict
from server.export import tsv
from server.phase import Phase
from server.session import Session
from server.word import Word, say
from tests.conftest import STAND_INS, make_repository
from tests.records import crashed
from tests.steps import measured, ran

LINE = "model = Bigram().to(session.device)"
OTHERS = ["model = Bigram()", "model = Bigram().train()", "model = Bigram().float()"]
SETTINGS = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def patch(line: str, before: str = LINE) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{line}\n>>>>>>> REPLACE"


def opened(folder: Path) -> Session:
    train = (STAND_INS / "honest.py").read_text(encoding="utf-8")
    repository = make_repository(folder, train)
    (repository / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    return Session(repository, "t1", Choices(profile="smoke"))


@pytest.fixture
def night(tmp_path: Path):
    session = opened(tmp_path / "work")
    for score in (2.0, 2.002, 1.998):
        ran(session, score)
    yield session
    session.close()


def root(night: Session) -> Experiment:
    found = night.ledger.measured()
    assert found
    return found


def test_the_baseline_is_measured_again_until_the_noise_is_known(tmp_path: Path) -> None:
    night = opened(tmp_path / "work")
    ran(night, 2.0)
    first = answer.status(night)
    assert first.incumbent and first.incumbent.runs == 1 and first.noise and first.noise.repeats == 0
    assert "assumed" in first.noise.note and first.next_actions[0].startswith("run_experiment")
    assert "1 of 3" in first.next_actions[0]
    for score in (2.002, 1.998):
        assert ran(night, score).attempt.purpose is Purpose.REFERENCE
    then = answer.status(night)
    assert then.incumbent and then.incumbent.runs == 3 and then.incumbent.val_bpb == pytest.approx(2.0)
    assert then.noise and then.noise.repeats == 2 and then.noise.sigma == pytest.approx(0.002, rel=0.05)
    assert then.next_actions[0].startswith("apply_patch") and then.experiments == 1
    night.close()


def test_a_lucky_score_is_not_kept(night: Session) -> None:
    night.apply_patch(patch(OTHERS[0]))
    assert ran(night, 1.99).verdict == Verdict.PROMISING
    assert night.phase() is Phase.PROMISING
    for move in (night.keep, night.apply_patch):
        with pytest.raises(WrongPhase, match="may be luck"):
            move("x")
    assert ran(night, 2.001).verdict == Verdict.CONFIRMATION
    assert (
        root(night).verdict == Verdict.WITHIN_NOISE and "luck" in (root(night).judgement or crashed()).model_dump_json()
    )
    with pytest.raises(WrongPhase):
        night.keep("it was so low")
    assert night.discard("luck") and night.phase() is Phase.IDLE


def test_a_confirmed_gain_is_kept_with_the_value_that_did_not_select_it(night: Session) -> None:
    night.apply_patch(patch(OTHERS[0]))
    ran(night, 1.96)
    confirmation = ran(night, 1.98)
    assert (confirmation.attempt.purpose, confirmation.attempt.of) == (Purpose.CONFIRM, 4)
    candidate = root(night)
    assert candidate.verdict == Verdict.IMPROVED and candidate.value == 1.98 and candidate.val_bpb == 1.96
    assert night.workspace.recorded(4) == candidate.commit
    reply = answer.run(night)
    assert (reply.experiment, reply.verdict, reply.val_bpb) == (5, "improved", 1.98)
    assert night.keep("confirmed").number == 4 and night.workspace.tip() == candidate.commit
    standing = answer.status(night).incumbent
    assert standing and (standing.experiment, standing.val_bpb, standing.runs) == (4, 1.98, 0)

    night.apply_patch(patch(OTHERS[1], OTHERS[0]))
    ran(night, 1.95)
    assert ran(night, 1.96).attempt.purpose is Purpose.CONFIRM
    beside = ran(night, 1.985)  # a selected value is too good: the incumbent again
    assert (beside.verdict, beside.attempt.of) == (Verdict.REFERENCE, 4)
    standing = answer.status(night).incumbent
    assert standing and (standing.val_bpb, standing.runs) == (1.985, 1)
    assert root(night).verdict == Verdict.IMPROVED
    assert [line.split("\t")[3] for line in tsv(night.ledger.all()).splitlines()[1:]] == ["keep", "keep", "open"]


def test_a_confirmation_without_a_score_leaves_the_question_open(night: Session) -> None:
    night.apply_patch(patch(OTHERS[0]))
    ran(night, 1.98)
    assert ran(night, crashed()).verdict == Verdict.CRASHED
    assert night.phase() is Phase.PROMISING
    ran(night, 1.985)
    assert root(night).verdict == Verdict.IMPROVED


def test_the_question_may_still_be_decided_when_the_night_has_come_to_a_limit(night: Session) -> None:
    program = night.workspace.program
    program.write_text(program.read_text(encoding="utf-8").replace("---\n", "---\nstop: {target: 1.99}\n", 1), "utf-8")
    night.apply_patch(patch(OTHERS[0]))
    ran(night, 1.96)
    assert curfew.ended(night) == ""
    ran(night, 1.98)
    assert night.keep("confirmed")
    assert curfew.ended(night) == "val_bpb 1.980000 has reached the target of 1.99"
    say(night.workspace.state, Word.STOP)
    assert answer.status(night).over == "the operator has stopped the night"


def test_the_question_survives_the_server(night: Session, tmp_path: Path) -> None:
    night.apply_patch(patch(OTHERS[0]))
    ran(night, 1.98)
    night.close()
    after = Session(tmp_path / "work", "t1", Choices(profile="smoke"))
    assert after.phase() is Phase.PROMISING
    ran(after, 1.98)
    assert after.keep("").number == 4
    after.close()


def test_scores_of_another_machine_are_not_compared(night: Session) -> None:
    night.apply_patch(patch(OTHERS[0]))
    assert ran(night, measured(1.5, device="another")).verdict == Verdict.PROMISING
    beside = ran(night, measured(1.51, device="another"))
    assert beside.attempt.purpose is Purpose.REFERENCE and root(night).verdict == Verdict.PROMISING
    for _ in range(5):
        if night.phase() is not Phase.PROMISING:
            break
        ran(night, measured(1.51, device="another"))
    assert root(night).verdict == Verdict.WITHIN_NOISE


def test_what_was_measured_before_the_machine_drifted_does_not_count(night: Session) -> None:
    for score in (2.06, 2.061, 2.059):
        assert ran(night, score).attempt.purpose is Purpose.REFERENCE
    standing = answer.status(night).incumbent
    assert standing and standing.runs == 3 and standing.val_bpb == pytest.approx(2.06)
    night.apply_patch(patch(OTHERS[0]))
    assert ran(night, 2.061).verdict == Verdict.WITHIN_NOISE  # and not worse


def test_an_incumbent_that_was_not_measured_for_long_is_run_beside_what_is_promising(night: Session) -> None:
    for number in range(STALE_RUNS):
        night.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{number})"))
        ran(night, 2.1)
        night.discard("worse")
    night.apply_patch(patch(OTHERS[0]))
    assert ran(night, 1.95).verdict == Verdict.PROMISING
    assert "run again beside it" in str(root(night).judgement)
    assert ran(night, 1.951).attempt.purpose is Purpose.REFERENCE  # the machine is faster now, the idea is nothing
    for score in (1.952, 1.951, 1.95, 1.952):
        if night.phase() is Phase.PROMISING:
            ran(night, score)
    assert night.phase() is Phase.WORSE


def test_less_code_is_simpler_and_may_be_kept(night: Session) -> None:
    before = night.workspace.candidate()
    assert "session.log(" in before
    line = next(line for line in before.splitlines() if "session.log(" in line)
    night.apply_patch(f"<<<<<<< SEARCH\n{line}\n=======\n>>>>>>> REPLACE")
    assert ran(night, 1.9995).verdict == Verdict.SIMPLER
    assert night.keep("one line less").kept


def test_code_that_was_measured_is_refused_with_its_result(night: Session) -> None:
    night.apply_patch(patch(LINE + "  # a comment"))
    with pytest.raises(AlreadyMeasured, match=r"experiment 1, which was baseline: val_bpb 2\.000000"):
        night.run("a comment")
    assert night.phase() is Phase.PATCHED and night.discard("") is None
    night.apply_patch(patch(OTHERS[0]))
    ran(night, 2.1)
    night.discard("worse")
    assert "this is experiment 4: worse" in answer.patched(night, patch(OTHERS[0]), "", 0).note
    with pytest.raises(AlreadyMeasured, match="experiment 4, which was worse"):
        night.run("once more")


class Agent:
    """Calls whatever it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.night, self.patches = folder, opened(folder), 0
        ran(self.night, 2.0)

    def patch(self, _score: float) -> None:
        self.patches += 1
        lines = self.night.workspace.candidate().splitlines()
        current = next(line for line in lines if line.startswith("model = "))
        self.night.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{self.patches})", current))

    def run(self, score: float) -> None:
        if self.night.phase() in (Phase.PATCHED, Phase.PROMISING, Phase.IDLE):
            ran(self.night, score)

    def keep(self, _score: float) -> None:
        verdict = root(self.night).verdict
        self.night.keep("")
        assert verdict in (Verdict.IMPROVED, Verdict.SIMPLER)

    def discard(self, _score: float) -> None:
        self.night.discard("")

    def restart(self, _score: float) -> None:
        self.night.close()
        self.night = Session(self.folder, "t1", Choices(profile="smoke"))


MOVES = st.sampled_from(["patch", "run", "run", "run", "keep", "discard", "restart"])


@SETTINGS
@given(st.lists(st.tuples(MOVES, st.floats(1.98, 2.02)), min_size=15, max_size=40))
def test_no_sequence_of_calls_keeps_what_the_rule_refuses(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, float]]
) -> None:
    agent = Agent(tmp_path_factory.mktemp("night") / "work")
    for move, score in moves:
        tip = agent.night.workspace.tip()
        try:
            getattr(agent, move)(score)
        except Refusal:
            assert agent.night.workspace.tip() == tip
        if agent.night.workspace.tip() != tip:
            assert move == "keep"
    agent.night.close()
