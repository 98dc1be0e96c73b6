"""The front matter of a Markdown file: where it stands, and what its YAML says. Pure.

The file may begin with a byte order mark or blank lines, and its lines may end in any way. Scalars are read as YAML 1.2
has them, because what 1.1 makes of them is rarely meant: there `5:00` is the number 300, `010` is eight, `no` is false.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

Place = tuple[str | int, ...]  # of a value, from the top: ("stop", "hours")
_OPENING = re.compile(r"-{3,}\s*")
_CLOSING = re.compile(r"(-{3,}|\.{3})\s*")
_LIKE_OPENING = re.compile(r"\W*([-+;*=_]{3}|[—\u2013])")  # what somebody, or a word processor, may take for one
_LIKE_CLOSING = re.compile(r"\s*(-{3}|\+{3}|;{3}|\*{3}|={3}|_{3}|[—\u2013]|\.{3}|`{3}|~{3}|-->)")
_FIELD = re.compile(r"(?:[-*]\s+|\{\s*)?[\"']?(\w+)[\"']?\s*[:=]\s*(.*)")  # also in a list, or as JSON has one
_VALUE = re.compile(r"[\[{\"'].*|[^\s#]*\s*(#.*)?")  # what several words are not: those may be prose
_MAX_BITS = 1024  # of a whole number: no float is larger, and Python writes none of thousands of digits
_TAG = "tag:yaml.org,2002:"
_SCALARS = (  # the first that fits; everything else is a string, also true and yes: who wants a boolean knows them
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


@dataclass(frozen=True)
class FrontMatter:
    """`fields` are None where the file has no front matter."""

    fields: dict[str, Any] | None
    body: str
    lines: dict[Place, int] = field(default_factory=dict[Place, int])  # where each value stands in the file

    def line(self, path: Place) -> int:
        """Where the value at `path` stands, or what is nearest above it."""
        known = (self.lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in self.lines)
        return next(known, 1)


def split(text: str, known: Collection[str]) -> FrontMatter:
    """Read a file that may begin with a front matter.

    Args:
        known: the fields that a front matter may have: by them one is recognised that is not where it belongs.

    Raises:
        ValueError: says line and reason: it is not closed, is no YAML, gives a key twice, or does not come first.
    """
    lines = text.lstrip("\ufeff").splitlines()
    first = next((at for at, line in enumerate(lines) if line.strip()), len(lines))
    if first == len(lines) or not _OPENING.fullmatch(lines[first]):
        _require_none(lines, known)
        return FrontMatter(None, "\n".join(lines))
    last = next((at for at in range(first + 1, len(lines)) if _CLOSING.fullmatch(lines[at])), None)
    if last is None:
        raise ValueError(f"line {first + 1}: the front matter has no closing line ---")
    _require_none([""] * (last + 1) + lines[last + 1 :], known)
    fields, places = _parse("\n" * (first + 1) + "\n".join(lines[first + 1 : last]))
    return FrontMatter(fields, "\n".join(lines[last + 1 :]), places)


class _Loader(yaml.SafeLoader):
    """YAML's scalars as `_SCALARS` has them."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node. Raises MarkedYAMLError, with its place, where its text or its tag makes none."""
        try:
            return cast("Any", super()).construct_object(node, deep)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None

    def integer(self, node: yaml.ScalarNode) -> int:
        digits = node.value.replace("_", "")
        number = int(digits, 16 if digits.startswith("0x") else 10)
        if number.bit_length() > _MAX_BITS:
            raise ValueError("a number is too long")
        return number


for _name, _pattern, _starts in _SCALARS:
    cast("Any", _Loader).add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _starts)
_Loader.add_constructor(f"{_TAG}int", _Loader.integer)


def _parse(text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """The mapping, and the line of each value. Raises ValueError."""
    places: dict[Place, int] = {}
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        _place(root, (), places, set())
        fields = None if root is None else cast("Any", loader).construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ValueError(f"line {line}: the front matter is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the front matter is not YAML: {error.reason}") from None
    except (ValueError, OverflowError) as error:  # an escape in quotes that names no character
        line = loader.line + 1 if loader else 1
        raise ValueError(f"line {line}: the front matter is not YAML: {error}") from None
    except RecursionError:
        raise ValueError("line 1: the front matter is nested too deeply") from None
    if fields is not None and not isinstance(fields, dict):
        raise ValueError("line 2: the front matter must be a mapping of fields to values")
    return cast("dict[str, Any]", fields or {}), places


def _place(node: yaml.Node | None, path: Place, places: dict[Place, int], seen: set[int]) -> None:
    """Note the line of every value at and below a node. Raises ValueError for a key that is given twice."""
    if node is None or id(node) in seen:  # an alias: its anchor was here
        return
    seen.add(id(node))
    places.setdefault(path, node.start_mark.line + 1)
    for at, key, value in _children(node):
        line = (key or value).start_mark.line + 1
        if key is not None and (before := places.get((*path, at))) is not None:
            raise ValueError(f"line {line}, {at}: is given twice, first in line {before}")
        places[(*path, at)] = line
        _place(value, (*path, at), places, seen)


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node | None, yaml.Node]]:
    if isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield at, None, value
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield str(key.value), key, value


def _require_none(lines: list[str], known: Collection[str]) -> None:
    """Refuse fields of a front matter that are not in one: they would not be read. Raises ValueError.

    A rule `---` in prose is none, and what is quoted as code or commented out is none either.
    """
    quote, before = "", True  # before: only blank lines, headings and comments so far
    for number, line in enumerate(["---", *lines]):  # line 0 is none: nothing may stand above the fields
        words = line.strip()
        if quote:
            quote = "" if quote in words else quote
            continue
        fenced = words[:3] in ("```", "~~~")
        opens = _LIKE_OPENING.match(words) or (fenced and not any(map(str.strip, lines[: number - 1])))
        start = number + (fenced and bool(_LIKE_CLOSING.match("".join(lines[number : number + 1]))))
        if opens and _are_fields(lines, start, known, before):
            first = number or next(at for at, line in enumerate(lines, 1) if line.strip())
            raise ValueError(
                f"line {first}: the fields from here on would not be read: a front matter must come first in the "
                "file, between two lines ---, with nothing before them, not even a space or a comment"
            )
        quote = words[:3] if fenced else "-->" * ("<!--" in words and "-->" not in words)
        before = before and (fenced or not re.search(r"\w", words) or words.startswith(("#", "<!--")))


def _are_fields(lines: list[str], start: int, known: Collection[str], before: bool) -> bool:
    """Whether fields of ours stand in the lines from `start` on, and nothing else, up to the line that closes them.

    Where none opens (`start` is 0) or closes them, they must be the first thing in the file, up to a blank line, and
    one of them must be no word of prose.
    """
    keys, margin, apart, closed = list[re.Match[str]](), "", False, False
    for line in map(lines.__getitem__, range(start, len(lines))):
        if closed := bool(_LIKE_CLOSING.match(line)):
            break
        if line.strip() in ("", "{") or line.lstrip().startswith("#"):
            apart = apart or (bool(keys) and not line.strip())
            continue
        margin = margin if keys else line[: len(line) - len(line.lstrip())]
        text = line.removeprefix(margin)
        if keys and text.startswith((" ", "\t", "- ", "}", "]")):
            continue
        if (key := _FIELD.match(text)) is None:
            break
        keys.append(key)
    else:
        apart = True
    if start and closed:
        return any(key[1] in known and ("_" in key[1] or _VALUE.fullmatch(key[2])) for key in keys)
    return before and (apart or closed) and any(key[1] in known and "_" in key[1] for key in keys)
