"""Patches that were quoted, escaped or indented since they were written, and parts that nobody would have read."""

import html
import time
from collections.abc import Callable

import pytest

from server.errors import PatchRefused
from server.source.patch import apply
from tests.support.growth import require_even

TEXT = """\
def f(a, b):
    if a < b and a > 0:
        return a & b
    return "it's"


LR = 0.1
WD = 0.2
"""
AFTER = TEXT.replace("a > 0", "a > 1")
UNIFIED = """\
--- a/train.py
+++ b/train.py
@@ -1,4 +1,4 @@
 def f(a, b):
-    if a < b and a > 0:
+    if a < b and a > 1:
         return a & b
     return "it's"
"""
BEGIN = f"*** Begin Patch\n*** Update File: train.py\n{UNIFIED[UNIFIED.index('@@') :]}*** End Patch\n"
BLOCK = "<<<<<<< SEARCH\n    if a < b and a > 0:\n=======\n    if a < b and a > 1:\n>>>>>>> REPLACE\n"
FORMATS = {"diff": UNIFIED, "Begin Patch": BEGIN, "block": BLOCK}


def each(patch: str, before: str) -> str:
    return "".join(before + line if line.strip() else line for line in patch.splitlines(keepends=True))


CHANGED: dict[str, Callable[[str], str]] = {
    "HTML": html.escape,
    "HTML but for quotes": lambda patch: html.escape(patch, quote=False),
    "HTML twice": lambda patch: html.escape(html.escape(patch)),
    "quoted": lambda patch: each(patch, "> "),
    "quoted without a blank": lambda patch: each(patch, ">"),
    "quoted twice, in prose": lambda patch: "He wrote:\n\n" + each(patch, "> > ") + "\nI agree.\n",
    "quoted in HTML": lambda patch: html.escape(each(patch, "> ")),
    "indented": lambda patch: each(patch, "    "),
    "in a list": lambda patch: "1. This:\n\n" + each(f"```diff\n{patch}```\n", "   "),
    "tab": lambda patch: each(patch, "\t"),
    "CR": lambda patch: patch.replace("\n", "\r"),
    "CR CRLF": lambda patch: patch.replace("\n", "\r\r\n"),
    "unseen": lambda patch: "\u200b" + patch,
    "other fence": lambda patch: f"~~~~diff\n{patch}~~~~\n",
}


@pytest.mark.parametrize("patch", FORMATS)
@pytest.mark.parametrize("change", CHANGED)
def test_a_patch_is_read_as_it_was_written(change: str, patch: str) -> None:
    assert apply(TEXT, CHANGED[change](FORMATS[patch])) == AFTER


@pytest.mark.parametrize(
    "patch",
    [
        "    " + BLOCK.replace("=======", "    =======").replace(">>>>>>> ", "    >>>>>>> "),
        BLOCK.replace("=======", "  =======").replace(">>>>>>> ", "  >>>>>>> "),
        BLOCK.replace("SEARCH", "search").replace("REPLACE", "Replace"),
        BLOCK.replace("SEARCH", "SEARCH:").replace("REPLACE", "REPLACE:"),
        BLOCK.replace("SEARCH", "SEARCH train.py"),
        BLOCK.replace("<<<<<<<", "<<<").replace("=======", "===").replace(">>>>>>>", ">>>"),
        BLOCK.replace("<<<<<<<", "<" * 12).replace("=======", "=" * 12).replace(">>>>>>>", ">" * 12),
        BLOCK.replace("=======", "```\n=======\n```py")
        .replace("CH\n", "CH\n```py\n")
        .replace(">>>>>>>", "```\n>>>>>>>"),
        BLOCK.replace("<", "&lt;").replace("a > ", "a &gt; "),
    ],
    ids=["indented", "ends indented", "case", "colon", "name", "narrow", "wide", "fences", "escaped inside"],
)
def test_a_block_is_read_whatever_its_markers_look_like(patch: str) -> None:
    assert apply(TEXT, patch) == AFTER


