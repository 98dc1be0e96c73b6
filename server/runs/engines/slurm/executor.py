"""Runs as jobs of a Slurm cluster: one job each, as many at once as the operator gives slots.

All that a run leaves is in its folder, on a disk that server and nodes share. Slurm chooses the node and keeps others
off it; the supervisor there owns clock and kill.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from server.errors import DeviceBusy, RunnerUnavailable
from server.files import write_whole
from server.paths import Home
from server.records import Experiment
from server.runs.engines.remote import Handles, Job
from server.runs.engines.slurm import commands
from server.runs.engines.slurm.commands import SlurmTrouble
from server.runs.engines.slurm.job_table import JobTable
from server.runs.engines.slurm.nodes import look_at_one, remember, remembered
from server.runs.engines.slurm.options import parsed
from server.runs.engines.time_limit import limit_minutes
from server.runs.executor import (
    RunHandle,
    RunRequest,
    RunSite,
    Slot,
    make_order,
    make_spec,
    startable,
    write_run_folder,
)
from server.runs.hardware import Hardware
from server.runs.run_folder import RunFolders
from server.runs.spawn import trainer_hash
from trainer.contract import SEAT_VARIABLE, RunFile, SeatOrder

ENGINE = "slurm"
_PING_SECONDS = 5.0  # for which an answer of the controller counts


class SlurmExecutor:
    """All runs of one study. Implements Executor."""

    signs = True

    def __init__(self, words: Sequence[str], site: RunSite) -> None:
        """`words`: the operator's options for sbatch. Raises RunnerUnavailable."""
        if site.asked.slots == "auto":
            raise RunnerUnavailable(
                "`--slots auto` counts the GPUs of this machine, not those of Slurm's nodes.",
                "Say how many jobs may run at once, for example `--slots 8`.",
            )
        self.runs, self._site, self._words = RunFolders(site.runs), site, tuple(words)
        self._slots = tuple(Slot(str(place)) for place in range(site.asked.slots or 1))
        self._table = JobTable(self.runs.path)
        self._handles = Handles(self.runs, self._table)
        self._answered = -_PING_SECONDS

    @property
    def slots(self) -> Sequence[Slot]:
        return self._slots

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """The first slot whose last run has ended, while Slurm takes jobs. Raises RunnerUnavailable, DeviceBusy."""
        self._table.sweep()
        free = [slot for slot in self._slots if not ((last := lasts.get(slot.id)) and last.running)]
        if not free:
            told = f"All {len(self._slots)} slots are busy" if len(self._slots) > 1 else "The one slot is busy"
            raise DeviceBusy(f"{told} with Slurm jobs.", "Wait for the end of one, or cancel it.")
        self._require_answer()
        return free[0]

    def submit(self, request: RunRequest) -> RunHandle:
        """Write the run folder and submit a job for it. Raises RunnerUnavailable: no run was started."""
        number = request.attempt.number
        folder, job = self.runs.path(number), Job.of(ENGINE, number)
        spec = make_spec(self._site, request, folder)
        with startable():
            write_run_folder(folder, spec, request)
            job.write(folder)
        torch = "" if spec.task else _torch_version()
        seat = SeatOrder(make_order(spec, request).decode(), job.nonce, trainer_hash(), torch)
        words = (*self._words, f"--job-name={job.name}", f"--time={limit_minutes(spec)}")
        try:
            environment = commands.job_environment({SEAT_VARIABLE: seat.to_json()})
            told = commands.submit(words, commands.job_script(folder, job.nonce), environment)
        except SlurmTrouble as trouble:
            with startable():  # a job that was taken all the same finds that nobody wants it
                write_whole(folder / RunFile.GONE, '{"outcome": "env_fail", "why": "It was not submitted."}')
            self._table.end(job)
            why = "does not answer" if trouble.silent else "does not accept the run"
            raise RunnerUnavailable(f"Slurm {why}: {trouble}.", commands.STEP) from trouble
        job = job.model_copy(update={"id": told})
        with startable():
            job.write(folder)
        return self._handles.begin(number, job)

    def handle(self, number: int) -> RunHandle:
        """The run of this number, whoever started it, and on whatever."""
        return self._handles.of(number)

    def _require_answer(self) -> None:
        """Nothing is begun that Slurm could not take. Raises RunnerUnavailable."""
        if time.monotonic() - self._answered < _PING_SECONDS:
            return
        try:
            commands.ping()
        except SlurmTrouble as trouble:
            raise RunnerUnavailable(f"Slurm does not answer: {trouble}.", commands.STEP) from trouble
        self._answered = time.monotonic()


@dataclass(frozen=True)
class SlurmEngine:
    """Makes the executors of a study. Implements Engine."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, options: str) -> "SlurmEngine":
        """With the operator's options, tried against the cluster where that has nodes. Raises RunnerUnavailable."""
        words = parsed(options)
        commands.require_installed()
        try:
            commands.test(words, minutes=1)
        except SlurmTrouble as trouble:
            if not trouble.may_pass:  # else runs under way may need a server; a new one waits in Slurm, or is refused
                step = "The operator must correct `--slurm`; `sinfo` lists the partitions."
                raise RunnerUnavailable(f"Slurm refuses such jobs: {trouble}.", step) from trouble
        return cls(words)

    def __call__(self, site: RunSite) -> SlurmExecutor:
        return SlurmExecutor(self.words, site)

    def nodes(self, root: Path, profile: str | None) -> Hardware | None:
        """One of the nodes that runs may get; None where the operator names the profile, and nobody has looked."""
        home = Home(root)
        if (known := remembered(self.words, home)) is None and profile is None:
            known = look_at_one(self.words, home).look
            remember(self.words, home, known)
        return known.machine if known else None


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
