"""Runs under the real supervisor, and probes in processes of their own, all within one deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from trainer.contract import COOKIE_VARIABLE, RunFile, Spec

HERE = Path(__file__).resolve().parent
_POLL_SECONDS = 0.05
_CANCEL_SECONDS = 8.0
OUT_OF_TIME = "out_of_time"  # the outcome of a run that the deadline cut short


@dataclass
class Run:
    """How one run ended. `measured` is what the recording supervisor saw.

    `outcome` is the supervisor's, or `out_of_time` where the whole check had no more time for the run.
    """

    folder: Path
    seconds: float
    outcome: str
    reason: str
    score: float | None
    figures: dict[str, Any] = field(default_factory=dict)
    guards: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    def told(self) -> dict[str, Any]:
        """For JSON; of a run that gave no score, with the end of what it printed."""
        found = asdict(self) | {"folder": self.folder.name}
        return found if self.score is None else found | {"log": ""}


@dataclass(frozen=True)
class Bench:
    """Where everything is run, and until when.

    `profiles` are the trainer's, by the name of the part: of a dry check all are the smallest, on a CPU.
    """

    place: Path
    code: Path
    dry: bool
    seconds: float
    until: float  # on the monotonic clock
    upstream: Path | None = None
    windows: str = "L"
    data: Path | None = None  # of tokens; None: in `place`

    @property
    def left(self) -> float:
        return self.until - time.monotonic()

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    def profile(self, name: str) -> str:
        return "smoke" if self.dry else name

    def run(self, name: str, text: str, recording: bool = True, **terms: Any) -> Run:
        """Run `text` as train.py to its end.

        Args:
            terms: of the Spec, where they differ from those of an ordinary run without a preflight.

        Returns:
            Where the check has no more time, a run that was cancelled or not begun: what others found stays.
        """
        if self.left < 0:
            return Run(self.place / "runs" / name, 0.0, OUT_OF_TIME, "not begun", None)
        folder, process = self.start(name, text, recording, **terms)
        begun = time.monotonic()
        try:
            while process.poll() is None:
                if self.left < 0:
                    (folder / "cancel").write_text("the check has no more time", encoding="utf-8")
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_CANCEL_SECONDS)
                    where = f"cancelled in stage {stage(folder)}"
                    return Run(folder, round(time.monotonic() - begun, 3), OUT_OF_TIME, where, None)
                time.sleep(_POLL_SECONDS)
        finally:
            end(process, folder)
        return ended(folder, time.monotonic() - begun)

    def start(
        self, name: str, text: str, recording: bool = True, **terms: Any
    ) -> tuple[Path, "subprocess.Popen[bytes]"]:
        """Write the run folder and start its supervisor, as the server does."""
        folder = self.place / "runs" / name
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(text, encoding="utf-8")
        usual: dict[str, Any] = {
            "number": 1,
            "profile": self.profile("gpu"),
            "seed": 42,
            "budget_seconds": self.seconds,
            "grace_seconds": 5.0,
            "setup_seconds": 600.0,
            "evaluation_seconds": 300.0,
            "data": str(self.data or self.place / "data"),
            "imports": str(folder),
            "cookie": str(folder),
            "preflight": False,
        }
        spec = Spec(**(usual | terms))
        (folder / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
        entry = [str(HERE / "recording.py")] if recording else ["-m", "trainer.supervisor"]
        with (folder / "supervisor.log").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-B", *entry, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd=folder,
                env=self._environment(),
                start_new_session=True,
            )
        return folder, process

    def probe(self, module: str, *words: str, limit: float = 60.0) -> list[dict[str, Any]]:
        """What a script beside this one prints, a JSON object a line; of one that is ended, what it printed by then.

        Raises:
            RuntimeError: it failed before it printed anything.
        """
        command = [sys.executable, "-P", "-B", str(HERE / module), self.device, *words]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            cwd=self.place,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=max(1.0, min(limit, self.left)))
            cut = process.returncode != 0
        except subprocess.TimeoutExpired:
            (output, errors), cut = _killed(process), True
        found = [json.loads(line) for line in output.decode().splitlines() if line.startswith("{")]
        if cut and not found:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1][:300] if lines else "ended for lack of time")
        return found

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.code)}


def _killed(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """End a probe with all that it started, and read what it printed; what the driver holds is left behind."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_CANCEL_SECONDS)
    except subprocess.TimeoutExpired as unkillable:
        return unkillable.output or b"", unkillable.stderr or b""


def stage(folder: Path) -> str:
    """Where a run is, as its supervisor last told."""
    try:
        return str(json.loads((folder / "progress.json").read_bytes())["stage"])
    except (OSError, ValueError, KeyError):
        return ""


def processes(folder: Path) -> list[psutil.Process]:
    """Those of the run that live, its supervisor too."""
    found: list[psutil.Process] = []
    marks = str(folder), str((folder / RunFile.PLACE).resolve())
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get(COOKIE_VARIABLE) in marks or process.cmdline()[-1:] == [str(folder)]
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Leave no process of the run behind."""
    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for left in processes(folder):
            with suppress(psutil.Error):
                left.kill()


def ended(folder: Path, seconds: float) -> Run:
    """The run in the folder, which is over.

    Raises:
        RuntimeError: its supervisor left no result.
    """
    try:
        result = json.loads((folder / "result.json").read_bytes())
    except FileNotFoundError:
        raise RuntimeError(f"no result: {_tail(folder / 'supervisor.log')}") from None
    measured: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        measured = json.loads((folder / "measured.json").read_bytes())
    return Run(
        folder=folder,
        seconds=round(seconds, 3),
        outcome=result["outcome"],
        reason=result["reason"],
        score=(result["score"] or {}).get("value"),
        figures=result["figures"],
        guards=result["guards"],
        measured=measured,
        log=result["traceback"] + _tail(folder / "run.log"),
    )


def _tail(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[-1500:]
    return ""
