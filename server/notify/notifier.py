"""Looking after a study for its operator: a thread that looks now and then, and sends what is worth it."""

import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from threading import Event, Thread

from pydantic import ValidationError

from server.errors import AutoresearchError, Unavailable
from server.files import write_whole
from server.metric import Metric
from server.notify import rules
from server.notify.channels import Channel
from server.notify.message import Message
from server.notify.rules import Gain, Memory, Seen
from server.notify.sending import deliver, wait_for
from server.notify.settings import Settings, load_settings
from server.paths import StudyPaths
from server.records import Experiment
from server.reporting.bill import time_in_words
from server.reporting.morning.measured import with_error
from server.reporting.morning.report_file import render
from server.reporting.morning.summary_paragraph import minus, summary_paragraph
from server.reporting.study_view import StudyView
from server.reporting.view_model import Kind, Standing, StudyState, Summary
from server.text import shorten

_LOOK_SECONDS = 10.0
_OTHERS_SECONDS = 60.0  # after which a process that sends is no longer there
_FULL_GB = 1.0
_WORDS = 100  # bytes of a description
_NAME = 40  # bytes of an agent's
_log = logging.getLogger(__name__)
_Tell = Callable[[str], None]


class Notifier:
    """Of one study."""

    def __init__(self, paths: StudyPaths, settings: Settings, tell: _Tell) -> None:
        """`tell` is told what could not be sent, and why. Raises Unavailable: an address is none."""
        self._paths, self._settings, self._tell = paths, settings, tell
        self._channels: Sequence[Channel] = settings.channels
        self._threads: list[Thread] = []
        self._failed: dict[Channel, str] = {}

    def look(self, over: str = "", now: float | None = None) -> list[Message]:
        """Look once, and send what is worth it. Returns what is sent.

        Args:
            over: why whoever calls ends the study, where he does. now: seconds since the epoch.
        """
        now = time.time() if now is None else now
        memory = self._memory()
        if memory.by not in (0, os.getpid()) and 0 <= now - memory.by_at < _OTHERS_SECONDS and _lives(memory.by):
            return []  # another process of ours sends
        with closing(StudyView(self._paths)) as view:
            if not self._paths.ledger.exists():
                return []
            summary = view.summary()
            rows, metric = view.material()
        seen = see(summary, rows, metric, over)
        quiet = self._settings.is_quiet(datetime.fromtimestamp(now)) and not over
        memory, messages = rules.look(memory, seen, now, self._settings.events, quiet)
        self._remember(memory.model_copy(update={"by": os.getpid(), "by_at": now}))
        messages = [self._with_report(message) for message in messages]
        for message in messages:
            self._threads += deliver(self._channels, message, self._done)
        return messages

    def wait(self) -> None:
        """Until what was sent has arrived, or it is clear that it will not."""
        wait_for(self._threads)
        self._threads = []

    def release(self) -> None:
        """Let another process send."""
        memory = self._memory()
        if memory.by == os.getpid():
            self._remember(memory.model_copy(update={"by": 0}))

    def _done(self, to: Channel, why: str) -> None:
        if why and self._failed.get(to) != why:  # once, not at every message
            self._tell(f"{to.name} got no message: {why}")
        self._failed[to] = why

    def _with_report(self, message: Message) -> Message:
        if message.event != "over" or not self._settings.attach:
            return message
        with suppress(AutoresearchError):
            return message.model_copy(update={"report": render(self._paths, "html")})
        return message

    def _memory(self) -> Memory:
        with suppress(OSError, ValidationError):
            return Memory.model_validate_json(self._paths.notified.read_bytes())
        return Memory()

    def _remember(self, memory: Memory) -> None:
        with suppress(OSError):  # a full disk: then something may be told twice
            write_whole(self._paths.notified, memory.model_dump_json())


