"""Audit failures: which code they end, and what they cost the study. All of it is read from the ledger's rows.

What counts is a run that was to be scored on validation text and ended `invalid`, whatever it was for: a measurement,
a confirmation, a reference run. One such run ends its code: if the same code could be run until it passes, a claim that
holds one time in five would be kept. Code is told by its fingerprint: comments, layout, prints and seeds do not matter.

Of a task that is no language model's nothing is audited: a wrong answer ends the one experiment whose run gave it. Its
code may be tried again, an incumbent goes on to be measured, and no keep is revoked.

What the preflight refuses does not count. It rehearses on training text: no score can come of it, so a lucky pass
there buys nothing but a run whose own audit decides, and an honest slip costs seconds.
"""

from server.errors import PatchRefused, TextEnded
from server.history.ledger import Ledger
from server.records import Attempt, Experiment, Outcome, Purpose, Result, Verdict
from server.scoring.decision_rule import Assessment
from server.source.candidate import Candidate
from trainer.contract import AUDIT_FAILED

_MANY = 3  # failures: whoever tells that many lies is asked so often that no further one pays
# How much denser audits get; benchmarks/audit_power.py says what lies are worth by them.
_DENSER = 4
_DENSEST = 16
# A keep needs a confirmation, and few runs are one: there it costs little to ask at more positions still.
_CONFIRMING = 4
_MOST = 32
_WORDS = "The audit failed:"  # how reasons begin in rows of before the cause was written down


def factor(ledger: Ledger, purpose: Purpose = Purpose.MEASURE) -> int:
    """How many times the profile's audited positions the next run is asked at, by what it is for.

    More where it confirms what is then kept. More from the first run on whose claims the audit has found false, and far
    more from the third on: otherwise a lie that passes one time in three would be told in one candidate after another.
    Of the runs that are invalid for another reason, which a liar may choose as well, the first is an accident: it makes
    confirmations alone denser.
    """
    failed = _audited(ledger)
    false, confirms = sum(map(refutes, failed)), purpose is Purpose.CONFIRM
    counted = false + max(0, len(failed) - false - (not confirms))
    found = _DENSEST if counted >= _MANY else _DENSER if counted else 1
    return min(_MOST, _CONFIRMING * found) if confirms else found


def first_look(ledger: Ledger, attempt: Attempt) -> bool:
    """Whether fewer positions will do for now: of a candidate, whose confirmation is asked at many more.

    Not once a run was invalid, for whatever reason: who may choose how to fail could try his luck again and again.
    """
    return attempt.purpose is Purpose.MEASURE and not attempt.baseline and not _audited(ledger)


def once_more(ledger: Ledger, candidate: Experiment, found: Assessment) -> Assessment:
    """The same, or that a confirmation is missing which asks at as many positions as are asked by now.

    Runs of several lanes may have been under way when the first of them failed its audit, and program.md may have
    asked for a confirmation when this candidate had a first look.
    """
    if found.verdict not in (Verdict.IMPROVED, Verdict.SIMPLER) or candidate.attempt.task is not None:
        return found
    runs = [candidate, *ledger.repeats(candidate.number, Purpose.CONFIRM)]
    asked = [run.result.figures.audit_factor for run in runs if run.result and run.score]
    wanted = factor(ledger, Purpose.CONFIRM if found.verdict == Verdict.SIMPLER or len(asked) > 1 else Purpose.MEASURE)
    if any(times is None or times >= wanted for times in asked):
        return found  # None: a row of before this was written down
    why = f"{found.why} It is confirmed once more: its audits asked at too few positions for a keep."
    return found.model_copy(update={"verdict": Verdict.PROMISING, "why": why, "next": Purpose.CONFIRM, "of": None})


def refutation(ledger: Ledger, experiment: Experiment) -> Experiment | None:
    """The first run of this experiment's code whose claims the audit has found false; None if there is none.

    Not every invalid run is one: a process that a machine ends, or a batch that it slows, refutes nothing.
    """
    if code := experiment.attempt.fingerprint:
        runs = [row for number in ledger.failed(code) if (row := ledger.get(number))]
    else:
        runs = [run for purpose in Purpose for run in ledger.repeats(experiment.number, purpose)]
    return next(filter(refutes, runs), None)


def refutes(run: Experiment) -> bool:
    """Whether the audit has found claims of this run false."""
    return run.result is not None and run.attempt.task is None and refuted(run.result)


def refuted(result: Result) -> bool:
    """Whether this is how a run ends whose claims the audit has found false."""
    if result.outcome is not Outcome.INVALID:
        return False
    return result.cause == AUDIT_FAILED or result.reason.startswith(_WORDS)


