"""The Tasks extension (SEP-2663, `io.modelcontextprotocol/tasks`): a long call returns at once, to be asked about.

A task does no work. It is a name for something that runs elsewhere, identified by its handle, and is read again for
each request. So it survives a restart of the server, and ending it ends nothing else.
"""

import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    RequestParams,
)
from pydantic import Field, TypeAdapter

from server.files import write_whole
from server.records import Value

TTL_SECONDS = 24 * 3600  # a night, and the morning after
_POLL_SECONDS = 2.0
_MODERN = frozenset({"2026-07-28"})
_Context = ServerRequestContext[Any, Any]


class View(Value):
    """The current state of a task's work."""

    message: str = ""
    result: CallToolResult | None = None  # None: it goes on
    updated: str = ""  # ISO 8601, UTC; empty: now


class Record(Value):
    """What is stored about a task; times in seconds since the epoch."""

    handle: str
    created: float
    cancelled: bool = False


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class UpdateParams(TaskParams):
    """An answer to a question that a task never asks."""

    input_responses: dict[str, Any] = Field(default_factory=dict)


class Tasks(Extension):
    """Turns calls of some tools into tasks, for clients that declare that they understand them."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(
        self,
        tools: set[str],
        handle: Callable[[CallToolResult], str | None],
        look: Callable[[str], Awaitable[View]],
        book: Path,
    ) -> None:
        """Serve `tools`, which answer at once when they are told `wait_seconds` 0.

        `handle` finds in such an answer what still runs, None if it is final; `look` shows it from then on, and may
        raise; `book` is the file that remembers.
        """
        self._tools, self._handle, self._look, self._book = tools, handle, look, book

    def methods(self) -> Sequence[MethodBinding]:
        """The three requests of the extension."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get, _MODERN),
            MethodBinding("tasks/update", UpdateParams, self._update, _MODERN),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, _MODERN),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: _Context, call_next: CallNext
    ) -> HandlerResult:
        """Answer with a task if the work goes on after the call. Refusals are returned at once."""
        if params.name not in self._tools or not _declared(ctx):
            return await call_next(ctx)
        params.arguments = {**(params.arguments or {}), "wait_seconds": 0}
        answer = await call_next(ctx)
        handle = self._handle(answer) if isinstance(answer, CallToolResult) and not answer.is_error else None
        if handle is None:
            return answer
        name, record = secrets.token_urlsafe(24), Record(handle=handle, created=time.time())
        self._write({**self._read(), name: record})
        return {"resultType": "task", **await self._told(name, record)}

    async def _get(self, ctx: _Context, params: TaskParams) -> HandlerResult:
        return {"resultType": "complete", **await self._told(params.task_id, self._find(ctx, params.task_id))}

    async def _update(self, ctx: _Context, params: UpdateParams) -> HandlerResult:
        self._find(ctx, params.task_id)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: _Context, params: TaskParams) -> HandlerResult:
        """End the task, not its work: a client that goes away must not end a run."""
        record = self._find(ctx, params.task_id)
        if (await self._told(params.task_id, record))["status"] == "working":
            ended = record.model_copy(update={"cancelled": True})
            self._write({**self._read(), params.task_id: ended})
        return {"resultType": "complete"}

    async def _told(self, name: str, record: Record) -> dict[str, Any]:
        task: dict[str, Any] = {
            "taskId": name,
            "createdAt": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "ttlMs": TTL_SECONDS * 1000,
            "pollIntervalMs": int(_POLL_SECONDS * 1000),
        }
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if record.cancelled:
            return {
                **task,
                "status": "cancelled",
                "statusMessage": "No request waits for it here.",
                "lastUpdatedAt": now,
            }
        try:
            view = await self._look(record.handle)
        except Exception as error:
            logging.getLogger(__name__).exception("task %s failed", name)
            told = error.error if isinstance(error, MCPError) else ErrorData(code=INTERNAL_ERROR, message=str(error))
            failed = {"status": "failed", "statusMessage": told.message, "error": _json(told), "lastUpdatedAt": now}
            return {**task, **failed}
        task |= {"statusMessage": view.message, "lastUpdatedAt": view.updated or now}
        if view.result is None:
            return {**task, "status": "working"}
        return {**task, "status": "completed", "result": _json(view.result)}

    def _find(self, ctx: _Context, name: str) -> Record:
        require_client_extension(ctx, self.identifier)
        headers = getattr(ctx.request, "headers", None)  # over HTTP alone
        if headers is not None and decode_header_value(headers.get("mcp-name") or "") != name:
            raise MCPError(code=HEADER_MISMATCH, message="The Mcp-Name header does not match params.taskId.")
        record = self._read().get(name)
        if record is None:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown or expired task {name!r}: call wait_experiment.")
        return record

    def _read(self) -> dict[str, Record]:
        """The tasks that have not expired."""
        if not self._book.exists():
            return {}
        records = TypeAdapter(dict[str, Record]).validate_json(self._book.read_bytes())
        return {name: record for name, record in records.items() if time.time() - record.created < TTL_SECONDS}

    def _write(self, records: dict[str, Record]) -> None:
        write_whole(self._book, json.dumps({name: record.model_dump() for name, record in records.items()}))


def _declared(ctx: _Context) -> bool:
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return ctx.protocol_version in _MODERN and Tasks.identifier in (extensions or {})


def _json(model: ErrorData | CallToolResult) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)
