"""Patches over several files, as models write them: all of it or nothing, and each path held against the rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import PatchRefused, StaleText
from server.source.candidate import Candidate, sha256
from server.source.editable import OF_TASKS, Editable
from server.source.patch import check, diff, patched_files
from server.source.python_source import BOM

BASE = Candidate({"src/a.c": "int a;\nint b;\n", "src/b.c": "one\ntwo\n", "rules.sql": "select 1;\n"})
RULES = Editable(["src/**", "*.sql"], files={"src/x.sh": "it is named in `command`"}, limits=OF_TASKS)
TREE = [*BASE, "README.md", "bench.sh", "src/data.bin"]
CHANGED = {**BASE, "src/a.c": "int A;\nint b;\n", "rules.sql": "select 2;\n"}


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE\n"


def hunk(before: str, after: str) -> str:
    return f"@@ -1,1 +1,1 @@\n-{before}\n+{after}\n"


def applied(patch: str, base: Candidate = BASE, sha: str = "") -> dict[str, str]:
    return dict(patched_files(base, patch, RULES, TREE, sha))


def begin(body: str) -> str:
    return f"*** Begin Patch\n{body}*** End Patch\n"


def diff_of(path: str, before: str, after: str, old: str = "a/", new: str = "b/") -> str:
    return f"--- {old}{path}\n+++ {new}{path}\n{hunk(before, after)}"


TWO = diff_of("src/a.c", "int a;", "int A;") + diff_of("rules.sql", "select 1;", "select 2;")
BLOCKS = (block("int a;\n", "int A;\n"), block("select 1;\n", "select 2;\n"))


@pytest.mark.parametrize(
    "patch",
    [
        TWO,
        TWO.replace("a/", "").replace("b/", ""),
        TWO.replace("@@ -1,1 +1,1 @@", "@@"),
        f"Two changes:\n\n```diff\n{TWO}```\nDone.\n",
        "".join(
            f"diff --git a/{path} b/{path}\nindex 1..2 100644\n{part}"
            for path, part in zip(
                ("src/a.c", "rules.sql"),
                (TWO[: TWO.index("--- a/rules")], TWO[TWO.index("--- a/rules") :]),
                strict=True,
            )
        ),
        begin(
            "*** Update File: src/a.c\n@@\n-int a;\n+int A;\n*** Update File: rules.sql\n@@\n-select 1;\n+select 2;\n"
        ),
        "src/a.c\n" + BLOCKS[0] + "\nrules.sql\n" + BLOCKS[1],
        "src/a.c\n```c\n" + BLOCKS[0] + "```\n\n**rules.sql**\n```\n" + BLOCKS[1] + "```\n",
        "### File: `src/a.c`\n" + BLOCKS[0] + "\nNow the query.\n\n`./rules.sql`:\n" + BLOCKS[1],
        "```c:src/a.c\n" + BLOCKS[0] + "```\n```sql rules.sql\n" + BLOCKS[1] + "```\n",
    ],
)
def test_one_patch_changes_several_files_whatever_the_format(patch: str) -> None:
    assert applied(patch) == applied(patch.replace("\n", "\r\n")) == CHANGED


def test_a_block_without_a_name_is_for_the_file_of_the_one_before() -> None:
    patch = "src/a.c\n" + BLOCKS[0] + "\nAnd the next line:\n\n" + block("int b;\n", "int B;\n")
    assert applied(patch) == {**BASE, "src/a.c": "int A;\nint B;\n"}


@pytest.mark.parametrize(
    "patch",
    [
        begin("*** Add File: src/new/n.c\n+x\n+\n+y\n*** Delete File: src/b.c\n"),
        "--- /dev/null\n+++ b/src/new/n.c\n@@ -0,0 +1,3 @@\n+x\n+\n+y\n"
        "--- a/src/b.c\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n",
        "diff --git a/src/new/n.c b/src/new/n.c\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/src/new/n.c\n"
        "@@ -0,0 +1,3 @@\n+x\n+\n+y\ndiff --git a/src/b.c b/src/b.c\ndeleted file mode 100644\nindex 1..0\n"
        "--- a/src/b.c\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n",
    ],
)
def test_files_are_added_and_deleted(patch: str) -> None:
    after = {path: text for path, text in BASE.items() if path != "src/b.c"} | {"src/new/n.c": "x\n\ny\n"}
    assert applied(patch) == after


def test_a_new_file_has_the_line_ends_of_the_others_where_the_patch_has_one_kind_alone() -> None:
    patch = begin("*** Add File: src/n.c\n+x\n+y\n").replace("\n", "\r\n")
    assert applied(patch)["src/n.c"] == "x\ny\n"
    assert applied(patch, Candidate({"src/a.c": "int a;\r\n"}))["src/n.c"] == "x\r\ny\r\n"
    assert applied(patch.replace("y\r", "y"))["src/n.c"] == "x\r\ny\n"


def test_a_block_that_searches_for_nothing_makes_a_file() -> None:
    assert applied("src/n.c\n```\n" + block("", "fresh\n") + "```\n") == {**BASE, "src/n.c": "fresh\n"}
    with pytest.raises(PatchRefused, match="only adds lines"):
        applied("src/a.c\n" + block("", "fresh\n"))


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ("diff --git a/src/a.c b/src/c.c\nsimilarity index 100%\nrename from src/a.c\nrename to src/c.c\n", "a"),
        (
            "diff --git a/src/a.c b/src/c.c\nsimilarity index 90%\nrename from src/a.c\nrename to src/c.c\n"
            "--- a/src/a.c\n+++ b/src/c.c\n" + hunk("int a;", "int A;"),
            "A",
        ),
        (begin("*** Update File: src/a.c\n*** Move to: src/c.c\n@@\n-int a;\n+int A;\n"), "A"),
        ("--- a/src/a.c\n+++ b/src/c.c\n" + hunk("int a;", "int A;"), "A"),
    ],
)
def test_a_rename_is_a_file_less_and_one_more(patch: str, text: str) -> None:
    after = {path: text for path, text in BASE.items() if path != "src/a.c"}
    assert applied(patch) == after | {"src/c.c": f"int {text};\nint b;\n"}


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (BLOCKS[0], "names no file, and there are several: rules.sql, src/a.c, src/b.c"),
        (hunk("int a;", "int A;"), "names no file"),
        (diff_of("bench.sh", "x", "y"), "bench.sh cannot be changed: it is not editable"),
        ("bench.sh\n" + BLOCKS[0], "bench.sh cannot be changed"),
        (begin("*** Add File: src/x.sh\n+x\n"), "named in `command`"),
        (begin("*** Add File: README.txt\n+x\n"), "README.txt cannot be added: it is not editable"),
        (begin("*** Add File: src/A.c\n+x\n"), "differs from src/a.c only in capitals"),
        (begin("*** Add File: src/a.c\n+x\n"), "src/a.c exists already"),
        (begin("*** Add File: src/n.c\nno mark\n+x\n"), "is not marked: no mark"),
        (begin("*** Add File: src/a.c/n.c\n+x\n"), "src/a.c is a file"),
        (begin("*** Delete File: src/zz.c\n"), "There is no src/zz.c in the candidate"),
        (begin("*** Delete File: bench.sh\n"), "bench.sh cannot be changed"),
        (begin("".join(f"*** Delete File: {path}\n" for path in BASE)), "deletes every editable file"),
        ("--- a/src/b.c\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-one\n", "leaves 1 lines of it"),
        (diff_of("src/B.c", "one", "x"), r"no src/B\.c.*Did you mean src/b\.c"),
        (diff_of("src/data.bin", "one", "x"), "not a plain text file"),
        (diff_of("../x.c", "one", "x"), "climbs"),
        (diff_of("/etc/passwd", "one", "x", "", ""), "absolute"),
        (begin("*** Update File: /src/a.c\n@@\n-int a;\n+x\n"), "absolute"),
        (begin("*** Update File: src\\a.c\n@@\n-int a;\n+x\n"), "backslash"),
        (begin("*** Update File: src//a.c\n@@\n-int a;\n+x\n"), "empty part"),
        (begin("*** Update File: src/a.c\n"), "no hunk|no change"),
        (begin("*** Update File: src/a.c\n@@\n-int a;\n+int A;\n*** Update File: src/b.c\n"), "header for src/b.c"),
        ("--- /dev/null\n+++ b/src/A.c\n--- a/src/b.c\n+++ /dev/null\n", "differs from src/a.c"),
        ("diff --git a/src/a.c b/src/a.c\nold mode 100644\nnew mode 100755\n", "mode"),
        (
            "diff --git a/src/n b/src/n\nnew file mode 120000\n--- /dev/null\n+++ b/src/n\n@@ -0,0 +1 @@\n+a.c\n",
            "symlink",
        ),
        ("diff --git a/src/a.c b/src/c.c\ncopy from src/a.c\ncopy to src/c.c\n", "copies"),
        ("GIT binary patch\nliteral 3\n", "binary"),
        (diff_of("src/a.c", "int a;", "int a;"), "nothing"),
        (TWO.replace("select 1;", "nowhere"), "does not match rules.sql"),
        (diff_of("src/a.c", "two", "x"), r"searches for in src/a\.c are in src/b\.c, from line 2"),
        (f"src/a.c\n{BLOCKS[0]}{BLOCKS[1]}", r"are in rules\.sql, from line 1"),
        (begin("*** Delete File: src/a.c\n*** Update File: src/a.c\n@@\n-int a;\n+x\n"), "deleted src/a.c before"),
        ("please", "none of the formats"),
    ],
)
def test_what_is_no_legal_patch_changes_nothing_and_says_why(patch: str, words: str) -> None:
    with pytest.raises(PatchRefused, match=words) as refusal:
        applied(patch)
    assert refusal.value.next_step and dict(BASE)["src/a.c"] == "int a;\nint b;\n"


def test_a_file_that_program_md_names_cannot_be_deleted() -> None:
    rules = Editable(["main.c", "src/**"], limits=OF_TASKS)
    base = Candidate({"main.c": "x\n", "src/a.c": "y\n"})
    with pytest.raises(PatchRefused, match=r"main\.c cannot be deleted"):
        patched_files(base, begin("*** Delete File: main.c\n"), rules)
    with pytest.raises(PatchRefused, match=r"main\.c cannot be deleted"):
        patched_files(base, begin("*** Update File: main.c\n*** Move to: src/main.c\n@@\n-x\n+z\n"), rules)


def test_without_a_name_a_patch_is_for_the_one_file() -> None:
    one = Candidate({"rules.sql": "select 1;\n"})
    assert applied(BLOCKS[1], one) == applied(hunk("select 1;", "select 2;"), one) == {"rules.sql": "select 2;\n"}


def test_the_hash_of_the_candidate_or_of_the_one_file_is_accepted() -> None:
    patch = diff_of("src/a.c", "int a;", "int A;")
    for sha in (BASE.sha256, sha256(BASE["src/a.c"])):
        assert applied(patch, sha=sha)["src/a.c"] == "int A;\nint b;\n"
    assert applied(TWO, sha=BASE.sha256) == CHANGED
    for text, sha in ((patch, sha256(BASE["src/b.c"])), (TWO, sha256(BASE["src/a.c"])), (patch, "0" * 64)):
        with pytest.raises(StaleText, match=BASE.sha256):
            applied(text, sha=sha)


@pytest.mark.parametrize(
    ("header", "both", "alone"),
    [
        ("--- a/x\n+++ b/x\n", "x", "a/x"),
        ("--- a/a/x\n+++ b/a/x\n", "a/x", "a/x"),
        ("--- a/x\n+++ a/x\n", "a/x", "a/x"),
        ('--- "a/a/\\170"\n+++ "b/a/\\170"\n', "a/x", "a/x"),
        ("*** Update File: a/x\n", "a/x", "a/x"),
        ("*** Update File: ./a/x\n", "a/x", "a/x"),
        ("*** Update File: b/x\n", "x", ""),
        ("--- a/x\t2026-01-01 10:00:00\n+++ b/x\t2026-01-01 10:00:01\n", "x", "a/x"),
    ],
)
def test_a_folder_that_is_really_called_a_is_told_from_a_side(header: str, both: str, alone: str) -> None:
    rules = Editable(["**"], limits=OF_TASKS)
    for files, meant in (({"a/x": "1\n", "x": "1\n"}, both), ({"a/x": "1\n", "y": "1\n"}, alone)):
        base = Candidate(files)
        if meant:
            after = patched_files(base, f"{header}@@\n-1\n+2\n", rules)
            assert [path for path in after if after[path] != base[path]] == [meant]
        else:
            with pytest.raises(PatchRefused, match="There is no b/x"):
                patched_files(base, f"{header}@@\n-1\n+2\n", rules)


def test_a_byte_order_mark_stays_in_its_file() -> None:
    base = Candidate({"src/a.c": f"{BOM}int a;\n", "src/b.c": "one\n"})
    after = patched_files(base, diff_of("src/a.c", "int a;", "int A;") + diff_of("src/b.c", "one", "x"), RULES)
    assert dict(after) == {"src/a.c": f"{BOM}int A;\n", "src/b.c": "x\n"}


def test_tasks_have_other_limits_than_a_language_model() -> None:
    long = Candidate({"src/a.py": "x = 1\n" * 5000})
    check(long, OF_TASKS)
    with pytest.raises(PatchRefused, match="lines, 630 are allowed"):
        check(long)
    with pytest.raises(PatchRefused, match=r"src/a\.c would have 1048577 bytes, 1048576 are allowed"):
        check(Candidate({"src/a.c": "x" * ((1 << 20) + 1)}), OF_TASKS)
    with pytest.raises(PatchRefused, match="files would have 5000000 bytes"):
        check(Candidate({f"src/{n}.c": "x" * 1_000_000 for n in range(5)}), OF_TASKS)
    with pytest.raises(PatchRefused, match="capitals"):
        check(Candidate({"src/a.c": "", "src/A.c": ""}), OF_TASKS)


def test_python_must_parse_where_it_did_before() -> None:
    old = Candidate({"old.py": "print 'two'\n", "new.py": "x = 1\n"})
    check(old.with_file("old.py", "print 'three'\n"), OF_TASKS, old)
    with pytest.raises(PatchRefused, match=r"new\.py would not parse"):
        check(old.with_file("new.py", "x = = 1\n"), OF_TASKS, old)
    with pytest.raises(PatchRefused, match=r"more\.py would not parse"):
        check(old.with_file("more.py", "x = = 1\n"), OF_TASKS, old)
    assert old.fingerprint != old.with_file("old.py", "print 'three'\n").fingerprint
    assert old.with_file("old.py", "print 'three'\n").changed_from(old).category == "other"
    alone = Candidate({"old.py": "print 'one'\n"})
    assert alone.with_file("old.py", "print 'two'\n").changed_from(alone).category == "other"


PATHS = st.sampled_from(["src/a.c", "src/b.c", "src/sub/c.c", "d.sql", "a/x.sql", "src/with space.c", "src/ü.c"])
TEXTS = st.lists(st.text("ab#", min_size=1, max_size=5), max_size=8).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)
FILES = st.dictionaries(PATHS, TEXTS, min_size=1, max_size=5).map(Candidate)


@settings(max_examples=150, deadline=None)
@given(FILES, FILES)
def test_a_diff_of_two_candidates_makes_one_of_the_other(before: Candidate, after: Candidate) -> None:
    if dict(before) != dict(after):
        rules = Editable(["**"], limits=OF_TASKS)
        assert patched_files(before, diff(before, after), rules, (), before.sha256) == after


HEADERS = """*** Begin Patch
*** End Patch
*** Add File: src/n.c
*** Delete File: src/b.c
*** Move to: src/m.c
--- /dev/null
+++ /dev/null
diff --git a/src/a.c b/src/b.c
new file mode 100644
deleted file mode 100644
rename from src/a.c
rename to src/q.c
src/a.c
+x
-one

+++ """
PIECES = st.sampled_from([*TWO.splitlines(), *BLOCKS[0].splitlines(), *HEADERS.split("\n")])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.lists(PIECES, max_size=15).map("\n".join))
def test_any_text_is_a_change_or_a_refusal_and_leaves_only_editable_files(patch: str) -> None:
    try:
        after = patched_files(BASE, patch, RULES, TREE)
    except PatchRefused:
        return
    assert after != BASE and all(RULES.allows(path) for path in after)
