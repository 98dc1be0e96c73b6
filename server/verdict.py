"""Scores in, verdict out. Pure.

The rule is upstream's: strictly lower val_bpb wins. It knows nothing of noise yet, and a night of it keeps some luck.
"""

from server.experiment import Experiment, Result, Verdict


def judge(result: Result, incumbent: Experiment | None) -> tuple[Verdict, str, float | None]:
    """Compare a result with the incumbent's.

    Returns:
        The verdict, why in one sentence, and val_bpb minus the incumbent's (None where there is nothing to compare).
    """
    if result.score is None:
        return Verdict(result.outcome.value), result.reason, None
    measured = result.score.val_bpb
    if incumbent is None or incumbent.val_bpb is None:
        return Verdict.BASELINE, f"The baseline: val_bpb {measured:.6f}.", None
    delta = measured - incumbent.val_bpb
    against = f"val_bpb {measured:.6f} against {incumbent.val_bpb:.6f} of experiment {incumbent.number} ({delta:+.6f})"
    if delta < 0:
        return Verdict.IMPROVED, f"Lower: {against}.", delta
    return Verdict.WORSE, f"Not lower: {against}.", delta
