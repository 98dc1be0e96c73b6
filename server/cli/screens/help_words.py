"""`--help` in plain words: FOLDER and NUMBER in place of `<path>` and `<float range> [x>=0]`."""

import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

_WORDS: Mapping[Any, str] = {bool: "", int: "NUMBER", float: "NUMBER", Path: "PATH", str: "TEXT"}


def in_plain_words(command: Any) -> Any:
    """The command of typer's, and all below it, with types that people know. What an option says itself stays."""
    for below in getattr(command, "commands", {}).values():
        in_plain_words(below)
    if command.help:  # a paragraph is folded by whoever shows it, not where the source is
        command.help = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n"))
    listed: Callable[[Any], list[Any]] = command.get_params

    def get_params(context: Any) -> list[Any]:
        found = listed(context)  # the option --help is made here
        for one in found:
            _describe(one, command.callback)
        return found

    command.get_params = get_params
    return command


def _describe(one: Any, callback: Callable[..., Any] | None) -> None:
    known: Mapping[str, Any] = inspect.signature(callback).parameters if callback else {}
    kind = _kind(known[one.name].annotation) if one.name in known else bool
    if one.metavar is None:
        one.metavar = _word(kind) if one.param_type_name == "option" else str(one.name).upper()
    if one.param_type_name == "argument":
        one.display_type_rich = _no_type  # its name says it
    least, most = getattr(one, "min", None), getattr(one, "max", None)
    told = "" if least is None else f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
    if least is not None or most is None:
        one._get_number_range_help_str = lambda: told  # where typer asks


def _no_type(ctx: object) -> None:
    """What typer shows as the type of an argument."""


def _kind(annotation: Any) -> Any:
    """The type of one value: without what typer is told beside it, without None, of a list its items'."""
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0])
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) in (list, Union) or isinstance(annotation, type(int | None)):
        return _kind(inner[0])
    return annotation


def _word(kind: Any) -> str:
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return _WORDS.get(kind, "TEXT")
