"""The code is built as ARCHITECTURE.md says: which way imports go, who imports which library, what is pure, how large.

Every rule for imports is also tried on a small source tree that breaks it.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.repo.architecture import (
    FLOORS,
    PAGE,
    ROOT,
    ROOTS,
    SHARED,
    Modules,
    importers,
    module_name,
    package_graph,
    parse,
    read,
    redrawn,
    source_files,
    without_garbage,
)
from tests.repo.import_rules import (
    CHECKED_BY_HAND,
    DOORS,
    LATE_IMPORTS,
    PURE,
    circles,
    impure,
    late,
    meetings,
    misplaced,
    untrue,
    within,
    without_door,
)

MOST_FLOORS = 11
MOST_MODULES = 12  # in a folder, beside __init__ and __main__
MOST_LINES = 400
MOST_LINES_OF_TRAIN = 630
MOST_LINES_OF_A_FUNCTION = 50  # without its docstring
MOST_WRITTEN_LINES_OF_THE_PAGE = 55  # the map is drawn from the code
NO_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
TEST_FOLDERS = {
    "attack",
    "clients",
    "conformance",
    "faults",
    "fixtures",
    "integration",
    "ray",
    "repo",
    "server",
    "slurm",
    "support",
    "trainer",
}

Rule = Callable[[Modules], Iterator[str]]
RULES: tuple[Rule, ...] = (misplaced, circles, meetings, without_door, late, impure, untrue)
FILES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in source_files("server", "trainer", "tests", "benchmarks")
}


@cache
def trees() -> dict[Path, ast.Module]:
    """Every file's. Not at the import: every process of the tests imports this one."""
    parsed = {path: read().get(module_name(str(path))) for path in FILES}
    with without_garbage():
        return {path: module.tree if module else ast.parse(FILES[path]) for path, module in parsed.items()}


def assert_none(faults: Iterable[str]) -> None:
    """Fail with a line for each fault, none of them shortened."""
    if lines := sorted(set(faults)):
        pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize("rule", RULES)
def test_the_code_keeps_the_rules_for_imports(rule: Rule) -> None:
    assert_none(rule(read()))


def test_there_are_few_floors() -> None:
    assert all(len(floors) <= MOST_FLOORS for floors in FLOORS.values())
    graph = package_graph(read())
    depth: dict[str, int] = {}
    for package in TopologicalSorter(graph).static_order():
        depth[package] = 1 + max((depth[target] for target in graph[package]), default=0)
    assert max(depth.values()) <= MOST_FLOORS, depth


def test_what_server_and_trainer_share_needs_nothing_but_python() -> None:
    modules = [read()[name] for name in (*SHARED, "trainer")]
    loaded = [one for module in modules for one in module.imports if not one.late]
    assert {one.library for one in loaded} <= sys.stdlib_module_names


def test_every_entry_of_the_rules_is_used() -> None:
    doors = [(library, door) for library, doors in DOORS.items() for door in doors]
    closed = [one for one in doors if not any(within(name, one[1]) for name in importers(read(), one[0]))]
    assert_none(f"{door} does not import {library}: take the door away" for library, door in closed)
    late_ones = {name for name, module in read().items() if any(one.late for one in module.imports)}
    assert_none(f"{name} has no late import: take its reason away" for name in LATE_IMPORTS.keys() - late_ones)
    assert_none(f"{entry} does not exist" for entry in PURE if not any(within(name, entry) for name in read()))
    true = {
        (name, words) for name, words in CHECKED_BY_HAND if any(words in text for text in read()[name].docstrings())
    }
    assert_none(f"{name} no longer says {words!r}" for name, words in CHECKED_BY_HAND - true)


