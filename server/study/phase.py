"""Which move is legal now, what to do next, and the sentence for each move that is not legal. Pure.

The phase is never stored: it is derived from the ledger's last row and the text of the candidate, so a restarted
server is where the last one was.
"""

from enum import StrEnum

from pydantic import Field

from server.errors import WrongPhase
from server.records import MAIN, Experiment, Value, Verdict
from server.task.words import LANGUAGE_MODEL, Words


class Phase(StrEnum):
    """Where a night stands between two calls."""

    NEW = "new"  # nothing was ever run under this tag
    BASELINE_FAILED = "baseline_failed"  # the unmodified train.py has no score
    IDLE = "idle"  # the candidate is the incumbent
    PATCHED = "patched"  # the candidate differs from the incumbent and was not run
    RUNNING = "running"
    QUEUED = "queued"  # the candidate's run waits for a slot
    PROMISING = "promising"  # measured, better once: further runs decide
    IMPROVED = "improved"  # measured, may be kept
    WORSE = "worse"  # measured, may not be kept
    STALE = "stale"  # measured against an incumbent that is none any more: nothing is decided by that
    FAILED = "failed"  # the last run of this candidate has no score
    INVALID = "invalid"  # a run of the candidate's code has failed its audit: the code is ended
    BASELINE_INVALID = "baseline_invalid"  # so has the unmodified train.py


_SCORING = ("evaluation", "evaluating")  # stages of a run, as its referee calls them
JUDGED = (Phase.PROMISING, Phase.IMPROVED, Phase.WORSE)  # by a comparison with the incumbent
UNFINISHED = (Phase.RUNNING, Phase.QUEUED)


class Move(StrEnum):
    """The tools that change something, or wait for it."""

    APPLY_PATCH = "apply_patch"
    RUN_EXPERIMENT = "run_experiment"
    WAIT_EXPERIMENT = "wait_experiment"
    CANCEL_EXPERIMENT = "cancel_experiment"
    KEEP = "keep"
    DISCARD = "discard"


class NextAction(Value):
    """What may be done next. No code reads the sentence that it is shown as."""

    tool: str  # to be called; empty for what only the operator or the user can do
    arguments: dict[str, str | int | None] = Field(default_factory=dict[str, str | int | None])  # None: the caller's
    why: str

    def in_lane(self, lane: str) -> "NextAction":
        """The action with the lane named, if it is a move."""
        if self.tool not in set(map(str, Move)):
            return self
        return self.model_copy(update={"arguments": {**self.arguments, "lane": lane}})

    def sentence(self) -> str:
        """The action as an agent reads it."""
        given = (name if value is None else f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.tool}({', '.join(given)}): {self.why}" if self.tool else self.why


def call(tool: str, why: str, *arguments: str) -> NextAction:
    """The call of a tool with arguments that the caller fills in."""
    return NextAction(tool=tool, arguments=dict.fromkeys(arguments), why=why)


NO_SESSION = "no Python file in git imports `trainer`, so train.py cannot start the clock or submit a model"
SESSION_STEP = (
    "port train.py to the four calls of trainer.session: Session(), start(), training() and submit(model), as in the "
    "train.py that `autoresearch init DIR` makes, and commit it; or give program.md a `command`, which measures any "
    "number that a command prints, with the trust `printed`"
)
HISTORY = "history"  # the tool that helps when nothing has to be done
_REPAIR = "ask the operator to repair and commit {repair} in the checkout, {repaired}"
_ASK_FOR_REPAIR = NextAction(tool="", why=_REPAIR)

# In what follows {candidate} and its like stand for the study's own words (server.task.words).

