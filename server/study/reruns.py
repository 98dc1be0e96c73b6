"""Runs after the night: a train.py again, by the same referee, on another split, for another time, at another size.

They are no experiments: the history does not know them, and no verdict comes of them, unless an audit fails.
"""

import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from server.errors import Unavailable
from server.files import write_whole
from server.history import audit_failures, revocations
from server.metric import Metric, percent
from server.records import Attempt, Experiment, Progress, Purpose, Result, Score, Value
from server.runs.executor import Executor, RunSite, ending, lasts_of, new_key, startable
from server.runs.run_folder import RunFolder, RunFolders
from server.runs.run_spec import draw_seed
from server.runs.spawn import trainer_hash
from server.source.candidate import Candidate
from trainer.contract import RunFile, public_half, utc_now

if TYPE_CHECKING:
    from server.study.study import Study

_LOOK_SECONDS = 0.2
_SURE = 2.0  # standard errors


class RerunRequest(Value):
    """What is asked of a train.py that was measured."""

    split: str = "val"  # or holdout: text that scores nothing at night
    budget_seconds: float | None = None  # None: that of the night
    seeds: int = 1
    knobs: dict[str, str] = Field(default_factory=dict[str, str])  # constants to turn first


class RerunResult(Value):
    """Every score of one train.py."""

    experiment: int
    scores: list[float]

    @property
    def mean(self) -> float:
        return math.fsum(self.scores) / len(self.scores)

    def error(self, metric: Metric) -> float | None:
        """Standard error of the mean on the metric's scale; None of a single score."""
        if len(self.scores) < 2:
            return None
        return statistics.stdev(map(metric.place, self.scores)) / math.sqrt(len(self.scores))


def rerun(
    study: "Study", experiments: Sequence[Experiment], question: RerunRequest, show: Callable[[str], None]
) -> list[RerunResult]:
    """Run every seed of every experiment, in turn, so that a drift of the machine meets them alike.

    Raises:
        PatchRefused: a train.py has no constant of that name.
        TextEnded: a run of one of them has failed its audit.
        Unavailable: a run has no score, or one of the night is under way; the sentence says which.
    """
    require_possible(study, question)
    candidates = {row.number: _candidate(study, row, question) for row in experiments}
    enter_failures(study, experiments)
    for candidate in candidates.values():
        audit_failures.require_sound(study.ledger, candidate)
    variants = [Variant(f"experiment {row.number}", row, candidates[row.number]) for row in experiments]

    def failed(variant: Variant, why: str) -> None:
        raise _scoreless(study, experiments, why)

    scores = run_variants(study, variants, question, show, failed)
    return [
        RerunResult(experiment=row.number, scores=[score.value for score in found])
        for row, found in zip(experiments, scores, strict=True)
    ]


class Variant(NamedTuple):
    """Code that is run beside the study's own."""

    name: str  # in a sentence
    row: Experiment  # whose circumstances it has
    candidate: Candidate
    commit: str = ""  # that has its files; empty: the row's


def run_variants(
    study: "Study",
    variants: Sequence[Variant],
    question: RerunRequest,
    show: Callable[[str], None],
    failed: Callable[[Variant, str], None],
) -> list[list[Score]]:
    """Run every seed of every variant, in turn, and return the scores of each.

    Args:
        failed: is told of a run without a score, and why; unless it raises, the variant is not run again.

    Raises:
        Unavailable: the device is busy, or a run cannot be started.
    """
    scores: list[list[Score]] = [[] for _ in variants]
    ended: set[int] = set()
    for repeat in range(question.seeds):
        seed = draw_seed()  # one for all: what is compared differs in nothing else
        for place, variant in enumerate(variants):
            if place in ended:
                continue
            told = f"{variant.name}, run {repeat + 1} of {question.seeds}"
            result = _run(
                study, variant, question, seed, lambda progress, told=told: show(f"{told}: {_line(progress)}")
            )
            if result.score is None:
                failed(variant, f"{told[0].upper()}{told[1:]} has no score: {result.reason}")
                ended.add(place)
            else:
                scores[place].append(result.score)
    return scores


def _run(
    study: "Study", variant: Variant, question: RerunRequest, seed: int, show: Callable[[Progress], None]
) -> Result:
    """One run of one variant, waited for."""
    executor, runs = _beside(study)
    key = new_key(executor)
    attempt = _attempt(variant.row, variant.candidate, question).model_copy(
        update={
            "number": 1 + max(runs.numbers(), default=0),
            "seed": seed,
            "signer": public_half(key) if key else "",
            "commit": variant.commit or variant.row.commit,  # the attempt's own is in no clone and in no bundle
        }
    )
    request = study.request(attempt, variant.candidate, key)
    asked: dict[str, object] = {"split": question.split, "preflight": False, "ceiling": [], "proven": False}
    # Nothing confirms what is asked after the night.
    asked |= {"first_look": False, "audit_factor": audit_failures.factor(study.ledger, Purpose.CONFIRM)}
    request = request.model_copy(update={"limits": request.limits.model_copy(update=asked)})
    if request.task and question.split != "val":
        request = request.model_copy(update={"task": study.program().task.final_terms(request.task)})
    last = study.ledger.last()
    slot = executor.require_free(attempt.profile, lasts_of([last] if last else []))
    attempt = attempt.model_copy(update={"slot": attempt.slot and slot.id})
    with startable():
        runs.folder.mkdir(parents=True, exist_ok=True)
        write_whole(attempt_path(runs, attempt.number), attempt.model_dump_json(exclude_none=True))
    executor.submit(request.model_copy(update={"slot": slot}))
    return _wait(executor, attempt, runs.of(attempt.number), show)


