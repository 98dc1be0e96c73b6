"""How far a score can be believed."""

from collections.abc import Mapping
from enum import StrEnum


class Trust(StrEnum):
    """How far a run's score can be believed, the best first: the lower of what evaluator and guards can give."""

    SEALED = "sealed"  # a language model's score, audited, and every guard held
    JUDGED = "judged"  # a judge that no code under test has met measured it, and every guard held
    AUDITED = "audited"  # the referee or a judge measured it, and some guard did not hold
    PRINTED = "printed"  # the code under test ran in the process that printed the number
    UNCONFINED = "unconfined"  # no guard held: the code under test could do what the operator's account can


def trust_mark(best: Trust, guards: Mapping[str, str]) -> Trust:
    """How far a score can be believed: the lower of what its evaluator and the guards around the code can give.

    | evaluator | every guard held | some held | none held |
    |---|---|---|---|
    | `sealed` | sealed | audited | unconfined |
    | `judged` | judged | audited | unconfined |
    | `karpathy` | audited | audited | unconfined |
    | `command` | printed | printed | unconfined |

    Args:
        best: the highest mark that the evaluator can give. guards: of each, "held" or why not.
    """
    held = [state == "held" for state in guards.values()]
    allowed = Trust.UNCONFINED if not any(held) else Trust.SEALED if all(held) else Trust.AUDITED
    return max(allowed, best, key=list(Trust).index)
