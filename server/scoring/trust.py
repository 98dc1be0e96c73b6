"""What is said of a score that others could have made up. `records.trust_mark` has the table of marks. Pure."""

from collections.abc import Iterable

from server.records import Result, Trust

_PRINTED = "The score is printed by the code under test"
_UNCHECKED = "The trust is `printed`: the referee has read the number, but no judge has checked how it came about"


def describe_trust(results: Iterable[Result], read: bool = False) -> str:
    """What a keep on these results' scores would rest on, in a sentence; empty where it is on a judge's word.

    Args:
        read: whether the referee reads time or memory itself.
    """
    scored = [result for result in results if result.score]
    printed = any(result.score and result.score.trust is Trust.PRINTED for result in scored)
    unconfined = any(result.trust is Trust.UNCONFINED for result in scored)
    if printed:
        return f"{_UNCHECKED if read else _PRINTED}{', and no guard held' if unconfined else ''}."
    return "No guard held: the code under test could do whatever the operator's account can do." if unconfined else ""
