"""Messages before the SDK reads them: a line on stdin and the body of a request get the same answers."""

import json
from typing import Any

from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.json_rpc import INVALID_REQUEST, PARSE_ERROR, Answer, failure, read_line, request_id


def validated(line: bytes) -> tuple[str, list[Answer]]:
    """As read_line; and what the SDK cannot read, for whatever reason, is answered as well."""
    text, answers = read_line(line)
    if text:
        try:
            jsonrpc_message_adapter.validate_json(text, by_name=False)
        except ValidationError as error:
            why = f"The message is not valid: {error.errors(include_url=False, include_input=False)[0]['msg']}."
            return "", [failure(request_id(text), INVALID_REQUEST, why)]
    return text, answers


class BodyReader:
    """Wraps the SDK's app: bodies that are no message are answered here, with status 400."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a message through as the SDK can read it, or answer it."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", self._path):
            await self._app(scope, receive, send)
            return
        body = b""
        while (part := await receive())["type"] == "http.request":
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        text, answers = validated(body)
        if text:
            await self._app(scope, _replayed(text.encode(), receive), send)
            return
        told: list[Any] = answers or [failure(None, PARSE_ERROR, "The request has no body.")]
        content = json.dumps(told[0] if len(told) == 1 else told)
        await Response(content, status_code=400, media_type="application/json")(scope, receive, send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
