"""The architecture of server/ and trainer/, read from their source. `python -m tests.repo.architecture` prints the map.

`python -m tests.repo.architecture --write` puts the map and the table of libraries into ARCHITECTURE.md.
"""

import ast
import gc
import re
import sys
import textwrap
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "ARCHITECTURE.md"
ROOTS = ("server", "trainer")
EXAMPLES = ROOT / "server" / "templates" / "tasks"  # workspaces that `init --task` copies: no modules of ours

# The floors of the house, the lowest first. An entry is a package with all that is in it, or a module beside the
# packages; "server" and "trainer" alone mean their __init__. A module imports from lower floors and from its own
# package, never from a neighbour on its own floor.
FLOORS = {
    "server": (
        (
            *("server", "server.errors", "server.files", "server.late", "server.metric", "server.paths"),
            *("server.serve_words", "server.text"),
        ),
        ("server.records",),
        ("server.library", "server.locks", "server.serve_options", "server.scoring", "server.source", "server.task"),
        ("server.history", "server.runs", "server.vcs"),
        ("server.chosen_engine", "server.foreign", "server.starting"),
        ("server.adopt", "server.study"),
        ("server.reporting",),
        ("server.api", "server.finalize", "server.notify"),
        ("server.clients", "server.watch"),
        ("server.cli",),
        ("server.__main__",),
    ),
    "trainer": (
        ("trainer.contract", "trainer.judging", "trainer.text"),
        ("trainer.processes", "trainer.sandbox"),
        ("trainer.datasets",),
        ("trainer.run",),
        ("trainer.commands", "trainer.model_weights"),
        ("trainer.evaluators", "trainer.session"),
        ("trainer.upstream",),
        (
            "trainer",
            "trainer.confined",
            "trainer.guards_view",
            "trainer.judge",
            "trainer.launch",
            "trainer.node",
            "trainer.prepare",
            "trainer.supervisor",
            "trainer.torch_view",
        ),
    ),
}
SHARED = ("trainer.contract", "trainer.text")  # the modules of the trainer that the server may import
RANKS = {unit: rank for floors in FLOORS.values() for rank, floor in enumerate(floors, start=1) for unit in floor}

# The table "a line that ... is in": the first rows are read from the imports, the others name one module each.
TABLE_LIBRARIES = ("mcp", "git", "sqlite3", "subprocess", "torch")
TABLE_MODULES = (
    ("says which of two scores is better", "server.metric"),
    ("says which move is legal now", "server.study.phase"),
)

_WIDTH = 120
_INDENT = 13


@dataclass(frozen=True)
class Import:
    """One name that a module imports.

    `target` is a module of ours, or the dotted name of something foreign (`os.path`, `pathlib.Path`).
    """

    target: str
    late: bool  # inside a function, or for the type checker

    @property
    def library(self) -> str:
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """One source file. A package's name stands for its `__init__`."""

    name: str
    is_package: bool
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]

    @property
    def package(self) -> str:
        """The folder that the module is in. A module beside the packages counts as one of its own."""
        parent = self.name.rpartition(".")[0]
        return self.name if self.is_package or parent in {"", *ROOTS} else parent

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    def docstrings(self) -> Iterator[str]:
        """Those of the module, its classes and its functions, each on one line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield " ".join((ast.get_docstring(node) or "").split())


Modules = Mapping[str, Module]
Graph = dict[str, set[str]]


def source_files(*folders: str) -> list[Path]:
    """Every Python file below these folders of the repository. A link is its target's business, an example its own."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py") if not path.is_symlink())
    return sorted(path for path in found if not path.is_relative_to(EXAMPLES))


@cache
def read() -> Modules:
    """Every module of server/ and trainer/. Not at a test's import: every process of the tests imports all tests."""
    with without_garbage():
        return parse({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in source_files(*ROOTS)})


@contextmanager
def without_garbage() -> Generator[None]:
    """For what stays, such as a million nodes of syntax trees: to look through them again and again takes as long as to
    parse them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def parse(texts: Mapping[str, str]) -> Modules:
    """The modules of a source tree, given as path -> text."""
    trees = {module_name(path): (path.endswith("__init__.py"), ast.parse(text)) for path, text in texts.items()}
    return {
        name: Module(name, is_package, tree, tuple(_imports(name, tree, {one: trees[one][0] for one in trees})))
        for name, (is_package, tree) in trees.items()
    }


def module_name(path: str) -> str:
    """`server/vcs/refs.py` as `server.vcs.refs`; a package's `__init__` has the package's name."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(module: str, tree: ast.Module, known: Mapping[str, bool]) -> Iterator[Import]:
    """What a module imports; `known` says for each module of ours whether it is a package."""
    package = module if known[module] else module.rpartition(".")[0]
    for node, late in _import_statements(tree, late=False):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late) for alias in node.names)
            continue
        base = resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            ours = base.partition(".")[0] in ROOTS
            yield Import(base if ours and full not in known else full, late)


