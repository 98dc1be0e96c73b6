"""What server and trainer agree on: the files of a run folder, the spec, the result, the names both use.

Standard library only: both sides import it, and of each other's modules `trainer.text` besides.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class RunFile(StrEnum):
    """The files of a run folder."""

    SPEC = "spec.json"  # what to run (the server writes it, before it starts the supervisor)
    TRAIN = "train.py"  # the text under test
    TREE = "tree"  # folder of all files at the run's commit, for a task that is no language model's
    INCUMBENT = "incumbent"  # folder of all files at the incumbent's commit, where a task is paired
    MODULES = "modules"  # folder of the Python files at the run's commit, for train.py to import; gone after the run
    PLACE = "place"  # link to the folder in which train.py's processes are: its name says nothing of the run
    CANCEL = "cancel"  # its presence asks for the end of the run; its text is the reason
    LEASE = "lease"  # locked by the server, inherited by the supervisor, free when that is dead
    PROGRESS = "progress.json"  # where the run is, rewritten about twice a second
    CURVE = "curve.jsonl"  # {"seconds", "step", "loss", and where told "lr", "grad_norm"} a line, a few hundred
    LOG = "run.log"  # what train.py printed
    SIGNATURE = "result.sig"  # by the key that the supervisor was handed, written before the result
    RESULT = "result.json"  # how it ended; its presence means that the run is over
    SUPERVISOR_LOG = "supervisor.log"  # what the supervisor itself printed: empty where all went well
    # Of a run that an engine starts on another machine (trainer.node.seat).
    JOB = "job"  # which engine has it, and under which name: the server writes it before it asks the engine
    STARTED = "started"  # by the seat, once: a folder with it is not started again
    BEAT = "beat"  # a number that the seat counts up every two seconds, in place, for as long as the supervisor lives
    GONE = "gone"  # why there will be no result: by the seat, or by a server that is certain


class Referee(StrEnum):
    """The evaluators that program.md can ask for."""

    SEALED = "sealed"  # a language model, by its score on hidden text
    JUDGED = "judged"  # a worker that answers cases, by a judge it never meets
    COMMAND = "command"  # a command that prints its own number
    KARPATHY = "karpathy"  # the repository karpathy/autoresearch as it is: train.py beside its prepare.py


class MetricSource(StrEnum):
    """Where the number of a task comes from."""

    PRINTED = "printed"  # the command prints it
    CPU = "cpu"  # CPU seconds of all processes, as the referee reads them
    WALL = "wall"  # seconds on the referee's clock
    MEMORY = "memory"  # peak memory of all processes, MiB
    SCORE = "score"  # the judge gives it


class ScratchRole(StrEnum):
    """What a process in a scratch folder of the run is there for."""

    CANDIDATE = "candidate"
    REPLICA = "replica"
    COMPILER = "compiler"
    LAUNCHER = "launcher"
    JUDGE = "judge"
    SIDE = "side"  # a copy of a task's files, and all that its commands write

    @property
    def prefix(self) -> str:
        """How the names of its folders begin; the rest is random."""
        return f"{self}-"


class Entry(StrEnum):
    """The trainer's modules that are started as programs."""

    SUPERVISOR = "trainer.supervisor"
    LAUNCH = "trainer.launch"
    CONFINED = "trainer.confined"
    PREPARE = "trainer.prepare"
    SCRATCH = "trainer.processes.scratch"
    GUARDS = "trainer.guards_view"
    COMPILER = "trainer.run.compiler"
    JUDGE = "trainer.judge"
    SEAT = "trainer.node.seat"
    TETHER = "trainer.node.tether"


class ProfileName(StrEnum):
    """Classes of machines that the trainer knows."""

    SMOKE = "smoke"
    CPU = "cpu"
    MPS_8GB = "mps-8gb"
    MPS_16GB = "mps-16gb"
    MPS = "mps"
    GPU_4GB = "gpu-4gb"
    GPU_8GB = "gpu-8gb"
    GPU_12GB = "gpu-12gb"
    GPU_16GB = "gpu-16gb"
    GPU_24GB = "gpu-24gb"
    GPU_48GB = "gpu-48gb"
    GPU_SMALL = "gpu-small"  # of studies begun when all GPUs below 36 GB were one class
    GPU = "gpu"


CPU_PROFILES = frozenset({ProfileName.SMOKE, ProfileName.CPU})  # whose budgets are CPU seconds
GPU_PROFILES = frozenset(name for name in ProfileName if name.startswith("gpu"))  # NVIDIA's and AMD's

