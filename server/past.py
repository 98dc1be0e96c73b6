"""What earlier attempts teach, as values."""

from textwrap import shorten

from server.experiment import Value

_LINE = 80  # characters


class Similar(Value):
    """An earlier attempt that changed the same things."""

    experiment: int
    likeness: float  # 1: the very same places and knobs, if with other constants
    description: str
    verdict: str
    delta: float | None
    knobs: dict[str, str]  # "before → after"


class Gain(Value):
    """What one kind of idea has brought."""

    category: str
    tried: int
    kept: int
    gain: float  # sum of the deltas of those kept; negative is better


class Tried(Value):
    """The values that a knob was given."""

    knob: str
    values: list[str]


class NearMiss(Value):
    """An attempt that may have been better: too little to tell."""

    experiment: int
    description: str
    delta: float


class Memory(Value):
    """The night in lines of 80 characters, newest first."""

    path: list[str]  # what was kept: how the incumbent came about
    recent: list[str]  # the last attempts
    near_misses: list[str]
    ideas: list[str]  # open ones, by number
    notes: list[str]


def brief(text: str) -> str:
    """One line of it; history() has the whole."""
    return shorten(text, _LINE, placeholder=" …")


class Lessons(Value):
    """What the night so far can teach."""

    attempts: int
    keep_rate: float | None
    since_last_keep: int  # runs
    gains: list[Gain]
    knobs: list[Tried]
    near_misses: list[NearMiss]
    combinations: list[str]  # untested pairs of near misses