HOUSE = {
    "server/__init__.py": "",
    "server/errors.py": "",
    "server/files.py": "import os",
    "server/scoring/__init__.py": "",
    "server/scoring/noise.py": "from server import errors",
    "server/source/__init__.py": "",
    "server/vcs/__init__.py": "",
    "server/vcs/refs.py": "import git",
    "server/history/__init__.py": "",
    "server/history/ledger.py": '"""The only importer of sqlite3."""\nimport sqlite3',
    "trainer/__init__.py": "",
    "trainer/contract.py": "import json",
    "trainer/text.py": "",
    "trainer/session.py": "",
}
NOISE = "server/scoring/noise.py"
REFS = "server/vcs/refs.py"
TYPE_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from server.vcs.refs import Refs"
BROKEN: list[tuple[Rule, dict[str, str], str]] = [
    (misplaced, {NOISE: "import server.vcs.refs"}, "imports go down only"),
    (misplaced, {NOISE: "from server.vcs import refs"}, "imports go down only"),
    (misplaced, {NOISE: "from ..vcs.refs import Refs"}, "imports go down only"),
    (misplaced, {NOISE: "def f():\n    import server.vcs.refs"}, "imports go down only"),
    (misplaced, {NOISE: TYPE_ONLY}, "imports go down only"),
    (misplaced, {REFS: "from server.history.ledger import Ledger"}, "imports go down only"),
    (misplaced, {"server/source/patch.py": "from server.scoring import noise"}, "imports go down only"),
    (misplaced, {"server/errors.py": "from server.scoring import noise"}, "imports go down only"),
    (misplaced, {"server/vcs/__init__.py": "from server.history import ledger"}, "imports go down only"),
    (misplaced, {"server/novelty.py": ""}, "server.novelty has no floor"),
    (misplaced, {"server/novelty/new.py": ""}, "server.novelty.new has no floor"),
    (misplaced, {"server/files.py": "from server.erors import Refusal"}, "does not exist"),
    (misplaced, {REFS: "import trainer.launch", "trainer/launch.py": ""}, "share trainer.contract and trainer.text"),
    (
        misplaced,
        {"trainer/text.py": "from server.errors import Refusal"},
        "share trainer.contract and trainer.text alone",
    ),
    (circles, {REFS: "from server.vcs import a", "server/vcs/a.py": "import server.vcs.refs"}, "refs"),
    (circles, {REFS: "from .a import A", "server/vcs/a.py": TYPE_ONLY}, "refs"),
    (circles, {REFS: "from .a import A", "server/vcs/a.py": "def f():\n    from server.vcs import refs"}, "refs"),
    (
        circles,
        {
            REFS: "from server.vcs.inner import a",
            "server/vcs/tree.py": "",
            "server/vcs/inner/__init__.py": "",
            "server/vcs/inner/a.py": "",
            "server/vcs/inner/b.py": "from server.vcs import tree",
        },
        "server.vcs.inner",
    ),
    (meetings, {"trainer/session.py": "import trainer.datasets.a", "trainer/datasets/a.py": ""}, "validation text"),
    (without_door, {"server/files.py": "import leftpad"}, "needs an entry in DOORS"),
    (without_door, {"server/files.py": "def f():\n    from sqlite3 import dbapi2"}, "only server.history.ledger, "),
    (without_door, {"server/vcs_more.py": "import git"}, "only server.vcs may"),
    (late, {"server/files.py": "def f():\n    import os"}, "server.files imports os late"),
    (late, {"server/files.py": TYPE_ONLY}, "server.files imports server.vcs.refs late"),
    (impure, {NOISE: "import os.path"}, "server.scoring.noise → os.path"),
    (impure, {NOISE: "from time import time"}, "server.scoring.noise → time.time"),
    (impure, {NOISE: "from pathlib import Path"}, "server.scoring.noise → pathlib.Path"),
    (impure, {NOISE: "open('x')"}, "server.scoring.noise → open()"),
    (impure, {NOISE: "import datetime\ndatetime.datetime.now()"}, "now()"),
    (
        impure,
        {NOISE: "from server.scoring import a", "server/scoring/a.py": "from server import files"},
        "server.scoring.noise → server.scoring.a → server.files → os",
    ),
    (impure, {"server/vcs/a.py": '"""Pure."""\nfrom server.vcs import refs'}, "server.vcs.a → server.vcs.refs → git"),
    (impure, {"server/vcs/a.py": 'import os\ndef f():\n    """Pure."""'}, "server.vcs.a → os"),
    (untrue, {"server/files.py": "import sqlite3"}, "server.history.ledger says"),
    (untrue, {"server/files.py": '"""The only importer of yaml, and the only friend of the ledger."""'}, "friend"),
    (untrue, {"server/files.py": '"""The only importer of leftpad."""'}, "nobody"),
    (untrue, {"server/files.py": '"""The only\nfriend of the ledger."""'}, "CHECKED_BY_HAND"),
    (
        untrue,
        {"server/files.py": 'class A:\n    """The only spawner."""', REFS: "import subprocess"},
        "server.files says",
    ),
    (
        untrue,
        {
            "server/vcs/a.py": '"""The only place where refs and ledger meet."""',
            "server/vcs/b.py": "from server.vcs import refs\nfrom server.history import ledger",
        },
        "server.vcs.b",
    ),
]


