"""What earlier attempts teach, as values."""

import json

from server.experiment import Value

_LINE = 80  # bytes of JSON: as many characters of English
_MORE = " …"


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
    """The night in short lines, newest first."""

    path: list[str]  # what was kept: how the incumbent came about
    recent: list[str]  # the last attempts
    near_misses: list[str]
    ideas: list[str]  # open ones, by number
    notes: list[str]

    def cut(self, most: int) -> "Memory":
        """The same in lines of at most so many bytes."""
        return Memory.model_validate({name: [brief(line, most) for line in lines] for name, lines in self})


def brief(text: str, most: int = _LINE) -> str:
    """One line of it, of so many bytes, cut after a word if there is one; history() has the whole."""
    line = " ".join(text.split())
    if _size(line) <= most:
        return line
    end, room = 0, most - _size(_MORE)
    while (room := room - _size(line[end])) >= 0:
        end += 1
    words = line[: end + 1].rpartition(" ")[0]
    return (words if 3 * _size(words) > 2 * most else line[:end]) + _MORE


def _size(text: str) -> int:
    """Bytes in an answer: a Chinese character has three, a quote two."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


class Lessons(Value):
    """What the night so far can teach."""

    attempts: int
    keep_rate: float | None
    since_last_keep: int  # runs
    gains: list[Gain]
    knobs: list[Tried]
    near_misses: list[NearMiss]
    combinations: list[str]  # untested pairs of near misses
