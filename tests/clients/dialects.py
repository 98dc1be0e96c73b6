"""How models speak: what a client offers and brings back in each API, and how an answer is streamed to it. Pure."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Event = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A tool that the model calls; `id` comes back with the result."""

    tool: str
    arguments: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Dialect:
    """One API. `results` are those of the conversation so far, oldest first: (id of the call, text)."""

    path: str  # a regular expression: whose requests these are
    offered: Callable[[Body], list[str]]
    results: Callable[[Body], list[tuple[str, str]]]
    answer: Callable[[Call | None], Iterator[Event]]  # None: a last word


DONE = "The experiment is over."


def text(content: Any) -> str:
    """What a model reads of a tool's result, whatever it is wrapped in."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text(block) for block in content)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(content, dict) and isinstance(content.get("text"), str):  # pyright: ignore[reportUnknownMemberType]
        return str(content["text"])  # pyright: ignore[reportUnknownArgumentType]
    return json.dumps(content)


def _anthropic_results(body: Body) -> list[tuple[str, str]]:
    blocks = [
        block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]
    ]
    return [(block["tool_use_id"], text(block.get("content"))) for block in blocks if block["type"] == "tool_result"]


def _anthropic_answer(call: Call | None) -> Iterator[Event]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message: Event = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [],
        "usage": usage,
    }
    yield {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}}
    if call:
        block: Event = {"type": "tool_use", "id": call.id, "name": call.tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
    else:
        block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": DONE}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    reason = "tool_use" if call else "end_turn"
    yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
    yield {"type": "message_stop"}


def _responses_offered(body: Body) -> list[str]:
    """A tool of a namespace as NAMESPACE::NAME."""
    names = list[str]()
    for tool in body.get("tools", []):
        inner, name = tool.get("tools"), str(tool.get("name", ""))
        names += [name] if inner is None else [f"{name}::{one.get('name', '')}" for one in inner]
    return names


def _responses_results(body: Body) -> list[tuple[str, str]]:
    items = [item for item in body["input"] if item.get("type") == "function_call_output"]
    return [(item["call_id"], text(item["output"])) for item in items]


def _responses_answer(call: Call | None) -> Iterator[Event]:
    yield {"type": "response.created", "response": {"id": "resp_1"}}
    if call:
        namespace, _, name = call.tool.rpartition("::")
        item = {"type": "function_call", "call_id": call.id, "name": name, "arguments": json.dumps(call.arguments)}
        item |= {"namespace": namespace} if namespace else {}
    else:
        words = [{"type": "output_text", "text": DONE}]
        item = {"type": "message", "role": "assistant", "id": "msg_1", "content": words}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    yield {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}


def _chat_answer(call: Call | None) -> Iterator[Event]:
    delta: Event = {"role": "assistant", "content": None if call else DONE}
    if call:
        function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
        delta["tool_calls"] = [{"index": 0, "id": call.id, "type": "function", "function": function}]
    chunk = {"id": "chat_1", "object": "chat.completion.chunk", "created": 1, "model": "mock"}
    yield {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    reason = "tool_calls" if call else "stop"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}


def _gemini_results(body: Body) -> list[tuple[str, str]]:
    parts = [
        part["functionResponse"]
        for content in body["contents"]
        for part in content.get("parts", [])
        if "functionResponse" in part
    ]
    return [(part.get("id", part["name"]), text(part["response"].get("output", part["response"]))) for part in parts]


def _gemini_answer(call: Call | None) -> Iterator[Event]:
    part = {"functionCall": {"name": call.tool, "args": call.arguments, "id": call.id}} if call else {"text": DONE}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    yield {"candidates": [candidate], "usageMetadata": {"totalTokenCount": 2}, "modelVersion": "mock"}


DIALECTS = (
    Dialect(
        r"/v1/messages$",
        lambda body: [tool["name"] for tool in body.get("tools", [])],
        _anthropic_results,
        _anthropic_answer,
    ),
    Dialect(r"/responses$", _responses_offered, _responses_results, _responses_answer),
    Dialect(
        r"/chat/completions$",
        lambda body: [tool["function"]["name"] for tool in body.get("tools", [])],
        lambda body: [
            (told["tool_call_id"], text(told["content"])) for told in body["messages"] if told["role"] == "tool"
        ],
        _chat_answer,
    ),
    Dialect(
        r":streamGenerateContent$",
        lambda body: [
            tool["name"] for group in body.get("tools", []) for tool in group.get("functionDeclarations", [])
        ],
        _gemini_results,
        _gemini_answer,
    ),
)


def dialect(path: str) -> Dialect | None:
    """The API that a request is for."""
    return next((known for known in DIALECTS if re.search(known.path, path)), None)
