"""A cleaned part of a page as Markdown: blocks below each other, one blank line between two."""

import re
from collections.abc import Callable, Iterator

from server.library.extraction.html.footnotes import Notes, without_arrow
from server.library.extraction.html.inline import BREAK, Inline, code_span, collapse, one_line, plain
from server.library.extraction.html.tables import is_layout, write_table
from server.library.extraction.html.tree import (
    CODE,
    HEADINGS,
    INLINE,
    MATHS,
    Element,
    has_blocks,
    has_class,
    text_of,
    words,
)

_LONG_HEADING = 60  # words: more is text in a heading's place
_SIGN = re.compile(r"[\s¶#§]+$")
_START = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[-+](?=\s)|>|(?:=+|-{2,}|~~~+)\s*$|\d{1,9}[.)](?=\s|$))", re.M)
_BULLET = re.compile(r"^\s*[•◦▪‣●○■–]\s*")
_IN_LIST = re.compile(r"^\s*(?:[-*] |\d+\. )")
_MARK = re.compile(r"^(?:-|\d+\.) ")
_SKIPPED = ("script", "style", "template", "head", "link", "meta", "title", "colgroup", "col")
_LIST = ("ul", "ol", "menu", "dir")


class Writer:
    """Writes one part of a page."""

    def __init__(self, base: str, part: Element, notes: Notes) -> None:
        self._inline = Inline(base, notes.labels)
        self._notes = notes
        self._part = part
        self._blocky = has_blocks(part)
        for _, body in notes.texts:
            self._blocky |= has_blocks(body)
        self._writers: dict[str, Callable[[Element], list[str]]] = {
            CODE: _fence,
            MATHS: _formula,
            "table": self._table,
            "blockquote": self._quote,
            "hr": lambda _: ["---"],
            "dl": self._definitions,
            "summary": lambda one: self._bold(self._inline.inside(one)),
            "x-task": lambda one: [one.text or ""],
            **dict.fromkeys(HEADINGS, self._heading),
            **dict.fromkeys(_LIST, self._list),
            **dict.fromkeys(_SKIPPED, lambda _: []),
        }

    def write(self) -> str:
        """The part, with its footnotes below."""
        blocks = self._block(self._part) if self._part.tag in self._writers else self.blocks(self._part)
        notes = [self._note(label, body) for label, body in self._notes.texts]
        return "\n\n".join([*blocks, *filter(None, notes)])

    def _note(self, label: str, body: Element) -> str:
        text = without_arrow("\n\n".join(self.blocks(body)).strip())
        return f"[^{label}]: " + _indented(text, 4) if text else ""

    def blocks(self, element: Element) -> list[str]:
        """What is in an element, as blocks. Text between elements that are blocks is a paragraph."""
        found: list[str] = []
        line = [plain(element.text)]
        for child in element:
            if self._stands_in_line(child):
                line.append(self._inline.one(child))
            else:
                found += _paragraphs(line)
                line.clear()
                found += self._block(child)
            line.append(plain(child.tail))
        return found + _paragraphs(line)

    def _stands_in_line(self, element: Element) -> bool:
        if not isinstance(element.tag, str):
            return True
        if element.tag == MATHS:
            return not element.get("display")
        return element.tag in INLINE and element not in self._blocky

    def _block(self, element: Element) -> list[str]:
        return self._writers.get(element.tag, self.blocks)(element)

    def _heading(self, one: Element) -> list[str]:
        if one.find(f".//{CODE}") is not None or len(words(text_of(one))) > _LONG_HEADING:
            return self.blocks(one)
        text = _SIGN.sub("", one_line(self._inline.inside(one)))
        if (bold := re.fullmatch(r"\*\*([^*]+)\*\*", text)) is not None:
            text = bold[1]
        images = [block for block in self.blocks(one) if block.startswith("![")] if text.startswith("![") else []
        return images or ([f"{'#' * int(one.tag[1])} {text}"] if text else [])

    def _bold(self, text: str) -> list[str]:
        text = one_line(text)
        return [f"**{text}**" if "*" not in text else text] if text else []

    def _quote(self, one: Element) -> list[str]:
        text = "\n\n".join(self.blocks(one))
        return ["\n".join(f"> {line}".rstrip() for line in text.split("\n"))] if text else []

    def _definitions(self, one: Element) -> list[str]:
        """Terms, and below each what it means, indented."""
        found: list[str] = []
        for child in _items(one):
            if child.tag == "dt":
                signature = has_class(child, "sig") or has_class(one, "py", "c", "cpp", "js")
                text = code_span(_SIGN.sub("", text_of(child))) if signature else one_line(self._inline.inside(child))
                found += [_SIGN.sub("", text)] if text else []
            elif blocks := self.blocks(child):
                body = ":   " + _indented("\n\n".join(blocks), 4)
                if found and not found[-1].startswith(":   ") and "\n" not in found[-1]:
                    found[-1] += "\n" + body
                else:
                    found.append(body)
        return found

    def _list(self, one: Element) -> list[str]:
        start = (one.get("start") or "1").strip()
        number = int(start) if start.isdigit() and len(start) < 9 else 1
        items: list[str] = []
        for child in one:
            if child.tag in _LIST and items:
                items[-1] += "\n" + "\n".join(
                    " " * _width(items[-1]) + line for line in "\n".join(self._list(child)).split("\n")
                )
                continue
            blocks = self._item(child)
            if not blocks:
                continue
            value = (child.get("value") or "").strip() if child.tag == "li" else ""
            number = int(value) if value.isdigit() and len(value) < 9 else number
            mark = f"{number}. " if one.tag == "ol" else "- "
            number += 1
            items.append(mark + _indented(_tight(blocks), len(mark)))
        loose = any("\n\n" in item for item in items)
        return [("\n\n" if loose and one.tag == "ol" else "\n").join(items)] if items else []

    def _item(self, child: Element) -> list[str]:
        if not isinstance(child.tag, str):
            return []
        if child.tag == "li" or not self._stands_in_line(child):
            blocks = self.blocks(child) if child.tag == "li" else self._block(child)
        else:
            blocks = [one_line(self._inline.one(child))]
        blocks = [block for block in blocks if block.strip()]
        if blocks:
            blocks[0] = _BULLET.sub("", blocks[0]) if not blocks[0].startswith("```") else blocks[0]
        return [block for block in blocks if block]

    def _table(self, table: Element) -> list[str]:
        if is_layout(table):
            return self.blocks(table)
        caption = table.find("caption")
        above = _paragraphs([self._inline.inside(caption)]) if caption is not None else []
        return [*above, *filter(None, [write_table(table, self._cell)])]

    def _cell(self, cell: Element) -> str:
        blocks = (_span_of(block) for block in self.blocks(cell))
        return "<br>".join(filter(None, blocks))


