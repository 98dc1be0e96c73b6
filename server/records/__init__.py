"""The values everything else speaks in: frozen, and true for as long as they exist.

An experiment grows by addition, never by filling in blanks: an `Attempt` is a fact when the run starts, a
`Result` when it ends, a `Judgement` when the result has been compared, a `Decision` when somebody decided, a
`Revocation` when a later audit has shown that what was kept must not stand.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_serializer, model_validator

from server.metric import Direction, Scale
from server.records import lm_names
from server.records.trust import Trust, trust_mark

MAIN = "main"  # the lane whose worktree is on the study's branch; no row names it
SLOWED_SHARE = 0.1  # of a training; less is no disturbance


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )


class Outcome(StrEnum):
    """How a run ended. Only `finished` has a score."""

    FINISHED = "finished"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OOM = "oom"
    INVALID = "invalid"
    REFUSED = "refused"  # by the preflight: no time was spent on it, and it counts as no experiment
    ENV_FAIL = "env_fail"
    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPED_EARLY = "stopped_early"  # its loss was hopeless, and program.md says not to wait


class Purpose(StrEnum):
    """What a run is for."""

    MEASURE = "measure"  # a new train.py, or the baseline
    CONFIRM = "confirm"  # the promising candidate again
    REFERENCE = "reference"  # the incumbent again


class Verdict(StrEnum):
    """What a result means for the incumbent; a run without a score has its outcome as its verdict."""

    BASELINE = "baseline"
    PROMISING = "promising"  # better once: more runs decide
    IMPROVED = "improved"
    SIMPLER = "simpler"  # not worse, with less code
    WITHIN_NOISE = "within_noise"
    WORSE = "worse"
    GUARDRAIL = "guardrail"  # better or not: a figure is out of the bounds that program.md sets
    CONFIRMATION = "confirmation"  # a run that helped to judge another experiment, as the next one
    REFERENCE = "reference"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OOM = "oom"
    INVALID = "invalid"
    REFUSED = "refused"
    ENV_FAIL = "env_fail"
    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPED_EARLY = "stopped_early"


class Attempt(Value):
    """What was started: one commit, one budget."""

    number: int = Field(ge=1)
    baseline: bool
    purpose: Purpose = Purpose.MEASURE
    of: int | None = None  # the experiment whose train.py is run again; None for a new one
    description: str
    hypothesis: str = ""
    source: str | None = None  # where the idea comes from: ids of library documents, addresses; None: not told
    parent: str  # commit of the incumbent this was built on
    commit: str  # commit that holds the train.py under test
    train_sha256: str
    fingerprint: str = ""  # of the code without comments and prints
    compressed_bytes: int | None = None  # of the text under test: how much it can carry (server.source.candidate)
    task: str | None = None  # hash of program.md's definition of what is measured, and how; None: a language model
    direction: Direction | None = None  # which scores are better; None: a language model, or of an earlier version
    scale: Scale | None = None  # that they are compared on; None likewise
    referee: str | None = None  # hash of the trainer's code; None: of an earlier version
    signer: str | None = None  # checks the signature of the result; None: of a run that nobody signs
    signed_as: int | None = None  # the number that was signed, of a run that was made beside the study; None: its own
    profile: str
    dataset: str = "embedded"
    seed: int
    budget_seconds: float = Field(gt=0)
    started_at: str  # ISO 8601, UTC; for people: order is by number. While it is queued: when it was asked for
    lane: str | None = None  # whose candidate it runs; None: main
    agent: str | None = None  # the client that asked for it, by the name that its token carries; None: it has none
    queued_at: str | None = None  # when it was asked for, if no slot was free then
    slot: str | None = None  # that it ran in; None: the executor has one slot, which is "0"
    concurrency: int | None = None  # runs that could be under way at once when it was made; None: 1

    @property
    def beside_others(self) -> bool:
        """Whether other runs could be under way at the same time."""
        return (self.concurrency or 1) > 1

    @property
    def committed_at(self) -> str:
        """The date of its commits, which are made before a run that waits is started."""
        return self.queued_at or self.started_at


class Score(Value):
    """What an evaluator measured."""

    name: str = Field(min_length=1)  # of the metric
    value: float
    unit: str = ""
    trust: Trust = Trust.SEALED  # the highest mark that this evaluator can give
    details: dict[str, int | float] = {}  # what the value was made from, by name

    @model_validator(mode="before")
    @classmethod
    def _any_form(cls, data: Any) -> Any:
        return lm_names.read_score(data)

    @model_validator(mode="after")
    def _can_be_read_again(self) -> "Score":
        lm_names.read_score(lm_names.stored_score(dict(self)))
        return self

    @model_serializer(mode="wrap")
    def _stored_form(self, dump: Callable[["Score"], dict[str, Any]]) -> dict[str, Any]:
        return lm_names.stored_score(dump(self))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        while schema["type"] != "model":  # the validators around it
            schema = schema["schema"]
        return lm_names.score_schema({**handler(schema["schema"]), "additionalProperties": False})


class Figures(Value):
    """What is known about a run besides its score; a figure that was never reached is absent.

    Those in MEASURED are the referee's own. Those that are marked as told, and those that follow from them, are the
    word of train.py's process, which may tell anything: no verdict stands on them. An evaluator may add figures of its
    own: finite numbers, by name.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "additionalProperties": {"type": "number"},
            "description": "What is known about a run besides its score; a figure that was never reached is absent.",
        },
    )
    __pydantic_extra__: dict[str, Annotated[float, Field(strict=True)]] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride] - as pydantic asks

    steps: int | None = None  # told
    tokens: int | None = None  # told: training tokens seen
    tokens_per_second: float | None = None  # follows from what is told, as the three below
    epochs: float | None = None  # how often the training text was seen
    ms_per_step: float | None = None
    mfu: float | None = None  # share of the device's peak, where that is known; attention not counted
    loss: float | None = None  # told: the last training loss, nats per token
    grad_norm: float | None = None  # told: the last one
    parameters: int | None = None  # told
    weights_mb: float | None = None  # MiB of the weights as they were handed in
    peak_memory_mb: float | None = None  # MiB of all processes of the run: on a GPU by the driver, else resident
    told_peak_memory_mb: float | None = None  # told: CUDA allocator on a GPU, resident set elsewhere
    preflight_seconds: float | None = None
    setup_seconds: float | None = None
    setup_cpu_seconds: float | None = None
    training_seconds: float | None = None  # of the budget: CPU seconds on a CPU, wall time elsewhere
    training_wall_seconds: float | None = None
    evaluation_seconds: float | None = None
    evaluation_cpu_seconds: float | None = None  # of claims and audit
    audits: int | None = None  # positions at which the score was audited
    audit_factor: int | None = None  # how many times the profile's they are; 0: a first look, at fewer
    starting_seconds: float | None = None  # what no other figure counts: processes start, and torch is imported
    total_seconds: float | None = None
    device: str | None = None
    torch: str | None = None
    threads: int | None = None
    compiler: str | None = None  # absent where it works; else why nothing was compiled
    data: str | None = None  # key of the tokenised data: corpus, tokenizer and format
    unkillable: str | None = None  # pids that SIGKILL did not end
    gpu_held: str | None = None  # pids, as the driver numbers them, that did not give the GPU back
    driver: str | None = None  # of the GPU, as the four below
    slowed_share: float | None = None  # of the training, by heat or by a lack of power
    gpu_clock_mhz: int | None = None
    gpu_celsius: int | None = None  # at the most
    gpu_strangers: str | None = None  # other processes that computed on it
    node_name: str | None = None  # of the machine, where an engine has chosen it

    def number(self, name: str) -> float | None:
        """A figure by name, known or an evaluator's own; None if it is absent, or no number."""
        found = getattr(self, name, None)
        return found if isinstance(found, int | float) else None

    def of_other_kind(self, name: str) -> bool:
        """Whether a figure of this name cannot be compared with one of this version.

        Earlier versions, which did not measure the set-up, took a GPU's memory from torch's allocator.
        """
        return name == "peak_memory_mb" and self.driver is not None and self.setup_cpu_seconds is None

    @property
    def disturbance(self) -> str:
        """Why the machine was not itself during the training; empty if it was."""
        if self.gpu_strangers:
            return f"the GPU was shared with {self.gpu_strangers}"
        if (share := self.slowed_share or 0.0) > SLOWED_SHARE:
            return f"heat or a lack of power slowed the GPU down for {100 * share:.0f} % of the time"
        return ""