def _import_statements(node: ast.AST, *, late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        elif not isinstance(child, ast.expr):  # most of a tree, and without statements
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_statements(child, late=late or typing_only or function)


def unit(name: str) -> str | None:
    """The entry of FLOORS that a module belongs to. The root packages hold only their own `__init__`."""
    fitting = [entry for entry in RANKS if name == entry or (entry not in ROOTS and name.startswith(entry + "."))]
    return max(fitting, key=len, default=None)


def module_graph(modules: Modules) -> Graph:
    """Which modules of ours each module imports, late imports included."""
    return {name: {one.target for one in module.imports if one.target in modules} for name, module in modules.items()}


def package_graph(modules: Modules) -> Graph:
    """Which packages each package imports."""
    graph: Graph = {module.package: set() for module in modules.values()}
    for name, targets in module_graph(modules).items():
        package = modules[name].package
        graph[package] |= {modules[target].package for target in targets} - {package}
    return graph


def route(graph: Graph, start: str) -> dict[str, list[str]]:
    """For each module that `start` reaches, a shortest way there. `start` reaches itself."""
    ways = {start: [start]}
    ahead = [start]
    for name in ahead:
        for target in sorted(graph[name] - ways.keys()):
            ways[target] = [*ways[name], target]
            ahead.append(target)
    return ways


def importers(modules: Modules, library: str) -> set[str]:
    """The modules that import a foreign library."""
    return {name for name, module in modules.items() if any(one.library == library for one in module.imports)}


def draw_map(modules: Modules) -> str:
    """Every package, the highest floor first: what it is, its modules, and the packages that it imports."""
    lines: list[str] = []
    for root, floors in FLOORS.items():
        lines += ["", *_wrapped(f"{root:<{_INDENT}}", first_sentence(modules[root].docstring))]
        for rank in range(len(floors), 0, -1):
            lines += _floor(modules, root, rank)
    return "\n".join(["```", *lines[1:], "```"])


def _floor(modules: Modules, root: str, rank: int) -> list[str]:
    """The rows of a floor: packages, modules beside them that import packages, and the other modules in one row."""
    graph = package_graph(modules)
    others, beside = list[str](), list[str]()
    lines: list[str] = []
    for name in sorted(graph.keys() & modules.keys() - set(ROOTS)):
        if modules[name].root != root or RANKS.get(unit(name) or "") != rank:
            continue
        label = name.removeprefix(root + ".").replace(".", "/")
        start = f"{f'{rank} {label}':<{_INDENT - 1}} "
        arrow = _arrow(modules, root, graph[name])
        if modules[name].is_package:
            lines += _package_rows(start, first_sentence(modules[name].docstring) + arrow, _contents(modules, name))
        elif arrow:
            beside.append(f"{label}{arrow}")
        else:
            others.append(label)
    if others:
        beside.append(", ".join(others))
    return [*lines, *(_wrapped(f"{rank} ", " · ".join(beside)) if beside else [])]


def _contents(modules: Modules, package: str) -> str:
    """The names of a package's modules."""
    inside = (module for name, module in modules.items() if module.package == package and name != package)
    return ", ".join(sorted(module.stem for module in inside if module.stem != "__main__"))


def _package_rows(start: str, what: str, contents: str) -> list[str]:
    """What a package is, and its modules."""
    return _wrapped(start, f"{what} · {contents}")


def _arrow(modules: Modules, root: str, targets: set[str]) -> str:
    """The packages among `targets` above the lowest floor. Modules beside packages are left out, as what both share."""
    above = (name for name in targets - set(ROOTS) if RANKS.get(unit(name) or "", 0) > 1)
    drawn = (name for name in above if name in modules and modules[name].is_package)
    names = sorted(name.removeprefix(root + ".").replace(".", "/") for name in drawn)
    return f" → {', '.join(names)}" if names else ""


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * _INDENT, break_on_hyphens=False)


def first_sentence(docstring: str) -> str:
    """Up to the first full stop, or to the end of the paragraph."""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    found = re.search(r"(?<!e\.g)(?<!i\.e)\. ", paragraph)
    return paragraph[: found.start() + 1] if found else paragraph


def draw_table(modules: Modules) -> str:
    """Where to look for a line: who imports a library that has few importers, and who owns a question."""
    rows = [(f"imports `{library}`", _grouped(importers(modules, library))) for library in TABLE_LIBRARIES]
    rows += [(question, f"`{name}`") for question, name in TABLE_MODULES]
    return "\n".join(["| a line that… | is in |", "|---|---|", *(f"| {what} | {where} |" for what, where in rows)])


def _grouped(names: set[str]) -> str:
    """Module names by package: `server.api`: app, tools; `trainer.session`."""
    packages: dict[str, list[str]] = {}
    for name in sorted(names):
        packages.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
    return "; ".join(
        f"`{package}.{stems[0]}`" if len(stems) == 1 else f"`{package}`: {', '.join(stems)}"
        for package, stems in packages.items()
    )


def blocks(modules: Modules) -> dict[str, str]:
    """What the script draws, by the name of its markers in the page."""
    return {"map": draw_map(modules), "table": draw_table(modules)}


def redrawn(page: str, modules: Modules) -> str:
    """The page with everything between its markers drawn anew. Raises ValueError if a marker is missing."""
    for name, text in blocks(modules).items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)"
        page, count = re.subn(pattern, lambda found, text=text: found[1] + text + found[2], page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"ARCHITECTURE.md needs <!-- {name} --> and <!-- /{name} --> once, it has {count}.")
    return page


def main() -> None:
    """Print what is drawn, or write it into the page."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
    else:
        sys.stdout.write("\n\n".join(blocks(read()).values()) + "\n")


if __name__ == "__main__":
    main()