@contextmanager
def notifying(paths: StudyPaths, tell: _Tell, seconds: float = _LOOK_SECONDS) -> Generator[list[str]]:
    """Look after a study in a thread of its own, while the block runs, if the operator has named an address.

    What the block puts into the list ends the study, and is told as the reason.
    """
    ended: list[str] = []
    try:
        settings = load_settings(paths.home)
        notifier = Notifier(paths, settings, tell) if settings.urls else None
    except Unavailable as error:
        tell(f"no messages are sent: {error}")
        notifier = None
    if notifier is None:
        yield ended
        return
    stop = Event()
    thread = Thread(target=_watch, args=(notifier, stop, seconds), daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join(seconds)
        with suppress(AutoresearchError, OSError):
            notifier.look(ended[-1] if ended else "")
            notifier.wait()
            notifier.release()


def _watch(notifier: Notifier, stop: Event, seconds: float) -> None:
    while not stop.wait(seconds):
        try:
            notifier.look()
        except (AutoresearchError, OSError):  # others mend that: the next look tells
            continue
        except Exception:
            _log.exception("Looking for messages failed.")


def test_message(settings: Settings, paths: StudyPaths | None) -> list[tuple[str, str]]:
    """Send a message to every address, and wait. Returns the name of each, and why it got none; empty: it did.

    Raises Unavailable: an address is none, or apprise is missing.
    """
    text = "If you can read this, messages of autoresearch arrive."
    message = Message(event="test", title="autoresearch: a test", text=text, study=paths.tag if paths else "")
    found: dict[Channel, str] = {}
    channels = settings.channels
    wait_for(deliver(channels, message, lambda to, why: found.update({to: why})))
    return [(to.name, found.get(to, "it did not answer")) for to in channels]


def see(summary: Summary, rows: Sequence[Experiment], metric: Metric, over: str = "") -> Seen:
    """What is worth a look in a study. `over`: why it ends, where somebody ends it."""
    study, health, counts = summary.study, summary.health, summary.counts
    ended = study.state in (StudyState.OVER, StudyState.STOPPED)
    full = health.disk_gb is not None and health.disk_gb < _FULL_GB
    return Seen(
        tag=study.tag,
        line=_line(summary, metric),
        over=over or (study.why if ended else ""),
        lead=minus("".join(word.text for word in summary_paragraph(summary, metric))),
        server=health.server,
        last=rows[-1].number if rows else 0,
        running=study.state is StudyState.RUNNING,
        waiting=study.state is StudyState.IDLE,
        paused=study.state is StudyState.PAUSED,
        failures=_failures(rows),
        disk=f"The disk has {health.disk_gb:.1f} GB left." if full else "",
        gains=_gains(summary, rows, metric),
        measured=counts.experiments,
    )


def _line(summary: Summary, metric: Metric) -> str:
    counts = summary.counts
    time_ = time_in_words(summary.study.elapsed)
    best = f"{metric.name} {metric.number(summary.headline.best.value, 4)} · " if summary.headline else ""
    return f"{best}{counts.sure} sure of {max(counts.experiments - 1, 0)} · {time_}"


def _gains(summary: Summary, experiments: Sequence[Experiment], metric: Metric) -> list[Gain]:
    """What was kept, confirmed, and is larger than two errors; of several agents, with the one that found it."""
    rows, found = summary.rows, list[Gain]()
    finders = {row.number: row.attempt.agent for row in experiments} if summary.agents else {}
    for at, number in enumerate(rows.number):
        standing, value, change = summary.standings[rows.standing[at]], rows.value[at], rows.change[at]
        sure = standing == Standing.SURE and rows.confirmations[at] and Kind(summary.kinds[rows.kind[at]]) is Kind.KEPT
        if sure and value is not None and change is not None:
            size = minus(with_error(metric, metric.sign * change, rows.error[at]))
            by = f", by {shorten(agent, _NAME)}" if (agent := finders.get(number)) else ""
            told = f"{metric.number(value, 4)} ({size}, #{number}{by}) {shorten(rows.description[at], _WORDS)}"
            found.append(Gain(number=number, told=told))
    return found


def _failures(rows: Sequence[Experiment]) -> list[str]:
    """The causes of the last experiments, newest first, up to one that has a score."""
    found: list[str] = []
    for row in reversed(rows):
        if row.running or row.attempt.of is not None:
            continue
        if row.result is None or row.value is not None:
            break
        found.append((row.result.cause or row.verdict).replace("_", " "))
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