@pytest.mark.parametrize("rule", RULES)
def test_a_source_tree_that_keeps_the_rules_breaks_none(rule: Rule) -> None:
    assert not list(rule(parse(HOUSE)))


@pytest.mark.parametrize(("rule", "change", "words"), BROKEN)
def test_a_rule_that_is_broken_says_so(rule: Rule, change: dict[str, str], words: str) -> None:
    found = list(rule(parse(HOUSE | change)))
    assert any(words in sentence for sentence in found), found


def test_files_stay_short() -> None:
    lengths = {path: len(text.splitlines()) for path, text in FILES.items()}
    assert_none(f"{path} has {length} lines: split it" for path, length in lengths.items() if length > MOST_LINES)


def test_functions_stay_short() -> None:
    functions = [
        (path, node)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = [(path, node.name, body_lines(node)) for path, node in functions]
    assert_none(
        f"{path}: {name} has {length} lines" for path, name, length in lengths if length > MOST_LINES_OF_A_FUNCTION
    )


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the first statement to the last, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_folders_stay_small() -> None:
    modules = [path for path in FILES if path.parts[0] in ROOTS and path.stem not in {"__init__", "__main__"}]
    sizes = Counter(path.parent for path in modules)
    assert_none(f"{folder} has {size} modules: make packages" for folder, size in sizes.items() if size > MOST_MODULES)


def test_names_say_what_is_inside() -> None:
    assert_none(f"{path}: a name that says nothing" for path in FILES if NO_NAMES & {path.stem, *path.parent.parts})


def test_every_package_and_every_module_says_what_it_is() -> None:
    assert_none(f"{name} has no docstring" for name, module in read().items() if not module.docstring)
    folders = {path.parent for path in FILES if path.parts[0] in ROOTS}
    assert_none(f"{folder} has no __init__.py" for folder in folders if folder / "__init__.py" not in FILES)


def test_the_formatter_formats_everything() -> None:
    assert_none(
        f"{path}:{token.start[0]}: {token.string}"
        for path, text in FILES.items()
        if re.search(r"#\s*fmt:", text)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and re.search(r"#\s*fmt:\s*(?:skip|off)", token.string)
    )


def test_every_constant_has_a_line_of_its_own() -> None:
    assert_none(
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple | ast.List)
        and isinstance(node.value, ast.Tuple | ast.List | ast.GeneratorExp | ast.ListComp)
    )


def test_the_tests_mirror_the_source() -> None:
    folders = {path.parent.relative_to("tests") for path in FILES if path.parts[0] == "tests"} - {Path()}
    assert {folder.parts[0] for folder in folders} == TEST_FOLDERS
    mirrored = {folder for folder in folders if folder.parts[0] in ROOTS}
    assert_none(f"{folder} is no package" for folder in mirrored if folder / "__init__.py" not in FILES)


def test_train_py_stays_within_630_lines_and_imports_only_torch_the_stdlib_and_trainer() -> None:
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_TRAIN
    train = parse({"train.py": text, "trainer/__init__.py": ""})["train"]
    assert {one.library for one in train.imports} <= {"torch", "trainer", *sys.stdlib_module_names}


def test_every_exception_of_the_server_is_in_the_drawn_tree() -> None:
    errors = read()["server.errors"]
    drawn = re.findall(r"^(?:[│ ]*[├└]── )?(\w+)(?=$| {2,})", errors.docstring, re.MULTILINE)
    assert set(drawn) == {node.name for node in errors.tree.body if isinstance(node, ast.ClassDef)}


def test_architecture_md_is_one_page_and_draws_the_code_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written, _, rest = page.partition("<!-- map -->")
    written += rest.partition("<!-- /map -->")[2]
    assert len(written.splitlines()) <= MOST_WRITTEN_LINES_OF_THE_PAGE
    assert page == redrawn(page, read()), "the map is stale: run python -m tests.repo.architecture --write"


def test_everything_that_architecture_md_names_exists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:server|trainer|tests|benchmarks|docs)[./][\w./]*\w)/?`", page):
        module = name.replace("/", ".").removesuffix(".py")
        assert (ROOT / name).exists() or module in read(), name