PLACE_PREFIX = "autoresearch-"  # how the names of folders begin in which commands work, where others have some too

# In place of names in a task's `figures`: every number that the command prints, each as a figure whose name is PRINTED,
# how it is printed (METRIC, json or line), its name, and its unit where one stands behind it, with blanks between.
ALL_FIGURES = "*"
PRINTED = "printed"

# In the environment of a run's processes.
CHANNEL_VARIABLE = "AUTORESEARCH_CHANNEL"  # the descriptor's number
COOKIE_VARIABLE = "AUTORESEARCH_RUN"  # the spec's cookie
CLOSE_VARIABLE = "AUTORESEARCH_CLOSE"  # a system call's number and an address (trainer.sandbox.lookups)
# In the environment of a supervisor.
ORDER_VARIABLE = "AUTORESEARCH_ORDER"  # the number of the descriptor that its order is read from
NODE_VARIABLE = "AUTORESEARCH_NODE"  # the machine's name, where an engine has chosen it
# In the environment of a seat, which hides it before it starts anything.
SEAT_VARIABLE = "AUTORESEARCH_SEAT"  # a SeatOrder


AUDIT_FAILED = "audit"  # the cause of an `invalid` run whose claims the audit has found false
UNSCORED = "unscored"  # that of one whose answers the judge cannot score, while it scores those of others


def utc_now() -> str:
    """Now, as all records have it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trainer_hash(packages: Path) -> str:
    """A hash of all code that referees a run, 16 characters: names and texts. `packages` has both packages."""
    found = hashlib.sha256()
    for path in sorted((packages / "trainer").rglob("*.py")):
        text = path.read_bytes()
        found.update(f"{path.relative_to(packages)} {len(text)}\n".encode() + text)
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class TaskSpec:
    """What the run of a task needs that is no language model's. Commands are for `sh -c`, paths relative to the tree.

    {out} in a command is a folder that the build may write and the others may read; {python} is an interpreter.
    """

    metric: str
    unit: str = ""
    direction: str = "lower"  # or higher
    scale: str = "linear"  # or log: scores are compared by their ratio
    source: str = MetricSource.PRINTED
    build: str = ""
    checks: str = ""  # a gate before and after a command, not timed
    command: str = ""
    worker: str = ""
    judge: str = ""  # a Python file
    editable: tuple[str, ...] = ()  # globs: what the candidate may have changed
    off_limits: tuple[str, ...] = ()  # globs: exceptions from it
    hidden: tuple[str, ...] = ()  # globs: what only the judge may read
    links: tuple[tuple[str, str], ...] = ()  # a path in the tree, and the file or folder that it shows, for reading
    home_links: tuple[tuple[str, str], ...] = ()  # a path in a command's HOME, and what it shows, for reading
    python: str = ""  # what runs train.py where that has no Session: in the tree, or absolute
    audit: str = ""  # of such a train.py: try, or else take its own word; must, and refuse that; empty: its own word
    paired: bool = False  # candidate and incumbent take turns on the same cases
    repeats: int = 1  # of the command, or passes over the judge's cases; where paired, pairs at the most
    least_effect: float = 0.0  # a share: differences below are no gain
    figures: tuple[str, ...] = ()  # names of further numbers that are wanted
    network: bool = False  # whether program.md lets its commands use it
    home: bool = False  # whether they may read the operator's home folder
    build_seconds: float = 600.0
    checks_seconds: float = 300.0

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "TaskSpec":
        """The terms that JSON has made a dictionary of, which has lists for tuples. Raises TypeError."""
        return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


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
    first_look: bool = False  # at the profile's `first_audits` positions: a denser audit comes before a keep
    split: str = "val"  # which text the score is measured on: after a night, holdout
    setup_allowed: float | None = None  # seconds of set-up by the budget's clock that count as no training; None: all
    referee: str = "sealed"  # which evaluator scores the run (trainer.evaluators.registry)
    train_sha256: str = ""  # of train.py's text, checked before anything runs; empty: not checked
    task: TaskSpec | None = None  # None: of a language model
    proven: bool = False  # whether the judge has scored what was kept: what it then cannot is the candidate's doing
    gpu: str = ""  # the UUID of the GPU that the run sees alone; empty: whatever the server's environment shows
    gpu_nodes: tuple[str, ...] = ()  # files below /dev through which it is used, and no other; none: not known

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Read a spec.json; a field that an older version did not write has its default.

        Raises:
            ValueError: it is no JSON. TypeError: it is no spec, or one of a newer version.
        """
        return cls.from_fields(json.loads(text))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Spec":
        """The spec that JSON has made a dictionary of. Raises TypeError."""
        task, nodes = fields.get("task"), tuple(fields.get("gpu_nodes", ()))
        return cls(**{**fields, "gpu_nodes": nodes, "task": TaskSpec.from_fields(task) if task else None})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Order:
    """What whoever starts a supervisor hands to it, and to nobody else: through a pipe, never by a file or a variable.

    The spec comes along: whoever edits spec.json afterwards changes nothing.
    """

    spec: Spec
    key: str  # signs the result

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """Read an order. Raises ValueError, TypeError, KeyError."""
        told = json.loads(text)
        return cls(Spec.from_fields(told["spec"]), told["key"])

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class SeatOrder:
    """What a seat on another machine is told: the supervisor's order, and what that machine must have.

    It travels with the engine's own messages, in the job's environment, never in an argument or a file of ours.
    """

    order: str  # an Order, as JSON
    nonce: str  # of this start of the run: the folder's JOB has the same
    trainer: str  # trainer_hash of the server's package
    torch: str = ""  # the server's version of torch; empty: the run needs none

    @classmethod
    def from_json(cls, text: str) -> "SeatOrder":
        """Read one. A field that another version has added is left out: that version shows in `trainer`.

        Raises:
            ValueError, TypeError.
        """
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Score:
    """What an evaluator measured; the fields of server.records.Score."""

    name: str  # of the metric
    value: float
    unit: str
    trust: str  # the highest mark that this evaluator can give; missing guards lower it
    details: dict[str, float | int]  # what the value was made from, by name

    def __str__(self) -> str:
        return f"{self.name} {self.value:.6f}"


