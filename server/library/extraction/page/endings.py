"""What stands in a text and is none of it: lines and lists that lead to other pages, labels of tags, of nothing."""

import re
from collections.abc import Sequence

from server.library.extraction.html.tree import HEADINGS
from server.library.extraction.page.blocks import Block

_LINE = 40  # words of a line that leads elsewhere
_LINKED = 0.4
_LABEL = 8  # words
_SHORT = 2  # of a label that is no heading: more may be a sentence before a picture
_TAG = 4
_ELSEWHERE = re.compile(
    r"\W*(?:read (?:more|also|next)|see more|also read|more (?:on|from|about|in)\b|related\b|don'?t miss|recommended\b|"
    r"(?:le|te) puede interesar|(?:lea|lee|ver) tambi[eé]n|tambi[eé]n (?:lea|le puede)|mehr zum thema|"
    r"lesen sie (?:auch|mehr)|"
    r"lies auch|auch interessant|(?:à|a) lire|lire aussi|leia (?:tamb[eé]m|mais)|leggi anche|lees ook|"
    r"czytaj (?:też|także|również)|läs (?:också|mer)|читайте также)",
    re.I,
)
_TAGS = re.compile(
    r"\W*(?:tags?|tagged(?: (?:in|with|under))?|topics?|filed under|labels?|keywords|categor(?:y|ies)|posted in|"
    r"schlag(?:worte|wörter)|stich(?:worte|wörter)|themen|kategorien?|mots[- ]cl[ée]s|th[èe]mes|sujets?|"
    r"etiquetas|temas|categor[ií]as?|tagi|kategorie|argomenti|categorie)\W*",
    re.I,
)


def without_endings(blocks: Sequence[Block], kept: Sequence[bool]) -> list[bool]:
    """For each block whether it stays."""
    found = [keep and not _leads_away(block) for keep, block in zip(kept, blocks, strict=True)]
    for at, block in enumerate(blocks):
        if found[at] and len(block.words) <= _LABEL and (end := _listed(blocks, at)) > at:
            found[at:end] = [False] * (end - at)
    for at in reversed(range(len(blocks) - 1)):
        if found[at] and not found[at + 1] and _announces(blocks[at]):
            found[at] = False
    return found


def _leads_away(block: Block) -> bool:
    """Whether a line only names another page of the site: many stand between the paragraphs of news."""
    size = len(block.words)
    return size <= _LINE and block.links > _LINKED * size and bool(_ELSEWHERE.match(block.text))


def _listed(blocks: Sequence[Block], at: int) -> int:
    """Where the links end that a label announces as other pages or as tags; the label's place if it announces none."""
    end = at + 1
    if _ELSEWHERE.match(blocks[at].text):
        while end < len(blocks) and _is_link(blocks[end], _LINE):
            end += 1
    elif _TAGS.fullmatch(blocks[at].text):
        while end < len(blocks) and _is_link(blocks[end], _TAG):
            end += 1
    return end if end > at + 1 else at


def _is_link(block: Block, most: int) -> bool:
    return block.place[0] not in HEADINGS and len(block.words) <= most and block.links > _LINKED * len(block.words)


def _announces(block: Block) -> bool:
    """Whether a block is nothing without the text after it."""
    size = len(block.words)
    heads = block.place[0] in HEADINGS - {"h1"} and size <= _LABEL
    return heads or (size <= _SHORT and block.text.rstrip().endswith(":"))
