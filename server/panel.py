"""The night in the client's own window: an MCP App (SEP-1865) that draws what history() answers."""

from pathlib import Path
from typing import Any

from mcp.server.apps import Apps, ResourceCsp

URI = "ui://autoresearch/progress.html"
META: dict[str, dict[str, Any]] = {tool: {"ui": {"resourceUri": URI}} for tool in ("status", "history")}
_PAGE = Path(__file__).parent / "templates" / "progress.html"


def panel() -> Apps:
    """The page, allowed no network. It asks the host for history() itself, so that answers to a model stay short."""
    apps = Apps()
    apps.add_html_resource(
        URI,
        _PAGE.read_text(encoding="utf-8"),
        name="progress",
        title="The night so far",
        description="A chart of every experiment and of the best so far, drawn where a client renders MCP Apps",
        csp=ResourceCsp(connect_domains=[], resource_domains=[]),
        prefers_border=True,
    )
    return apps
