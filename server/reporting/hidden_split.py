"""What `autoresearch report --hidden` has measured: baseline and best, trained again and scored on hidden text."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from server.paths import StudyPaths
from server.records import Attempt, Experiment
from server.reporting.view_model import Hidden
from server.reporting.view_rows import Scale
from server.runs.run_folder import RunFolders
from server.study.reruns import attempt_path

_SPLIT = "holdout"


def hidden_of(paths: StudyPaths, rows: Sequence[Experiment], scale: Scale) -> Hidden | None:
    """The gain on hidden text of the best of today; None where baseline and best were not both measured there."""
    runs = RunFolders(paths.reruns.runs)
    kept = [row for row in rows if row.kept and scale.comparable(row)]
    if len(kept) < 2 or not runs.folder.exists():
        return None
    scores = _scores(runs, scale)
    before, after = scores[kept[0].attempt.train_sha256], scores[kept[-1].attempt.train_sha256]
    if not before or not after:
        return None
    change = scale.between(after_mean := scale.metric.mean(after), before_mean := scale.metric.mean(before))
    return Hidden(
        baseline=before_mean,
        best=after_mean,
        number=kept[-1].number,
        change=change or 0.0,
        error=_error(before, after, scale),
        runs=min(len(before), len(after)),
    )


def _scores(runs: RunFolders, scale: Scale) -> dict[str, list[float]]:
    """The scores on hidden text, by the hash of what was trained. What its supervisor has not signed is none."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in sorted(runs.numbers()):
        folder = runs.of(number)
        if folder.spec().get("split") != _SPLIT:
            continue
        with suppress(OSError, ValueError):
            attempt = Attempt.model_validate_json(attempt_path(runs, number).read_bytes())
            result = folder.signed_result(attempt) if attempt.signer else folder.result()
            if result and result.score and not scale.metric.problem(result.score.value):
                found[attempt.train_sha256].append(result.score.value)
    return found


def _error(before: Sequence[float], after: Sequence[float], scale: Scale) -> float | None:
    """By the spread of the runs themselves; of a single run each by the study's noise."""
    if min(len(before), len(after)) < 2:
        return scale.error(len(before), len(after))
    places = [[scale.metric.place(score) for score in scores] for scores in (before, after)]
    return math.hypot(*(statistics.stdev(found) / math.sqrt(len(found)) for found in places))
