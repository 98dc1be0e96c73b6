"""What a study needs of whatever runs its experiments, and what every such executor does alike.

The run folder is the truth about a run, wherever its supervisor works: server and supervisor share it and nothing
else. A run outlives the server: whoever opens the folder next sees its progress, its result, or that its supervisor is
gone. State of a device belongs to an executor, state of a run to its handle.
"""

import errno
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from server.errors import RunnerUnavailable
from server.files import set_aside
from server.paths import StudyPaths
from server.records import Attempt, Experiment, Outcome, Progress, Result, Value
from server.runs.hardware import Hardware
from server.runs.run_folder import RunFolder
from server.runs.run_spec import RunLimits
from server.task.dataset import find
from trainer.contract import Order, Referee, RunFile, Spec, TaskSpec, utc_now

FIRST_SLOT = "0"
_FORGED = "The result is not signed, so the run's supervisor did not write it. The idea was not judged."


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time."""

    id: str = FIRST_SLOT  # "0", "1", ...: in the order of the executor's slots
    device: str = ""  # the UUID of the GPU that the run sees alone; "": on a CPU, or where nobody asked for slots


class RunRequest(Value):
    """One run that is about to start."""

    attempt: Attempt
    text: str = ""  # of its train.py; of a task: none
    limits: RunLimits
    referee: Referee = Referee.SEALED
    task: TaskSpec | None = None  # None: of a language model
    trees: Callable[[Path], None] | None = Field(default=None, exclude=True, repr=False)  # lays files out in the folder
    key: str = Field(default="", repr=False)  # signs the result; for the supervisor alone
    slot: Slot = Slot()  # that `Executor.require_free` has returned
    modules: dict[str, bytes] | None = None  # what it may import, by path; None: what is in the site's folder


class SlotRequest(NamedTuple):
    """How many slots the operator asks for, and of what."""

    slots: int | Literal["auto"] | None = None  # None: one run at a time, which sees every GPU that the server sees
    profile: str = ""  # class of this machine


ONE_SLOT = SlotRequest()


@dataclass(frozen=True)
class RunSite:
    """Where an executor finds and leaves things, on this machine."""

    runs: Path  # a folder for each run
    kernels: Path  # what the baseline compiled, for later runs to start from
    data: Path  # tokenised data, shared by all runs
    imports: Path  # the modules that train.py may import, where a request brings none
    home: Path  # what the runs of all studies of a repository share, as a lease on the device
    asked: SlotRequest = ONE_SLOT

    @classmethod
    def of(cls, study: StudyPaths, own: StudyPaths | None = None, asked: SlotRequest = ONE_SLOT) -> "RunSite":
        """That of a study; its runs may be in another place of their `own`."""
        # Resolved: a run's folder is also the mark on its processes.
        place, state = StudyPaths((own or study).state.resolve()), StudyPaths(study.state.resolve())
        return cls(place.runs, state.kernels, study.home.data, study.worktree, study.home.folder.resolve(), asked)


class RunHandle(Protocol):
    """One run, of this server or an earlier one."""

    def progress(self) -> Progress:
        """Where the run is."""
        ...

    def result(self) -> Result | None:
        """How the run ended; None while its supervisor lives. A run that has neither is cleaned up, and `lost`."""
        ...

    def cancel(self, reason: str) -> None:
        """Ask for the end of the run, which comes within seconds. Raises RunnerUnavailable."""
        ...

    def alive(self) -> bool:
        """Whether the run's supervisor lives, or is about to be started."""
        ...


class Executor(Protocol):
    """Whatever runs the experiments of one study."""

    @property
    def signs(self) -> bool:
        """Whether `submit` hands the order to the supervisor (`make_order`): no other result of a run is then taken."""
        ...

    @property
    def slots(self) -> Sequence[Slot]:
        """As many as runs may be under way at once: one at least. They may become fewer or more with the devices."""
        ...

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """The slot that a run may start in now.

        Args:
            profile: class of machine of the run. lasts: the last experiment of each slot by its id (`lasts_of`); the
                run of one without a result may be over all the same.

        Raises:
            RunnerUnavailable: there is none; names what is in the way. DeviceBusy: other runs are.
        """
        ...

    def submit(self, request: RunRequest) -> RunHandle:
        """Write the run folder and start its supervisor. Raises RunnerUnavailable: nothing was started."""
        ...

    def handle(self, number: int) -> RunHandle:
        """The run of this number: an earlier server may have started it. The same handle every time while it lives."""
        ...


Engine = Callable[[RunSite], Executor]


def nodes_of(engine: Engine, root: Path, profile: str | None) -> Hardware | None:
    """The machines that an engine chooses among, for the workspace at `root`; None: this one, or nobody has looked.

    Args:
        profile: the operator's; where there is none, an engine looks at one of them. Raises RunnerUnavailable.
    """
    look = getattr(engine, "nodes", None)
    return look(root, profile) if look else None