MEASURED = tuple(  # numbers that the referee measures itself
    "peak_memory_mb weights_mb preflight_seconds setup_seconds setup_cpu_seconds training_seconds "
    "training_wall_seconds evaluation_seconds evaluation_cpu_seconds starting_seconds total_seconds audits "
    "audit_factor slowed_share gpu_clock_mhz gpu_celsius".split()
)


class Result(Value):
    """How a run ended, as its supervisor wrote it down."""

    outcome: Outcome
    reason: str  # one sentence for a researcher
    score: Score | None = None
    figures: Figures = Figures()
    cause: str = ""  # of a failure, in one word (trainer.run.failure_cause); empty where the outcome says it all
    traceback: str = ""  # the lines of train.py's traceback that matter
    guards: dict[str, str] = {}  # guard around train.py: "held", or why not
    finished_at: str

    @property
    def trust(self) -> Trust:
        """The lower of what the guards allow and what the evaluator can give."""
        return trust_mark(self.score.trust if self.score else Trust.SEALED, self.guards)

    @model_validator(mode="after")
    def _score_iff_finished(self) -> "Result":
        if (self.outcome is Outcome.FINISHED) != (self.score is not None):
            raise ValueError("a score belongs to a finished run, and to no other")
        return self


class Judgement(Value):
    """A result compared with the incumbent of its day."""

    verdict: Verdict
    why: str
    incumbent: int | None = None  # number of the experiment it was compared with
    delta: float | None = None  # the value minus the incumbent's, whichever way is better
    value: float | None = None  # the score as it counts: the mean of the confirmations, where there were any
    commit: str  # the attempt's commit again, its outcome added to the message as trailers


