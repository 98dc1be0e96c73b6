"""Where messages go and when: from the environment, or a file that its owner alone can read. Never from program.md."""

import os
import re
import stat
import tomllib
from datetime import datetime, time
from pathlib import Path
from typing import Any, cast

from pydantic import Field, ValidationError

from server.errors import Unavailable
from server.notify.channels import Channel, channel
from server.paths import Home
from server.records import Value

VARIABLE = "AUTORESEARCH_NOTIFY"
EVENTS = ("over", "stuck", "kept", "first", "digest")
_USUAL = ("over", "stuck", "kept")
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
_STEP = 'Write lines such as urls = ["https://ntfy.sh/TOPIC"], events = ["over", "stuck"], quiet = "22:00-07:00".'


class Settings(Value):
    """What the operator wants."""

    urls: list[str] = Field(default_factory=list[str], repr=False)
    events: list[str] = Field(default_factory=lambda: list(_USUAL))
    quiet: str = ""  # "22:00-07:00", local time: all but `stuck` waits
    attach: bool = False  # send the report along, with its diffs, where a service takes it

    @property
    def channels(self) -> list[Channel]:
        """Raises Unavailable: an address is none."""
        return [channel(url) for url in self.urls]

    def is_quiet(self, now: datetime) -> bool:
        """Whether it is one of the quiet hours, which may go over midnight."""
        found = _HOURS.fullmatch(self.quiet)
        if found is None:
            return False
        from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
        start, end, at = time(from_hour, from_minute), time(to_hour, to_minute), now.time()
        return start <= at < end if start <= end else at >= start or at < end


def load_settings(home: Home) -> Settings:
    """The file's, and the addresses of the environment.

    Raises:
        Unavailable: others can read the file, or something in it is wrong; nothing of its content is told.
    """
    told = _from_file(home.notify)
    named = re.split(r"[\s,]+", os.environ.get(VARIABLE, ""))
    if isinstance(urls := told.get("urls", []), list):
        told["urls"] = [*cast("list[Any]", urls), *filter(None, named)]
    try:
        found = Settings.model_validate(told)
    except ValidationError as error:
        fields = ", ".join(dict.fromkeys(str(one["loc"][0]) for one in error.errors()))
        raise Unavailable(f"{home.notify} is wrong in {fields}.", _STEP) from None
    if unknown := [event for event in found.events if event not in EVENTS]:
        raise Unavailable(f"{home.notify}: {unknown[0]!r} is not an event.", f"There are {', '.join(EVENTS)}.")
    if found.quiet and not _HOURS.fullmatch(found.quiet):
        raise Unavailable(f"{home.notify}: `quiet` is not a range of hours.", _STEP)
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise Unavailable(f"Other users can read {path}, which has secrets.", f"Run `chmod 600 '{path}'`.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):  # a parser's message would show what it read
        raise Unavailable(f"{path} cannot be read as TOML.", _STEP) from None
