"""The numbers in what a command printed. Pure.

Three forms, and of one name the first that is there counts:

    METRIC name=value     a line of its own, on standard output or error; the last counts, all are kept as samples
    {"name": value}       the whole standard output is one JSON object; a.b is also b in a
    name: value           a line, as is name=value

A number is written as in 12, -0.5, .5 or 1e-3. The unit of program.md may stand behind it. What is no number where one
is due is an error and not another number: 1,234 is either 1234 or 1.234.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from trainer.text import without_escapes

_METRIC = re.compile(r"METRIC\s+([\w.\-µ]+)=(.*)")
_LINE = re.compile(r"([\w.\-µ]+)\s*[:=]\s*(.*)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WITH_UNIT = re.compile(rf"({_NUMBER.pattern})\s*([A-Za-zµ%][A-Za-z0-9µ%/]{{0,19}})?")
_ENDS = re.compile(r"[\r\n]+")
_REFUSED = {"__proto__", "constructor", "prototype"}  # of the names that others read into objects
_SHOWN = 60  # characters of what is no number
_MOST_NAMED = 8
_NAME = re.compile(r"[\w.\-µ]{1,60}")  # what program.md can name
_MOST_TOLD = 50
_DEPTH = 3  # of objects in a JSON object


class MetricProblem(ValueError):
    """There is no number where one is due. The text says what there is instead, and what to print."""


class Printed:
    """What one command printed, read once."""

    def __init__(self, stdout: bytes, stderr: bytes) -> None:
        lines = [*_lines(stdout), *_lines(stderr)]
        self._marked: dict[str, list[str]] = {}
        self._plain: dict[str, list[str]] = {}
        for line in lines:
            if found := _METRIC.fullmatch(line):
                _add(self._marked, found[1], found[2])
            elif found := _LINE.fullmatch(line):
                _add(self._plain, found[1], found[2])
        self._object = _json_object(stdout)

    @property
    def named(self) -> list[str]:
        """The names of all METRIC lines, and of the numbers in a JSON object."""
        return [*self._marked, *(name for name, value in self._object.items() if _is_number(value))]

    def told(self) -> dict[tuple[str, str, str], float]:
        """Every number with a name, in the order in which the forms count.

        Returns:
            Numbers by form (METRIC, json, line), name and unit, which is empty where none stands behind the number.
        """
        found = dict[tuple[str, str, str], float]()
        for name, value in _flat(self._object, _DEPTH):
            if math.isfinite(number := _float(value)):
                found["json", name, ""] = number
        for form, lines in (("METRIC", self._marked), ("line", self._plain)):
            for name, texts in lines.items():
                if (read := _WITH_UNIT.fullmatch(texts[-1])) and math.isfinite(number := float(read[1])):
                    found[form, name, read[2] or ""] = number
        order = ("METRIC", "json", "line")
        named = [one for one in found.items() if _NAME.fullmatch(one[0][1])]
        return dict(sorted(named, key=lambda one: order.index(one[0][0]))[:_MOST_TOLD])

    def samples(self, name: str, unit: str = "") -> list[float]:
        """All numbers of this name, the one that counts last.

        Raises:
            MetricProblem: the last is none, or there is nothing of this name.
        """
        name = _normal(name)
        if told := self._marked.get(name):
            return _numbers(name, told, unit)
        if (value := self._in_object(name)) is not None:
            return [_of_json(name, value)]
        if told := self._plain.get(name):
            return _numbers(name, told, unit)
        raise MetricProblem(self._nothing(name))

    def figure(self, name: str) -> float | None:
        """The number of this name that counts, or None where there is none."""
        try:
            return self.samples(name)[-1]
        except MetricProblem:
            return None

    def _in_object(self, name: str) -> Any:
        if name in self._object:
            return self._object[name]
        found: Any = self._object
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return found  # pyright: ignore[reportUnknownVariableType]

    def _nothing(self, name: str) -> str:
        wanted = f"a line `METRIC {name}=12.5` is due"
        if others := self.named:
            known = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
            return f"no number named {name}, but {known}: {wanted}, or another `metric` in program.md"
        return f"no number named {name}: {wanted}"


def _lines(raw: bytes) -> Iterator[str]:
    """Lines as a reader sees them: a carriage return also begins one."""
    for line in _ENDS.split(raw.decode("utf-8", errors="replace").removeprefix("\ufeff")):
        if "=" in line or ":" in line:
            yield _normal(without_escapes(line).strip())


def _normal(text: str) -> str:
    """One spelling for what looks alike: the two signs for micro."""
    return unicodedata.normalize("NFKC", text) if not text.isascii() else text


def _add(found: dict[str, list[str]], name: str, value: str) -> None:
    if name not in _REFUSED:
        found.setdefault(name, []).append(value.strip())


def _numbers(name: str, told: list[str], unit: str) -> list[float]:
    """Those that are numbers; the last must be one."""
    last = _number(name, told[-1], unit)
    others = list[float]()
    for text in told[:-1]:
        try:
            others.append(_number(name, text, unit))
        except MetricProblem:
            continue
    return [*others, last]


def _number(name: str, text: str, unit: str) -> float:
    bare = text.removesuffix(_normal(unit)).rstrip() if unit else text
    if not _NUMBER.fullmatch(bare):
        raise MetricProblem(f"{name}={_shown(text)}, {_why_not(text, unit)}")
    value = float(bare)
    if not math.isfinite(value):
        raise MetricProblem(f"{name}={_shown(text)}, which is too large for a number")
    return value


def _why_not(text: str, unit: str) -> str:
    begins = _NUMBER.match(text)
    if text.strip("+-").lower() in ("nan", "inf", "infinity"):
        return "which is not finite"
    if not text:
        return "with nothing behind it"
    if begins and re.fullmatch(r"[0-9.,_' ]*", text[begins.end() :]):
        return "which can be read in two ways: print it with a point and without separators"
    if begins:
        known = f"whose unit is not `{unit}`" if unit else "and program.md names no unit"
        return f"{known}: print the number alone"
    return "which is no number"


def _json_object(stdout: bytes) -> dict[str, Any]:
    text = without_escapes(stdout.decode("utf-8", errors="replace")).removeprefix("\ufeff").strip()
    if not (text.startswith("{") and text.endswith("}")):
        return {}
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {_normal(name): value for name, value in told.items() if name not in _REFUSED}


def _flat(told: dict[str, Any], depth: int) -> Iterator[tuple[str, int | float]]:
    """The numbers in an object and in those within it, by their names with points between."""
    for name, value in told.items():
        if _is_number(value):
            yield name, value
        elif isinstance(value, dict) and depth > 1:
            inner: dict[str, Any] = {str(key): one for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from ((f"{name}.{below}", one) for below, one in _flat(inner, depth - 1))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_json(name: str, value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if not _is_number(value):
        raise MetricProblem(f'"{name}": {_shown(json.dumps(value))}, which is no number')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise MetricProblem(f'"{name}": {_shown(str(value))}, which is not finite')
    return number


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
