"""What server and trainer agree on: the files of a run folder, the spec, the result. Standard library only.

spec.json       what to run (the server writes it, before it starts the supervisor)
train.py        the text under test
cancel          its presence asks for the end of the run; its text is the reason
lease           locked by the server, inherited by the supervisor, free when that is dead
progress.json   where the run is, rewritten about twice a second
curve.jsonl     {"seconds", "step", "loss", and where told "lr", "grad_norm"} a line, at most a few hundred
run.log         what train.py printed
result.json     how it ended; its presence means that the run is over
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

CHANNEL_VARIABLE = "AUTORESEARCH_CHANNEL"  # the descriptor's number, in the child's environment


@dataclass(frozen=True)
class Spec:
    """What to run, as the server wrote it. Times are in seconds."""

    number: int
    profile: str
    seed: int
    budget_seconds: float  # training, from the first token handed over to the first byte of the weights
    grace_seconds: float  # that the transfer of the weights may take, at most
    setup_seconds: float
    evaluation_seconds: float
    data: str  # folder of tokenised data, shared by all runs
    imports: str  # folder whose modules train.py may import beside the installed ones
    cookie: str  # marks every process of this run in its environment
    preflight: bool = True  # rehearse two steps on training text before the clock is started
    confine: bool = True  # put on every guard this machine has
    require_sealed: bool = False  # refuse to run with less than all of them
    ceiling: tuple[tuple[float, float], ...] = ()  # (seconds, loss): who is above it for long is hopeless
    dataset: str = ""  # folder of a prepared data set; empty: the embedded corpus, in `data`
    kernels: str = ""  # folder of compiled kernels to start from; empty: from none
    keeps_kernels: bool = False  # leave those compiled in this run there
    audit_factor: int = 1  # times the profile's audited positions; not of the rehearsal
    split: str = "val"  # which text the score is measured on: after a night, holdout
    referee: str = "sealed"  # which evaluator scores the run (trainer.evaluators.registry)


@dataclass(frozen=True)
class RunResult:
    """How a run ended; the fields of server.records.Result, which a test holds against this."""

    outcome: str
    reason: str
    score: dict[str, float | int] | None = None
    figures: dict[str, float | int | str | None] = field(default_factory=dict)
    cause: str = ""
    traceback: str = ""
    guards: dict[str, str] = field(default_factory=dict)  # guard: "held", or why not
    finished_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


COOKIE_VARIABLE = "AUTORESEARCH_RUN"
