"""What is worth a message, and when it may be sent. Pure: a study as it was seen goes in, messages come out.

`over` and `stuck` are told once. Kept changes are told together, half an hour apart. Quiet hours hold everything but
`stuck`; six messages an hour are the most; what is held is sent as one, later.
"""

from collections.abc import Sequence

from pydantic import Field

from server.notify.message import Message
from server.records import Value

KEPT_SECONDS = 1800.0  # between two messages of kept changes
MOST_AN_HOUR = 6
_HOUR = 3600.0
_OFF_SECONDS = 600.0  # without a server
_IDLE_SECONDS = 2700.0  # without a run, while a server waits for its agent
_ALIKE = 3  # failures in a row
_DIGEST_SECONDS = 12 * _HOUR
_MERGED = 5  # lines of a message that was made of several


class Gain(Value):
    """A kept change that is surely better."""

    number: int
    told: str  # value, gain and error, number, what it is


class Seen(Value):
    """A study at one moment."""

    tag: str
    line: str  # how it stands, in a line
    over: str = ""  # why it is over
    lead: str = ""  # the study in a paragraph, once it is over
    server: str = "on"  # on, off or hangs
    last: int = 0  # number of the last row
    running: bool = False
    waiting: bool = False  # a server waits for its agent
    paused: bool = False
    failures: list[str] = Field(default_factory=list[str])  # of the last experiments, newest first
    disk: str = ""  # that it is nearly full
    gains: list[Gain] = Field(default_factory=list[Gain])
    measured: int = 0  # experiments


class Memory(Value):
    """What was told, and what happened since when. Times in seconds since the epoch."""

    begun: bool = False
    told: int = 0  # the last kept change that was told
    over: str = ""
    stuck: list[str] = Field(default_factory=list[str])
    row: int = 0
    row_at: float = 0.0  # when the last row came
    off_at: float = 0.0  # since when no server is on; 0: one is
    kept_at: float = 0.0  # when kept changes were told last
    digest_at: float = 0.0
    baseline: bool = False  # the first experiment was told, or there before
    sent: list[float] = Field(default_factory=list[float])
    held: list[Message] = Field(default_factory=list[Message])
    by: int = 0  # the process that sends
    by_at: float = 0.0


def first_look(seen: Seen, now: float) -> Memory:
    """What happened before is not told."""
    told = max((gain.number for gain in seen.gains), default=0)
    return Memory(
        begun=True, told=told, over=seen.over, row=seen.last, row_at=now, digest_at=now, baseline=seen.measured > 0
    )


def look(memory: Memory, seen: Seen, now: float, events: Sequence[str], quiet: bool) -> tuple[Memory, list[Message]]:
    """What to send now, and what to remember.

    Args:
        events: that the operator wants. quiet: whether it is one of the quiet hours.
    """
    if not memory.begun:
        memory = first_look(seen.model_copy(update={"over": ""}), now)
    memory, found = _timed(memory, seen, now), list[Message]()
    for news in (_over, _stuck, _kept, _first, _digest):
        memory, message = news(memory, seen, now)
        if message and message.event in events:
            found.append(message)
    return _released(memory.model_copy(update={"row": seen.last}), found, now, quiet)


_News = tuple[Memory, Message | None]


def _timed(memory: Memory, seen: Seen, now: float) -> Memory:
    """With the times of what has begun or ended since the last look."""
    row_at = now if seen.last != memory.row or seen.running or seen.paused else min(memory.row_at, now)
    off_at = 0.0 if seen.server == "on" or seen.over or seen.paused else memory.off_at or now
    return memory.model_copy(update={"row_at": row_at, "off_at": min(off_at, now)})


def _over(memory: Memory, seen: Seen, now: float) -> _News:
    if not seen.over or seen.over == memory.over:
        return memory.model_copy(update={"over": seen.over}), None
    text = f"{seen.line}\n{seen.lead}".strip()
    message = Message(event="over", title=f"{seen.tag} is over: {seen.over}", text=text, study=seen.tag)
    return memory.model_copy(update={"over": seen.over}), message


