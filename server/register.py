"""The tools as the SDK registers them: hints for the client, and no argument that we do not know."""

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations

from server.panel import META
from server.tools import Tools


def build(tools: Tools) -> list[Tool]:
    """Every tool, with all four hints, refusing arguments it does not know."""
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    acting = reading.model_copy(update={"read_only_hint": False, "idempotent_hint": False})
    repeatable = acting.model_copy(update={"idempotent_hint": True})
    final = repeatable.model_copy(update={"destructive_hint": True})
    hints: list[tuple[Callable[..., Any], ToolAnnotations]] = [
        (tools.status, reading),
        (tools.read_program, reading),
        (tools.read_train, reading),
        (tools.apply_patch, acting),
        (tools.run_experiment, acting),
        (tools.sweep, acting),
        (tools.wait_experiment, reading),
        (tools.cancel_experiment, final),
        (tools.keep, repeatable),
        (tools.discard, final),
        (tools.history, reading),
        (tools.note, acting),
    ]
    return [
        _strict(Tool.from_function(function, annotations=annotations, meta=META.get(function.__name__)))
        for function, annotations in hints
    ]


def _strict(tool: Tool) -> Tool:
    """Refuse unknown arguments: the SDK ignores them, and a misspelt name would silently take its default."""
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters = arguments.model_json_schema(by_alias=True)
    tool.description = " ".join(tool.description.split())
    return tool