def require_possible(study: "Study", question: RerunRequest) -> None:
    """Refuse what a study cannot be asked now. Raises Unavailable."""
    study.settle()
    if any(not row.queued for row in study.ledger.unfinished()):
        raise Unavailable("An experiment of the study is running.", "Wait until it ends, or cancel it.")
    task = study.program().task
    if task.sha256 and question.knobs:
        raise Unavailable("This task has no DEPTH to change.", "Leave out --depth.")
    if task.sha256 and question.split != "val" and not task.hidden_final:
        step = "Give program.md a `hidden_final`, a judge that is used only after the study, or leave out --hidden."
        raise Unavailable("This task has no judge that is reserved for the end.", step)


def _scoreless(study: "Study", experiments: Sequence[Experiment], why: str) -> Unavailable:
    """Why there is no answer; a run that failed its audit is entered into the study first."""
    before = revocations.last_message(study.ledger)
    enter_failures(study, experiments)
    after = revocations.last_message(study.ledger)
    return Unavailable(f"{why} {after}" if after != before else why, "Look at its run.log.")


def attempt_path(runs: RunFolders, number: int) -> Path:
    """Where the attempt of a rerun is, whose signer tells the result of its supervisor from anybody else's."""
    return runs.folder / f"attempt-{number:05d}.json"


def _beside(study: "Study") -> tuple[Executor, RunFolders]:
    """Who starts reruns, and where they are."""
    site = RunSite.of(study.workspace.paths, study.workspace.paths.reruns, study.slots_asked)
    return study.engine(site), RunFolders(site.runs)


def enter_failures(study: "Study", experiments: Sequence[Experiment]) -> None:
    """Make rows of the study of runs that an audit has refuted: they end code and revoke keeps as any run does.

    A run of changed constants is another code's. What an earlier command has left behind when it was killed counts.
    A result that the run's supervisor has not signed does not.
    """
    executor, runs = _beside(study)
    by_text = {row.attempt.train_sha256: row for row in experiments}
    for number in sorted(runs.numbers()):
        attempt, folder = _written(attempt_path(runs, number)), runs.of(number)
        if attempt is None or attempt.number != number or folder.result() is None:
            continue
        row, unsigned = by_text.get(attempt.train_sha256), not attempt.signer and getattr(executor, "signs", False)
        result = ending(executor, attempt, folder) if row and not unsigned else None
        if row is None or result is None or not audit_failures.refuted(result):
            continue
        if not audit_failures.failure_of(study.ledger, study.workspace.files(row.commit)):
            _enter(study, row, attempt, folder.path)


def _enter(study: "Study", of: Experiment, made: Attempt, folder: Path) -> None:
    """Add a run of experiment `of`'s train.py, which was `made` beside the study's own and has ended in `folder`.

    Whatever follows from its result then follows, now or after the next start. Raises Unavailable, OSError.
    """
    candidate = study.workspace.files(of.commit)
    attempt = made.model_copy(
        update={
            "number": study.next_number(),
            "signed_as": made.number,
            "purpose": Purpose.REFERENCE,
            "of": of.number,
            "description": f"experiment {of.number} again, after the study",
            "hypothesis": "",
            "source": None,
            "parent": study.verdicts.base() or study.workspace.tip(),
            "fingerprint": candidate.fingerprint,
        }
    )
    attempt = attempt.model_copy(update={"commit": study.workspace.commit_attempt(attempt, candidate)})
    # Of a name that no run has: of a command that is killed here nothing counts, and the next one does it again.
    copied = study.runs.folder / "entering"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(folder, copied, symlinks=True, ignore=shutil.ignore_patterns(RunFile.PLACE))
    study.begin(attempt, None)
    copied.rename(study.runs.path(attempt.number))
    study.settle()


def _written(path: Path) -> Attempt | None:
    with suppress(OSError, ValueError):
        return Attempt.model_validate_json(path.read_bytes())
    return None


def gain_carries_over(before: RerunResult, after: RerunResult, metric: Metric) -> str:
    """What two answers say about the gain from one to the other."""
    old, new = before.mean, after.mean
    change = metric.number(new - old, 6, "+")
    told = f"{metric.number(old, 6)} → {metric.number(new, 6)} ({change}, {percent(old, new, 2)})"
    errors = before.error(metric), after.error(metric)
    if errors[0] is None or errors[1] is None:
        return f"{told}; with one run each, it may be luck"
    error = math.hypot(errors[0], errors[1])
    sure = "the gain holds" if metric.gain(new, old) > _SURE * error else "the gain does not show"
    return f"{told} ± {metric.shown_error(error)}: {sure}"


def _candidate(study: "Study", row: Experiment, question: RerunRequest) -> Candidate:
    candidate = study.workspace.files(row.commit)
    return candidate.with_constants(question.knobs) if question.knobs else candidate


def _attempt(row: Experiment, candidate: Candidate, question: RerunRequest) -> Attempt:
    return row.attempt.model_copy(
        update={
            "baseline": False,  # the kernels that later runs start from are those of the night's own
            "referee": trainer_hash(),
            "signed_as": None,
            "train_sha256": candidate.sha256,
            "budget_seconds": question.budget_seconds or row.attempt.budget_seconds,
            "started_at": utc_now(),
        }
    )


def _wait(executor: Executor, attempt: Attempt, folder: RunFolder, show: Callable[[Progress], None]) -> Result:
    run = executor.handle(attempt.number)
    try:
        while (result := ending(executor, attempt, folder)) is None:
            show(run.progress())
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        run.cancel("interrupted")
        raise
    return result


def _line(progress: Progress) -> str:
    return f"{progress.stage}, {progress.elapsed_seconds:.0f} s"
