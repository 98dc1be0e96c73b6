"""What the ledger holds for and against the candidate: the runs that may be compared, and how much they scatter."""

import math
from collections import defaultdict

from server import verdict
from server.errors import AlreadyMeasured
from server.experiment import Attempt, Experiment, Purpose, Verdict
from server.ledger import Ledger
from server.noise import Noise, estimate, since_drift
from server.rule import Rule
from server.verdict import Assessment, Reference, mean

_LOOK_BACK = 40  # runs whose curves tell what a good one looks like
_NO_EXPERIMENTS = {Verdict.REFUSED, Verdict.CONFIRMATION, Verdict.REFERENCE, "kept"}
_NO_TRIALS = _NO_EXPERIMENTS | {Verdict.ENV_FAIL, Verdict.LOST, Verdict.CANCELLED, "running"}  # no idea had its trial
_HABIT = 2  # disturbed runs in a row; the next one shows the machine as it is
STALE_RUNS = 30  # after so many runs a machine may have changed


def segment(experiment: Experiment) -> tuple[object, ...]:
    """Scores are compared within one class of machine, software, data and budget alone, and in one state of it."""
    attempt = experiment.attempt
    figures = experiment.result.figures if experiment.result else None
    machine = (figures.device, figures.driver, figures.torch, figures.threads, figures.data) if figures else ()
    return (attempt.profile, attempt.budget_seconds, *machine, bool(experiment.disturbance))


def _circumstances(attempt: Attempt) -> tuple[str, str, float]:
    """What was asked for; what a run then had is its segment."""
    return attempt.profile, attempt.dataset, attempt.budget_seconds


def fair(ledger: Ledger, run: Experiment) -> bool:
    """Whether a run may be judged: not after a disturbance, unless both runs before it were disturbed, too.

    Then that is how this machine is, and runs are compared with others like it (`segment`).
    """
    if not run.disturbance:
        return True
    before = [ledger.get(number) for number in range(max(run.number - _HABIT, 1), run.number)]
    return len(before) == _HABIT and all(row and row.disturbance for row in before)


def scores(ledger: Ledger, runs: list[Experiment], like: Experiment) -> list[float]:
    """The scores of the runs that may be compared with `like`."""
    alike = [run for run in runs if run.val_bpb is not None and segment(run) == segment(like)]
    return [run.val_bpb for run in alike if run.val_bpb is not None and fair(ledger, run)]


def reference(ledger: Ledger, incumbent: Experiment, like: Experiment) -> Reference:
    """The incumbent, by the runs that did not select it."""
    fresh = [incumbent] if incumbent.attempt.baseline else []
    fresh += ledger.repeats(incumbent.number, Purpose.REFERENCE)
    provisional = incumbent.value if segment(incumbent) == segment(like) else None
    steady = since_drift(scores(ledger, fresh, like))
    return Reference(experiment=incumbent.number, scores=steady, provisional=provisional)


def good(ledger: Ledger, attempt: Attempt) -> list[int]:
    """Numbers of the last runs like this one that were any good: not worse than their incumbent."""
    rows = [row for row in ledger.page(_LOOK_BACK, 0) if row.val_bpb is not None and row.verdict != Verdict.WORSE]
    return [row.number for row in rows if _circumstances(row.attempt) == _circumstances(attempt)]


def noise(ledger: Ledger, like: Experiment) -> Noise:
    """The spread of one run's score, from the night's repeated runs."""
    groups: dict[tuple[int | None, Purpose], list[Experiment]] = defaultdict(list)
    for run in ledger.recent_repeats():
        groups[run.attempt.of, run.attempt.purpose].append(run)
    baseline = ledger.baseline()
    if baseline is not None:
        groups[baseline.number, Purpose.REFERENCE].append(baseline)
    level = like.val_bpb or 1.0
    return estimate([since_drift(scores(ledger, group, like)) for group in groups.values()], level)


def experiments(ledger: Ledger) -> int:
    """How many ideas were measured, or tried to be; neither refused ones nor runs that help to judge another."""
    return sum(count for verdict, count in ledger.counts().items() if verdict not in _NO_EXPERIMENTS)


def since_keep(ledger: Ledger, incumbent: Experiment | None) -> int:
    """How many ideas had their trial since one was kept."""
    counts = ledger.counts(after=incumbent.number) if incumbent else {}
    return sum(count for verdict, count in counts.items() if verdict not in _NO_TRIALS)


def assess(ledger: Ledger, candidate: Experiment, rule: Rule, simpler: bool) -> Assessment:
    """What the candidate's scores amount to against the incumbent's. Both have one.

    Args:
        rule: program.md's. simpler: whether the candidate has less code than the incumbent.
    """
    incumbent = ledger.incumbent()
    assert incumbent and incumbent.val_bpb is not None and candidate.val_bpb is not None
    if rule.keep_rule == "any":
        return verdict.any_lower(candidate.val_bpb, incumbent.val_bpb, incumbent.number)
    every = [candidate, *ledger.repeats(candidate.number, Purpose.CONFIRM)]
    judged = [run for run in every if run.val_bpb is not None and fair(ledger, run)]
    if not judged:
        return verdict.disturbed(every[-1].val_bpb or candidate.val_bpb, every[-1].disturbance)
    known, spread = reference(ledger, incumbent, judged[-1]), noise(ledger, judged[-1])
    runs = scores(ledger, judged, judged[-1])
    if len(runs) < rule.seeds:
        return verdict.unfinished(runs, known, rule.seeds)
    if len(runs) == rule.seeds:  # what is screened is their mean
        spread = Noise(sigma=spread.sigma / math.sqrt(len(runs)), repeats=spread.repeats)
    found = verdict.assess(mean(runs[: rule.seeds]), runs[rule.seeds :], known, spread, simpler)
    if found.next is Purpose.CONFIRM and candidate.number - _freshest(ledger, incumbent) > STALE_RUNS:
        why = f"{found.why} The incumbent was not measured for {STALE_RUNS} runs: it is run again beside it."
        return found.model_copy(update={"next": Purpose.REFERENCE, "why": why})
    return found


def _freshest(ledger: Ledger, incumbent: Experiment) -> int:
    """Number of the last run of the incumbent's train.py."""
    again = ledger.repeats(incumbent.number, Purpose.REFERENCE)
    return again[-1].number if again else incumbent.number


def value(ledger: Ledger, incumbent: Experiment) -> tuple[float | None, int]:
    """The incumbent's val_bpb as it counts, and how many runs it is the mean of; 0 when it is provisional."""
    known = reference(ledger, incumbent, incumbent)
    return (mean(known.scores) if known.scores else known.provisional), len(known.scores)


def require_new(ledger: Ledger, fingerprint: str, profile: str, dataset: str, budget_seconds: float) -> None:
    """Refuse code that was measured before. Raises AlreadyMeasured."""
    same = ledger.same_code(fingerprint)
    if same and _circumstances(same.attempt) == (profile, dataset, budget_seconds):
        raise AlreadyMeasured(
            f"But for comments, layout, prints and seeds this is experiment {same.number}, which was {same.verdict}: "
            f"val_bpb {same.value:.6f}.",
            "Change it further with apply_patch(patch), or call discard().",
        )
