"""Source code as Markdown, and what a document begins with."""

import re

import pytest

from server.library.adding.source_text import as_markdown, first_heading, first_sentence

CODE = '''"""Trains a model.

# not a heading
"""
import os

RATE = 0.1


@cached
def step(rate: float, *, decay: float = 0.0) -> float:
    """One step of Muon.

    ```no fence```
    """
    return rate


class Muon(Optimizer):
    """An optimizer."""

    def update(self):
        return "```"


if __name__ == "__main__":
    step(RATE)
'''


def test_python_is_a_section_for_each_function_and_no_line_is_lost() -> None:
    text = as_markdown("src/muon.py", CODE)
    assert re.findall(r"^#+ .*", text, re.MULTILINE)[0] == "# src/muon.py"
    assert "## `step(rate: float, *, decay: float=0.0)`\n\nOne step of Muon." in text
    assert "## `class Muon(Optimizer)`\n\nAn optimizer." in text
    fences = re.findall(r"^(`{3,})python\n(.*?)\n\1$", text, re.DOTALL | re.MULTILINE)
    code = "\n".join(body for _, body in fences)
    for line in filter(None, CODE.splitlines()):
        assert line in code.splitlines()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "def broken(:\n"),
        ("a.py", "(" * 5000),
        ("a.cu", "\n".join(f"line {number}\n" * (number % 3) for number in range(200))),
        ("a.rs", ""),
        ("a.py", "x = 1\n" * 500),
    ],
)
def test_what_cannot_be_parsed_is_fences_of_bounded_length(path: str, text: str) -> None:
    found = as_markdown(path, text)
    fences = re.findall(r"^```\w+\n(.*?)\n```$", found, re.DOTALL | re.MULTILINE)
    assert list(filter(None, "\n".join(fences).splitlines())) == list(filter(None, text.splitlines()))
    assert all(len(body.splitlines()) <= 60 for body in fences)


@pytest.mark.parametrize("default", ["-" * 400 + "1", "x" + ".a" * 2000, "+".join("a" * 1500)])
def test_what_is_too_deep_to_be_written_again_still_has_its_section(default: str) -> None:
    found = as_markdown("a.py", f"def f(a={default}):\n    pass\n\n\nclass A({default}):\n    pass\n")
    assert "## `f(…)`" in found and "## `class A(…)`" in found and default in found


def test_a_fence_in_code_does_not_end_the_fence_around_it() -> None:
    assert "````python\nx = '```'\n````" in as_markdown("a.py", "x = '```'\n")


@pytest.mark.parametrize(
    ("text", "heading", "sentence"),
    [
        ("# Muon\n\nIt works. It is fast.\n", "Muon", "It works."),
        (
            "Muon\n====\n\n[![badge](x)](y)\n\nAn **optimizer** of [Keller](http://x).\n",
            "Muon",
            "An optimizer of Keller.",
        ),
        ("```\n# code\n\nmore\n```\n\nThen prose.\n", "code", "Then prose."),
        ("No heading here\n", "", "No heading here"),
        ("# a | b\n\n| x | y |\n", "a \\| b", ""),
        ("", "", ""),
        ("# x\n\n" + "word " * 200, "x", None),
    ],
)
def test_beginnings(text: str, heading: str, sentence: str | None) -> None:
    assert first_heading(text) == heading
    found = first_sentence(text)
    assert found == sentence if sentence is not None else len(found) <= 200 and found.endswith("…")