def failure(ledger: Ledger, experiment: Experiment) -> Experiment | None:
    """The first run of this experiment's code that ended `invalid`; None if none did.

    Of a task's experiment only its own runs count.
    """
    if experiment.attempt.task is not None:
        again = [run for run in ledger.repeats(experiment.number, Purpose.CONFIRM) if run.verdict == Verdict.INVALID]
        own = [experiment, *again] if _is_invalid(experiment) else again
        return next((run for run in own if run.attempt.task == experiment.attempt.task), None)
    if code := experiment.attempt.fingerprint:
        return _first(ledger, code)
    # A row of before fingerprints: its own runs are known all the same.
    again = [run for purpose in Purpose for run in ledger.repeats(experiment.number, purpose)]
    return next(filter(_is_invalid, (experiment, *again)), None)


def failure_of(ledger: Ledger, candidate: Candidate) -> Experiment | None:
    """The first run of this candidate's code that ended `invalid`; None if none did."""
    if not ledger.page(1, 0, Verdict.INVALID.value):
        return None  # nearly always: the text need not be parsed
    try:
        return _first(ledger, candidate.fingerprint)
    except PatchRefused:
        return None  # no code at all: nothing of it was ever run


def require_sound(ledger: Ledger, candidate: Candidate) -> None:
    """Refuse code that an audit has ended. Raises TextEnded."""
    if failed := failure_of(ledger, candidate):
        raise TextEnded(
            ended(failed), "If a candidate is open, call discard(reason); then apply_patch(another change)."
        )


def ended(failed: Experiment) -> str:
    """Why code is neither run nor kept any more, in a sentence or two."""
    reason = failed.result.reason if failed.result else ""
    if failed.attempt.task is not None:
        why = failed.judgement.why if failed.judgement else reason
        return f"It is not kept: experiment {failed.number}, a run of it, was invalid. {why}".rstrip()
    return f"This code failed an audit: experiment {failed.number}, a run of it, was invalid. {reason}".rstrip()


def consequence(ledger: Ledger, experiment: Experiment) -> str:
    """What the failure of a repeated run means for the experiment that it repeats; empty for any other run."""
    attempt, result = experiment.attempt, experiment.result
    if attempt.of is None or result is None or result.outcome is not Outcome.INVALID:
        return ""
    if attempt.task is not None:
        return f" Experiment {attempt.of} is not kept." if attempt.purpose is Purpose.CONFIRM else ""
    of = ledger.get(attempt.of)
    if attempt.purpose is Purpose.REFERENCE and of and of.kept:
        return f" {_for_keep(ledger, of, experiment)}"
    return f" So the code of experiment {attempt.of} is neither run again nor kept."


def _for_keep(ledger: Ledger, kept: Experiment, failed: Experiment) -> str:
    """What the failure of a later run means for a keep that stands."""
    if refutes(failed) and not kept.attempt.baseline:
        return f"This revokes experiment {kept.number}, and every experiment that was built on it."
    incumbent = ledger.incumbent()
    if incumbent and incumbent.number == kept.number:
        return _doubt(kept.number, failed)
    if kept.attempt.baseline:
        return f"The baseline, experiment {kept.number}, is in doubt. It is not run again."
    return f"Experiment {kept.number} stays kept. It is not run again."


def alarm(ledger: Ledger) -> str:
    """That the incumbent itself has failed an audit; empty if it has not."""
    incumbent = ledger.incumbent()
    failed = failure(ledger, incumbent) if incumbent and incumbent.attempt.task is None else None
    return _doubt(incumbent.number, failed) if incumbent and failed else ""


def message(ledger: Ledger) -> str:
    """The study's audit failures, in a sentence or two; empty if there are none."""
    failed = _audited(ledger)
    if not failed:
        return ""
    count = f"{len(failed)} audit failure{'s' * (len(failed) > 1)}, the last in experiment {failed[-1].number}."
    times, confirmed = factor(ledger), factor(ledger, Purpose.CONFIRM) // _CONFIRMING
    what, times = ("Runs", times) if times > 1 else ("Confirmations", confirmed)
    more = f"{what} are now audited at {times} times as many positions."
    return " ".join(filter(None, (count, more, alarm(ledger))))


def known(ledger: Ledger, candidate: Candidate) -> str:
    """What was found before of code like this, for the answer to a patch; empty if nothing was."""
    if failed := failure_of(ledger, candidate):
        return f" {ended(failed)}"
    if same := ledger.same_code(candidate.fingerprint):
        return f" But for comments, layout, prints and seeds this is experiment {same.number}: {same.label}."
    return ""


def _first(ledger: Ledger, code: str) -> Experiment | None:
    return next(iter(_audited(ledger, code)), None)


def _audited(ledger: Ledger, code: str = "") -> list[Experiment]:
    """The invalid runs of a language model, ascending; with a fingerprint, those of this code."""
    rows = (ledger.get(number) for number in ledger.failed(code))
    return [row for row in rows if row is not None and row.attempt.task is None]


def _is_invalid(run: Experiment) -> bool:
    return run.result is not None and run.result.outcome is Outcome.INVALID


def _doubt(incumbent: int, failed: Experiment) -> str:
    return (
        f"The incumbent, experiment {incumbent}, is in doubt: experiment {failed.number}, a run of its code, was "
        "invalid. It is not run again; candidates are compared with those of its runs that passed."
    )
