"""What one trial is about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EvaluationPlan:
    """What a trial trains and is measured on.

    `rows` uint16 [R, T + 1] are the evaluation's tokens; `secret` says that they are validation text, of which no word
    may come back but the score; `audits` positions are audited; `max_steps` ends training beside the clock.
    """

    rows: NDArray[np.uint16]
    secret: bool
    audits: int
    max_steps: int | None = None
