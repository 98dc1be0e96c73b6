"""Every move in every phase."""

import pytest

from server.errors import WrongPhase
from server.records import Experiment, Verdict
from server.study.phase import Move, Phase, derive, legal, next_actions, require
from tests.support.builders import attempt, experiment

APPLY, RUN, WAIT, CANCEL, KEEP, DISCARD = Move
LEGAL: dict[Phase, set[Move]] = {
    Phase.NEW: {RUN},
    Phase.BASELINE_FAILED: {RUN, WAIT},
    Phase.IDLE: {APPLY, RUN, WAIT},
    Phase.PATCHED: {APPLY, RUN, WAIT, DISCARD},
    Phase.RUNNING: {WAIT, CANCEL},
    Phase.QUEUED: {WAIT, CANCEL},
    Phase.STALE: {APPLY, RUN, WAIT, DISCARD},
    Phase.PROMISING: {RUN, WAIT, DISCARD},
    Phase.IMPROVED: {WAIT, KEEP, DISCARD},
    Phase.WORSE: {WAIT, DISCARD},
    Phase.FAILED: {APPLY, RUN, WAIT, DISCARD},
    Phase.INVALID: {APPLY, WAIT, DISCARD},
    Phase.BASELINE_INVALID: {WAIT},
}
TABLE = [(phase, move, move in LEGAL[phase]) for phase in Phase for move in Move]


@pytest.mark.parametrize(("phase", "move", "allowed"), TABLE)
def test_each_move_is_legal_or_refused_with_the_legal_ones(phase: Phase, move: Move, allowed: bool) -> None:
    assert legal(phase, move) is allowed
    if allowed:
        require(phase, move)
        return
    with pytest.raises(WrongPhase) as refusal:
        require(phase, move, "Experiment 7 says so.")
    assert refusal.value.problem.startswith(f"{move} is refused. ")
    assert refusal.value.problem.endswith("Experiment 7 says so.")
    for action in next_actions(phase):
        assert action.sentence() in refusal.value.next_step


def test_illegal_moves_of_a_phase_have_sentences_of_their_own() -> None:
    for move in Move:
        sentences = {phase: _problem(phase, move) for phase in Phase if not legal(phase, move)}
        if move is not CANCEL:  # "no experiment is running" is the whole truth in every other phase
            assert len(set(sentences.values())) == len(sentences)


@pytest.mark.parametrize("phase", Phase)
def test_every_next_action_is_a_legal_move_or_harmless(phase: Phase) -> None:
    for action in next_actions(phase):
        if action.tool in set(Move):
            assert legal(phase, Move(action.tool))


def _problem(phase: Phase, move: Move) -> str:
    with pytest.raises(WrongPhase) as refusal:
        require(phase, move)
    return refusal.value.problem


BASE = experiment(1, Verdict.BASELINE, 2.0, kept=True)
SAME = "0" * 64
OTHER = "1" * 64


@pytest.mark.parametrize(
    ("last", "incumbent", "candidate", "phase"),
    [
        (None, None, SAME, Phase.NEW),
        (Experiment(attempt=attempt(1)), None, SAME, Phase.RUNNING),
        (experiment(1, Verdict.CRASHED), None, SAME, Phase.BASELINE_FAILED),
        (BASE, BASE, SAME, Phase.IDLE),
        (BASE, BASE, OTHER, Phase.PATCHED),
        (Experiment(attempt=attempt(2)), BASE, OTHER, Phase.RUNNING),
        (experiment(2, Verdict.IMPROVED, 1.9), BASE, SAME, Phase.IMPROVED),
        (experiment(2, Verdict.SIMPLER, 1.99), BASE, SAME, Phase.IMPROVED),
        (experiment(2, Verdict.PROMISING, 1.9), BASE, SAME, Phase.PROMISING),
        (experiment(2, Verdict.WITHIN_NOISE, 1.99), BASE, SAME, Phase.WORSE),
        (experiment(2, Verdict.WORSE, 2.1), BASE, SAME, Phase.WORSE),
        (experiment(2, Verdict.WORSE, 2.1, kept=False), BASE, SAME, Phase.IDLE),
        (experiment(2, Verdict.CRASHED), BASE, SAME, Phase.FAILED),
        (experiment(2, Verdict.CRASHED), BASE, OTHER, Phase.PATCHED),
        (experiment(2, Verdict.CRASHED, kept=False), BASE, SAME, Phase.IDLE),
        (experiment(1, Verdict.INVALID), None, SAME, Phase.BASELINE_INVALID),
        (experiment(2, Verdict.INVALID), BASE, SAME, Phase.INVALID),
        (experiment(2, Verdict.INVALID, 1.9), BASE, SAME, Phase.INVALID),
        (experiment(2, Verdict.INVALID, 1.9), BASE, OTHER, Phase.PATCHED),
        (experiment(2, Verdict.INVALID, 1.9, kept=False), BASE, SAME, Phase.IDLE),
    ],
)
def test_phase_follows_from_ledger_and_candidate(
    last: Experiment | None, incumbent: Experiment | None, candidate: str, phase: Phase
) -> None:
    assert derive(last, last, incumbent, candidate) is phase


@pytest.mark.parametrize(
    ("last", "incumbent", "candidate", "phase"),
    [
        (experiment(1, Verdict.CRASHED), None, SAME, Phase.BASELINE_INVALID),
        (BASE, BASE, SAME, Phase.IDLE),  # the incumbent's own code: it stays the incumbent
        (BASE, BASE, OTHER, Phase.INVALID),
        (Experiment(attempt=attempt(2)), BASE, OTHER, Phase.RUNNING),
        (experiment(2, Verdict.CRASHED), BASE, SAME, Phase.INVALID),
        (experiment(2, Verdict.WORSE, 2.1, kept=False), BASE, OTHER, Phase.INVALID),
    ],
)
def test_code_that_an_audit_has_ended_is_not_to_be_run(
    last: Experiment, incumbent: Experiment | None, candidate: str, phase: Phase
) -> None:
    assert derive(last, last, incumbent, candidate, ended=True) is phase
