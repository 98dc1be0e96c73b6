"""What changes in a study, told to everybody who watches: found without reading rows, sent once, replayed if missed.

While somebody listens, it looks at the times of a few files four times a second. Where one has changed, it asks SQLite
for a number that grows with each write of another process. Only what has changed is read, and only that is sent.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from server.errors import AutoresearchError
from server.paths import StudyPaths
from server.reporting.study_view import StudyView, Told
from server.reporting.view_model import Rows, Summary
from trainer.contract import RunFile

LOOK_SECONDS = 0.25
_ALONE_SECONDS = 10.0  # between two looks while nobody listens
STIR_SECONDS = 3.0  # after a change, in which another one may leave a file's time as it is: some disks count in seconds
TICK_SECONDS = 10.0
_RING = 256  # events that can be replayed
_QUEUE = 256  # events that a slow reader may be behind
_MOST_ROWS = 400  # in one event: the ring keeps events
_SEARCH_SECONDS = 2.0
_log = logging.getLogger(__name__)


class Event(NamedTuple):
    """Something that has changed. `number` 0: it is not counted, and never replayed."""

    number: int
    name: str  # update, now, reset, trouble, tick
    data: str

    def told(self, boot: str) -> str:
        """As the stream has it."""
        counted = f"id: {boot}.{self.number}\n" if self.number else ""
        return f"{counted}event: {self.name}\ndata: {self.data}\n\n"


class Changes:
    """The changes of one study, and those who listen."""

    def __init__(self, find: Callable[[], StudyPaths], told: Callable[[], Told] = Told) -> None:
        """Watch a study.

        Args:
            find: which study, asked again until it has a ledger. told: what others know of it.
        """
        self._find, self._told = find, told
        self.view = StudyView(find())
        self.lock = anyio.Lock()  # the view is asked by one thread at a time
        self.boot, self._sequence = token_hex(4), 0
        self._ring: deque[Event] = deque(maxlen=_RING)
        self._listeners: set[MemoryObjectSendStream[Event]] = set()
        self._heard = anyio.Event()  # set when somebody begins to listen
        self._summary: Summary | None = None
        self._rows: dict[int, tuple[object, ...]] = {}
        self._told_rows: tuple[Rows | None, str] = None, ""  # as JSON: ten thousand are written once, not for each tab
        self._files: tuple[object, ...] = ()
        self._head, self._trouble = "", ""
        self._searched = self._ticked = self._stirred = 0.0
        self._times: tuple[object, ...] = ()

    @property
    def cursor(self) -> str:
        """Where the stream is."""
        return f"{self.boot}.{self._sequence}"

    async def run(self) -> None:
        """Look until it is cancelled. Nothing that fails ends it."""
        try:
            while True:
                await self.look()
                await self._pause()
        finally:
            for listener in list(self._listeners):
                listener.close()
            self.view.close()

    async def _pause(self) -> None:
        if self._listeners:
            await anyio.sleep(LOOK_SECONDS)
            return
        self._heard = anyio.Event()
        with anyio.move_on_after(_ALONE_SECONDS):
            await self._heard.wait()

    async def look(self) -> None:
        """Look once, and tell what has changed."""
        try:
            if self._rests():
                return
            async with self.lock:
                events = await anyio.to_thread.run_sync(self._look)
            trouble = ""
        except (
            AutoresearchError,
            OSError,
        ) as error:  # a ledger that is being rebuilt, a full disk: what is shown stays
            events, trouble = [], str(error)
        except Exception:
            _log.exception("The study could not be read; trying again.")
            events, trouble = [], "The study could not be read; the log of `autoresearch watch` says why."
        if trouble != self._trouble:
            self._trouble = trouble
            events = [*events, ("trouble", {"text": trouble})]
        for name, data in events:
            self._push(name, data)
        if time.monotonic() - self._ticked > TICK_SECONDS:
            self._ticked = time.monotonic()
            self._send(Event(0, "tick", "{}"))

    async def summary(self) -> str:
        """The study as it was last told, as JSON, with the cursor that its changes follow."""
        if self._summary is None or not self._listeners:
            self._stirred = time.monotonic()  # nobody has looked for a while
            await self.look()
        known = self._summary
        if known is None:
            return json.dumps({"trouble": self._trouble, "cursor": self.cursor})
        if self._told_rows[0] is not known.rows:
            self._told_rows = known.rows, known.rows.model_dump_json()
        told = known.model_copy(update={"cursor": self.cursor, "quiet": self.view.quiet()})
        return f'{told.model_dump_json(exclude={"rows"})[:-1]},"rows":{self._told_rows[1]}}}'

    async def detail(self, number: int) -> str | None:
        """An experiment in depth, as JSON; None: there is none. Raises LedgerUnavailable, OSError."""
        async with self.lock:
            found = await anyio.to_thread.run_sync(self.view.detail, number)
        return found.model_dump_json() if found else None

    async def events(self, after: str) -> AsyncIterator[str]:
        """The stream: what was missed since the cursor `after`, or `reset` if that is not known, then what comes."""
        boot, _, number = after.partition(".")
        seen = int(number) if number.isascii() and number.isdecimal() else -1
        with self._listening() as incoming:
            oldest = self._ring[0].number if self._ring else self._sequence + 1
            known = boot == self.boot and oldest - 1 <= seen <= self._sequence
            missed = [event for event in self._ring if event.number > seen]
            yield "retry: 2000\n\n"
            for event in missed if known else [Event(self._sequence, "reset", "{}")]:
                yield event.told(self.boot)
            async for event in incoming:
                yield event.told(self.boot)

    @contextmanager
    def _listening(self) -> Generator[MemoryObjectReceiveStream[Event]]:
        sender, receiver = anyio.create_memory_object_stream[Event](_QUEUE)
        self._listeners.add(sender)
        self._stirred = time.monotonic()
        self._heard.set()
        try:
            with receiver:
                yield receiver
        finally:
            self._listeners.discard(sender)
            sender.close()

    def _push(self, name: str, data: dict[str, Any]) -> None:
        self._sequence += 1
        event = Event(self._sequence, name, json.dumps(data, separators=(",", ":")))
        self._ring.append(event)
        self._send(event)

    def _send(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except anyio.WouldBlock:  # it reads too slowly: it comes back with its cursor
                self._listeners.discard(listener)
                listener.close()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._listeners.discard(listener)

    def _rests(self) -> bool:
        """Whether there is nothing to look at: no file has changed for a while. It costs no thread, and never waits."""
        now, times = time.monotonic(), (*self._stats(), _stat(self.view.paths.ledger))
        if times != self._times:
            self._times, self._stirred = times, now
        stirs = now - self._stirred < STIR_SECONDS or now - self._ticked > TICK_SECONDS
        begun = self._summary is not None and times[-1] is not None  # else which study is meant may still be found
        return begun and not stirs and not self._trouble

    def _look(self) -> list[tuple[str, dict[str, Any]]]:
        """What has changed since the last look. Raises AutoresearchError, OSError."""
        self._search()
        files, before = self._stats(), self._files
        if self._summary is None or self.view.changed() or files[0] != before[0]:
            events = self._read()
            self._files = self._stats()
            return events
        self._files = files
        due = time.monotonic() - self._ticked > TICK_SECONDS  # whether the server lives is told by no file's change
        return self._pulse() if due or files[1] != before[1] else []

    def _search(self) -> None:
        """While there is no ledger: which study is meant may be known by now."""
        if self.view.paths.ledger.exists() or time.monotonic() - self._searched < _SEARCH_SECONDS:
            return
        self._searched = time.monotonic()
        with suppress(AutoresearchError, OSError):
            found = self._find()
            if found != self.view.paths:
                self.view.close()
                self.view, self._summary = StudyView(found), None

    def _stats(self) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """The files whose change is a new summary, and those whose change concerns the run under way alone."""
        paths = self.view.paths
        slow = (paths.notes, paths.lost, self.view.root / "program.md")
        last = self._summary.rows.number[-1] if self._summary and self._summary.rows.number else 0
        now = self._summary.now.number if self._summary and self._summary.now else last
        lanes = [lane.now.number for lane in self._summary.lanes if lane.now] if self._summary else []
        runs = [self.view.runs.path(number) for number in lanes or [now]]
        fast = (
            paths.request,
            paths.lanes,
            *(run / name for run in runs for name in (RunFile.PROGRESS, RunFile.RESULT)),
        )
        return tuple(map(_stat, slow)), tuple(map(_stat, fast))

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        """Read the study, and tell the rows that differ with everything beside the rows."""
        before, known = self._summary, self._rows
        self._summary = summary = self.view.summary(self._told())
        columns = summary.rows.model_dump()
        self._rows = dict(zip(summary.rows.number, zip(*columns.values(), strict=True), strict=True))
        rest = summary.model_dump(mode="json", exclude={"rows", "cursor"})
        self._head = json.dumps([rest["study"], rest["now"], rest["lanes"]])
        if before is None or set(known) - set(self._rows) or before.study.tag != summary.study.tag:
            return [("reset", {})]
        places = [at for at, (number, row) in enumerate(self._rows.items()) if known.get(number) != row]
        if len(places) > _MOST_ROWS:  # another sigma, and with it every error: whoever wants it all asks for it
            return [("reset", {})]
        changed = {name: [column[at] for at in places] for name, column in columns.items()}
        return [("update", {"rows": changed, "rest": rest})]

    def _pulse(self) -> list[tuple[str, dict[str, Any]]]:
        """What the run under way and the server do."""
        if (found := self.view.pulse()) is None:
            return self._read() if self._summary and self._summary.rows.number else []
        head, at_work = found
        now, lanes = at_work[-1] if at_work else None, self.view.lanes(at_work)
        told = {
            "study": head.model_dump(mode="json"),
            "now": now.model_dump(mode="json") if now else None,
            "lanes": [lane.model_dump(mode="json") for lane in lanes],
        }
        if (text := json.dumps([*told.values()])) == self._head:
            return []
        self._head = text
        if self._summary:
            self._summary = self._summary.model_copy(update={"study": head, "now": now, "lanes": lanes})
        return [("now", told)]


def _stat(path: os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
