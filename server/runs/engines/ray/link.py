"""The server's end of the process that talks with the cluster: started, asked, and started again where it has died."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from server.errors import RunnerUnavailable
from server.runs.engines.ray import settings

_READY_SECONDS = 45.0  # that a connection may take
_AGAIN_SECONDS = 1.0  # for which a connection is waited for that has just failed: it comes in the background, if at all
_ANSWER_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_FIRST_PAUSE = 2.0  # before it is started again; each time twice as long
_LONGEST_PAUSE = 30.0
_STEP = "The operator must check the cluster (`ray status`, `autoresearch doctor`); active runs go on."
_LOG_BYTES = 1 << 20


class Link:
    """One such process at a time. No call but `ask` waits for it."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        unfinished: Callable[[], list[str]],
        patience: float = _READY_SECONDS,
    ) -> None:
        """`unfinished`: the folders of runs that a new process is to follow. `patience`: seconds for a connection."""
        self._environment, self._log, self._unfinished = environment, log, unfinished
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._next, self._pause, self._started = 0, 0.0, 0.0
        self._left = self._longest = patience  # seconds for which `require` waits
        self._ready = threading.Event()
        self.nodes: list[dict[str, Any]] = []  # as the cluster told of them last
        self.trouble = ""  # why there is no connection, as a clause; empty where there is one, or none was tried

    def tend(self) -> None:
        """Start the process where there is none, unless one has died a moment ago."""
        with self._lock:
            if self._process and self._process.poll() is None:
                return
            died = self._process is not None
            if died:
                self._ready.clear()
                self.trouble = self.trouble or "the process that talks with Ray has ended"
                if time.monotonic() - self._started < self._pause:
                    return
                self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
            self._start()

    def require(self) -> None:
        """Wait for the connection, for long only the first time: a caller may hold a lock. Raises RunnerUnavailable."""
        deadline = time.monotonic() + self._left
        self.tend()
        while not self._ready.wait(_LOOK_SECONDS):
            with self._lock:
                dead = self._process is None or self._process.poll() is not None
            if (dead and self.trouble) or time.monotonic() > deadline:
                self._left = min(_AGAIN_SECONDS, self._longest)
                address = self._environment.get(settings.ADDRESS)
                why = self.trouble or f"no cluster answers{f' at {address}' if address else ''}"
                raise RunnerUnavailable(f"The Ray cluster cannot be used: {why}.", _STEP)

    def ask(self, op: str, seconds: float = _ANSWER_SECONDS, **words: object) -> Any:
        """What the process answers.

        Raises:
            RunnerUnavailable: it refuses, has died, or is ended as it did not answer in time. Nothing that was asked
                is done by it then.
        """
        self.require()
        with self._lock:
            self._next += 1
            number, process = self._next, self._process
            assert process is not None and process.stdin is not None
            with suppress(OSError, ValueError):  # it has ended, and its pipe is closed
                process.stdin.write(json.dumps({"id": number, "op": op, **words}).encode() + b"\n")
                process.stdin.flush()
        deadline = time.monotonic() + seconds
        with self._heard:
            while (told := self._answers.pop(number, None)) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    break
                self._heard.wait(_LOOK_SECONDS)
        told = told or self._last_word(process, number)
        if "refused" in told:
            raise RunnerUnavailable(f"The Ray cluster refused this: {told['refused']}.", _STEP)
        return told["told"]

    def close(self) -> None:
        """End the process; the runs go on."""
        with self._lock:
            if self._process and self._process.stdin:
                with suppress(OSError):
                    self._process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
                self._process.kill()

    def _last_word(self, process: "subprocess.Popen[bytes]", number: int) -> dict[str, Any]:
        """End a process that is silent, or dead: what it has written before counts."""
        process.kill()
        process.wait()
        time.sleep(2 * _LOOK_SECONDS)  # its last words are read by another thread
        refusal = {"refused": "the process that talks with Ray has ended, or did not answer in time"}
        return self._answers.pop(number, refusal)

    def _start(self) -> None:
        self._started, self.trouble = time.monotonic(), ""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            if log.tell() > _LOG_BYTES:
                log.truncate(0)
            self._process = subprocess.Popen(
                settings.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,  # Ctrl-C in the server's terminal is not for it
            )
        threading.Thread(target=self._read, args=[self._process], daemon=True).start()

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None and process.stdin is not None
        with process.stdout:
            for line in process.stdout:
                with suppress(ValueError):
                    self._hear(process, json.loads(line))
        process.wait()
        with suppress(OSError):
            process.stdin.close()

    def _hear(self, process: "subprocess.Popen[bytes]", told: dict[str, Any]) -> None:
        if "unreachable" in told:
            self.trouble = str(told["unreachable"])
        elif "ready" in told:
            self.nodes, self._pause, self._left = told["ready"], 0.0, self._longest
            self._follow(process)
            self._ready.set()
        elif "id" in told:
            with self._heard:
                self._answers[told["id"]] = told
                self._heard.notify_all()

    def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        folders = self._unfinished()
        with self._lock:
            if folders and process.stdin:
                with suppress(OSError, ValueError):
                    process.stdin.write(json.dumps({"id": 0, "op": "follow", "folders": folders}).encode() + b"\n")
                    process.stdin.flush()
