"""A run's seat on another machine: `python -P -B -m trainer.node.seat RUN_FOLDER DESCRIPTOR`, on whatever engine.

It is the parent of the run's supervisor, which owns clock, kill and result as ever. The seat adds what a server on the
same machine would see by itself: that a folder is started once, that this machine is fit for the run, that the
supervisor lives (it counts a number up), and, once that is dead without a result, that nothing of the run is left.
Where the seat dies, the supervisor ends the run.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

from trainer.contract import NODE_VARIABLE, ORDER_VARIABLE, Entry, RunFile, SeatOrder, trainer_hash
from trainer.processes.parentage import become_subreaper

ALREADY = 75  # exit code: the folder is another start's, and nothing in it was touched
_BEAT_SECONDS = 2.0
_END_SECONDS = 20.0  # that a supervisor may take to end a run which nobody wants any more
_LEAST_SPACE = 64 << 20  # bytes: a disk with less is full
_PACKAGES = Path(__file__).resolve().parents[2]


class Seat:
    """One start of the run in a folder."""

    def __init__(self, folder: Path, order: SeatOrder) -> None:
        self._folder, self._order = folder, order
        self._node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename

    def run(self) -> int:
        """Supervise the supervisor. Returns the exit code."""
        if not self._claim():
            return ALREADY
        if why := self._unfit():
            self._give_up("env_fail", f"{self._node} cannot run this: {why}. No idea was judged.")
            return 0
        become_subreaper()
        signal.signal(signal.SIGTERM, self._asked_to_end)
        child = self._start()
        self._watch(child)
        if not (self._folder / RunFile.RESULT).exists():
            from trainer.processes.process_tree import kill_descendants

            left = kill_descendants(str(self._folder))
            stays = f" Its processes {', '.join(map(str, left))} cannot be ended." if left else ""
            told = f"The supervisor of this run died on {self._node} without a result ({_end(child.returncode)})"
            self._give_up("lost", f"{told}; the idea was not judged.{stays}")
        return 0

    def _claim(self) -> bool:
        """Whether this is the one start of the run that the server asked for."""
        try:
            asked = json.loads((self._folder / RunFile.JOB).read_text(encoding="utf-8"))["nonce"]
            if asked != self._order.nonce or (self._folder / RunFile.GONE).exists():
                return False
            claim = os.open(self._folder / RunFile.STARTED, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except (OSError, ValueError, KeyError):
            return False
        with os.fdopen(claim, "w", encoding="utf-8") as file:
            json.dump({"node": self._node, "pid": os.getpid()}, file)
        return True

    def _unfit(self) -> str:
        """Why this machine cannot carry out the run; empty if it can."""
        if trainer_hash(_PACKAGES) != self._order.trainer:
            return f"it has another version of autoresearch, in {_PACKAGES}, than the server"
        if self._order.torch:
            from importlib import metadata

            found = ""
            with suppress(metadata.PackageNotFoundError):
                found = metadata.version("torch") or ""  # None: of what an installation has left behind
            if not found:
                return f"torch is not installed there, in {sys.prefix}"
            if found != self._order.torch:
                return f"it has torch {found}, the server has {self._order.torch}"
        for folder in (str(self._folder), tempfile.gettempdir()):
            if (free := shutil.disk_usage(folder).free) < _LEAST_SPACE:
                return f"its disk is full: {free >> 20} MB are free in {folder}"
        return ""

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start the supervisor, which inherits the lease."""
        lease = os.open(self._folder / RunFile.LEASE, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(OSError):  # a shared disk may have no locks: the claim is enough
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (self._folder / RunFile.SUPERVISOR_LOG).open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-B", "-m", Entry.SUPERVISOR, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(_PACKAGES), ORDER_VARIABLE: "0", NODE_VARIABLE: self._node},
                pass_fds=[lease],
                start_new_session=True,
            )
        os.close(lease)
        assert child.stdin is not None
        with suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(self._order.order.encode())
        return child

    def _watch(self, child: "subprocess.Popen[bytes]") -> None:
        """Until the supervisor has ended. A run that was given up meanwhile is ended."""
        beats, silent = 0, 0.0
        while True:
            with suppress(OSError):  # a full disk costs the beat, not the run
                (self._folder / RunFile.BEAT).write_text(f"{(beats := beats + 1)}\n", encoding="ascii")
            with suppress(subprocess.TimeoutExpired):
                child.wait(_BEAT_SECONDS)
                return
            if (self._folder / RunFile.GONE).exists():
                child.send_signal(signal.SIGTERM)
                silent += _BEAT_SECONDS
            if silent > _END_SECONDS:
                child.kill()

    def _asked_to_end(self, _number: int, _frame: FrameType | None) -> None:
        """The engine ends the job: the supervisor is told why, and writes a result."""
        with suppress(OSError), (self._folder / RunFile.CANCEL).open("x", encoding="utf-8") as file:
            file.write(
                f"the job was ended on {self._node} (SIGTERM): by its owner, a time limit or the node's operator"
            )

    def _give_up(self, outcome: str, why: str) -> None:
        told = json.dumps({"outcome": outcome, "why": why, "node": self._node})
        temporary = self._folder / f"{RunFile.GONE}.{self._node}"
        with suppress(OSError):  # on a disk that is full: the engine says that the job is over
            temporary.write_text(told, encoding="utf-8")
            temporary.replace(self._folder / RunFile.GONE)


def _end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def main() -> None:
    """Take the seat of the run in the folder named on the command line; the order is in a file that is open."""
    with open(int(sys.argv[2]), encoding="utf-8") as told:
        given = SeatOrder.from_json(told.read())
    raise SystemExit(Seat(Path(sys.argv[1]), given).run())


if __name__ == "__main__":
    main()
