"""Which changes lie on one line, and what can stand side by side."""

import random
from itertools import pairwise

import pytest

from server.finalize.line_merge import chains, hunks, merge, split

BASE = "a = 1\nb = 2\nc = 3\nd = 4\n"


def turned(text: str, *turns: tuple[str, str]) -> str:
    for before, after in turns:
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ("a = 9\nb = 2\nc = 3\nd = 4\n", "a = 1\nb = 8\nc = 3\nd = 4\n", "a = 9\nb = 8\nc = 3\nd = 4\n"),
        ("a = 9\nb = 2\nc = 3\nd = 4\n", "a = 1\nc = 3\nd = 4\n", "a = 9\nc = 3\nd = 4\n"),
        ("a = 1\nx\nb = 2\nc = 3\nd = 4\n", "a = 7\nb = 2\nc = 3\nd = 4\n", "a = 7\nx\nb = 2\nc = 3\nd = 4\n"),
        ("a = 9\nb = 2\nc = 3\nd = 4\n", "a = 9\nb = 2\nc = 3\nd = 5\n", "a = 9\nb = 2\nc = 3\nd = 5\n"),
        ("a = 9\nb = 2\nc = 3\nd = 4\n", "a = 8\nb = 2\nc = 3\nd = 4\n", None),
        ("a = 1\nx\nb = 2\nc = 3\nd = 4\n", "a = 1\ny\nb = 2\nc = 3\nd = 4\n", None),
        ("a = 1\nc = 3\nd = 4\n", "a = 1\nb = 8\nc = 3\nd = 4\n", None),
    ],
    ids=["neighbours", "a deletion beside", "an insertion beside", "the same", "one line", "one place", "deleted"],
)
def test_only_what_meets_on_a_line_conflicts(ours: str, theirs: str, both: str | None) -> None:
    assert merge(BASE, ours, theirs) == both
    assert merge(BASE, theirs, ours) == both


def test_lines_are_never_glued_together() -> None:
    assert merge("a\nb", "a\nb\nc", "z\na\nb") == "z\na\nb\nc"
    assert merge("a\nb", "a\nb", "a\nb\n") == "a\nb\n"
    assert merge("a", "a\nb", "x") is None


def test_any_two_texts_are_made_of_each_other() -> None:
    draw = random.Random(5)
    for _ in range(300):
        before, after = ([draw.choice("abc\n") + "\n" for _ in range(draw.randrange(8))] for _ in range(2))
        made, at = list[str](), 0
        for start, end, new in hunks(before, after):
            made += [*before[at:start], *new]
            at = end
        assert [*made, *before[at:]] == after
    assert split("a\r\nb\x0cc\n\nd") == ["a\r\n", "b\x0cc\n", "\n", "d"]


def test_changes_of_one_line_are_a_chain_and_those_of_neighbours_are_not() -> None:
    texts = [BASE]
    for turn in [
        ("a = 1", "a = 9"),
        ("b = 2", "b = 8"),
        ("a = 9", "a = 7"),
        ("d = 4", "d = 5\ne = 6"),
        ("e = 6", "e = 7"),
    ]:
        texts.append(turned(texts[-1], turn))
    made = [(number, {"x.py": pair}) for number, pair in enumerate(pairwise(texts), 1)]
    assert chains(made) == [[2], [1, 3], [4, 5]]


def test_what_is_inserted_where_a_line_was_removed_belongs_to_it() -> None:
    without = turned(BASE, ("b = 2\n", ""))
    made = [(1, {"x.py": (BASE, without)}), (2, {"x.py": (without, turned(without, ("a = 1\n", "a = 1\nz = 0\n")))})]
    assert chains(made) == [[1, 2]]
    assert chains([made[0], (2, {"x.py": (without, turned(without, ("a = 1", "a = 2")))})]) == [[1], [2]]


def test_a_file_that_was_added_belongs_to_whoever_changes_it() -> None:
    made = [
        (1, {"new.py": (None, "x = 1\n")}),
        (2, {"old.py": (BASE, turned(BASE, ("a = 1", "a = 2")))}),
        (3, {"new.py": ("x = 1\n", "x = 1\ny = 2\n"), "old.py": (turned(BASE, ("a = 1", "a = 2")), BASE + "z\n")}),
        (4, {"third.py": ("q\n", None)}),
    ]
    assert chains(made) == [[1, 2, 3], [4]]