def _stuck(memory: Memory, seen: Seen, now: float) -> _News:
    why = _why_stuck(memory, seen, now)
    fresh = [one for one in why if one not in memory.stuck]
    memory = memory.model_copy(update={"stuck": list(why)})
    if not fresh:
        return memory, None
    told = " ".join(why[one] for one in fresh)
    return memory, Message(
        event="stuck", title=f"{seen.tag} is stuck", text=f"{told}\n{seen.line}", study=seen.tag, urgent=True
    )


def _why_stuck(memory: Memory, seen: Seen, now: float) -> dict[str, str]:
    """By name, the reasons in a sentence."""
    found: dict[str, str] = {}
    if seen.over:
        return found
    if memory.off_at and now - memory.off_at >= _OFF_SECONDS and not seen.running:
        what = "hangs" if seen.server == "hangs" else "is gone"
        found["server"] = f"The server {what} for {(now - memory.off_at) / 60:.0f} minutes."
    if seen.waiting and now - memory.row_at >= _IDLE_SECONDS:
        found["agent"] = f"The agent has started no run for {(now - memory.row_at) / 60:.0f} minutes."
    if len(seen.failures) >= _ALIKE and len(set(seen.failures[:_ALIKE])) == 1:
        found["failures"] = f"The last {_ALIKE} experiments failed alike: {seen.failures[0]}."
    if seen.disk:
        found["disk"] = seen.disk
    return found


def _kept(memory: Memory, seen: Seen, now: float) -> _News:
    fresh = [gain for gain in seen.gains if gain.number > memory.told]
    if not fresh or (memory.kept_at and 0 <= now - memory.kept_at < KEPT_SECONDS):
        return memory, None
    lines = [gain.told for gain in fresh[-_MERGED:]]
    more = [f"and {len(fresh) - _MERGED} before"] if len(fresh) > _MERGED else []
    count = "a gain" if len(fresh) == 1 else f"{len(fresh)} gains"
    message = Message(
        event="kept", title=f"{seen.tag}: {count}", text="\n".join([*lines, *more, seen.line]), study=seen.tag
    )
    return memory.model_copy(update={"told": fresh[-1].number, "kept_at": now}), message


def _first(memory: Memory, seen: Seen, now: float) -> _News:
    if memory.baseline or not seen.measured:
        return memory, None
    return memory.model_copy(update={"baseline": True}), Message(
        event="first", title=f"{seen.tag} has its baseline", text=seen.line, study=seen.tag
    )


def _digest(memory: Memory, seen: Seen, now: float) -> _News:
    if 0 <= now - memory.digest_at < _DIGEST_SECONDS or seen.over:
        return memory, None
    message = Message(event="digest", title=f"{seen.tag} so far", text=seen.line, study=seen.tag)
    return memory.model_copy(update={"digest_at": now}), message


def _released(memory: Memory, found: list[Message], now: float, quiet: bool) -> tuple[Memory, list[Message]]:
    """What may be sent of what was found and held; the rest is held."""
    sent = [at for at in memory.sent if 0 <= now - at < _HOUR]
    waiting = [*memory.held, *found]
    urgent = [message for message in waiting if message.urgent]
    rest = [message for message in waiting if not message.urgent]
    out = urgent[: max(MOST_AN_HOUR - len(sent), 0)]
    held = urgent[len(out) :]
    if rest and not quiet and len(sent) + len(out) < MOST_AN_HOUR:
        out.append(_merged(rest))
    else:
        held += rest[-4 * _MERGED :]
    return memory.model_copy(update={"sent": [*sent, *[now] * len(out)], "held": held}), out


def _merged(messages: list[Message]) -> Message:
    """One message of several; the last one's title, if one of them ends the study that one's."""
    if len(messages) == 1:
        return messages[0]
    head = next((message for message in messages if message.event == "over"), messages[-1])
    others = [message for message in messages if message is not head][-_MERGED:]
    lines = [head.text, *(f"{message.title}: {message.text.splitlines()[0]}" for message in reversed(others))]
    return head.model_copy(update={"text": "\n".join(lines)})
