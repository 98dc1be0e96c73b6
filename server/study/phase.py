"""Which move is legal now, and the sentence for each that is not. Pure.

The phase is never stored: it is derived from the ledger's last row and the text of the candidate, so a restarted
server is where the last one was.
"""

from enum import StrEnum

from server.errors import WrongPhase
from server.records import Experiment, Verdict


class Phase(StrEnum):
    """Where a night stands between two calls."""

    NEW = "new"  # nothing was ever run under this tag
    BASELINE_FAILED = "baseline_failed"  # the unmodified train.py has no score
    IDLE = "idle"  # the candidate is the incumbent
    PATCHED = "patched"  # the candidate differs from the incumbent and was not run
    RUNNING = "running"
    PROMISING = "promising"  # measured, better once: further runs decide
    IMPROVED = "improved"  # measured, may be kept
    WORSE = "worse"  # measured, may not be kept
    FAILED = "failed"  # the last run of this candidate has no score
    INVALID = "invalid"  # a run of the candidate's code has failed its audit: the code is ended
    BASELINE_INVALID = "baseline_invalid"  # so has the unmodified train.py


class Move(StrEnum):
    """The tools that change something, or wait for it."""

    APPLY_PATCH = "apply_patch"
    RUN_EXPERIMENT = "run_experiment"
    WAIT_EXPERIMENT = "wait_experiment"
    CANCEL_EXPERIMENT = "cancel_experiment"
    KEEP = "keep"
    DISCARD = "discard"


_NEXT: dict[Phase, list[str]] = {
    Phase.NEW: ["run_experiment(description): measures the baseline, the unmodified train.py"],
    Phase.BASELINE_FAILED: [
        "run_experiment(description): tries the baseline again",
        "ask the operator to repair and commit train.py in the checkout, then to start the server with a new --tag",
    ],
    Phase.IDLE: [
        "apply_patch(patch): one idea, as a change to train.py",
        "history(): what was tried before",
        "run_experiment(description): measures the incumbent once more, which sharpens every verdict",
    ],
    Phase.PATCHED: [
        "run_experiment(description): measures the candidate",
        "apply_patch(patch): changes the candidate further",
        "discard(): drops the candidate, back to the incumbent",
    ],
    Phase.RUNNING: [
        "wait_experiment(): waits for the result; there is nothing else to do",
        "cancel_experiment(reason): ends the run",
    ],
    Phase.PROMISING: [
        "run_experiment(description): the next run of the confirmation; the server chooses which",
        "discard(reason): gives the idea up, back to the incumbent",
    ],
    Phase.IMPROVED: [
        "keep(reason): makes the candidate the incumbent",
        "discard(reason): back to the incumbent",
    ],
    Phase.WORSE: ["discard(reason): back to the incumbent"],
    Phase.FAILED: [
        "apply_patch(patch): repairs the candidate",
        "run_experiment(description): runs the same candidate again",
        "discard(reason): gives the idea up, back to the incumbent",
    ],
    Phase.INVALID: [
        "discard(reason): gives the idea up, back to the incumbent; then apply_patch with another one",
        "apply_patch(patch): makes another code of the candidate",
    ],
    Phase.BASELINE_INVALID: [
        "ask the operator to repair and commit train.py in the checkout, then to start the server with a new --tag",
    ],
}

_UNCONFIRMED = {Phase.PROMISING: "The candidate was better once, which may be luck: it must be confirmed first."}
_UNDECIDED = {
    Phase.IMPROVED: "The candidate was measured and waits for a decision.",
    Phase.WORSE: "The candidate was measured and is not better.",
}
_RUNNING = {Phase.RUNNING: "An experiment is running, and the candidate is frozen until it ends."}
_NO_BASELINE = {
    Phase.NEW: "There is no baseline yet: the first run is the unmodified train.py.",
    Phase.BASELINE_FAILED: "The baseline has no score: the unmodified train.py must run before it can be changed.",
}
_ENDED = {
    Phase.INVALID: "A run of this code has failed its audit: it is neither run again nor kept.",
    Phase.BASELINE_INVALID: "The unmodified train.py has failed its audit: nothing can be built on it.",
}
_NO_INCUMBENT = {Phase.BASELINE_INVALID: _ENDED[Phase.BASELINE_INVALID]}
_NOT_RUNNING = {phase: "No experiment is running." for phase in Phase if phase is not Phase.RUNNING}

