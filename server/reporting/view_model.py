"""One summary of a study: the numbers that status, report, chart, page, App and exports show. Pure.

A `change` is on the metric's scale: the value minus the other one, or on a log scale the natural logarithm of their
ratio. So is every error, which is a standard error. Whether a change is better, `metric.sign` says: 1 where higher is.
Whoever shows a summary computes nothing: what can be told of the numbers is in it.
"""

from enum import StrEnum
from typing import Any

from server.metric import Direction, Metric, Scale
from server.records import Value

VERSION = 1


class Kind(StrEnum):
    """What became of an experiment."""

    DISCARDED = "discarded"
    KEPT = "kept"
    FAILED = "failed"  # no score that counts
    OPEN = "open"  # measured, waits for a decision
    RUNNING = "running"
    REFUSED = "refused"  # by the preflight: it counts as no experiment
    REVOKED = "revoked"


class Standing(StrEnum):
    """How sure the gain of a kept change is."""

    NONE = ""  # it was not kept
    BASELINE = "baseline"
    SURE = "sure"  # two errors or more, by runs that did not select it; or four errors by the one that did
    NOISE = "noise"  # kept, within two errors
    PROVISIONAL = "provisional"  # two errors or more, but by the run alone that selected it


class MetricView(Value):
    """What is measured."""

    name: str
    unit: str  # empty where the name says it all
    direction: Direction
    scale: Scale
    sign: int  # 1: higher is better; -1: lower
    places: int | None  # decimals that are shown; None: scores may be of any size, six digits are shown

    @classmethod
    def of(cls, metric: Metric) -> "MetricView":
        unit = metric.unit if metric.places is None and metric.unit != metric.name else ""
        return cls(
            name=metric.name,
            unit=unit,
            direction=metric.direction,
            scale=metric.scale,
            sign=metric.sign,
            places=None if metric.places is None else 4,
        )


class StudyState(StrEnum):
    """What a study is doing."""

    RUNNING = "running"
    IDLE = "idle"  # its server waits for the agent
    PAUSED = "paused"
    STOPPED = "stopped"  # by the operator
    OVER = "over"  # a limit is reached
    OFF = "off"  # no server works here
    HANGS = "hangs"  # its server shows no sign of life
    EMPTY = "empty"  # nothing was measured yet


class StudyHead(Value):
    """Which study this is, and what it is doing."""

    tag: str
    task: str  # its name in program.md; empty: none
    metric: MetricView
    branch: str
    profile: str
    dataset: str
    budget: float | None  # seconds of training a run
    started: str  # of the first run, ISO 8601; empty: none yet
    elapsed: float  # seconds from the first run's start to the last one's end, or start
    state: StudyState
    asked: str = ""  # the operator's request: pause, stop or nothing; a run under way goes on under either
    why: str = ""  # why nothing is started, in a sentence


class Measured(Value):
    """The value of an experiment by the runs that did not select it."""

    number: int
    value: float
    error: float | None  # standard error, on the scale; None: no noise is known
    runs: int  # that did not select it; 0: `value` is the mean of its confirmations, or else of the run that did
    confirmations: int = 0
    description: str = ""
    commit: str = ""


class Headline(Value):
    """How far the study has come: the re-measured best beside the lucky single score."""

    baseline: Measured
    best: Measured
    single: Measured  # the best score of a single run of what is kept
    change: float  # from baseline to best
    error: float | None  # of the change
    percent: float | None
    provisional: bool  # no run of the best did not select it: it is probably too good
    better: bool  # whether the change is larger than two errors to the better side


class NoiseView(Value):
    """How much one run's score moves by itself."""

    sigma: float  # on the scale
    repeats: int  # degrees of freedom behind it; 0: assumed
    smallest: float  # change that the rule finds three times in four


class Counts(Value):
    """How many experiments became what; repeated runs count as `runs` alone."""

    experiments: int = 0  # without those that were refused or run
    runs: int = 0
    kept: int = 0  # without the baseline
    sure: int = 0
    noise: int = 0
    provisional: int = 0
    discarded: int = 0
    failed: int = 0
    open: int = 0
    refused: int = 0
    revoked: int = 0
    since_keep: int = 0  # experiments since the last keep


class Now(Value):
    """The run under way."""

    number: int
    of: int | None  # the experiment whose code is run again
    purpose: str
    description: str
    hypothesis: str
    stage: str
    node: str  # of an engine's, on which it is; empty: on none yet, or on the server's machine
    elapsed: float  # seconds of the stage's clock
    limit: float | None  # of the stage
    budget: float  # seconds of training
    share: float | None  # of the run that is done, 0 to 1
    eta: float | None  # seconds until the verdict, as earlier runs took
    steps: int | None
    loss: float | None
    curve: list[tuple[float, float]]  # seconds, loss
    against: list[tuple[float, float]]  # of the incumbent
    gap: float | None  # its loss minus the incumbent's at the same time of training, both smoothed


