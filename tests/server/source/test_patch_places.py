"""Where a hunk goes: at the one place that its text determines, or nowhere."""

import time
from collections.abc import Callable

import pytest

from server.errors import PatchRefused
from server.source.patch import MAX_PATCH_BYTES, apply
from tests.support.growth import require_even

ROWS = [f"r{number}" for number in range(1, 31)]
ROWS[5] = ROWS[27] = "same"
NUMBERED = "".join(f"{row}\n" for row in ROWS)
CLASSES = """\
class A:
    def f(self):
        x = 1
        y = 1

    def g(self):
        y = 1


class B:
    def f(self):
        x = 2
        y = 1
"""
NEST = "def f():\n    if a:\n        b = 1\n        c = 2\n    return b\n"
LETTERS = "a\nb\nc\nd\ne\nf\n"


def begin(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", "*** Update File: train.py", *lines, "*** End Patch", ""])


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE\n"


APPLIED = {
    # A number that matches exactly wins, wherever the hunk before it was; hunks and sections come in any order.
    "number": (
        NUMBERED,
        "@@ -21 +21 @@\n-r21\n+R21\n@@ -6 +6 @@\n-same\n+SAME\n",
        [("r21", "R21"), ("r5\nsame", "r5\nSAME")],
    ),
    "number of a blank line between two hunks": (
        "a\n\n\n\nb\n",
        "@@ -1 +1 @@\n-a\n+A\n@@ -2,2 +2,3 @@\n \n+n\n \n@@ -5 +6 @@\n-b\n+B\n",
        [("a\n\n\n\nb", "A\n\nn\n\n\nB")],
    ),
    "sections": (
        NUMBERED,
        begin("@@", "-r20", "+R20", "*** Update File: train.py", "@@", "-r2", "+R2"),
        [("r20\n", "R20\n"), ("r2\n", "R2\n")],
    ),
    "shuffled": (LETTERS, "@@ -5 +5 @@\n-e\n+E\n@@ -1 +1 @@\n-a\n+A\n", [("e", "E"), ("a", "A")]),
    "shared context": (
        LETTERS,
        "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n@@ -3,3 +3,3 @@\n c\n-d\n+D\n e\n",
        [("b", "B"), ("d", "D")],
    ),
    "anchors": (
        CLASSES,
        begin("@@ class B:", "@@     def f(self):", "-        y = 1", "+        y = 3"),
        [("2\n        y = 1", "2\n        y = 3")],
    ),
    "anchor in a block": (
        CLASSES,
        begin("@@ def g(self):", "-        y = 1", "+        y = 3"),
        [("(self):\n        y = 1", "(self):\n        y = 3")],
    ),
    # The whole hunk is indented otherwise than the file, by as much in each line.
    "less indented": (
        NEST,
        block("b = 1\nc = 2\n", "b = 3\nif d:\n    c = 2\n"),
        [("        b = 1\n        c = 2", "        b = 3\n        if d:\n            c = 2")],
    ),
    "more indented": (NEST, block("            b = 1\n", "            b = 3\n"), [("b = 1", "b = 3")]),
    "tabs": ("f:\n\t\ta\n\t\tb\n", block("\ta\n\tb\n", "\ta\n\tc\n"), [("b", "c")]),
    "a blank too many": (NEST, "@@\n-         b = 1\n+         b = 3\n          c = 2\n", [("b = 1", "b = 3")]),
    "blank first line": (NEST, block("\nb = 1\n", "b = 3\n"), [("b = 1", "b = 3")]),
    # Context that has lost its blank, quotes of a word processor, a byte order mark.
    "no blank before context": (LETTERS, "@@\na\n-b\n+B\nc\n", [("b", "B")]),
    "no blank before indented context": (
        NEST,
        "@@\n    if a:\n-        b = 1\n+        b = 3\n        c = 2\n",
        [("b = 1", "b = 3")],
    ),
    "quotes": (
        's = "it\'s"  # - x\n',
        block("s = \u201cit\u2019s\u201d\u00a0 # \u2013 x\n", "s = \u201cit\u2019s ok\u201d\n"),
        [("it's\"  # - x", "it's ok\"")],
    ),
    "bom in the patch": (LETTERS, "\ufeff@@\n-b\n+B\n", [("b", "B")]),
    "a fence of the file without its blank": (
        "a\n```\nb\n```\nc\nd\n",
        "@@ -2,4 +2,5 @@\n```\nb\n```\n+n\n c\n@@ -6 +7 @@\n-d\n+D\n",
        [("c\nd", "n\nc\nD")],
    ),
    "a fence that closes below a wrong count": (LETTERS, "@@ -2,4 +2,4 @@\n-b\n+B\n```\n", [("b", "B")]),
    "a fence around a wrong count": (LETTERS, "```diff\n@@ -2,4 +2,4 @@\n-b\n+B\n```\n- b is better\n", [("b", "B")]),
    "blank context with its mark": (
        "x\n```\n\n## B\n\ny\n```\n\n## B\n\n\n",
        begin("@@", " ```", "-", "+n", " ## B", " ", " "),
        [("y\n```\n\n## B", "y\n```\nn\n## B")],
    ),
    # The end of the file.
    "end of file": ("pink\nblue\n", begin("@@", "+pink", "*** End of File"), [("blue\n", "blue\npink\n")]),
    "the last of two": ("a\nb\na\n", begin("@@", "-a", "+A", "*** End of File"), [("b\na", "b\nA")]),
}


@pytest.mark.parametrize("case", APPLIED)
def test_a_place_that_the_text_determines_is_found(case: str) -> None:
    text, patch, edits = APPLIED[case]
    expected = text
    for old, new in edits:
        assert expected.count(old) == 1 or case in ("number", "sections")
        expected = expected.replace(old, new, 1)
    assert apply(text, patch) == expected


REFUSED = {
    "insertion by number": (LETTERS, "@@ -2,3 +2,4 @@\n+n\n", "only adds lines"),
    "insertion by number alone": (LETTERS, "@@ -2,0 +3 @@\n+n\n", "only adds lines"),
    "insertion beside an exact hunk": (
        LETTERS,
        "@@ -2,0 +3 @@\n+n\n@@ -5 +6 @@\n-e\n+E\n",
        "only adds lines.*base_sha256",
    ),
    "insertion below an exact hunk": (NUMBERED, "@@ -2 +2 @@\n-r2\n+R2\n@@ -20,0 +21 @@\n+n\n", "only adds lines"),
    "insertion beside a moved hunk": (LETTERS, "@@ -2,0 +3 @@\n+n\n@@ -4 +5 @@\n-e\n+E\n", "only adds lines"),
    "number with wrong counts": (NUMBERED, "@@ -6,3 +6,2 @@\n-same\n+SAME\n", "2 places: lines 6, 28.*counts"),
    "number of a blank line among others": ("a\n\n\n\nb\n", "@@ -2,2 +2,3 @@\n \n+n\n \n", "2 places: lines 2, 3"),
    "number of a stale base": (NUMBERED, "@@ -6 +6 @@\n-same\n+SAME\n@@ -19 +19 @@\n-r20\n+R20\n", "2 places"),
    "number before or after a round": (
        "a\nb\na\nb\n",
        block("a\nb\na\n", "a\nn\nb\na\n") + "@@ -1 +1 @@\n-a\n+b\n",
        "out of place",
    ),
    "absent anchor": (
        CLASSES,
        begin("@@ def h(self):", "-        x = 1", "+        x = 3"),
        "does not have there: @@ def h.*are at line 3",
    ),
    "repeated anchor": (CLASSES, begin("@@ def f(self):", "-        y = 1", "+        y = 3"), "2 places: lines 4, 13"),
    "above the anchor": (
        CLASSES,
        begin("@@ class B:", "-        x = 1", "+        x = 3"),
        "below its anchor @@ class B:: it is at line 3",
    ),
    "two hunks, one line": (LETTERS, "@@\n-b\n+B\n@@\n-b\n+C\n", "changes train.py at line 2, where Hunk 1"),
    "applied": (LETTERS, "@@\n a\n-x\n+b\n c\n", "already applied: its new lines stand at line 1"),
    "added": (LETTERS, block("b\n", "b\nc\n"), "already: the lines that it adds are at line 3"),
    "removed": (LETTERS, "@@ -1,4 +1,3 @@\n a\n-x\n b\n c\n", "already applied: what is around.* at line 1 "),
    "removed in part": (LETTERS, "@@ -1,4 +1,2 @@\n a\n-b\n-x\n c\n", "does not match.*differs: 'x'"),
    "a line below its place": (CLASSES, block("class A:\nclass B:\n", "x\n"), "'class B:', which stands at line 10"),
    "indentation": (
        NEST,
        block("b = 1\n    c = 2\n", "d\n"),
        "only the indentation differs from line 3. Line 3 .*'        b = 1'",
    ),
    "equal": (LETTERS, block("b\n", "b\n"), "the old and the new lines are equal"),
    "escaped": (LETTERS, "--- a/train.py\\n+++ b/train.py\\n@@ -2 +2 @@\\n-b\\n+B\\n", "two characters"),
    "more than the page": (LETTERS, block("x" * 200_000 + "\n", "y\n"), "does not match"),
    "blanks for marks": ("a\n\nb\n", "@@\n \n+ x = 1\n", "only by blank lines"),
    "half of it behind a fence": ("x\n```\ny\n", "@@\n-x\n+z\n```\n+\n", "outside any hunk"),
    # A copy stands alone once somebody has changed the lines that were meant.
    "a copy alone, moved against the hunk above": (
        "".join(f"{row}\n" for row in [*ROWS[:8], "", "twin", *ROWS[8:27]]),
        "@@ -2 +2 @@\n-r2\n+R2\n@@ -25,2 +25,3 @@\n \n+n\n twin\n@@ -28 +29 @@\n-r26\n+R26\n",
        "the other hunks have moved by less",
    ),
    "a copy alone, moved far below the last hunk": (
        "".join(f"{row}\n" for row in [*ROWS[:9], "rate = 3", "A rate.", *ROWS[9:]]),
        "@@ -2 +2 @@\n-r2\n+R2\n@@ -24,2 +24,3 @@\n rate = 3\n+n\n A rate.\n",
        "matches train.py at line 10, but its header says line 24",
    ),
    "a copy alone, far from its number": (
        "".join(f"{row}\n" for row in [*ROWS[:24], "A rate.", *ROWS[24:]]),
        "@@ -9 +9,2 @@\n A rate.\n+n\n",
        "matches train.py at line 25, but its header says line 9",
    ),
    "a copy of three lines alone": (
        "".join(f"{row}\n" for row in [*ROWS[:24], "f:", "  g", "  h", *ROWS[24:27]]),
        "@@ -9,3 +9,2 @@\n f:\n-  g\n   h\n",
        "matches train.py at line 25, but its header says line 9",
    ),
    "a copy alone, in the lines of the hunk above": (
        "".join(f"{row}\n" for row in [*ROWS[:9], "rate = 3", "A rate.", *ROWS[9:]]),
        "@@ -8,3 +8,3 @@\n r8\n-r9\n+R9\n rate = 3\n@@ -13,2 +13,3 @@\n rate = 3\n+n\n A rate.\n",
        "matches train.py at line 10, but its header says line 13",
    ),
    "a copy alone, in a file full of copies": (
        "a\n}\n}\nb\n}\n}\n\n.v {\nc\n",
        "@@ -3,3 +3,2 @@\n }\n-\n .v {\n",
        "matches train.py at line 6, but its header says line 3",
    ),
    "a blank line that goes, read as one without a mark": (
        "a\nb\n```\n\nc\n",
        begin("@@", " ```", "-", "+n", " ", "@@", "-b", "+B"),
        "Hunk 1 of 2 does not match",
    ),
    "a copy where a blank line is left away": (
        "left;\n}\nx\nleft;\nn\n}\n",
        block("left;\n}\n\n", "left;\nm\n\n"),
        "only without the blank line",
    ),
    "a blank line at the end beside one that goes": (
        "a\n}\n\n",
        block("\na\n}\n\n\n", "\nn\n}\n\n"),
        "does not match",
    ),
    "another reading of a hunk beside one that fits as written": (
        "a &lt; b\nx\na < b\ny\nc < d\n",
        "@@\n-a &lt; b\n+n\n@@\n-c &lt; d\n+m\n",
        "Hunk 2 of 2 does not match",
    ),
    "a copy without a blank line, in a file full of copies": (
        ".w {\n b;\n}\n\n.v {\n c;\n}\n\n.u {\n c;\n}\n",
        block("\n.w {\n b;\n", "\nn\n b;\n"),
        "only without the blank line",
    ),
    "another reading of a file's own escapes": (
        "x\n&lt;p&gt;\ny\nc < d\n",
        "@@\n-c &lt; d\n+m\n",
        "does not match",
    ),
    "another reading of a hunk that fits twice": (
        "\na &lt; b\nx\n\na &lt; b\nz\na < b\n",
        "@@\n \n+n\n a &lt; b\n",
        "2 places",
    ),
    # A patch is read in one form: what one hunk has lost on its way, the others may have lost, too.
    "as written, beside a block less indented": (
        "if a:\n    b = 1\n    c\nif d:\n        e\n        c\n",
        block("    e\n", "    f\n") + block("    c\n", "    g\n"),
        "SEARCH block 2 matches train.py at 2 places: lines 3, 6",
    ),
    "as written, before a hunk less indented": (
        "if a:\n    b = 1\n    c\nif d:\n        e\n        c\n",
        begin("@@", "-    c", "+    g", "*** Update File: train.py", "@@", "-    e", "+    f"),
        "2 places: lines 3, 6",
    ),
    "as written, beside other dashes": (
        "a - b\nc \u2013 d\nc - d\n",
        "@@\n-a \u2013 b\n+x\n@@\n-c \u2013 d\n+y\n",
        "Hunk 2 of 2 matches train.py at 2 places: lines 2, 3",
    ),
    "no mark": (LETTERS, "@@\n-b\n+B\nand that is it\n", "no mark and is not in train.py: and that is it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_place_is_refused_in_a_few_words(case: str) -> None:
    text, patch, words = REFUSED[case]
    with pytest.raises(PatchRefused, match=f"(?s){words}") as refusal:
        apply(text, patch)
    assert len(str(refusal.value)) <= 600


def test_a_base_that_was_named_lets_a_number_count() -> None:
    assert apply(LETTERS, "@@ -2,0 +3 @@\n+n\n", exact=True) == "a\nb\nn\nc\nd\ne\nf\n"
    with pytest.raises(PatchRefused):
        apply(LETTERS, "@@ -2,3 +2,4 @@\n+n\n", exact=True)
    text, patch, _ = REFUSED["a copy alone, moved against the hunk above"]
    assert "\nn\ntwin\n" in apply(text, patch, exact=True)


@pytest.mark.parametrize(
    ("text", "patch", "after"),
    [
        ("s = '''a\x85b'''\ny = 2\n", "@@\n-y = 2\n+y = 3\n", "s = '''a\x85b'''\ny = 3\n"),
        ("a\x0cb\rc\u2028d\ny\n", block("y\n", "z\n"), "a\x0cb\rc\u2028d\nz\n"),
        ("one\r\ntwo\n", "@@\n-two\n+TWO\n", "one\r\nTWO\n"),
        ("one\r\ntwo\n", "@@\n-one\n+ONE\n+more\n", "ONE\r\nmore\r\ntwo\n"),
        ("one\r\ntwo\n", "@@\r\n-two\r\n+TWO\r\n", "one\r\nTWO\n"),
        ("one\r\ntwo\n", "@@\n one\r\n-two\n+TWO\r\n", "one\r\nTWO\r\n"),
        ("a\nb", "@@\n-b\n\\ No newline at end of file\n+b\n", "a\nb\n"),
        ("a\nb\n", "@@\n-b\n+b\n\\ No newline at end of file\n", "a\nb"),
    ],
)
def test_a_line_that_is_not_touched_keeps_its_characters_and_its_end(text: str, patch: str, after: str) -> None:
    assert apply(text, patch) == after


LONG: dict[str, Callable[[int], str]] = {
    "name": lambda n: "a." * (n // 2) + "!\n" + block("nowhere\n", "x\n"),
    "blocks": lambda n: "".join(block(f"r{k % 30 + 1}\n", f"r{k % 30 + 1} \n") for k in range(n // 40)),
    "hunks": lambda n: "".join(f"@@ r{k % 5 + 1}\n-r9\n+R9\n" for k in range(n * 3 // 40)),
    "long": lambda n: "@@\n" + "same\n" * (n // 5) + "-x\n",
    "blank": lambda n: "@@\n-x\n" + "\n" * n,
    "padded": lambda n: "@@\n-x\n" + " *** End Patch\n" * (n * 13 // 200),
    "path": lambda n: "--- a/train.py" + " " * n + "x\n+++ b/train.py\n@@\n-r99\n+R9\n",
    "headers": lambda n: "@@ -1,90000 +1,90000 @@\n" + "--- x\n" * (n * 3 // 20),
    "anchor": lambda n: "@@" + " " * n + "x\n-r9\n+R9\n",
}


@pytest.mark.parametrize("patch", LONG.values(), ids=LONG)
def test_no_patch_takes_longer_than_a_second(patch: Callable[[int], str]) -> None:
    def seconds(size: int) -> float:
        text = patch(size)
        assert len(text) <= MAX_PATCH_BYTES
        began = time.process_time()
        with pytest.raises(PatchRefused) as refusal:
            apply("same\n" * 300 + NUMBERED, text)
        assert len(str(refusal.value)) <= 600
        return time.process_time() - began

    require_even(seconds, 200_000)
