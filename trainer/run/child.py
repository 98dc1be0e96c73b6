"""One process running train.py, as the referee talks to it: what it may say, and what its failures mean."""

import builtins
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.processes.fork_server import ForkFailed
from trainer.run.child_launch import LaunchedChild, Launcher
from trainer.run.clock import RunEnded, StageClock
from trainer.run.failure_cause import STARVED, kernel_kills, of_exception, of_exit
from trainer.run.protocol import Channel, ChannelClosed, DescriptorSent, Frame, ProtocolViolation, ignored
from trainer.text import plain

_EXIT_SECONDS = 5.0  # a process whose socket closed has this long to leave its exit code
_SPEAKABLE = {"OutOfMemoryError", *(name for name, kind in vars(builtins).items() if isinstance(kind, type))}
_MAX_COUNT = 1 << 53  # what a double holds exactly
_FIGURES: dict[str, type] = {
    "steps": int,
    "tokens": int,
    "loss": float,
    "parameters": int,
    "told_peak_memory_mb": float,
    "lr": float,
    "grad_norm": float,
    "matrix_parameters": int,
}


class ChildProcess:
    """A candidate or a replica."""

    def __init__(self, child: LaunchedChild, stage: StageClock) -> None:
        self._child = child
        self._redacting = False
        self.diverged = False  # the last loss that it told is not finite
        self.machine: dict[str, Any] = {}  # what it computes with, told before a line of train.py ran
        self._kills = kernel_kills()
        self._channel = Channel(child.socket, stage.watch)

    @property
    def pid(self) -> int:
        return self._child.pid

    def redact_output(self) -> None:
        """From here on the process knows validation text: of its failures no word of its own is passed on.

        Nor does it count any more what the kernel has ended for lack of memory before, which may have been its doing.
        """
        self._redacting = True
        self._kills = kernel_kills()

    def ready(self) -> dict[str, str]:
        """How the process is confined. No line of train.py has run in it: whatever fails by now is the machine's fault.

        Raises:
            RunEnded: `env_fail`, or somebody cancelled the run.
        """
        try:
            fields = self.expect("ready").fields
        except RunEnded as ended:
            if ended.outcome == "cancelled":
                raise
            told = f"No process for train.py could be made ready, and no line of it has run: {ended.reason}"
            raise RunEnded("env_fail", told, ended.traceback, ended.cause or ended.outcome) from ended
        if fields["missing"]:
            told = f"The profile's device is not there: {fields['missing']}. The operator runs `autoresearch doctor`."
            raise RunEnded("env_fail", told, cause="no_device")
        self.machine = {name: fields[name] for name in ("device", "threads", "torch")}
        return fields["guards"]

    def tell(self, kind: str, payload: bytes = b"", descriptor: int | None = None, **fields: Any) -> None:
        """Send one frame. Raises RunEnded if the process is gone."""
        try:
            self._channel.send(kind, payload, descriptor, **fields)
        except ChannelClosed:
            raise self._hung_up() from None
        except ProtocolViolation as error:
            raise self._unlawful(error) from None

    def expect(self, *kinds: str, limit: int = 0, opened: Callable[[str, int], None] = ignored) -> Frame:
        """The next frame, of one of `kinds`; `opened` is called before its payload (Channel.receive).

        Raises RunEnded when the process fails, breaks the protocol or is gone.
        """
        try:
            frame = self._channel.receive(*kinds, "crash", limit=limit, opened=opened)
        except ChannelClosed:
            raise self._gone() from None
        except ProtocolViolation as error:
            raise self._unlawful(error) from None
        if frame.kind == "crash":
            raise self._redacted(frame.fields) if self._redacting else self._crashed(frame.fields)
        if "loss" in frame.fields:
            self.diverged = type(loss := frame.fields["loss"]) is float and not math.isfinite(loss)
        return frame

    def floats(self, kind: str, rows: int, columns: int) -> NDArray[np.float32]:
        """The float32 matrix [rows, columns] that comes as the payload of a frame of `kind`."""
        payload = self.expect(kind, limit=rows * columns * 4).payload
        if len(payload) != rows * columns * 4:
            raise RunEnded(
                "invalid", f"train.py's process sent fewer {kind} than it must, not {rows}x{columns} floats."
            )
        return np.frombuffer(payload, dtype=np.float32).reshape(rows, columns)

    def close(self) -> None:
        """Hang up; the process is ended later, with all others."""
        self._channel.close()

    def _unlawful(self, error: ProtocolViolation) -> RunEnded:
        where = " in the evaluation" if self._redacting else ""
        quoted = not self._redacting or isinstance(error, DescriptorSent)  # a frame's name is its own word
        return RunEnded("invalid", f"train.py's process broke the protocol{where}{f': {plain(error)[:300]}' * quoted}.")

    def _hung_up(self) -> RunEnded:
        """Why it takes no frame: what it said before that was not read yet, and may be an exception."""
        try:
            self.expect("crash")
        except RunEnded as ended:
            return ended
        return self._gone()

    def _gone(self) -> RunEnded:
        code = self._child.exit_code(_EXIT_SECONDS)
        cause = of_exit(code, (kernel_kills() or 0) - (self._kills or 0))
        if self._redacting and cause != "kernel_oom":
            return RunEnded("crashed", "train.py's process ended during the evaluation.", cause=cause)
        if code == 0:
            return RunEnded("crashed", "train.py ended without session.submit(model).", cause="left_early")
        if cause == "kernel_oom":
            return RunEnded("oom", "The kernel ended train.py for lack of memory.", cause=cause)
        if code is not None and code < 0:
            return RunEnded("crashed", f"train.py was killed by signal {-code}, and not by us.", cause=cause)
        return RunEnded("crashed", f"train.py ended with exit code {code} before session.submit(model).", cause=cause)

    def _redacted(self, fields: dict[str, Any]) -> RunEnded:
        kind = str(fields.get("type"))
        kind = kind if kind in _SPEAKABLE else "an exception"
        reason = f"train.py raised {kind} in the evaluation. What it said is withheld: it had seen validation text."
        return RunEnded("oom" if _cause(fields) in STARVED else "crashed", reason)

    def _crashed(self, fields: dict[str, Any]) -> RunEnded:
        kind, message = plain(fields.get("type", "Exception"))[:100], plain(fields.get("message", "")).strip()
        cause = _cause(fields, message)
        if self.diverged and cause == "exception":
            cause = "nan"  # it gave up for that; what it says of it is its own affair
        first = message.splitlines()[0] if message else "no message"
        outcome, told = "oom" if cause in STARVED else "crashed", f"train.py raised {kind}: {first[:300]}"
        return RunEnded(outcome, told, plain(fields.get("traceback", ""))[:4000], cause)


