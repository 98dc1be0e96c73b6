"""Lines of JSON-RPC as clients send them: corrected if the meaning is clear, otherwise answered with an error.

Every line that asks for an answer gets one; otherwise its client would wait until its time-out.
"""

import json
import os
import re
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple, cast

MAX_LINE = 16 << 20  # bytes
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NOT_STARTED = "autoresearch did not start"  # how the reason for `refuse_all` begins, where a command has failed
BOM = "\ufeff"
_NOTICES = "notifications/"
_NAMED = {
    "tools/call": ("name", "tool", "tools/list"),
    "prompts/get": ("name", "prompt", "prompts/list"),
    "resources/read": ("uri", "resource", "resources/list"),
}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Where a line cannot be read, its id is looked for among the members of the outermost object; and where a line is too
# long to be kept, at its end.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_MAX_TOKENS = 1_000_000
_ID = rb'\s*:\s*(-?\d{1,20}|"[^"\\]{0,200}")\s*'
_VALUE = re.compile(_ID + rb"[,}]")
_MEMBER = rb'"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,200}"\s*'
_LAST = re.compile(rb'"id"' + _ID + rb"(?:,\s*" + _MEMBER + rb")*\}\s*$")

Answer = dict[str, Any]


class Line(NamedTuple):
    """A line that was read: JSON to be handled (empty: nothing is), and what is answered without handling it."""

    text: str
    answers: list[Answer]


def failure(request: object, code: int, message: str) -> Answer:
    """An error, as the answer to the request with this id; None where the id is not known."""
    return {"jsonrpc": "2.0", "id": request, "error": {"code": code, "message": message}}


def read_line(line: bytes) -> Line:
    """The message in one line.

    A byte order mark is dropped; half a surrogate pair, as JavaScript writes it of a character that was cut in two,
    becomes U+FFFD.
    """
    text = line.decode("utf-8", errors="replace").strip().removeprefix(BOM).strip()
    if not text:
        return Line("", [])
    try:
        told, changed = _parsed(text)
    except (ValueError, RecursionError) as error:
        return Line("", _unread(text, error))
    if isinstance(told, list):  # a batch, which protocol versions since 2025-06-18 do not have
        why = "Batches are not supported: send each message on its own line."
        return Line("", _each(cast("list[Any]", told), why))
    if answer := _refused(told) or _nameless(told):
        return Line("", [answer])
    if _made_object(told) or changed:
        text = json.dumps(told)
    if _SURROGATE.search(text):
        text = json.dumps(told, ensure_ascii=False)
        text = text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    return Line(text, [])


def long_line(start: bytes, end: bytes) -> Answer:
    """The answer to a line of more than MAX_LINE bytes, by its first and its last part."""
    request = _found_id(start)
    if request is None and (found := _LAST.search(end)):
        request = json.loads(found[1])
    return failure(request, INVALID_REQUEST, f"The message is longer than {MAX_LINE} bytes.")


def _parsed(text: str) -> tuple[Any, bool]:
    """What JSON says, and whether it is none to the letter: a raw tab in a string has a plain meaning."""
    try:
        return json.loads(text), False
    except json.JSONDecodeError:
        return json.loads(text, strict=False), True


def _unread(text: str, error: Exception) -> list[Answer]:
    if len(several := _objects(text)) > 1:
        return _each(several, "The line has several messages: send each on its own line.")
    return [failure(_found_id(text.encode()), PARSE_ERROR, f"The message is not JSON: {error}.")]


def _found_id(line: bytes) -> object:
    """The id among the outermost members of a message that is no JSON, or is cut; None where none is whole."""
    depth = 0
    for token in islice(_TOKEN.finditer(line), _MAX_TOKENS):
        if token[0] == b'"id"' and depth == 1 and (value := _VALUE.match(line, token.end())):
            with suppress(ValueError):  # a raw tab in it
                return json.loads(value[1])
        depth += (token[0] in b"{[") - (token[0] in b"]}")
    return None


def _objects(text: str) -> list[Any]:
    """The JSON texts that follow each other in one line, up to the first that is none."""
    decoder, found, at = json.JSONDecoder(strict=False), list[Any](), 0
    with suppress(ValueError, RecursionError):
        while at < len(text):
            told, at = decoder.raw_decode(text, at)
            found.append(told)
            at += len(text[at:]) - len(text[at:].lstrip())
    return found


