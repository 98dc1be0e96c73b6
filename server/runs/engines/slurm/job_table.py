"""What Slurm says of our jobs: asked for all of them at once, in the background. Nobody waits for its answer."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

from server.runs.engines.remote import Job, Look, Standing
from server.runs.engines.slurm import commands
from server.runs.engines.slurm.commands import Line, SlurmTrouble

_ASK_SECONDS = 2.0  # between two questions
_STALE_SECONDS = 30.0  # after which an answer says nothing any more
_LEFT_SECONDS = 20.0  # after its run has ended, a job that Slurm still has is ended
_END_SECONDS = 10.0  # between two requests to end the same job
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_RUNNING = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING")
_STILL = ("SUSPENDED", "STOPPED")
_NEVER = {  # reasons to wait that no waiting ends
    "PartitionTimeLimit": "the longest run that program.md allows takes longer than the partition's jobs may",
    "PartitionNodeLimit": "the partition does not give a job a node",
    "BadConstraints": "no node has what `--slurm` asks for",
    "InvalidQOS": "its QOS is not valid",
    "InvalidAccount": "its account is not valid",
}


class JobTable:
    """Implements Desk, for the jobs of one executor."""

    def __init__(self, runs: Callable[[int], Path]) -> None:
        """`runs` gives the folder of a run by its number."""
        self._lock, self._asking = Lock(), False
        self._wanted: dict[str, Job] = {}
        self._left: dict[str, tuple[Job, float]] = {}  # jobs whose runs have ended, since when
        self._ended: dict[str, float] = {}  # when a job was last asked to end
        self._answer: dict[str, Look] = {}
        self._asked = self._tried = -_STALE_SECONDS
        self._runs = runs

    def look(self, job: Job) -> Look | None:
        with self._lock:
            self._wanted[job.name] = job
            found = self._answer.get(job.name)
        self._ask()
        return found if found and time.monotonic() - found.begun < _STALE_SECONDS else None

    def end(self, job: Job) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._ended.get(job.name, -_END_SECONDS) < _END_SECONDS:
                return
            self._ended[job.name] = now
        Thread(target=_cancel, args=[job.name], daemon=True).start()

    def close(self, job: Job) -> None:
        with self._lock:
            if self._wanted.pop(job.name, None):
                self._left[job.name] = (job, time.monotonic())
        self.sweep()

    def sweep(self) -> None:
        """End jobs that Slurm still has some time after their runs: one whose step daemon is dead never ends."""
        now = time.monotonic()
        with self._lock:
            late = [job for job, since in self._left.values() if now - since > _LEFT_SECONDS]
            for job in late:
                del self._left[job.name]
        for job in late:
            self.end(job)

    def _ask(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._asking or now - self._tried < _ASK_SECONDS:
                return
            self._asking, self._tried, jobs = True, now, list(self._wanted.values())
        Thread(target=self._fetch, args=[jobs, now], daemon=True).start()

    def _fetch(self, jobs: list[Job], begun: float) -> None:
        try:
            lines = commands.queue([job.name for job in jobs])
            found = {job.name: self._read(job, lines.get(job.name), begun) for job in jobs}
        except SlurmTrouble:
            found = {}
        with self._lock:
            self._answer |= found
            self._answer = {name: look for name, look in self._answer.items() if name in self._wanted}
            self._asking = False

    def _read(self, job: Job, line: Line | None, begun: float) -> Look:
        """Raises SlurmTrouble."""
        if line is None:
            told = "Slurm knows no job of this run" if not job.id else f"Slurm does not know job {job.id} any more"
            return Look(Standing.UNKNOWN, begun, told)
        reason = "" if line.reason in ("None", "") else line.reason
        if line.state in _WAITING:
            never = _NEVER.get(reason, "")
            unfit = f"Slurm will never start this run ({reason}): {never}." if never else ""
            return Look(Standing.WAITING, begun, reason, unfit=unfit)
        if line.state in _RUNNING or line.state in _STILL:
            return Look(Standing.STILL if line.state in _STILL else Standing.RUNNING, begun, reason, line.nodes)
        where = f" on {line.nodes}" if line.nodes else ""
        told = f"Slurm says that job {line.id} is over ({line.state}){where}, and it left no result"
        folder = self._runs(int(job.name.split("-")[1]))
        unfit = commands.unfit(commands.exit_code(line.id), line.nodes, folder) if line.state == "FAILED" else ""
        return Look(Standing.OVER, begun, told, line.nodes, unfit)


def _cancel(name: str) -> None:
    try:
        commands.cancel(name)
    except SlurmTrouble:
        return  # it is asked again
