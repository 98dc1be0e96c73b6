"""Which of the runs that wait comes next. Pure.

What decides about a candidate, a confirmation or a run of the incumbent, goes before what is new. Between those of one
kind, the client that was served longest ago comes first, then the lane, then the row. A new candidate that many runs
have passed goes first: no lane starves.
"""

from collections.abc import Iterable, Sequence

from server.records import Experiment, Purpose

_PASSED = 6  # runs that one decision may take


def in_order(queued: Sequence[Experiment], started: Iterable[Experiment]) -> list[Experiment]:
    """The rows that wait, the next one first.

    Args:
        started: the last rows whose runs were started.
    """
    rows = list(started)
    served: dict[str, int] = {}
    for row in rows:
        served[_asker(row)] = max(served.get(_asker(row), 0), row.number)

    def place(row: Experiment) -> tuple[bool, int, int]:
        passed = sum(other.number > row.number for other in rows)
        decides = row.attempt.purpose is not Purpose.MEASURE
        return not decides and passed < _PASSED, served.get(_asker(row), 0), row.number

    return sorted(queued, key=place)


def _asker(row: Experiment) -> str:
    """The client; where its token has no name, the lane."""
    return row.attempt.agent or f"lane {row.attempt.lane or ''}"
