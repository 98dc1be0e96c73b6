"""The log of one run: what train.py printed, made fit to read, and never larger than its cap.

Kept for people and for diagnosis; no score is ever read from it.
"""

import os
import select
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import IO

from trainer.text import clean

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 256 * 1024
_SHOW_SECONDS = 1.0  # between two states of the file
_BLOCK = 64 * 1024  # what a pipe holds


class RunLog:
    """Drains pipes into a file: the first HEAD_BYTES and the last TAIL_BYTES, as they are about once a second.

    Carriage returns are folded (a progress bar leaves its last state), ANSI sequences stripped, control
    characters and invalid UTF-8 escaped.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._head, self._tail = bytearray(), bytearray()  # as they came: a flood costs no more than to be read
        self._dropped = 0
        self._shown = 0.0
        self._stale = self._muted = False
        self._lock = Lock()
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
        """Wait up to `timeout` seconds for the pipes to end, then write what they left. A full disk costs the log."""
        for thread in self._threads:
            thread.join(timeout)
        with self._lock, suppress(OSError):
            self._muted = True
            self._show()
        with suppress(OSError):
            self._file.close()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while True:
                if self._stale and not select.select([pipe], [], [], _SHOW_SECONDS)[0]:
                    self.add(b"")
                elif block := os.read(pipe.fileno(), _BLOCK):
                    self.add(block)
                else:
                    return

    def add(self, block: bytes) -> None:
        """Take what somebody else has read of a pipe; of nothing, show what came before."""
        with self._lock:
            if self._muted:
                return
            room = HEAD_BYTES - len(self._head)
            self._head += block[:room]
            self._tail += block[room:]
            if (excess := len(self._tail) - TAIL_BYTES) > 0:
                del self._tail[:excess]
                self._dropped += excess
            self._stale = True
            if time.monotonic() - self._shown >= _SHOW_SECONDS:
                with suppress(OSError):  # a full disk costs the log, not the run: go on draining
                    self._show()

    def _show(self) -> None:
        if not self._stale:
            return
        text = _within(HEAD_BYTES, self._head)
        if self._dropped:
            begin = self._tail.find(b"\n") + 1  # of a line, and so of a character
            text += f"... {self._dropped + begin} bytes left out ...\n".encode()
            text += _within(-TAIL_BYTES, self._tail[begin:])
        elif self._tail:
            text = _within(HEAD_BYTES + TAIL_BYTES, self._head + self._tail)
        self._stale, self._shown = False, time.monotonic()
        self._file.seek(0)
        self._file.write(text)
        self._file.truncate()
        self._file.flush()


def _within(limit: int, raw: bytearray) -> bytes:
    """`raw` as a reader should see it, in at most so many bytes; negative: the last ones."""
    text = clean(raw).encode()
    text = text[:limit] if limit > 0 else text[limit:]
    return text.decode(errors="ignore").encode()
