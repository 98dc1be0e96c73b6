"""Passages: of a readable size, within one section, never a half of a fence or of a table."""

import time

import pytest

from server.library.reading.passages import PASSAGE, heading_path, outline, passages
from tests.support.growth import require_even

CODE = "```python\n" + "\n\n".join(f"def f{n}():\n    # not a heading\n    return {n}" for n in range(100)) + "\n```"
TABLE = "| knob | loss |\n|---|---|\n" + "\n".join(f"| {n} | {n / 7:.3f} |" for n in range(200))
WORDS = "A sentence of eight words stands right here. "


def test_each_passage_knows_its_headings() -> None:
    text = "before\n\n# Top\nintro\n\n## One\n\na\n\n### Deep\n\nb\n\nTwo\n---\n\nc\n\nOther\n=====\n\nd"
    found = [(one.heading, one.text.split("\n")[-1]) for one in passages(text)]
    assert found == [
        ("", "before"),
        ("Top", "intro"),
        ("Top > One", "a"),
        ("Top > One > Deep", "b"),
        ("Top > Two", "c"),
        ("Other", "d"),
    ]
    lines = text.split("\n")
    assert all(lines[one.first] == one.text.split("\n")[0] for one in passages(text))


@pytest.mark.parametrize("whole", [CODE, TABLE, "~~~~\n~~~\n# no heading\n\n" + WORDS * 99 + "\n~~~~"])
def test_what_belongs_together_is_never_split(whole: str) -> None:
    assert len(whole) > 2 * PASSAGE
    text = f"# Title\n\n{WORDS * 60}\n\n{whole}\n\n{WORDS * 60}"
    found = passages(text)
    assert sum(whole in one.text for one in found) == 1 and {one.heading for one in found} == {"Title"}
    assert all(len(one.text) <= PASSAGE for one in found if whole not in one.text)


@pytest.mark.parametrize("text", [WORDS * 300, "x" * 9000, "学习率。" * 3000, "word\n" * 2000, "a b " * 3000])
def test_a_long_paragraph_is_split_without_overlap_and_without_loss(text: str) -> None:
    found = passages(text)
    assert max(len(one.text) for one in found) <= PASSAGE and len(found) < 3 * len(text) / PASSAGE + 1
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())


def test_an_open_fence_goes_to_the_end() -> None:
    assert [one.text for one in passages("a\n\n```\n# no heading\n\n\nb")] == ["a\n\n```\n# no heading\n\n\nb"]
    assert passages("") == [] and passages("\n\n") == []


def test_a_document_of_headings_alone_has_passages() -> None:
    assert [one.text for one in passages("# A\n# B")] == ["# A", "# B"]


def test_the_outline_has_sections_with_what_is_below_them() -> None:
    text = "# A\na\n## B [link](https://example.org) ##\nb\n```\n# no\n```\n### **C**\nc\n## D\nd\n# E"
    found = outline(text)
    assert [(one.level, one.title, one.first, one.last) for one in found] == [
        (1, "A", 0, 11),
        (2, "B link", 2, 9),
        (3, "C", 7, 9),
        (2, "D", 9, 11),
        (1, "E", 11, 12),
    ]
    assert heading_path(found[2].path) == "A > B link > C"


def test_the_outline_takes_a_time_in_proportion_to_the_headings() -> None:
    def seconds(headings: int) -> float:
        began = time.process_time()
        assert len(outline("# a\n" * headings)) == headings
        return time.process_time() - began

    require_even(seconds, 60_000)
