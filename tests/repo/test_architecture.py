"""The house stays as ARCHITECTURE.md draws it: arrows, doors, ceilings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    f"{path.parent.name}.{path.stem}": ast.parse(path.read_text(encoding="utf-8"))
    for room in ("server", "trainer")
    for path in sorted((ROOT / room).glob("*.py"))
}
FILES = sorted(
    path
    for room in ("server", "trainer", "tests", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
    if not path.is_symlink()
)

DOORS = {
    "mcp": {"server." + name for name in ("app", "tools", "register", "tasks", "panel", "http", "demo", "search")},
    "mcp_types": {"server.api.tools", "server.api.app", "server.api.mcp_tasks"},
    "git": {"server." + name for name in ("workspace", "worktree", "refs", "doors", "git_environment", "repositories")},
    "optuna": {"server.clients.optuna_search"},
    "uvicorn": {"server.api.http.server"},
    "starlette": {"server.api.http.server", "server.api.http.auth"},
    "sqlite3": {"server.history.ledger"},
    "torch": {"trainer.session", "trainer.launch"},
    "urllib": {"trainer.datasets.download"},
    "pyarrow": {"trainer.datasets.documents"},
    "subprocess": {"server.runs.spawn", "server.clients.driver", "trainer.processes.process_tree"},
    "matplotlib": {"server.reporting.chart"},
    "pynvml": {"server.runs.hardware", "trainer.processes.gpu_monitor"},
    "frontmatter": {"server.task.program"},
    "rich": {
        "server.cli",
        "server.cli.setup",
        "server.cli.serve",
        "server.cli.reports",
        "server.cli.control",
        "server.cli.demo",
        "server.reporting.table",
        "trainer.prepare",
    },
    "typer": {"server.cli", "server.cli.setup", "server.cli.serve", "server.cli.reports", "server.cli.control"},
    "psutil": {
        "server.runs.cleanup",
        "server.runs.hardware",
        "trainer.processes.gpu_monitor",
        "trainer.processes.cpu_meter",
        "trainer.processes.process_tree",
    },
    "ctypes": {
        "trainer.sandbox.guards",
        "trainer.sandbox.landlock",
        "trainer.processes.process_tree",
        "trainer.sandbox.seatbelt",
        "trainer.sandbox.seccomp",
    },
    "numpy": {
        "trainer.evaluators.audit",
        "trainer.datasets.encoding",
        "trainer.run.child",
        "trainer.datasets.prepared",
        "trainer.evaluators.sealed",
        "trainer.datasets.embedded",
        "trainer.datasets.tokenizer",
        "trainer.evaluators.trial",
    },
}
LATE_IMPORTS = {
    "server.cli.setup",
    "server.cli.serve",
    "server.cli.reports",
    "server.cli.control",
    "trainer.__init__",
    "trainer.launch",
}  # start-up time: each says why
SEPARATE = [
    ("server.vcs.workspace", "server.runs.runner"),
    ("server.runs.runner", "server.history.ledger"),
    ("server.history.ledger", "server.vcs.workspace"),
]
PURE = {
    "server.task.policy",
    "server.source.python_source",
    "server.source.python_source",
    "server.study.phase",
    "server.api.timeouts",
    "server.text",
    "server.source.patch",
    "server.scoring.decision_rule",
    "server.vcs.commit_message",
    "server.records",
    "server.errors",
}
IMPURE = {
    "server.task.policy",
    "server.source.python_source",
    "server.source.python_source",
    "os",
    "pathlib",
    "subprocess",
    "sqlite3",
    "git",
    "socket",
    "time",
    "shutil",
}
DRAWERS = {"utils", "util", "common", "helpers", "base", "manager", "misc"}


def imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """(imported module, whether it is imported when the module is)."""
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    late = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node not in late
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node not in late
            for name in node.names:
                yield f"{node.module}.{name.name}", node not in late


def internal(module: str) -> set[str]:
    """The modules of ours that `module` imports when it is imported itself."""
    return {name for name, early in imports(MODULES[module]) if early and name in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_its_door(module: str) -> None:
    for name, _ in imports(MODULES[module]):
        top = name.partition(".")[0]
        assert top not in DOORS or module in DOORS[top], f"{module} imports {top}: only {DOORS.get(top)} may"


@pytest.mark.parametrize("module", MODULES)
def test_server_and_trainer_share_no_import(module: str) -> None:
    other = {"server": "trainer", "trainer": "server"}[module.partition(".")[0]]
    assert not [name for name, _ in imports(MODULES[module]) if name.partition(".")[0] == other]


def test_imports_go_one_way() -> None:
    done: set[str] = set()
    while left := set(MODULES) - done:
        free = {module for module in left if internal(module) <= done}
        assert free, f"a circle among {sorted(left)}"
        done |= free


def test_imports_stand_at_the_top_except_where_starting_fast_needs_it() -> None:
    late = {module for module, tree in MODULES.items() if not all(early for _, early in imports(tree))}
    assert late <= LATE_IMPORTS


@pytest.mark.parametrize(("first", "second"), SEPARATE)
def test_the_rooms_that_session_joins_do_not_know_each_other(first: str, second: str) -> None:
    assert second not in internal(first) and first not in internal(second)


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_rooms_import_no_io(module: str) -> None:
    assert not {name.partition(".")[0] for name, _ in imports(MODULES[module])} & IMPURE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250, "split the file; the number stays"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = node.body[1:] if ast.get_docstring(node) else node.body
            length = documented[-1].end_lineno - documented[0].lineno + 1 if documented else 0  # type: ignore[operator]
            assert length <= 40, f"{node.name} has {length} lines"
    assert path.stem not in DRAWERS, "a drawer is no room"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(MODULES[module])


def test_train_py_stays_within_630_lines_and_imports_only_torch_the_stdlib_and_trainer() -> None:
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 630
    import sys

    for name, _ in imports(ast.parse(text)):
        top = name.partition(".")[0]
        assert top in {"torch", "trainer"} or top in sys.stdlib_module_names


def test_every_exception_of_the_server_is_in_the_drawn_tree() -> None:
    tree = MODULES["server.errors"]
    drawn = set(re.findall(r"[├└]── (\w+)|^(\w+Error)$", ast.get_docstring(tree) or "", re.MULTILINE))
    names = {name for pair in drawn for name in pair if name}
    assert names == {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_architecture_md_names_every_module() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 120, "one page"
    for module in MODULES:
        stem = module.partition(".")[2]
        if stem not in {"__init__", "__main__"}:
            assert re.search(rf"\b{stem}\b", page), f"{module} is not in ARCHITECTURE.md"
