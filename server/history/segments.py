"""Segments: which runs may be compared with which, and what is said when program.md begins a new one.

Scores are compared within one class of machine, software, data, budget and definition of the task, and runs that had
others beside them with their like alone: two at once on a CPU cost each 3 to 9 % of its tokens. Where the operator
changes in program.md what is measured, or how (metric, direction, command, judge, checks), nothing is compared across:
the incumbent stays, its score of before does not count, and it is measured again before anything is held against it.
"""

from collections.abc import Sequence

from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Attempt, Experiment, Purpose, Trust
from server.task.definition import Task

_LOOK_BACK = 200  # runs among which a score is looked for
_HABIT = 2  # disturbed runs in a row; the next one shows the machine as it is


def segment(experiment: Experiment) -> tuple[object, ...]:
    """Two runs with the same segment may be compared, with each machine in one state of it."""
    attempt = experiment.attempt
    figures = experiment.result.figures if experiment.result else None
    machine = (figures.device, figures.driver, figures.torch, figures.threads, figures.data) if figures else ()
    eager = bool(figures and figures.compiler)  # the same train.py makes fewer steps
    asked = (attempt.task, *class_of(attempt), attempt.budget_seconds)
    return (*asked, *machine, eager, bool(experiment.disturbance))


def class_of(attempt: Attempt) -> tuple[str, bool]:
    """What was asked of the machine: the profile, and whether others could run beside it."""
    return attempt.profile, attempt.beside_others


def circumstances(attempt: Attempt) -> tuple[object, ...]:
    """What was asked for; what a run then had is its segment."""
    return attempt.profile, attempt.dataset, attempt.budget_seconds, attempt.task, attempt.beside_others


def undisturbed(ledger: Ledger, run: Experiment) -> bool:
    """Whether a run may be judged: not after a disturbance, unless both runs before it were disturbed, too.

    Then that is how this machine is, and runs are compared with others like it (`segment`).
    """
    if not run.disturbance:
        return True
    before = [ledger.get(number) for number in range(max(run.number - _HABIT, 1), run.number)]
    return len(before) == _HABIT and all(row and row.disturbance for row in before)


def comparable(ledger: Ledger, runs: Sequence[Experiment], like: Experiment) -> list[Experiment]:
    """The runs with a score that may be compared with `like`."""
    alike = [run for run in runs if run.score is not None and segment(run) == segment(like)]
    return [run for run in alike if undisturbed(ledger, run)]


def comparable_scores(ledger: Ledger, runs: Sequence[Experiment], like: Experiment, metric: Metric) -> list[float]:
    """The scores of the runs that may be compared with `like`, where they have a place on the metric's scale."""
    scores = [run.score.value for run in comparable(ledger, runs, like) if run.score]
    return [score for score in scores if not metric.problem(score)]


def current_task(ledger: Ledger) -> str | None:
    """The hash of the task that was measured last; rows of other tasks have scores of another kind."""
    last = ledger.last()
    return last.attempt.task if last else None


def metric_shown(rows: Sequence[Experiment], rule: Task) -> Metric:
    """The metric that these rows, oldest first, are shown by: that of the last one.

    Args:
        rule: program.md's, which may define another one that nothing was measured by yet.
    """
    last = rows[-1].attempt if rows else None
    if last is None or last.task == rule.sha256:
        return rule.measure
    if last.task is None:
        return Task().measure
    known = next((row.score for row in reversed(rows) if row.attempt.task == last.task and row.score), None)
    if known is None:
        return rule.measure
    direction, scale = last.direction or rule.direction, last.scale or "linear"
    return Metric(known.name, direction, known.unit, scale, rule.measure.scatter, places=None)


def current_metric(ledger: Ledger, rule: Task) -> Metric:
    """The metric that the last run was measured by."""
    if current_task(ledger) == rule.sha256:  # nearly always
        return rule.measure
    return metric_shown(ledger.page(_LOOK_BACK, 0)[::-1], rule)


def latest(ledger: Ledger, incumbent: Experiment, task: str | None) -> Experiment | None:
    """The incumbent, or the last of its further runs that measured this task; None if none did."""
    if incumbent.attempt.task == task:
        return incumbent
    again = ledger.repeats(incumbent.number, Purpose.REFERENCE)
    return next((run for run in reversed(again) if run.attempt.task == task and run.score), None)


def trust_so_far(ledger: Ledger, task: str | None) -> Trust | None:
    """What the evaluator of this task could give for the incumbent's score; None while it has given none."""
    incumbent = ledger.incumbent()
    found = latest(ledger, incumbent, task) if incumbent else None
    return found.score.trust if found and found.score else None


def changed_task(ledger: Ledger, task: str | None, paired: bool = False) -> str:
    """That program.md defines another task than the last run measured, and what follows; empty if it does not.

    For whoever is told where the study stands.

    Args:
        task: the hash of program.md's. paired: whether its runs measure the incumbent beside the candidate.
    """
    last = ledger.last()
    if last is None or last.attempt.task == task:
        return ""
    if ledger.baseline() is None:
        other = f"program.md defines a different measurement from that of experiment {last.number}"
        return f"{other}, and that had no score yet: the next run measures the baseline again."
    return _told(last, paired)


def begun(ledger: Ledger, candidate: Experiment, paired: bool) -> str:
    """That the candidate's run began a new segment, for its verdict; empty if it did not."""
    before = ledger.get(candidate.number - 1)
    return _told(before, paired) if before and before.attempt.task != candidate.attempt.task else ""


def _told(before: Experiment, paired: bool) -> str:
    name = f" ({before.score.name})" if before.score else ""
    first = "" if paired else " The incumbent is measured again first."
    return (
        "A new segment begins: program.md defines a different measurement from that of experiment "
        f"{before.number}{name}. Earlier scores are not compared with later scores.{first}"
    )