def _each(messages: list[Any], why: str) -> list[Answer]:
    """An answer to every request among the messages; one without an id where there is none."""
    objects = [cast("Answer", one) for one in messages if isinstance(one, dict)]
    asking = [one["id"] for one in objects if "method" in one and "id" in one]
    return [failure(request, INVALID_REQUEST, why) for request in asking or [None]]


def request_id(text: str) -> object:
    """The id of a message that JSON can be read of; None if it has none."""
    told: Any = json.loads(text)
    return cast("Answer", told).get("id") if isinstance(told, dict) else None


def _refused(told: object) -> Answer | None:
    """The error for what is no message; None for one, and for a notification, which nobody waits for."""
    if not isinstance(told, dict):
        return failure(None, INVALID_REQUEST, "A message must be a JSON object.")
    message = cast("Answer", told)
    method, request, params = message.get("method"), message.get("id"), message.get("params")
    quiet = isinstance(method, str) and ("id" not in message or (request is None and method.startswith(_NOTICES)))
    if quiet or ("method" not in message and ("result" in message or "error" in message)):
        return None  # a notification, or a reply to a request of ours
    named = isinstance(request, str | int) and not isinstance(request, bool)
    wrongs = (
        (not named, INVALID_REQUEST, f"A request's id must be a string or a whole number, not {_short(request)}."),
        (not isinstance(method, str), INVALID_REQUEST, f"A request's method must be a string, not {_short(method)}."),
        (message.get("jsonrpc") != "2.0", INVALID_REQUEST, 'A request must have "jsonrpc": "2.0".'),
        (not isinstance(params, dict | None), INVALID_PARAMS, "A request's params must be an object."),
    )
    echo = request if named or isinstance(request, float) else None
    return next((failure(echo, code, why) for wrong, code, why in wrongs if wrong), None)


def _nameless(message: Answer) -> Answer | None:
    """The error for a call of no tool, and for a question about no prompt or resource."""
    method, params = message.get("method"), cast("Answer", message.get("params") or {})
    if method not in _NAMED or "id" not in message:
        return None
    key, what, names = _NAMED[method]
    name = params.get(key)
    if isinstance(name, str) and name:
        return None
    why = f"params.{key} must be the {key} of a {what}, a string, not {_short(name)}: {names} has the {key}s."
    return failure(message["id"], INVALID_PARAMS, why)


def _made_object(message: Answer) -> bool:
    """Take a call's arguments for the object that is meant: a string of JSON, or [] for an empty one. Whether so."""
    params: Any = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(params, dict):
        return False
    params = cast("Answer", params)
    given: Any = params.get("arguments")
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):
            given = json.loads(given or "{}", strict=False)
    if given == []:
        given = {}
    if not isinstance(given, dict) or given is params["arguments"]:
        return False
    params["arguments"] = given
    return True


def _short(value: object) -> str:
    return json.dumps(value)[:80]


def refuse_all(reason: str, first_seconds: float = 10.0) -> None:
    """Answer every request on stdin with `reason`, until the client closes stdin or says nothing for a while.

    Clients show their users what `initialize` or `server/discover` is answered with; few show stderr.
    """
    left, until = b"", time.monotonic() + first_seconds
    with suppress(OSError, ValueError):  # stdin or stdout is closed: nobody listens
        while not os.isatty(0) and len(left) < MAX_LINE:
            ready, _, _ = select.select([0], [], [], max(until - time.monotonic(), 0.0))
            if not ready:
                return
            more = os.read(0, 1 << 16)
            *lines, left = (left + (more or b"\n")).split(b"\n")
            for answer in (answer for line in lines for answer in _refusals(line, reason)):
                os.write(1, json.dumps(answer).encode() + b"\n")
                until = time.monotonic() + first_seconds
            if not more:
                return


def _refusals(line: bytes, reason: str) -> Iterator[Answer]:
    text, answers = read_line(line)
    yield from answers
    request = request_id(text) if text else None
    if request is not None and "method" in json.loads(text):
        yield failure(request, INTERNAL_ERROR, reason)
