"""A client that understands tasks, as Claude Code does: it takes the task, and asks about it."""

from typing import Any, Literal

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim

from server.api.mcp_tasks import Tasks, UpdateParams
from tests.support.polling import PATIENCE


class Taken(types.Result):
    """The answer to a call that became a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    status_message: str = ""
    ttl_ms: int
    poll_interval_ms: int


class Told(types.Result):
    """What tasks/get, tasks/update and tasks/cancel say."""

    result_type: Literal["complete"] = "complete"
    task_id: str = ""
    status: str = ""
    status_message: str = ""
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Understands(ClientExtension):
    """Declares the extension."""

    identifier = Tasks.identifier

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Taken, resolve=_resolve)]


async def _resolve(taken: Taken, context: ClaimContext) -> types.CallToolResult:
    raise NotImplementedError("these tests ask for themselves")


async def call(client: Client, tool: str, **arguments: Any) -> types.Result:
    return await client.session.call_tool(tool, arguments, allow_claimed=True)


async def taken(client: Client, tool: str, **arguments: Any) -> Taken:
    """A call that must become a task."""
    answer = await call(client, tool, **arguments)
    assert isinstance(answer, Taken), answer
    return answer


async def ask(client: Client, method: str, task: str) -> Told:
    params = UpdateParams(task_id=task)
    return await client.session.send_request(types.Request[UpdateParams, str](method=method, params=params), Told)


async def finished(client: Client, task: str) -> Told:
    """The task, once it no longer works."""
    with anyio.fail_after(PATIENCE):
        while (told := await ask(client, "tasks/get", task)).status == "working":  # noqa: ASYNC110 - it is in another process
            await anyio.sleep(0.05)
    return told