_ILLEGAL: dict[Move, dict[Phase, str]] = {
    Move.APPLY_PATCH: _NO_BASELINE | _NO_INCUMBENT | _RUNNING | _UNDECIDED | _UNCONFIRMED,
    Move.RUN_EXPERIMENT: _RUNNING | _UNDECIDED | _ENDED,
    Move.WAIT_EXPERIMENT: {Phase.NEW: "No experiment was ever started."},
    Move.CANCEL_EXPERIMENT: _NOT_RUNNING,
    Move.KEEP: _NO_BASELINE
    | _ENDED
    | _RUNNING
    | _UNCONFIRMED
    | {
        Phase.IDLE: "There is nothing to keep: the candidate is the incumbent.",
        Phase.PATCHED: "There is nothing to keep: the candidate was not measured.",
        Phase.WORSE: "The candidate cannot be kept: it is not better than the incumbent.",
        Phase.FAILED: "The candidate cannot be kept: its run has no score.",
    },
    Move.DISCARD: _NO_BASELINE
    | _NO_INCUMBENT
    | _RUNNING
    | {Phase.IDLE: "There is nothing to discard: the candidate is the incumbent."},
}

_MEASURED: dict[str, Phase] = {
    Verdict.PROMISING: Phase.PROMISING,
    Verdict.IMPROVED: Phase.IMPROVED,
    Verdict.SIMPLER: Phase.IMPROVED,
}


def next_actions(phase: Phase) -> list[str]:
    """The legal next calls, in words."""
    return _NEXT[phase]


def legal(phase: Phase, move: Move) -> bool:
    """Whether `move` may be made in `phase`."""
    return phase not in _ILLEGAL[move]


def require(phase: Phase, move: Move, fact: str = "") -> None:
    """Refuse a move that is not legal.

    Args:
        fact: a sentence with the numbers behind the phase, for the reader of the refusal.

    Raises:
        WrongPhase: says why not, and which calls are legal now.
    """
    if legal(phase, move):
        return
    problem = f"{move} is refused. {_ILLEGAL[move][phase]}"
    raise WrongPhase(f"{problem} {fact}".rstrip(), "Legal now: " + "; or ".join(_NEXT[phase]) + ".")


def derive(
    last: Experiment | None,
    measured: Experiment | None,
    incumbent: Experiment | None,
    candidate_sha256: str,
    ended: bool = False,
) -> Phase:
    """The phase that the ledger and the candidate's text amount to.

    Args:
        last: the last run. measured: the last run of a new train.py, which later runs confirm or not.
        ended: whether a run of the candidate's code has failed its audit.
    """
    if last is None or measured is None:
        return Phase.NEW
    if last.running:
        return Phase.RUNNING
    if incumbent is None:
        return Phase.BASELINE_INVALID if ended or measured.verdict == Verdict.INVALID else Phase.BASELINE_FAILED
    if measured.decision is None and (found := _undecided(measured, candidate_sha256, ended)):
        return found
    if candidate_sha256 == incumbent.attempt.train_sha256:
        return Phase.IDLE
    return Phase.INVALID if ended else Phase.PATCHED


def _undecided(measured: Experiment, candidate_sha256: str, ended: bool) -> Phase | None:
    """The phase of an experiment without a decision; None if the candidate is another text by now."""
    invalid = measured.verdict == Verdict.INVALID
    if measured.val_bpb is not None and not invalid:
        return _MEASURED.get(measured.verdict, Phase.WORSE)
    if candidate_sha256 != measured.attempt.train_sha256:
        return None
    return Phase.INVALID if invalid or ended else Phase.FAILED