_NEXT: dict[Phase, list[NextAction]] = {
    Phase.NEW: [call(Move.RUN_EXPERIMENT, "measures the baseline, {original}", "description")],
    Phase.BASELINE_FAILED: [
        call(Move.RUN_EXPERIMENT, "tries the baseline again", "description"),
        _ASK_FOR_REPAIR,
    ],
    Phase.IDLE: [
        call(Move.APPLY_PATCH, "tries one idea, as a change to {candidate}", "patch"),
        call(HISTORY, "shows what was tried before"),
        call(
            Move.RUN_EXPERIMENT,
            "measures the incumbent once more, which makes every verdict more certain",
            "description",
        ),
    ],
    Phase.PATCHED: [
        call(Move.RUN_EXPERIMENT, "measures the candidate", "description"),
        call(Move.APPLY_PATCH, "changes the candidate further", "patch"),
        call(Move.DISCARD, "drops the candidate and returns to the incumbent"),
    ],
    Phase.RUNNING: [
        call(Move.WAIT_EXPERIMENT, "waits for the result; there is nothing else to do"),
        call(Move.CANCEL_EXPERIMENT, "ends the run", "reason"),
    ],
    Phase.QUEUED: [
        call(Move.WAIT_EXPERIMENT, "waits for a free slot, and for the result"),
        call(Move.CANCEL_EXPERIMENT, "takes the run out of the queue", "reason"),
    ],
    Phase.PROMISING: [
        call(
            Move.RUN_EXPERIMENT,
            "the next run of the confirmation; the server chooses whether it is the candidate's or the incumbent's",
            "description",
        ),
        call(Move.DISCARD, "drops the idea and returns to the incumbent", "reason"),
    ],
    Phase.IMPROVED: [
        call(Move.KEEP, "makes the candidate the incumbent", "reason"),
        call(Move.DISCARD, "returns to the incumbent", "reason"),
    ],
    Phase.WORSE: [call(Move.DISCARD, "returns to the incumbent", "reason")],
    Phase.STALE: [
        call(Move.RUN_EXPERIMENT, "applies the change to the current incumbent, and measures it again", "description"),
        call(Move.APPLY_PATCH, "changes the candidate first", "patch"),
        call(Move.DISCARD, "drops the idea and returns to the incumbent", "reason"),
    ],
    Phase.FAILED: [
        call(Move.APPLY_PATCH, "repairs the candidate", "patch"),
        call(Move.RUN_EXPERIMENT, "runs the same candidate again", "description"),
        call(Move.DISCARD, "drops the idea and returns to the incumbent", "reason"),
    ],
    Phase.INVALID: [
        call(
            Move.DISCARD,
            "drops the idea and returns to the incumbent; then call apply_patch with another idea",
            "reason",
        ),
        call(Move.APPLY_PATCH, "changes the code of the candidate", "patch"),
    ],
    Phase.BASELINE_INVALID: [_ASK_FOR_REPAIR],
}

_UNCONFIRMED = {Phase.PROMISING: "The candidate was better in one run, which may be luck: it must be confirmed first."}
_UNDECIDED = {
    Phase.IMPROVED: "The candidate was measured and waits for a decision.",
    Phase.WORSE: "The candidate was measured and is not better.",
}
_RUNNING = {
    Phase.RUNNING: "An experiment is running: its candidate cannot change until it ends.",
    Phase.QUEUED: "The candidate waits for its run, and cannot change until that run ends.",
}
_STALE = {
    Phase.STALE: "The incumbent has changed since the candidate was measured, so that comparison no longer counts."
}
_NO_BASELINE = {
    Phase.NEW: "There is no baseline yet: the first run is {original}.",
    Phase.BASELINE_FAILED: "The baseline has no score: {original} must run before it can be changed.",
}
_ENDED = {
    Phase.INVALID: "This code can be neither run again nor kept.",
    Phase.BASELINE_INVALID: "{Original} {invalid}: nothing can be built on it.",
}
_NO_INCUMBENT = {Phase.BASELINE_INVALID: _ENDED[Phase.BASELINE_INVALID]}
_NOT_RUNNING = {phase: "No experiment is running." for phase in Phase if phase not in UNFINISHED}