def lasts_of(rows: Iterable[Experiment]) -> dict[str, Experiment]:
    """The last experiment of each slot by its id. `rows`: newest first; those of one slot alone had "0"."""
    found: dict[str, Experiment] = {}
    for row in rows:
        found.setdefault(row.attempt.slot or FIRST_SLOT, row)
    return found


def make_spec(site: RunSite, request: RunRequest, folder: Path) -> Spec:
    """What the supervisor of the run in `folder` is told. Raises DatasetMissing.

    It says nothing of what the run is for: surroundings that differ would tell train.py when to do its worst.
    """
    attempt, data = request.attempt, "" if request.task else find(request.attempt.dataset, site.data).folder
    return Spec(
        number=attempt.number,
        profile=attempt.profile,
        seed=attempt.seed,
        budget_seconds=attempt.budget_seconds,
        **request.limits.model_dump(),
        data=str(site.data),
        dataset=data,
        imports=str(site.imports if request.modules is None else folder / RunFile.MODULES),
        cookie=str(folder),  # unique on this machine, and says whose process it is
        kernels=str(site.kernels),  # the baseline's: what a candidate compiles, it compiles in each run anew
        keeps_kernels=attempt.baseline,
        train_sha256=attempt.train_sha256 if request.task else sha256(request.text.encode()).hexdigest(),
        referee=request.referee,
        task=request.task,
    )


def make_order(spec: Spec, request: RunRequest) -> bytes:
    """What the supervisor reads through the pipe that ORDER_VARIABLE names: it must not reach a disk or an argument."""
    return Order(spec, request.key).to_json().encode()


def new_key(executor: Executor) -> str:
    """A key for one run; empty where the executor does not hand it on."""
    return token_hex() if getattr(executor, "signs", False) else ""


def ending(executor: Executor, attempt: Attempt, folder: RunFolder) -> Result | None:
    """How a run ended; None while it goes on, whatever somebody else writes into its folder.

    A failure of the machine names the slot, where there are several.
    """
    found = _ending(executor, attempt, folder)
    if found is None or found.outcome is not Outcome.ENV_FAIL or attempt.slot is None:
        return found
    return found.model_copy(update={"reason": f"{found.reason} It ran in slot {attempt.slot}."})


def _ending(executor: Executor, attempt: Attempt, folder: RunFolder) -> Result | None:
    handle = executor.handle(attempt.number)
    if (result := handle.result()) is None or folder.result() is None:
        return result  # without the file nobody has signed anything: the run is lost
    if not attempt.signer:
        unsigned = f"{result.reason} (not signed: an earlier version began this run)"
        return result.model_copy(update={"reason": unsigned}) if getattr(executor, "signs", False) else result
    if (own := folder.signed_result(attempt)) or handle.alive():
        return own
    # The supervisor may have written its result between the two looks.
    return folder.signed_result(attempt) or Result(
        outcome=Outcome.ENV_FAIL, reason=_FORGED, cause="foreign_result", finished_at=utc_now()
    )


def write_run_folder(folder: Path, spec: Spec, request: RunRequest) -> None:
    """Make a run's folder; one of another history is set aside. Raises OSError, WorkspaceUnusable."""
    set_aside(folder)
    folder.mkdir(parents=True)
    # Not fsynced: a power cut ends the run as well, and git has the text.
    if request.trees:
        request.trees(folder)
    else:
        (folder / RunFile.TRAIN).write_text(request.text, encoding="utf-8", newline="")
        write_modules(folder, request.modules or {})
    (folder / RunFile.SPEC).write_text(spec.to_json(), encoding="utf-8")


def write_modules(folder: Path, modules: Mapping[str, bytes]) -> None:
    """Put what train.py may import into a run's folder. Raises OSError."""
    for name, text in modules.items():
        path = folder / RunFile.MODULES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def request_cancel(run: RunFolder, reason: str) -> None:
    """Ask the supervisor to end the run; it does so within about a second. Raises RunnerUnavailable."""
    temporary = run.path / f"{RunFile.CANCEL}.new"
    try:
        temporary.write_text(reason, encoding="utf-8")
        temporary.replace(run.path / RunFile.CANCEL)
    except OSError as error:
        raise RunnerUnavailable(f"The run cannot be cancelled: {error}.", "Wait until it ends instead.") from error


@contextmanager
def startable() -> Generator[None]:
    """Around the start of a run: an OSError becomes RunnerUnavailable."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        step = "frees space" if full else "runs `autoresearch doctor`"
        raise RunnerUnavailable(
            f"The run could not be started: {error}.", f"The operator {step}; then call run_experiment again."
        ) from error