class Rows(Value):
    """Columns, one entry an experiment, the oldest first. Repeated runs are folded into the row that they repeat."""

    number: list[int] = []
    kind: list[int] = []  # place in `kinds`
    standing: list[int] = []  # place in `standings`
    verdict: list[int] = []  # place in `verdicts`
    value: list[float | None] = []  # as it counts
    first: list[float | None] = []  # of the run that selected it
    change: list[float | None] = []  # to its incumbent
    error: list[float | None] = []  # of the change
    value_error: list[float | None] = []  # of `again`; where there is none, of `value`
    runs: list[int] = []  # with a score, repeats included
    confirmations: list[int] = []
    against: list[int | None] = []  # the incumbent of its day
    started: list[int] = []  # seconds since the study's first run
    seconds: list[float | None] = []  # that the first run took
    category: list[int] = []  # place in `categories`
    description: list[str] = []
    comparable: list[int] = []  # 1: measured as the last run was; 0: by an earlier definition of the task
    again: list[float | None] = []  # of what was kept: the mean of the runs that did not select it, where there are any


class CategoryGain(Value):
    """What one kind of idea has brought."""

    category: str
    tried: int
    kept: int
    sure: int
    change: float  # sum over those kept
    error: float | None


class NearMiss(Value):
    """An attempt that may have been better."""

    number: int
    description: str
    change: float | None
    sigmas: float | None


class KnobPoint(Value):
    """One value that a knob was given."""

    number: int
    before: str
    after: str
    change: float | None
    kind: int


class Knob(Value):
    """Every value that a knob was given, oldest first."""

    name: str
    points: list[KnobPoint]


class LessonsView(Value):
    """What the study so far can teach."""

    gains: list[CategoryGain] = []
    near: list[NearMiss] = []
    pairs: list[str] = []  # near misses that were never tried together, and how they are
    knobs: list[Knob] = []


class NoteView(Value):
    """A note or an idea of the agent's."""

    number: int
    after: int  # the last experiment at that time; 0: none yet
    idea: bool
    open: bool
    text: str
    outcome: str


class Limit(Value):
    """How far the study is on its way to a limit of program.md."""

    name: str
    used: float | None
    of: float
    share: float | None  # 0 to 1
    told: str


class Fact(Value):
    """Something that is well or not, in words."""

    good: bool
    text: str
    more: str = ""
    numbers: list[int] = []  # experiments that it is about


class Health(Value):
    """Server and machine."""

    server: str  # on, off, hangs
    pulse: float | None  # seconds since its last sign of life
    guards: dict[str, str] = {}  # of the last run
    trust: str = ""  # of the last score
    device: str = ""
    disk_gb: float | None
    disturbed: int = 0  # runs in which the machine was not itself
    problems: list[str] = []  # sentences: failed audits, revocations, edits by others, what git has lost
    facts: list[Fact] = []  # how far to trust the study


class Hidden(Value):
    """Baseline and best on text that scored nothing, by `autoresearch report --hidden`."""

    baseline: float
    best: float
    number: int
    change: float
    error: float | None
    runs: int


class Spent(Value):
    """Seconds of runs, by what became of them."""

    seconds: float = 0.0
    kept: float = 0.0
    discarded: float = 0.0
    repeats: float = 0.0
    failed: float = 0.0


class Bill(Value):
    """What the agent has cost, as its client reports it."""

    client: str = ""
    starts: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    more: dict[str, Any] = {}


class LaneState(StrEnum):
    """Where a lane's candidate is, as far as rows tell it."""

    RUNNING = "running"
    QUEUED = "queued"
    OPEN = "open"  # measured, waits for a decision
    IDLE = "idle"  # nothing of it is measured: the agent works on it


class Lane(Value):
    """One of several candidates on their way; of those that run the one that began last is `Summary.now` as well."""

    name: str
    agent: str = ""  # who asked for its last run, by the name in its token; empty: it has none
    state: LaneState = LaneState.RUNNING
    number: int | None = None  # of its last run; None: none yet
    place: int | None = None  # in the queue, from 1
    slot: str = ""  # that its run is in; empty where there is one alone
    description: str = ""
    now: Now | None


class AgentView(Value):
    """What one of several agents has found."""

    name: str  # as its token has it; empty: of clients without a name
    experiments: int  # without the baseline, and without those that were refused or run
    kept: int
    sure: int
    best: int | None  # its kept change with the largest gain; None: it has none
    change: float | None  # of that one
    error: float | None
    seconds: float  # of all runs that it has asked for


class Summary(Value):
    """A study."""

    v: int = VERSION
    cursor: str = ""  # of the page's stream: boot.sequence
    quiet: float = 0.0  # seconds since the last run ended, or began
    study: StudyHead
    headline: Headline | None = None
    noise: NoiseView | None = None
    counts: Counts = Counts()
    now: Now | None = None
    lanes: list[Lane] = []  # none where there is one lane and one slot
    slots: int = 1  # runs that can be under way at once
    agents: list[AgentView] = []  # none where there is one agent alone
    kinds: list[str] = [str(kind) for kind in Kind]
    standings: list[str] = [str(standing) for standing in Standing]
    verdicts: list[str] = []
    categories: list[str] = []
    rows: Rows = Rows()
    lessons: LessonsView = LessonsView()
    notes: list[NoteView] = []
    limits: list[Limit] = []
    health: Health
    hidden: Hidden | None = None
    agent: str = ""  # which client works, if that is known
    spent: Spent = Spent()
    bill: Bill | None = None
