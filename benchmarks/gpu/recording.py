"""The supervisor, with what it sees of the audit written down: `python -P recording.py RUN_FOLDER`.

Nothing is judged otherwise. `measured.json` in the run folder then holds the seconds of claims and audit, and how far
the replica's answers are from the claims.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainer import supervisor
from trainer.evaluators import audit
from trainer.evaluators.trial import Trial

measured: dict[str, Any] = {}


def differences(claimed: Any, answered: Any, weights: Any) -> dict[str, float | int]:
    """Answers less claims in nats: what the tolerances of the audit bound."""
    difference = np.asarray(answered, np.float64) - claimed
    far = np.abs(difference)
    return {
        "positions": len(difference),
        "largest": float(far.max()),
        "mean_size": float(far.mean()),
        "p99": float(np.quantile(far, 0.99)),
        "mean": float(difference.mean()),
        "weighted_mean": float(np.average(difference, weights=weights)),
        "over_0.1": float((far > 0.1).mean()),
        "over_0.01": float((far > 0.01).mean()),
    }


def noting(judged: Callable[..., Any]) -> Callable[..., Any]:
    """`audit.objection`, noted; the last one of a run that counts, or the first that objects."""

    def objection(claimed: Any, answered: Any, weights: Any, device: str) -> Any:
        found = judged(claimed, answered, weights, device)
        if not measured.get("objected"):
            measured["audit"] = differences(claimed, answered, weights)
            measured["objected"] = found is not None
        return found

    return objection


def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        begun = time.monotonic()
        try:
            return method(*args)
        finally:
            measured[name] = round(time.monotonic() - begun, 3)

    return run


def main() -> None:
    audit.objection = noting(audit.objection)
    for name, method in (("claims_seconds", "_claims"), ("audit_seconds", "_audit")):
        setattr(Trial, method, timed(name, getattr(Trial, method)))
    try:
        supervisor.main()
    finally:
        (Path(sys.argv[1]) / "measured.json").write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
