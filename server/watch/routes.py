"""The page's routes: the page, the study as JSON, one experiment, the stream of changes, and the operator's requests.

They write what `autoresearch pause`, `resume` and `stop` write, and nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Scope

from server.errors import AutoresearchError
from server.reporting.study_view import StudyView
from server.study.find_study import OperatorRequest
from server.watch import controls
from server.watch.access import PageAccess, posted
from server.watch.changes import Changes
from server.watch.page_file import HEADERS, page

# Of a page without a script, whose style sheet says its own hash: both policies hold.
_NOTHING = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STATIC = {"content-security-policy": f"{_NOTHING}; form-action 'none'"}
Extra = Callable[[StudyView], tuple[str, bytes]]  # another view of the study: its media type and its bytes
Handler = Callable[[Request], Awaitable[Response]]


class Page:
    """The page of one study: routes to mount, and a task to run beside them."""

    def __init__(self, access: PageAccess, changes: Changes, extras: Mapping[str, Extra] | None = None) -> None:
        """`extras`: further views by name, such as `report`."""
        self.access, self.changes = access, changes
        shown = {name: self._extra(make) for name, make in (extras or {}).items()}
        open_routes = [("", self._page, "GET"), ("api/session", self._enter, "POST")]
        routes: list[tuple[str, Handler, str]] = [
            ("api/session", self._session, "GET"),
            ("api/summary", self._summary, "GET"),
            ("api/experiments/{number:int}", self._experiment, "GET"),
            ("api/events", self._events, "GET"),
            ("api/request", self._request, "POST"),
            *((name, handler, "GET") for name, handler in shown.items()),
        ]
        made = [self._route(path, handler, method, open_to_all=True) for path, handler, method in open_routes]
        made += [self._route(path, handler, method) for path, handler, method in routes]
        self.prefix = access.prefix
        self.app = Starlette(routes=[Mount(access.prefix, routes=made)])

    def knows(self, scope: Scope) -> bool:
        """Whether the request is of a browser that was let in."""
        return self.access.admits(Request(scope))

    async def run(self) -> None:
        """Look for changes until it is cancelled."""
        await self.changes.run()

    def _route(self, path: str, handler: Handler, method: str, open_to_all: bool = False) -> Route:
        async def guarded(request: Request) -> Response:
            refused = self.access.refuses(request, open_to_all)
            try:
                response = refused.response() if refused else await handler(request)
            except (AutoresearchError, OSError) as error:
                response = JSONResponse({"error": str(error)}, 503)
            response.headers.update({**HEADERS, "content-security-policy": page().policy, **response.headers})
            return response

        return Route(f"/{path}", guarded, methods=[method])

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(page().html)

    async def _enter(self, request: Request) -> Response:
        """Exchange the link's token for a cookie."""
        if not self.access.knows((await posted(request)).get("token")):
            return JSONResponse(
                {"error": "This link is not valid: use the link that `autoresearch watch` prints."}, 401
            )
        return self.access.let_in()

    async def _session(self, _: Request) -> Response:
        return self.access.csrf()

    async def _summary(self, _: Request) -> Response:
        return Response(await self.changes.summary(), media_type="application/json")

    async def _experiment(self, request: Request) -> Response:
        number = int(request.path_params["number"])
        found = await self.changes.detail(number)
        if found is None:
            return JSONResponse({"error": f"There is no experiment {number}."}, 404)
        return Response(found, media_type="application/json")

    async def _events(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        return StreamingResponse(self.changes.events(after), media_type="text/event-stream")

    async def _request(self, request: Request) -> Response:
        """Write the operator's request; the stream tells when it is seen."""
        word = (await posted(request)).get("word")
        known = {"resume": None, "pause": OperatorRequest.PAUSE, "stop": OperatorRequest.STOP}
        if word not in (*known, "stop-now"):
            return JSONResponse({"error": "The commands are pause, resume, stop and stop-now."}, 400)
        paths = self.changes.view.paths
        if word == "stop-now":
            told = await anyio.to_thread.run_sync(controls.stop_now, paths)
        else:
            told = await anyio.to_thread.run_sync(controls.ask, paths, known[str(word)])
        return JSONResponse({"told": told})

    def _extra(self, make: Extra) -> Handler:
        async def handler(_: Request) -> Response:
            async with self.changes.lock:
                kind, body = await anyio.to_thread.run_sync(make, self.changes.view)
            return Response(body, media_type=kind, headers=_STATIC if kind == "text/html" else None)

        return handler
