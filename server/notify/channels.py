"""Where messages go, and what each service wants of one: an address, headers and a body."""

import json
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from server.errors import Unavailable
from server.notify.message import Message
from server.text import printable

_MOST = 1500  # characters of a message: the shortest limit is Discord's, of 2,000
_KINDS = ("ntfy", "slack", "discord", "webhook")
_PRIORITY = {True: 5, False: 3}  # of ntfy
_TAGS = {"over": "checkered_flag", "stuck": "warning", "kept": "chart_with_downwards_trend"}


class Post(NamedTuple):
    """One request."""

    url: str
    headers: dict[str, str]
    body: bytes


class Channel(NamedTuple):
    """Where messages go. The address is a secret: it is never shown."""

    kind: str  # ntfy, slack, discord, webhook or apprise
    url: str

    @property
    def name(self) -> str:
        """What may be shown of it."""
        if self.kind == "apprise":
            return f"{urlsplit(self.url).scheme or 'an address'} (apprise)"
        return f"{self.kind} at {urlsplit(self.url).hostname or 'an unknown host'}"


def channel(told: str) -> Channel:
    """What an address stands for; KIND+https://... says it aloud. Raises Unavailable, without the address."""
    kind, plus, rest = told.partition("+")
    url = rest if plus and kind in _KINDS else told
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise Unavailable("An address for notifications is not valid.", "Correct it.") from None
    if not named:
        if parts.scheme in ("", "http", "https", "file") or re.search(r"\s", told):
            raise Unavailable(
                "An address for notifications is not valid.",
                "It must begin with https://, or be an address of apprise.",
            )
        return Channel("apprise", told)
    return Channel(kind if url is rest and plus else _kind(parts), url)


def _kind(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if host == "hooks.slack.com":
        return "slack"
    if host in ("discord.com", "discordapp.com") and parts.path.startswith("/api/webhooks/"):
        return "discord"
    return "ntfy" if host == "ntfy.sh" or host.startswith("ntfy.") else "webhook"


def post(to: Channel, message: Message) -> Post:
    """The request that brings a message to one of our own four services."""
    made = {"ntfy": _ntfy, "slack": _slack, "discord": _discord, "webhook": _webhook}[to.kind](to.url, message)
    url, fields = made
    return Post(url, {"Content-Type": "application/json"}, json.dumps(fields, ensure_ascii=False).encode())


def _ntfy(url: str, message: Message) -> tuple[str, dict[str, object]]:
    parts = urlsplit(url)
    above, _, topic = parts.path.rstrip("/").rpartition("/")
    tags = [_TAGS[message.event]] if message.event in _TAGS else []
    fields = {"topic": topic, "title": line(message.title), "message": line(message.text), "tags": tags}
    return parts._replace(path=f"{above}/").geturl(), {**fields, "priority": _PRIORITY[message.urgent]}


def _slack(url: str, message: Message) -> tuple[str, dict[str, object]]:
    text = f"{line(message.title)}\n{line(message.text)}"
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # else <!channel> calls everybody
        text = text.replace(sign, written)
    return url, {"text": text}


def _discord(url: str, message: Message) -> tuple[str, dict[str, object]]:
    text = f"{line(message.title)}\n{line(message.text)}"
    return url, {"content": text, "allowed_mentions": {"parse": []}}


def _webhook(url: str, message: Message) -> tuple[str, dict[str, object]]:
    told = message.model_dump(exclude={"report"})
    report = {"report": message.report} if message.report else {}
    return url, {**told, "title": line(message.title), "text": line(message.text), **report}


def line(text: str) -> str:
    """A text without controls, of a length that every service takes."""
    shown = "\n".join(printable(part) for part in text.splitlines())
    return shown if len(shown) <= _MOST else f"{shown[: _MOST - 1]}…"
