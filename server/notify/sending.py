"""Sending a message: five seconds, two tries, in a thread of its own, so that nobody waits for a service."""

import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from threading import Thread
from typing import Any, cast

from server.notify.channels import Channel, line, post
from server.notify.message import Message

SECONDS = 5.0
TRIES = 2
_PAUSE = 0.5
_READ = 1024  # bytes of an answer
_FINAL = range(400, 500)  # answers that another try will not change
_TOO_MANY = 429
_APPRISE = "`pip install 'autoresearch-mcp[notify]'`"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that leads elsewhere is told: who follows would send a secret to somebody else."""

    def redirect_request(
        self, req: urllib.request.Request, *told: object, **more: object
    ) -> None:  # as urllib calls it
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def deliver(channels: Sequence[Channel], message: Message, done: Callable[[Channel, str], None]) -> list[Thread]:
    """Send to every channel at the same time, and return at once.

    Args:
        done: is told of each what came of it, from another thread: nothing where it was sent, else why not, without
            the address.
    """
    threads = [Thread(target=_send_and_tell, args=(to, message, done), daemon=True) for to in channels]
    for thread in threads:
        thread.start()
    return threads


def _send_and_tell(to: Channel, message: Message, done: Callable[[Channel, str], None]) -> None:
    done(to, send(to, message))


def wait_for(threads: Sequence[Thread]) -> None:
    """Until they are done, for as long as all tries may take."""
    end = time.monotonic() + TRIES * SECONDS + _PAUSE + 1.0
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))


def send(to: Channel, message: Message) -> str:
    """Send it to one. Returns why it could not be, without the address; empty where it was."""
    why = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(_PAUSE)
        why, again = _try(to, message)
        if not again:
            break
    return why


def _try(to: Channel, message: Message) -> tuple[str, bool]:
    """Why it was not sent, and whether another try may help."""
    if to.kind == "apprise":
        return _by_apprise(to, message)
    url, headers, body = post(to, message)
    request = urllib.request.Request(url, body, {**headers, "User-Agent": "autoresearch"}, method="POST")
    try:
        with _OPENER.open(request, timeout=SECONDS) as answer:
            answer.read(_READ)
        return "", False
    except urllib.error.HTTPError as error:
        error.close()
        what = "leads elsewhere" if 300 <= error.code < 400 else "answers"
        return f"it {what} ({error.code})", error.code == _TOO_MANY or error.code not in (*_FINAL, *range(300, 400))
    except TimeoutError:
        return f"it did not answer within {SECONDS:g} s", True
    except urllib.error.URLError as error:
        slow = isinstance(error.reason, TimeoutError)
        return (f"it did not answer within {SECONDS:g} s" if slow else f"it cannot be reached ({_kind(error)})"), True
    except (OSError, HTTPException, ValueError) as error:  # the text of some has the address
        return f"it cannot be reached ({type(error).__name__})", True


def _kind(error: urllib.error.URLError) -> str:
    reason = error.reason
    return (reason.strerror or type(reason).__name__) if isinstance(reason, OSError) else type(error).__name__


def _by_apprise(to: Channel, message: Message) -> tuple[str, bool]:
    try:
        import apprise  # pyright: ignore
    except ModuleNotFoundError:
        return f"it needs apprise: {_APPRISE}", False
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it would name the address
    module = cast("Any", apprise)  # its types may not be here
    sender = module.Apprise(asset=module.AppriseAsset(app_id="autoresearch", app_desc="autoresearch", app_url=""))
    kind = "warning" if message.urgent else "success" if message.event == "kept" else "info"
    try:
        if not sender.add(to.url):
            return "apprise does not know such an address, or something in it is wrong", False
        # As text: for a service that wants HTML or Markdown it escapes what an agent wrote.
        told = {"title": line(message.title), "body": line(message.text), "body_format": "text", "notify_type": kind}
        sent = bool(sender.notify(**told))
    except Exception as error:  # of one of a hundred plugins: it may have the address
        return f"apprise failed ({type(error).__name__})", True
    return ("" if sent else "apprise could not send it"), not sent
