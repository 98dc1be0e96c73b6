"""Patches as models write them, and everything that is not one."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import PatchRefused
from server.source.patch import MAX_LINES, MAX_PATCH_BYTES, apply, check, diff
from server.source.python_source import fingerprint
from tests.support.builders import only

TEXT = "".join(f"line {number}\n" for number in range(1, 21)) + "def f():\n    return 1\n\n\ndef g():\n    return 1\n"


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE\n"


UNIFIED = "--- a/train.py\n+++ b/train.py\n@@ -4,3 +4,3 @@\n line 4\n-line 5\n+line five\n line 6\n"
BEGIN = "*** Begin Patch\n*** Update File: train.py\n@@\n line 4\n-line 5\n+line five\n line 6\n*** End Patch\n"


@pytest.mark.parametrize(
    "patch",
    [
        UNIFIED,
        BEGIN,
        block("line 5\n", "line five\n"),
        "train.py\n" + block("line 5\n", "line five\n"),
        f"```diff\n{UNIFIED}```\n",
        "diff --git a/train.py b/train.py\nindex 123..456 100644\n" + UNIFIED,
        UNIFIED.replace("@@ -4,3 +4,3 @@", "@@ -400,9 +1,7 @@"),
        UNIFIED.replace("@@ -4,3 +4,3 @@", "@@"),
        UNIFIED.replace("--- a/train.py\n+++ b/train.py\n", ""),
        UNIFIED.replace("\n", "\r\n"),
        UNIFIED.replace(" line 6", " line 6   "),
    ],
)
def test_a_change_is_made_whatever_the_format(patch: str) -> None:
    assert apply(TEXT, patch) == TEXT.replace("line 5\n", "line five\n")


def test_several_blocks_apply_in_order() -> None:
    patch = block("line 5\n", "line five\n") + block("line five\nline 6\n", "both\n")
    assert "line 4\nboth\nline 7\n" in apply(TEXT, patch)


def test_an_anchor_narrows_the_search() -> None:
    patch = "*** Begin Patch\n*** Update File: train.py\n@@ def g():\n-    return 1\n+    return 2\n*** End Patch\n"
    assert apply(TEXT, patch) == TEXT[: TEXT.rindex("1")] + "2\n"


def test_the_files_own_line_ends_and_a_missing_last_one_are_kept() -> None:
    assert apply("a\r\nb\r\nc\r\n", block("b\n", "B\n")) == "a\r\nB\r\nc\r\n"
    assert apply("a\nb", block("a\n", "A\n")) == "A\nb"
    assert apply("a\nb", "@@ -1,2 +1,3 @@\n a\n b\n+c\n") == "a\nb\nc\n"


@pytest.mark.parametrize("seen", ["", "\ufeff"])
def test_a_byte_order_mark_stays_and_is_in_nobodys_way(seen: str) -> None:
    text = apply("\ufeffa = 1\nb = 2\n", block(f"{seen}a = 1\n", f"{seen}a = 3\n"))
    assert text == "\ufeffa = 3\nb = 2\n"
    check(only(text))
    assert fingerprint(text) == fingerprint("a = 3\nb = 2\n")


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("x" * (MAX_PATCH_BYTES + 1), "bytes"),
        ("x\0y", "binary"),
        ("GIT binary patch\nliteral 3\n", "binary"),
        ("please make it faster", "none of the formats"),
        (UNIFIED.replace("train.py", "prepare.py"), "another file: prepare.py"),
        (UNIFIED.replace("a/train.py", "/etc/passwd").replace("b/train.py", "/etc/passwd"), "absolute"),
        (UNIFIED.replace("train.py", "../train.py"), "climbs"),
        (UNIFIED + UNIFIED.replace("train.py", "other.py"), "more than one file"),
        ("--- /dev/null\n+++ b/train.py\n@@ -0,0 +1 @@\n+x\n", "creates a file"),
        ("--- a/train.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-line 1\n", "deletes a file"),
        ("diff --git a/train.py b/x.py\nsimilarity index 90%\nrename from train.py\nrename to x.py\n", "renames"),
        ("diff --git a/train.py b/train.py\nold mode 100644\nnew mode 100755\n", "mode"),
        ("diff --git a/train.py b/train.py\nnew file mode 120000\n" + UNIFIED, "symlink"),
        ("*** Begin Patch\n*** Add File: x.py\n+x\n*** End Patch", "creates a file"),
        ("*** Begin Patch\n*** Delete File: train.py\n*** End Patch", "deletes a file"),
        (block("", "x\n"), "has an empty SEARCH part"),
        ("<<<<<<< SEARCH\nline 5\n", "no '>>>>>>> REPLACE'"),
        ("<<<<<<< SEARCH\nline 5\n>>>>>>> REPLACE\n", "exactly one divider"),
        (block("line 5\n", "line 5\n"), "changes nothing"),
        (block("    return 1\n", "    return 2\n"), "2 places: lines 22, 26"),
    ],
)
def test_what_is_no_legal_patch_is_refused_with_its_reason(patch: str, words: str) -> None:
    with pytest.raises(PatchRefused, match=words) as refusal:
        apply(TEXT, patch)
    assert refusal.value.next_step


def test_a_line_number_decides_only_where_it_points_exactly() -> None:
    at_22 = "@@ -22,1 +22,1 @@\n-    return 1\n+    return 2\n"
    assert apply(TEXT, at_22) == TEXT.replace("return 1", "return 2", 1)
    with pytest.raises(PatchRefused, match="2 places"):
        apply(TEXT, at_22.replace("22", "24"))


def test_a_hunk_that_does_not_match_is_told_the_nearest_lines() -> None:
    with pytest.raises(PatchRefused) as refusal:
        apply(TEXT, block("line 11\nline twelve\nline 13\n", "x\n"))
    assert "  12  line 12" in refusal.value.problem and "'line twelve'" in refusal.value.problem


def test_nothing_is_half_applied_when_a_later_block_fails() -> None:
    with pytest.raises(PatchRefused, match="SEARCH block 2"):
        apply(TEXT, block("line 5\n", "line five\n") + block("nowhere\n", "x\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = = 1\n", "line 1, column 5"),
        ("x = 1\n" * (MAX_LINES + 1), "631 lines"),
        ("x = '" + "y" * 65536 + "'\n", "bytes"),
        ("x = 1\0\n", "NUL"),
        ("x = '\udc80'\n", "UTF-8"),
        ("(" * 5000 + ")" * 5000, "parse"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text: str, words: str) -> None:
    with pytest.raises(PatchRefused, match=words):
        check(only(text))


def test_a_refusal_quotes_the_refused_text_and_not_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("the old line\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PatchRefused, match=r"line 1, column 5: invalid syntax: x = = 1 "):
        check(only("x = = 1\n"))


def test_odd_but_legal_python_is_let_through() -> None:
    check(only("x = '\\d'\nassert (x, 'always true')\n"))


LINES = st.lists(st.text("abc \t#é", max_size=4), max_size=12).map(lambda lines: "".join(x + "\n" for x in lines))


@settings(max_examples=300, deadline=None)
@given(LINES, LINES)
def test_a_diff_of_two_texts_makes_one_of_the_other(before: str, after: str) -> None:
    if not before.strip() or before == after:
        return
    patch = diff(only(before), only(after))
    assert apply(before, patch, exact=True) == after  # a line that is added between blank ones has its number alone


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                *UNIFIED.splitlines(),
                *BEGIN.splitlines(),
                *block("line 5\n", "x\n").splitlines(),
                "",
                "+",
                "-",
                "@@ -1 +1 @@",
            ]
        ),
        max_size=15,
    ).map("\n".join)
)
def test_any_text_is_a_change_or_a_refusal_and_never_anything_else(patch: str) -> None:
    try:
        assert apply(TEXT, patch) != TEXT
    except PatchRefused:
        return


def test_diff_is_one_that_everybody_reads() -> None:
    lines = difflib.unified_diff(["a\n"], ["b\n"], "a/train.py", "b/train.py")
    assert diff(only("a\n"), only("b\n")) == "".join(lines)
    assert diff(only("a\n"), only("a\n")) == ""
