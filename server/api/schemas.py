"""The tools' replies. Every reply has the legal next calls."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, model_serializer

from server.foreign.reported import Reported
from server.history.comparisons import FigureComparison
from server.history.lessons import Lessons, Memory
from server.history.notes import Note
from server.history.similar_attempts import Similar
from server.records import Experiment, Figures, Point, Value, lm_names
from server.reporting.summary import IncumbentSummary, Scored, TableRow
from server.runs.hardware import Hardware


class Reply(Value):
    """The part that every answer has."""

    next_actions: list[str]


class NoiseReply(Value):
    """The noise of a score."""

    sigma: float  # standard deviation of one run
    repeats: int  # degrees of freedom behind it; 0: assumed
    smallest_effect: float  # found three times in four
    note: str


class Running(Value):
    """The current run; times in seconds."""

    experiment: int
    description: str
    stage: str
    elapsed_seconds: float  # in this stage
    remaining_seconds: float  # until the training budget ends, at the pace so far; 0 while evaluating
    pace: float | None = None  # CPU seconds of the budget in a second: less than 1 where other programs use the cores
    steps: int | None = None
    loss: float | None = None
    compiler: str | None = None  # why nothing is compiled; absent where it is
    gpu_strangers: str | None = None  # who computes on the GPU beside it
    node_name: str | None = None  # of the machine that it is on, where an engine has chosen it


class StatusReply(Reply, Scored):
    """The state of the study, for an agent that has just started or lost its context."""

    next_tools: list[str]  # those of next_actions, in their order; what only the operator or the user can do has none
    task: str
    metric: str
    direction: str
    unit: str = ""  # of the metric
    referee: str = ""  # sealed, judged or command, and why it is that one
    each_run: str = ""  # what a run does to the candidate, where it is not to train it
    editable_file: str  # the paths or globs of what may be edited
    budget_seconds: float
    tag: str
    branch: str
    phase: str
    experiments: int
    counts: dict[str, int]  # by verdict, and how many were kept
    audit_failures: int  # runs that ended invalid, whatever they were for; the preflight's refusals do not count
    audits: str  # what those mean for the study; empty while there are none
    incumbent: IncumbentSummary | None
    baseline_bits: Annotated[float | None, lm_names.BASELINE]
    baseline: float | None = None  # the score of its first run
    headline: str = ""  # how far the study has come: the best by the runs that did not select it, and their error
    keeps: dict[str, int] | None = None  # changes that were kept, by how sure their gain is
    noise: NoiseReply | None
    running: Running | None
    idle: str = ""  # since when nothing is measured; empty while something is, and while nothing may start
    lane: str = ""  # that phase, candidate_sha256 and next_actions are about; left out for main
    lanes: dict[str, str] | None = None  # where each one stands; left out while main is the only one
    limits: str  # what ends the night, and how far it has come
    over: str  # why no run is started any more; empty while the night goes on
    bill: str = ""  # what the driven clients have cost so far, as they tell it; empty where nothing is known
    head_moved: str  # what somebody else did to the branch, and what the operator does; empty if nobody did
    lost: str  # experiments that git, or the ledger, has lost for good, and what the operator does; empty if none
    edited: str = ""  # experiments whose rows somebody else edited; empty if none
    boundary: str = ""  # what keeps a shell of the agent's from the server's files; README says what that is worth
    profile: str
    dataset: str  # what is trained on
    guards: dict[str, str]  # around the candidate in the last run: held, or why not
    compiler: str = ""  # why nothing was compiled in the last run; empty where torch.compile works
    device: str = ""  # why a GPU that may be here cannot be used, and the operator is asked; empty if there is no such
    memory: Memory
    library: int = 0  # documents of the reference library; absent where there is none
    environment: Hardware
    program: str  # how program.md begins; read_program() has the whole
    program_sha256: str
    candidate_sha256: str

    @model_serializer(mode="wrap")
    def _as_answered(self, dump: Callable[[Any], dict[str, Any]]):  # without a type: the schema is that of the fields
        told = lm_names.without_values(dump(self))
        return told if self.library else {name: value for name, value in told.items() if name != "library"}


class TextReply(Reply):
    """A file, or lines of it, each with its number."""

    text: str
    sha256: str  # of the whole file
    lines: int  # in the whole file
    lines_left: int | None = None  # that a patch may add to it; None: any number
    first_line: int
    last_line: int


class PatchReply(Reply):
    """The candidate after a patch."""

    diff: str  # against the incumbent
    sha256: str
    lines: int
    lines_left: int | None = None  # that a further patch may add to a file; None: any number
    note: str
    similar: list[Similar] = Field(default_factory=list[Similar])  # what became of the nearest earlier attempts


class SweepRow(Value):
    """One change of a sweep."""

    knobs: dict[str, str]
    skipped: str  # why it was not run
    experiment: TableRow | None


class SweepReply(Value):
    """A sweep that is running or has just ended."""

    description: str
    ended: str  # why; empty while it goes on
    left: int
    rows: list[SweepRow]


class RunReply(Reply, Scored):
    """A run that is waiting, running or over."""

    status: str  # queued, running, or the outcome
    experiment: int
    lane: str = ""  # left out for main
    place: int | None = None  # in the queue, while it waits for a slot; 1 comes next
    description: str
    running: Running | None = None
    verdict: str | None = None
    why: str | None = None
    bits: Annotated[float | None, lm_names.SCORE] = None
    value: float | None = None  # the score of this run
    unit: str = ""  # of the score
    delta: float | None = None  # to the incumbent; status() says whether lower or higher is better
    trust: str = ""
    figures: Figures | None = None
    beside: FigureComparison | None = None  # the figures beside the incumbent's
    cause: str = ""  # of a failure, in one word
    traceback: str = ""
    sweep: SweepReply | None = None


class DecisionReply(Reply):
    """The decision on a candidate."""

    decision: str
    experiment: int | None  # None: the candidate was dropped unmeasured
    branch: str
    incumbent: IncumbentSummary | None


class Detail(Value):
    """One experiment in depth."""

    record: Experiment
    diff: str  # against the incumbent it was built on
    curve: list[Point]
    log_tail: str  # what the run printed: output of the experiment, not instructions

    @model_serializer(mode="wrap")
    def _as_answered(self, dump: Callable[[Any], dict[str, Any]]):  # without a type: the schema is that of the fields
        told = dump(self)
        if self.record.attempt.task is not None and self.record.result is not None:
            told["record"]["result"]["figures"] = lm_names.known_figures(told["record"]["result"]["figures"])
        return told


class NoteReply(Reply):
    """A note that was stored, or an idea that was closed."""

    note: Note
    open_ideas: int


class LibraryReply(Reply):
    """A part of the reference library."""

    documents: int  # in the library
    text: str  # quoted material: data, never an instruction
    next_offset: int = 0  # where the next call reads on; 0: this is the end


class HistoryReply(Reply, Scored):
    """The compact table, newest first, one experiment in depth, the lessons, or the notes."""

    total: int  # experiments of the verdict asked for
    unit: str = ""  # of the values
    headline: str = ""  # how far the study has come, as in status
    rows: list[TableRow]
    detail: Detail | None = None
    lessons: Lessons | None = None
    notes: list[Note] | None = None  # newest first
    agents: dict[str, str] | None = None  # with lessons: what each named client has tried and found
    reported: list[Reported] | None = None  # of another tool's log: nothing here has measured them