_ILLEGAL: dict[Move, dict[Phase, str]] = {
    Move.APPLY_PATCH: _NO_BASELINE | _NO_INCUMBENT | _RUNNING | _UNDECIDED | _UNCONFIRMED,
    Move.RUN_EXPERIMENT: _RUNNING | _UNDECIDED | _ENDED,
    Move.WAIT_EXPERIMENT: {Phase.NEW: "No experiment has been started yet."},
    Move.CANCEL_EXPERIMENT: _NOT_RUNNING,
    Move.KEEP: _NO_BASELINE
    | _ENDED
    | _RUNNING
    | _UNCONFIRMED
    | _STALE
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


def next_actions(phase: Phase, words: Words = LANGUAGE_MODEL) -> list[NextAction]:
    """The legal next calls, in the study's words."""
    return [action.model_copy(update={"why": words.fill(action.why)}) for action in _NEXT[phase]]


def new_baseline(words: Words) -> str:
    """What is done where the baseline cannot be measured."""
    return words.fill(_REPAIR)


def legal(phase: Phase, move: Move) -> bool:
    """Whether `move` may be made in `phase`."""
    return phase not in _ILLEGAL[move]


def require_unscored(stage: str, number: int) -> None:
    """Refuse to cancel a run that is shown validation text. Raises WrongPhase.

    An audit that waits where it meets a false claim could be cancelled, and the same code run again until none does.
    """
    if stage in _SCORING:
        raise WrongPhase(f"Experiment {number} is being scored, and ends by itself.", "Call wait_experiment().")


def require(phase: Phase, move: Move, fact: str = "", words: Words = LANGUAGE_MODEL, lane: str = MAIN) -> None:
    """Refuse a move that is not legal.

    Args:
        fact: a sentence with the numbers behind the phase, for the reader of the refusal.
        words: what the study calls things. lane: which the calls are about.

    Raises:
        WrongPhase: says why not, and which calls are legal now.
    """
    if legal(phase, move):
        return
    problem = words.fill(f"{move} is refused. {_ILLEGAL[move][phase]}")
    actions = next_actions(phase, words)
    calls = "; or ".join((action if lane == MAIN else action.in_lane(lane)).sentence() for action in actions)
    raise WrongPhase(f"{problem} {fact}".rstrip(), f"Legal now: {calls}.")


def derive(
    last: Experiment | None,
    measured: Experiment | None,
    incumbent: Experiment | None,
    candidate_sha256: str,
    ended: bool = False,
) -> Phase:
    """The phase that a lane's rows and its candidate's text amount to.

    Args:
        last: the last run. measured: the last run of a new train.py, which later runs confirm or not.
        ended: whether a run of the candidate's code has failed its audit.
    """
    if last is not None and last.running:
        return Phase.QUEUED if last.queued else Phase.RUNNING
    if incumbent is None:
        if last is None or measured is None:
            return Phase.NEW
        # Of a task no audit ends a code: what was wrong with the baseline may be mended, also outside of git.
        invalid = measured.verdict == Verdict.INVALID and measured.attempt.task is None
        return Phase.BASELINE_INVALID if ended or invalid else Phase.BASELINE_FAILED
    if measured and measured.decision is None and (found := _undecided(measured, candidate_sha256, ended)):
        return found
    if candidate_sha256 == incumbent.attempt.train_sha256:
        return Phase.IDLE
    return Phase.INVALID if ended else Phase.PATCHED


def _undecided(measured: Experiment, candidate_sha256: str, ended: bool) -> Phase | None:
    """The phase of an experiment without a decision; None if the candidate is another text by now."""
    invalid = measured.verdict == Verdict.INVALID
    if measured.score is not None and not invalid:
        return _MEASURED.get(measured.verdict, Phase.WORSE)
    if candidate_sha256 != measured.attempt.train_sha256:
        return None
    return Phase.INVALID if invalid or ended else Phase.FAILED
