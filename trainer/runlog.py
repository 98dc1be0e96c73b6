"""The log of one run: what train.py printed, made fit to read, and never larger than its cap.

Kept for people and for diagnosis; no score is ever read from it.
"""

import re
from collections import deque
from pathlib import Path
from threading import Thread
from typing import IO

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 256 * 1024
_MAX_LINE = 8 * 1024
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class RunLog:
    """Drains a pipe into a file: the first HEAD_BYTES as they come, the last TAIL_BYTES when it ends.

    Carriage returns are folded (a progress bar leaves its last state), ANSI sequences stripped, control
    characters and invalid UTF-8 escaped, lines cut at 8 KiB.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._written = 0
        self._tail: deque[str] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self._muted = False
        self._threads: list[Thread] = []

    def drain(self, pipe: IO[bytes]) -> None:
        """Start reading `pipe` until its end, in a thread of its own, so that no writer ever blocks on us."""
        thread = Thread(target=self._read, args=(pipe,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def mute(self) -> None:
        """Keep nothing from here on: validation rows are about to be handed out."""
        self._muted = True

    def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the pipes to end, then write the tail."""
        for thread in self._threads:
            thread.join(timeout)
        self._muted = True
        if self._dropped:
            self._file.write(f"... {self._dropped} bytes left out ...\n")
        self._file.writelines(self._tail)
        self._file.close()

    def _read(self, pipe: IO[bytes]) -> None:
        while line := pipe.readline(_MAX_LINE):
            if self._muted:
                continue
            try:
                self._keep(clean(line))
            except OSError:
                self._muted = True  # a full disk costs the log, not the run: go on draining
        pipe.close()

    def _keep(self, line: str) -> None:
        size = len(line.encode())
        if self._written + size <= HEAD_BYTES and not self._tail:
            self._written += size
            self._file.write(line)
            self._file.flush()
            return
        self._tail.append(line)
        self._tail_bytes += size
        while self._tail_bytes > TAIL_BYTES:
            gone = len(self._tail.popleft().encode())
            self._tail_bytes -= gone
            self._dropped += gone


def clean(line: bytes) -> str:
    """One line of output as a reader should see it, with its line end.

    >>> clean(b"10%\\r100%\\x1b[0m\\n")
    '100%\\n'
    """
    text = _ANSI.sub("", line.decode("utf-8", errors="backslashreplace")).rstrip("\r\n")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.rsplit("\r", 1)[-1]) + "\n"