def launched(
    launcher: Launcher, scratch: Path, settings: dict[str, str], stage: StageClock, certain: bool
) -> LaunchedChild:
    """Start train.py, as Launcher.launch does.

    Args:
        certain: that it takes too long is the machine's fault, and no reason to try without.

    Raises:
        RunEnded: `env_fail`, as no line of train.py has run; or somebody cancelled the run.
    """
    told = "No process for train.py could be started, and no line of it has run"
    try:
        return launcher.launch(scratch, settings, stage.watch)
    except ForkFailed as failed:
        stage.watch()  # who cancels a run may end that process, too
        raise RunEnded("env_fail", f"{told}: {failed}.", cause="no_process") from failed
    except RunEnded as ended:
        if ended.outcome == "cancelled" or not certain:
            raise
        raise RunEnded("env_fail", f"{told}: {ended.reason}", cause=ended.cause or ended.outcome) from ended


def known_figures(fields: dict[str, Any]) -> dict[str, Any]:
    """The figures among `fields` that are of the right type: they come from a process we do not trust."""
    figures: dict[str, Any] = {}
    for name, kind in _FIGURES.items():
        value: Any = fields.get(name)
        if type(value) is int and not 0 <= value < _MAX_COUNT:
            continue
        if type(value) is int and kind is float:
            value = float(value)
        if type(value) is kind and (kind is not float or math.isfinite(value)):
            figures[name] = plain(value)[:100] if kind is str else value
    return figures


def _cause(fields: dict[str, Any], message: str = "") -> str:
    """Of an exception, as told by a process that we do not trust."""
    names, number = fields.get("lineage"), fields.get("errno")
    told: list[Any] = names if isinstance(names, list) else []
    return of_exception([str(name) for name in told], number if type(number) is int else None, message)
