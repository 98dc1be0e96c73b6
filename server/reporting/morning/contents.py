"""What a report tells, in the order of its page; HTML, Markdown and JSON show the same."""

from pydantic import Field

from server.records import Value
from server.reporting.bill import Bill
from server.reporting.view_detail import DiffLine
from server.reporting.view_model import Standing, Summary


class Words(Value):
    """A piece of the lead paragraph."""

    text: str
    strong: bool = False
    gain: bool = False  # the number that everything is about
    quoted: bool = False  # the agent's own words


class Number(Value):
    """One of the six figures."""

    name: str
    value: str
    more: str


class KeptChange(Value):
    """A change that was kept."""

    number: int
    commit: str
    description: str
    hypothesis: str
    source: str  # where the idea comes from: as the agent told it, with the titles of the library's documents
    told: str  # gain and error
    change: float | None  # on the metric's scale
    error: float | None
    standing: Standing
    confirmations: int
    title: str
    text: str
    trust: str
    effects: list[str]  # on other figures
    diff: list[DiffLine]
    cut: int  # lines of the diff that are left out


class OtherChange(Value):
    """A change that was measured and not kept."""

    number: int
    description: str
    told: str  # how far it was from its incumbent; empty: not compared
    verdict: str


class Failure(Value):
    """Runs that ended without a score for one reason."""

    cause: str
    numbers: list[int]
    examples: list[str]  # what was tried, and what the run said


class Next(Value):
    """What nearly worked, and what is left to try."""

    near: list[str]
    pairs: list[str]
    ideas: list[str]
    notes: list[str]


class Report(Value):
    """All of it."""

    title: str
    about: list[str]  # branch, task, budget, machine
    alarms: list[str] = Field(default_factory=list[str])  # what a reader must know before the numbers
    lead: list[Words]
    numbers: list[Number]
    kept: list[KeptChange]
    kept_left: int  # earlier ones that are not listed
    categories: list[list[str]]  # kind of idea, tried, kept, brought
    agents: list[list[str]] = Field(default_factory=list[list[str]])  # name, tried, kept, sure, best gain, run time
    others: list[OtherChange]
    others_left: int  # that are not listed
    failures: list[Failure]
    next: Next
    trust: list[tuple[bool, str, str]]  # well or not, the fact, more of it
    bill: Bill
    made: str  # when, ISO 8601
    version: str
    summary: Summary