@dataclass(frozen=True)
class RunResult:
    """How a run ended; the fields of server.records.Result, which a test holds against this."""

    outcome: str
    reason: str
    score: Score | None = None
    figures: dict[str, float | int | str | None] = field(default_factory=dict)
    cause: str = ""
    traceback: str = ""
    guards: dict[str, str] = field(default_factory=dict)  # guard: "held", or why not
    finished_at: str = field(default_factory=utc_now)


def join_pids(pids: Iterable[int]) -> str | None:
    """Process ids as a figure of a result: ascending, with commas; None if there are none."""
    return ", ".join(map(str, sorted(pids))) or None


def split_pids(told: str | None) -> set[int]:
    """The process ids of such a figure."""
    return {int(pid) for pid in (told or "").split(", ") if pid.isdecimal()}


# A Winternitz one-time signature from SHA-256 alone. Whoever knows a key signs one text with it. Its public half, which
# the ledger holds, only checks: nothing on the disk helps to sign another result.
_DIGITS = 64 + 3  # of the text's hash in base 16, and of their checksum: no digit can be raised without lowering one
_LAST = 15


def public_half(key: str) -> str:
    """What checks signatures by `key`: 64 characters."""
    return _joined([_hashed(_first(key, place), _LAST) for place in range(_DIGITS)])


def sign(key: str, number: int, train_sha256: str, result: bytes) -> str:
    """A signature of how run `number` of this train.py ended."""
    steps = _digits(_statement(number, train_sha256, result))
    return "".join(_hashed(_first(key, place), count).hex() for place, count in enumerate(steps))


def is_signed(public: str, number: int, train_sha256: str, result: bytes, signature: str) -> bool:
    """Whether `signature` is that of the key with this public half."""
    try:
        told = bytes.fromhex(signature)
    except ValueError:
        return False
    steps = _digits(_statement(number, train_sha256, result))
    parts = [told[32 * place : 32 * place + 32] for place in range(_DIGITS)]
    ends = [_hashed(part, _LAST - count) for part, count in zip(parts, steps, strict=True)]
    return len(told) == 32 * _DIGITS and _joined(ends) == public


def _statement(number: int, train_sha256: str, result: bytes) -> bytes:
    return f"{number} {train_sha256}\n".encode() + result


def _digits(text: bytes) -> list[int]:
    digits = [int(digit, 16) for digit in hashlib.sha256(text).hexdigest()]
    return digits + [int(digit, 16) for digit in f"{sum(_LAST - digit for digit in digits):03x}"]


def _first(key: str, place: int) -> bytes:
    return hashlib.sha256(f"{place} {key}".encode()).digest()


def _hashed(value: bytes, times: int) -> bytes:
    for _ in range(times):
        value = hashlib.sha256(value).digest()
    return value


def _joined(ends: list[bytes]) -> str:
    return hashlib.sha256(b"".join(ends)).hexdigest()
