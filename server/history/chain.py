"""The chain over the rows of a ledger: one entry a write, each with the hash of the one before. Pure.

An entry names the copy in git of the row as it was written. Whoever edits a row, or its copy, without knowing of the
chain is found out, and the chain says which of the two is true. Whoever writes the chain anew as well is not.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Stored = dict[int, tuple[str, str]]  # by number: git's name of a row's text, and what queries read beside it
_NAMED = 12  # groups of numbers in a sentence


class Mark(StrEnum):
    """How a row came into the chain."""

    WRITTEN = ""
    BEFORE = "before"  # it was there when the chain was begun: an earlier version had written it
    REBUILT = "rebuilt"  # from its copy in git, with the whole ledger
    BROKEN = "broken"  # as the one above, because somebody else had edited the chain itself
    RESTORED = "restored"  # from its copy in git, or removed: somebody else had edited, deleted or added it


class Entry(NamedTuple):
    """One write of one row."""

    number: int
    copy: str  # git's name of the row's text; empty: the row was removed
    columns: str  # what queries read beside the text
    mark: str
    link: str = ""  # hash of all that and of the link before


@dataclass
class Chain:
    """What the entries say."""

    rows: Stored = field(default_factory=Stored)  # as they were last written; of a removed one the name is empty
    broken: int = 0  # the first place whose link does not hold; 0: all do


def linked(entry: Entry, before: str) -> Entry:
    """The entry behind the link `before`."""
    return entry._replace(link=_link(before, *entry[:-1]))


def read(entries: Iterable[tuple[int, str, str, str, str]], copies: set[tuple[int, str]] | None = None) -> Chain:
    """Follow the chain from its beginning.

    Args:
        copies: filled with the number and the copy's name of everything that was ever written.
    """
    found, before = Chain(), ""
    for place, (number, copy, columns, mark, link) in enumerate(entries, 1):
        if _link(before, number, copy, columns, mark) != link:
            return Chain(broken=place)
        before, found.rows[number] = link, (copy, columns)
        if copies is not None:
            copies.add((number, copy))
    return found


def _link(before: str, number: int, copy: str, columns: str, mark: str) -> str:
    return hashlib.sha256(f"{before} {number} {copy} {columns} {mark}".encode()).hexdigest()


def differing(chain: Chain, stored: Stored) -> list[int]:
    """Numbers of the rows that are not as the chain says, ascending: edited, deleted or added by somebody else."""
    said = {number: told for number, told in chain.rows.items() if told[0]}
    return sorted(number for number in {*said, *stored} if said.get(number) != stored.get(number))


def numbers_in_words(numbers: list[int]) -> str:
    """As a person writes them: "2, 5 to 9"."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and number == groups[-1][1] + 1:
            groups[-1][1] = number
        else:
            groups.append([number, number])
    told = [str(first) if first == last else f"{first} to {last}" for first, last in groups]
    return ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")


def copy_name(text: str) -> str:
    """The name that git gives to a blob with this text."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
