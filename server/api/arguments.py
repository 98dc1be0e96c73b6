"""The arguments of a tool, as models and clients send them: null for what is optional, and errors in one sentence."""

import ast
import difflib
import json
import re
import reprlib
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import cache, cached_property
from inspect import isclass, signature
from typing import Annotated, Any, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema

_NOTHING = ("", "null", "none")  # what stands for null where a number, a boolean or a list is wanted
_WORDS = {  # by pydantic's name of the error; what is in braces comes from the schema
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "greater_than_equal": "must be at least {ge:.10g}",
    "less_than_equal": "must be at most {le:.10g}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}
_ROOM = 8000  # characters of a refusal
_AS_IT_IS = ("patch",)  # what is wrong with its characters is told to the agent
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PARTS = re.compile(r"""(?:'[^']*'|"[^"]*"|[^;\n'"]|['"])+""")  # between semicolons that no quotes hold
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that look like a blank
_TAGS = "\U000e0000"  # from here on they are parts of flags
# What the Schema of Gemini's API and OpenAI's function calling both have, and ours needs.
_PORTABLE = set("type description properties required items enum default anyOf pattern".split()) | set(
    "minimum maximum minItems maxItems minLength maxLength".split()
)
_UNQUOTED = ("missing", "string_too_short", "string_too_long", "too_short", "too_long")


def read_change(told: object) -> object:
    """The constants of one change of a sweep, by name, if it is given as text; anything else is returned unchanged.

    >>> read_change("RATE = 0.03; SHAPE = (1, 2)")
    {'RATE': '0.03', 'SHAPE': '(1, 2)'}
    >>> read_change("DEPTH, WIDTH = 2, 64")
    {'DEPTH': '2', 'WIDTH': '64'}

    Raises:
        ValueError: a part of the text has no name and value, or names one twice.
    """
    if not isinstance(told, str):
        return told
    if told.lstrip().startswith("{"):
        with suppress(ValueError):
            return json.loads(told)
    found: dict[str, str] = {}
    for part in filter(str.strip, _PARTS.findall(told)) if told.strip() else [told]:
        name, equals, value = (word.strip() for word in part.partition("="))
        together = dict(zip(names := [one.strip() for one in name.split(",")], _values(value), strict=False))
        knobs = together if len(together) == len(names) > 1 else {name: value}
        if not equals or value[:1] in ("", "=") or not all(map(str.isidentifier, knobs)) or found.keys() & knobs:
            which = f"; look at {reprlib.repr(part.strip())}" if part.strip() != told.strip() else ""
            raise ValueError(f"write 'KNOB = value', or 'KNOB = value; OTHER = value'{which}")
        found |= knobs
    return found


def _values(value: str) -> list[str]:
    """Those of names that are set together, as in A, B = 1, 2; empty if there is only one."""
    with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
        node = ast.parse(value, mode="eval").body
        if isinstance(node, ast.Tuple):
            return [ast.unparse(one) for one in node.elts]
    return []


Change = Annotated[
    dict[str, str | int | float],
    BeforeValidator(read_change),
    WithJsonSchema({"type": "string"}),  # as clients are told; an object of names and values is taken, too
]


class StrictTool(Tool):
    """A tool that takes arguments as models send them, and says in plain words what is wrong with them."""

    @cached_property
    def output_schema(self) -> dict[str, Any] | None:
        """The schema of the reply, made when the tools are listed: a server answers its first request without it."""
        reply: type[BaseModel] | None = self.fn_metadata.output_model
        return None if reply is None else _schema(reply)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool. Raises ToolError, also for arguments that do not fit."""
        try:
            return await super().run(given(arguments, self.fn_metadata.arg_model), context, convert_result)
        except ToolError as error:
            if isinstance(error, UnexpectedToolError):
                raise  # its kind is what the SDK logs it by
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(f"{self.name}: {explain(error.__cause__, self.fn_metadata.arg_model)}") from error
            raise ToolError(_shortened(str(error))) from error


def strict(function: Callable[..., Any], annotations: ToolAnnotations, meta: dict[str, Any] | None) -> Tool:
    """A function as a tool that refuses arguments it does not know: a misspelt name would silently take its default.

    The schemas of a method are made once in a process: they are the same for every study.
    """
    own = getattr(function, "__func__", function)
    if own not in _MADE:
        _MADE[own] = _made(function)
        _MADE[own].fn = own
    changes = {"fn": function, "annotations": annotations, "meta": meta}
    return _MADE[own].model_copy(update={**changes, "parameters": deepcopy(_MADE[own].parameters)})


_MADE: dict[Callable[..., Any], Tool] = {}  # by function


def _made(function: Callable[..., Any]) -> Tool:
    tool = StrictTool.from_function(function, structured_output=False)
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters = portable(arguments.model_json_schema(by_alias=True))
    tool.description = " ".join(tool.description.split())
    reply = signature(function).return_annotation
    if isclass(reply) and issubclass(reply, BaseModel):
        tool.fn_metadata.output_model = reply
        tool.fn_metadata.output_schema = {}  # there is one: the SDK checks the reply against the model
    return tool


@cache
def _schema(reply: type[BaseModel]) -> dict[str, Any]:
    """The schema of a reply. Tools share replies, and to make one schema takes up to 30 ms."""
    return reply.model_json_schema()


def portable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of arguments with only the keywords that every client's model API accepts (docs/clients.md).

    No `anyOf` with null, no `$ref`, and no keyword that Gemini's function declarations lack. Nothing is
    lost: null and unknown names are handled when a call arrives.
    """
    return _portable(schema, schema.get("$defs", {}))


def _portable(schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    told = {**schema}
    if "$ref" in told:
        told = {**known[str(told.pop("$ref")).rpartition("/")[2]], **told}
    others = [one for one in told.pop("anyOf", ()) if one.get("type") != "null"]
    if len(others) == 1:
        return _portable({**others[0], **told}, known)
    if others:
        told["anyOf"] = [_portable(one, known) for one in others]
    if "const" in told:
        told["enum"] = [told["const"]]
    if told.get("default", 0) is None:
        del told["default"]
    if "items" in told:
        told["items"] = _portable(told["items"], known)
    if told.get("type") == "object":
        told["properties"] = {name: _portable(one, known) for name, one in told.get("properties", {}).items()}
    return {word: value for word, value in told.items() if word in _PORTABLE}


def given(arguments: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The arguments without optional ones that are empty; texts have only characters that files and terminals can hold.

    Raises ToolError: a required text is blank.
    """
    optional = {name: field.annotation for name, field in model.model_fields.items() if not field.is_required()}
    told = {
        name: value if name in _AS_IT_IS else _printable(_trimmed(value))
        for name, value in arguments.items()
        if name not in optional or not _is_nothing(value, optional[name])
    }
    if blank := next((name for name in told.keys() - optional if not told[name] and arguments[name]), None):
        raise ToolError(f"{blank} is blank. Write a few words, and call again; nothing was changed.")
    return told


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with the arguments, one sentence each, and what to do."""
    wrongs: dict[tuple[str, str], dict[str, None]] = {}  # a union has an error for each of its types
    for one in error.errors():
        where, words, quoted = _told(cast("dict[str, Any]", one), list(model.model_fields))
        wrongs.setdefault((where, quoted), {})[words] = None
    told = " ".join(f"{where} {' or '.join(words)}{quoted}." for (where, quoted), words in wrongs.items())
    return f"{told} Correct the arguments and call again; nothing was changed."


def _told(error: dict[str, Any], known: list[str]) -> tuple[str, str, str]:
    """The argument, what is wrong with it, and what was given."""
    kind, place = error["type"], [str(step)[:80] for step in error["loc"][:3]]  # further down, pydantic names types
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
        return repr(place[-1]), f"is not an argument of this tool: {hint}", ""
    if kind in _WORDS:
        words = _WORDS[kind].format(**error.get("ctx", {}))
    else:
        words = f"is not valid: {error['msg'].removeprefix('Value error, ')}"
    quoted = "" if kind in _UNQUOTED else f", not {reprlib.repr(error['input'])}"
    return ".".join(place) or "arguments", words, quoted


def _shortened(told: str) -> str:
    """A long refusal, cut in the middle: the problem is at its start, and the next step at its end."""
    return told if len(told) <= _ROOM else f"{told[: _ROOM - 1000]} ... {told[-1000:]}"


def _is_nothing(value: object, annotation: object) -> bool:
    return value is None or (annotation is not str and isinstance(value, str) and value.strip().lower() in _NOTHING)


def _trimmed(value: object) -> object:
    """A text without invisible characters at its ends: blanks, line breaks, zero-width characters."""
    if not isinstance(value, str):
        return value
    start = next((at for at, char in enumerate(value) if not _is_unseen(char)), len(value))
    end = next((at for at in range(len(value), start, -1) if not _is_unseen(value[at - 1])), start)
    text = value[start:end]
    return "" if all(_is_unseen(char) or unicodedata.category(char) == "Mn" for char in text) else text


def _is_unseen(char: str) -> bool:
    if char in _FILLERS or char.isspace():
        return True
    return unicodedata.category(char) in ("Cf", "Zs") and char < _TAGS


def _printable(value: Any) -> Any:
    """Half of a surrogate pair, and control characters, become U+FFFD at any depth.

    No file can hold the one. Git refuses a NUL in a message, and a terminal that shows the history obeys the others.
    """
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return _CONTROL.sub("\ufffd", whole)
    if isinstance(value, list):
        return [_printable(one) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_printable(name): _printable(one) for name, one in cast("dict[Any, Any]", value).items()}
    return value