SECOND = "<<<<<<< SEARCH\nLR = 0.1\n=======\nLR = 0.3\n>>>>>>> REPLACE\n"


def test_a_block_beside_others_is_not_left_out() -> None:
    both = AFTER.replace("LR = 0.1", "LR = 0.3")
    assert apply(TEXT, BLOCK + each(SECOND, "  ")) == both
    assert apply(TEXT, BLOCK + SECOND.replace("SEARCH", "search")) == both


@pytest.mark.parametrize(
    "patch",
    [
        BLOCK + "\n@@\n-LR = 0.1\n+LR = 0.3\n",
        BLOCK + "\n    @@ -7 +7 @@\n    -LR = 0.1\n    +LR = 0.3\n",
        BLOCK + SECOND.replace("SEARCH", "HEAD"),
        UNIFIED + "\nAlso:\n\n" + SECOND.replace("<<<<<<<", "<<<"),
        UNIFIED + "\nAlso:\n\n> @@ -7 +7 @@\n> -LR = 0.1\n> +LR = 0.3\n",
        UNIFIED + "\nAlso:\n\n  --- a/train.py\n  +++ b/train.py\n  @@ -7 +7 @@\n  -LR = 0.1\n  +LR = 0.3\n",
    ],
    ids=["diff below a block", "indented", "conflict", "block below a diff", "quoted", "indented below a diff"],
)
def test_a_patch_with_a_part_that_cannot_be_read_changes_nothing(patch: str) -> None:
    with pytest.raises(PatchRefused, match=r"Line \d+ of the patch is (out of place|outside)"):
        apply(TEXT, patch)


def test_what_the_file_has_as_it_is_written_is_not_read_otherwise() -> None:
    text = "a &lt; b\na < b\n"
    assert apply(text, "@@\n-a &lt; b\n+a &lt; c\n") == "a &lt; c\na < b\n"
    assert apply("> x\nx\n", "@@\n-> x\n+> y\n") == "> y\nx\n"
    assert apply(text, "@@\n a &amp;lt; b\n-a &lt; b\n+a &lt; c\n") == "a &lt; b\na < c\n"
    with pytest.raises(PatchRefused, match="does not match"):  # a "<" that is not escaped: the rest is as it is meant
        apply("a < b\nc\n", "@@\n-a &lt; b\n-c\n+a <= c\n")


def test_a_patch_that_fits_in_two_readings_is_refused() -> None:
    text = "y = 1\n\n\ndef g():\n    y = 1\n"
    patch = each("<<<<<<< SEARCH\ny = 1\n=======\ny = 2\n>>>>>>> REPLACE\n", "    ")
    with pytest.raises(PatchRefused, match=r"two ways|2 places"):
        apply(text, patch)


def test_a_quoted_patch_that_fits_nowhere_is_told_what_differs() -> None:
    with pytest.raises(PatchRefused, match=r"does not match train\.py.*'LR = 0.5'"):
        apply(TEXT, each("@@\n-LR = 0.5\n+LR = 0.3\n", "> "))
    with pytest.raises(PatchRefused, match=r"another file: other\.py"):
        apply(TEXT, each(UNIFIED.replace("train.py", "other.py"), "> "))


LONG: dict[str, Callable[[int], str]] = {
    "blanks": lambda n: " " * n + "\n@@ x\n",
    "tabs": lambda n: ("\t" * 1000 + "x\n") * (n // 1000),
    "marker": lambda n: "<<< SEARCH" + " " * n + "x y",
    "quoted": lambda n: "> @@\n> -x\n" * (n // 120),
}


@pytest.mark.parametrize("patch", LONG.values(), ids=LONG)
def test_no_reading_takes_longer_than_a_second(patch: Callable[[int], str]) -> None:
    def seconds(size: int) -> float:
        began = time.process_time()
        with pytest.raises(PatchRefused):
            apply(TEXT, patch(size))
        return time.process_time() - began

    require_even(seconds, 60_000)
