"""Ablation: the branch's text without each of its changes, trained again under the referee.

A change that helped at its hour may be worth nothing beside later ones.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from server.errors import TextEnded
from server.finalize.branch import Branch, Conflict, Merge, applied
from server.history import audit_failures
from server.metric import Metric
from server.records import Score
from server.reporting.morning.measured import with_error
from server.scoring.noise import all_alike, estimate_noise
from server.scoring.paired_rule import Pairs, pairs_of
from server.source.candidate import Candidate
from server.study.reruns import RerunRequest, Variant, require_possible, run_variants
from server.study.study import Study
from trainer.contract import utc_now

_SURE = 2.0  # standard errors
_WHOLE = "the whole"


class Worth(NamedTuple):
    """What the branch's text loses without one of its commits."""

    numbers: list[int]
    worth: float | None  # on the metric's scale, above 0: it is better with them; None: it could not be measured
    error: float | None
    why: str = ""  # of what could not be measured

    @property
    def useless(self) -> bool:
        """Whether the text is as good without, as far as the noise lets one see."""
        return self.worth is not None and self.error is not None and self.worth <= _SURE * self.error

    def text(self, metric: Metric) -> str:
        """As a trailer has it."""
        if self.worth is None:
            return f"not measured: {self.why}"
        size = with_error(metric, self.worth, self.error)
        if self.useless:
            harmful = self.error is not None and self.worth < -_SURE * self.error
            return f"worse than without: {size}" if harmful else f"no longer worth anything: {size}"
        return f"still worth {size}"


def ablate(study: Study, branch: Branch, merge: Merge, seeds: int, show: Callable[[str], None]) -> list[Worth]:
    """Run the branch's text, and the same without each commit, `seeds` times each. On the commit the study began with.

    Args:
        merge: base, ours and theirs of a file in one text, and where they conflict.

    Raises:
        Unavailable: an experiment is running, the device is busy, or the whole text has no score.
        TextEnded: a run of that text has failed its audit.
    """
    question = RerunRequest(seeds=seeds)
    require_possible(study, question)
    groups, failures = [commit.numbers for commit in branch.commits], dict[str, str]()
    variants = [_variant(study, branch, merge, _WHOLE, [])]
    audit_failures.require_sound(study.ledger, variants[0].candidate)
    for group in groups:
        try:
            made = _variant(study, branch, merge, _without(group), group)
            audit_failures.require_sound(study.ledger, made.candidate)
            variants.append(made)
        except (Conflict, TextEnded) as error:
            failures[_without(group)] = "later changes build on it" if isinstance(error, Conflict) else error.problem

    def failed(variant: Variant, why: str) -> None:
        failures[variant.name] = why.partition(" has no score: ")[2] or why

    scores = run_variants(study, variants, question, show, failed)
    found = {variant.name: told for variant, told in zip(variants, scores, strict=True)}
    metric = study.program().task.measure
    return [_worth(group, found, failures, metric) for group in groups]


def _without(group: Sequence[int]) -> str:
    return f"all without {', '.join(map(str, group))}"


def _variant(study: Study, branch: Branch, merge: Merge, name: str, without: Sequence[int]) -> Variant:
    """The text that the branch's changes make of the study's first one, less some. Raises Conflict."""
    kept, workspace = branch.kept, study.workspace
    files: dict[str, str] = dict(workspace.files(kept.base))
    taken = sorted(number for commit in branch.commits for number in commit.numbers)

    for number in taken:
        if number not in without:
            for path, text in applied(kept.changes[number], files.get, merge, f"Experiment {number}").items():
                files.pop(path, None)
                files |= {path: text} if text is not None else {}
    candidate, row = Candidate(files), kept.rows[-1]
    commit = workspace.commit(candidate, row.attempt.parent, f"{name}\n", utc_now())
    return Variant(name, row, candidate, commit)


def _worth(group: list[int], found: dict[str, list[Score]], failures: dict[str, str], metric: Metric) -> Worth:
    whole, without = found[_WHOLE], found.get(_without(group), [])
    if not whole or not without:
        why = failures.get(_WHOLE) or failures.get(_without(group)) or "it has no score"
        return Worth(group, None, None, why)
    pairs = [[known for score in scores if (known := pairs_of(score, metric))] for scores in (whole, without)]
    if all(pairs):  # each beside the study's incumbent
        with_it, without_it = (_of_pairs(side) for side in pairs)
        return Worth(group, with_it[0] - without_it[0], math.hypot(with_it[1], without_it[1]))
    every = [[metric.place(score.value) for score in scores] for scores in found.values() if scores]
    level = metric.level(whole[0].value)
    sigma = 0.0 if all_alike(every) else estimate_noise(every, level, metric.scatter).sigma
    worth = metric.gain(_mean(whole, metric), _mean(without, metric))
    return Worth(group, worth, sigma * math.sqrt(1 / len(whole) + 1 / len(without)))


def _of_pairs(runs: Sequence[Pairs]) -> tuple[float, float]:
    """Their mean gain, and the larger of what the runs say of its error and of how they scatter."""
    gains = [run.gain for run in runs]
    within = math.hypot(*(run.error for run in runs)) / len(runs)
    between = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return statistics.fmean(gains), max(within, between)


def _mean(scores: Sequence[Score], metric: Metric) -> float:
    return metric.mean([score.value for score in scores])
