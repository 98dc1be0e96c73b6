"""What a study cost: time of the device by what came of it, and what the agent's client says of tokens and money."""

import math
from collections.abc import Iterable
from contextlib import suppress

from pydantic import Field, ValidationError

from server.files import write_whole
from server.paths import StudyPaths
from server.records import Experiment, Value
from server.reporting import view_model

_KINDS = {
    "kept": "runs of what was kept",
    "discarded": "runs of what was not",
    "repeats": "repeated runs, which judge the others",
    "failed": "runs that failed",
}


class AgentBill(Value):
    """What the clients of a study have reported, all starts together. Tokens from a cache count as tokens in."""

    client: str = ""
    starts: int = Field(default=0, ge=0)
    tokens_in: int = Field(default=0, ge=0)
    tokens_cached: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)
    usd: float | None = Field(default=None, ge=0)  # None: the client tells no price

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class Bill(Value):
    """All of it. Seconds are those of whole runs, set-up and evaluation as well."""

    device: str = ""
    seconds: float = 0.0
    by: dict[str, float] = Field(default_factory=dict[str, float])  # by what the runs were: kept, discarded, ...
    sure_gains: int = 0
    agent: AgentBill | None = None

    @property
    def time_of(self) -> str:
        """What the seconds are those of, as people call it."""
        return "GPU" if self.device and self.device.lower() != "cpu" else "run time"

    @property
    def seconds_a_gain(self) -> float | None:
        """Of the device, for one sure gain."""
        return self.seconds / self.sure_gains if self.sure_gains else None

    def lines(self) -> list[tuple[str, float]]:
        """Seconds by what they were for, as people are told."""
        found = [(told, self.by[kind]) for kind, told in _KINDS.items() if self.by.get(kind)]
        found.append(("all runs together", self.seconds))
        each = self.seconds_a_gain
        return [*found, *([("runs for one sure gain", each)] if each else [])]

    @property
    def usd_a_gain(self) -> float | None:
        """Of the agent, for one sure gain."""
        usd = self.agent.usd if self.agent else None
        return usd / self.sure_gains if usd is not None and self.sure_gains else None


def make_bill(rows: Iterable[Experiment], sure_gains: int, agent: AgentBill | None) -> Bill:
    """Of all rows of a study."""
    spent: dict[str, list[float]] = {}
    device = ""
    for row in rows:
        figures = row.result.figures if row.result else None
        if figures is None:
            continue
        device = figures.device or device
        spent.setdefault(_kind(row), []).append(figures.total_seconds or 0.0)
    by = {kind: math.fsum(seconds) for kind, seconds in spent.items()}
    return Bill(device=device, seconds=math.fsum(by.values()), by=by, sure_gains=sure_gains, agent=agent)


def _kind(row: Experiment) -> str:
    if row.value is None:
        return "failed"
    if row.attempt.of is not None:
        return "repeats"
    return "kept" if row.kept else "discarded"


def read_agent_bill(paths: StudyPaths) -> AgentBill | None:
    """What `drive` has written down; None where nobody drove the study, or the file cannot be read."""
    with suppress(OSError, ValidationError):
        return AgentBill.model_validate_json(paths.bill.read_bytes())
    return None


def bill_view(paths: StudyPaths) -> view_model.Bill | None:
    """The same as a summary shows it; None where nothing is known."""
    if (told := read_agent_bill(paths)) is None or not told.starts:
        return None
    return view_model.Bill(
        client=told.client,
        starts=told.starts,
        tokens_in=told.tokens_in,
        tokens_out=told.tokens_out,
        cost_usd=told.usd,
        more={"tokens_cached": told.tokens_cached},
    )


def bill_in_words(paths: StudyPaths) -> str:
    """What the clients have cost so far, in a line; empty where nothing is known."""
    told = read_agent_bill(paths)
    if told is None or not told.tokens:
        return ""
    price = "" if told.usd is None else f", ${told.usd:.2f}"
    used = f"{tokens_in_words(told.tokens_in)} tokens in, {tokens_in_words(told.tokens_out)} out"
    return f"{told.client}: {used}{price}"


def write_agent_bill(paths: StudyPaths, bill: AgentBill) -> None:
    """Write it down, once the study has a folder. Raises OSError."""
    if paths.state.is_dir():
        write_whole(paths.bill, bill.model_dump_json())


def tokens_in_words(count: int) -> str:
    """A number of tokens as people say it.

    >>> tokens_in_words(8_412_000), tokens_in_words(391_000), tokens_in_words(7)
    ('8.4 M', '391 k', '7')
    """
    if count >= 999_500:
        return f"{count / 1e6:.1f} M"
    return f"{count / 1e3:.0f} k" if count >= 1000 else str(count)


def time_in_words(seconds: float) -> str:
    """A stretch of time as people say it.

    >>> time_in_words(49_800), time_in_words(300), time_in_words(12.4)
    ('13 h 50 min', '5 min', '12 s')
    """
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
