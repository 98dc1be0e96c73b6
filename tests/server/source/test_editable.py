"""Which paths a candidate may have: globs, what is withheld from them, and names that clash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.source.editable import OF_TASKS, OF_TRAIN, Editable, distinct, nearest

RULES = Editable(
    ["src/**", "*.sql", "lib/", "Makefile", "conf/[!_]?.ini"],
    withheld={"src/gen/**": "it is in `off_limits`", "src/judge/": "it is in the judge's folder"},
    files={"src/bench.py": "it is named in `command`", "Makefile": "it is named in `checks`"},
    modules={"json", "queue"},
    limits=OF_TASKS,
)


@pytest.mark.parametrize(
    "path", ["src/a.c", "src/a/b.c", "q.sql", "lib/x/y", "Makefile", "conf/ab.ini", "src/json.py", "src/é.c", "src/.x"]
)
def test_a_star_stays_in_its_folder_and_two_cross_folders(path: str) -> None:
    assert RULES.allows(path) and RULES.why_not_add(path, ["README"]) == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sub/q.sql", "not editable"),
        ("conf/_b.ini", "not editable"),
        ("conf/a/b.ini", "not editable"),
        ("lib", "not editable"),
        ("src/gen/x.c", "off_limits"),
        ("src/judge/cases.py", "judge's folder"),
        ("src/bench.py", "named in `command`"),
        ("src/.gitattributes", "git's"),
        ("src/.GIT/hooks/post-checkout", "git's"),
        ("src/git~1/config", "git's"),
        ("src/sitecustomize.py", "by itself"),
        ("src/conftest.py", "by itself"),
        ("src/x.pth", "by itself"),
        ("src/__pycache__/a.py", "by itself"),
        ("src/a.pyc", "by itself"),
        ("/src/a.c", "absolute"),
        ("~/a.c", "absolute"),
        ("C:\\src\\a.c", "absolute"),
        ("src/../bench.sh", "climbs"),
        ("src\\a.c", "backslash"),
        ("src//a.c", "empty part"),
        ("src/./a.c", "empty part"),
        ("src/a\n.c", "control"),
        ("src/\udc80", "control"),
        (f"src/{'x' * 256}", "too long"),
        ("", "empty part"),
    ],
)
def test_what_a_candidate_may_not_have_is_refused_with_the_reason(path: str, words: str) -> None:
    assert words in RULES.why_not(path) and not RULES.allows(path)


def test_a_file_that_program_md_names_is_editable_whatever_names_it_too() -> None:
    assert RULES.allows("Makefile") and RULES.requires("Makefile") and not RULES.requires("src/a.c")
    both = Editable(["sitecustomize.py", "a/**"], limits=OF_TASKS)
    assert both.allows("sitecustomize.py") and not both.allows("a/sitecustomize.py")


def test_program_md_and_gits_own_files_are_never_editable() -> None:
    everything = Editable(["**"], limits=OF_TASKS)
    for path in ("program.md", "Program.md", ".gitignore", "a/.gitmodules", "A/.Github/x.yml"):
        assert not everything.allows(path)
    assert everything.allows("docs/program.md")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("SRC/b.c", ""),
        ("src/A.c", "differs from src/a.c only in capitals or accents"),
        ("Src/new.c", "differs from src only in capitals or accents"),
        ("src/cafe\u0301.c", "differs from src/caf\u00e9.c"),
        ("src/a.c/b", "src/a.c is a file"),
        ("src/deep", "it is a folder"),
        ("json.py", "hide Python's own module json"),
        ("queue/__init__.py", "hide Python's own module queue"),
        ("queue/data.txt", ""),
        ("json.txt", ""),
    ],
)
def test_a_new_file_clashes_with_no_other(path: str, words: str) -> None:
    everything = Editable(["**"], modules=["json", "queue"], limits=OF_TASKS)
    tree = [] if path.startswith("SRC") else ["src/a.c", "src/caf\u00e9.c", "src/deep/x.c"]
    assert words in everything.why_not_add(path, tree) if words else not everything.why_not_add(path, tree)


def test_paths_that_are_one_on_some_disks_are_told() -> None:
    assert distinct(["a/b", "a/c", "d"]) == ""
    assert "capitals" in distinct(["a/b", "A/c"]) and "a file, and the folder" in distinct(["a", "a/b"])


def test_paths_without_a_wildcard_are_those_of_a_language_model() -> None:
    assert Editable.of(["train.py"]).plain == ("train.py",) and Editable.of(["train.py"]).limits is OF_TRAIN
    assert Editable.of(["src/**"]).plain == () and Editable.of(["src/**"]).limits is OF_TASKS


def test_only_folders_that_can_match_are_looked_into() -> None:
    assert RULES.roots == ["", "Makefile", "conf", "lib", "src"]
    assert Editable(["src/*/x.c", "./lib/b.c"], limits=OF_TASKS).roots == ["lib/b.c", "src"]


def test_the_nearest_names_are_told() -> None:
    known = ["src/parser.c", "src/lexer.c", "q.sql"]
    assert nearest("src/Parser.c", known).startswith("Did you mean src/parser.c")
    assert nearest("lib/lexer.c", known).startswith("Did you mean src/lexer.c")
    assert nearest("zzz", known) == "There are q.sql, src/lexer.c, src/parser.c."


PARTS = st.text(st.sampled_from("ab*?[]!.-^\\"), min_size=1, max_size=6)


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(st.text("ab.[]!^", min_size=1, max_size=4), max_size=4))
def test_any_glob_matches_or_does_not_and_raises_nothing(glob: list[str], path: list[str]) -> None:
    rules = Editable(["/".join(glob)], limits=OF_TASKS)
    assert rules.allows("/".join(path)) in (True, False)


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_a_star_is_any_text_without_a_slash(parts: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    starred = "/".join([*parts[:at], "*", *parts[at + 1 :]])
    assert Editable([starred], limits=OF_TASKS).allows("/".join(parts))
    assert not Editable([starred], limits=OF_TASKS).allows("/".join([*parts[:at], "c/c", *parts[at + 1 :]]))
    assert Editable([starred.replace("*", "**")], limits=OF_TASKS).allows(
        "/".join([*parts[:at], "c/c", *parts[at + 1 :]])
    )