def _items(one: Element) -> Iterator[Element]:
    """Terms and definitions, which may stand in a `div` each."""
    for child in one:
        if child.tag in ("dt", "dd"):
            yield child
        elif isinstance(child.tag, str):
            yield from _items(child) if child.tag == "div" else [child]


def _paragraphs(line: list[str]) -> list[str]:
    """The paragraphs of a line: two line breaks after each other divide them."""
    found: list[str] = []
    for part in re.split(rf"{BREAK}(?:\s*{BREAK})+", collapse("".join(line))):
        lines = [piece.strip() for piece in part.split(BREAK)]
        text = "  \n".join(piece for piece in lines if piece)
        if text:
            found.append(_START.sub(_escaped, text))
    return found


def _escaped(found: re.Match[str]) -> str:
    """What would begin a heading, a list or a quotation, and is none."""
    sign = found[2]
    return found[1] + (f"{sign[:-1]}\\{sign[-1]}" if sign[0].isdigit() else f"\\{sign}")


def _fence(one: Element) -> list[str]:
    text = one.text or ""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    return [f"{fence}{one.get('lang') or ''}\n{text}\n{fence}"] if text.strip() else []


def _formula(one: Element) -> list[str]:
    tex = (one.text or "").strip()
    return [f"$$\n{tex}\n$$"] if tex else []


def _indented(text: str, width: int) -> str:
    """All lines but the first moved to the right."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * width + line if line else "" for line in rest)])


def _width(item: str) -> int:
    """Of the mark of an item."""
    return len(item) - len(_MARK.sub("", item, count=1))


def _tight(blocks: list[str]) -> str:
    """The blocks of an item: a list in it follows its text at once."""
    text = blocks[0]
    for block in blocks[1:]:
        text += ("\n" if _IN_LIST.match(block) and not text.endswith("```") else "\n\n") + block
    return text


def _span_of(block: str) -> str:
    """A block within a cell of a table, on one line."""
    if block.startswith("```"):
        lines = block.split("\n")[1:-1]
        return "<br>".join(code_span(line) if line.strip() else "" for line in lines)
    return re.sub(r"\s*\n\s*", "<br>" if _IN_LIST.match(block) else " ", re.sub(r"  \n", "<br>", block)).strip()