class Decision(Value):
    """What became of a judged experiment."""

    kept: bool
    reason: str = ""
    decided_at: str
    agent: str | None = None  # who decided, where that was another client than the one that asked for the run


class Revocation(Value):
    """Why a keep does not stand any more: the code, or code that it was built on, has failed an audit since."""

    by: int  # the run whose audit failed
    of: int  # the kept experiment whose code that run had: the revoked one itself, or one that it was built on
    revoked_at: str


class Experiment(Value):
    """One row of the history."""

    attempt: Attempt
    result: Result | None = None
    judgement: Judgement | None = None
    decision: Decision | None = None
    revocation: Revocation | None = None  # of a decision to keep

    @property
    def number(self) -> int:
        return self.attempt.number

    @property
    def running(self) -> bool:  # or queued
        return self.result is None

    @property
    def queued(self) -> bool:
        """Whether it waits for a slot. A row that has waited is given its slot when its run starts."""
        return self.result is None and self.attempt.queued_at is not None and self.attempt.slot is None

    @property
    def kept(self) -> bool:
        """Whether it was kept, and that stands."""
        return self.decision is not None and self.decision.kept and self.revocation is None

    @property
    def score(self) -> Score | None:
        """What this run alone has measured."""
        return self.result.score if self.result else None

    @property
    def value(self) -> float | None:
        """The score as it counts: by the confirmations, where there were any; None once an audit has ended the code."""
        if self.verdict == Verdict.INVALID or self.revocation:
            return None
        if self.judgement and self.judgement.value is not None:
            return self.judgement.value
        return self.score.value if self.score else None

    @property
    def disturbance(self) -> str:
        """Why the machine was not itself during the run; empty if it was."""
        return self.result.figures.disturbance if self.result else ""

    @property
    def trust(self) -> str:
        """How far the figures can be believed; empty where there are none."""
        return self.result.trust.value if self.result and self.value is not None else ""

    @property
    def verdict(self) -> str:
        """The verdict's name, `running` or `queued`."""
        return self.judgement.verdict.value if self.judgement else "queued" if self.queued else "running"

    @property
    def label(self) -> str:
        """The verdict's name, or `revoked`."""
        return "revoked" if self.revocation else self.verdict

    @property
    def described(self) -> str:
        """What it tries; of a lane beside main, with its name."""
        lane, tries = self.attempt.lane, self.attempt.description
        return f"[{lane}] {tries}" if lane else tries

    @property
    def commit(self) -> str:
        """The commit that stands for this experiment in git."""
        return self.judgement.commit if self.judgement else self.attempt.commit


def decision_name(experiment: Experiment) -> str:
    """kept, discarded, revoked, or what it waits for; empty for a run that judges another experiment."""
    if experiment.attempt.of is not None and not experiment.running:
        return ""
    if experiment.decision is not None:
        return "revoked" if experiment.revocation else "kept" if experiment.kept else "discarded"
    return experiment.verdict if experiment.running else "open"


class Progress(Value):
    """Where a run is; times in seconds."""

    stage: str = "starting"
    elapsed_seconds: float = 0.0
    limit_seconds: float | None = None
    pace: float | None = None  # seconds of the stage's clock in a second: of CPU time, less where others use the cores
    steps: int | None = None
    loss: float | None = None
    tokens: int | None = None
    compiler: str | None = None  # why nothing is compiled; absent where it is
    gpu_strangers: str | None = None  # who computed on the GPU before the run
    node_name: str | None = None  # of the machine, where an engine has chosen it


class Point(Value):
    """One point of the curves."""

    seconds: float
    step: int
    loss: float
    lr: float | None = None  # learning rate, where train.py tells it, as the next
    grad_norm: float | None = None
