"""Elements of a page, made in one place: text is escaped, and what would hide or turn it is shown."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_VOID = {"meta", "line", "circle", "path", "rect", "br", "hr"}
_HIDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SHOWN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 2000  # characters of one text
_LONGEST_PATH = 1 << 20  # of an attribute: those are ours, and a path of dots is long


class Html(NamedTuple):
    """Markup that `el` has made."""

    text: str


Child = Html | str | None | Sequence["Child"]


def shown(text: str, most: int = _LONGEST) -> str:
    """A text without controls, and marks that turn the direction of what follows; at most so long."""
    cut = text if len(text) <= most else text[: most - 2] + " …"
    return _HIDING.sub(_SHOWN, cut)


def el(name: str, /, *inside: Child, **attributes: str | float | None) -> Html:
    """One element. `inside`: texts, elements and lists of them. An attribute that is None is left out.

    `class_` is `class`; an underscore in another name is a hyphen.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not inside:
        return Html(f"<{name}{told}/>" if name not in ("meta", "br", "hr") else f"<{name}{told}>")
    return Html(f"<{name}{told}>{_inner(inside)}</{name}>")


def together(*inside: Child) -> Html:
    """Elements one after another."""
    return Html(_inner(inside))


def _inner(inside: Child) -> str:
    if inside is None:
        return ""
    if isinstance(inside, Html):
        return inside.text
    if isinstance(inside, str):
        return escape(shown(inside), quote=False)
    return "".join(map(_inner, inside))


def _number(value: str | float) -> str:
    return (
        shown(value, _LONGEST_PATH)
        if isinstance(value, str)
        else f"{value:.6g}"
        if abs(value) >= 1e5
        else f"{round(value, 1):g}"
    )
