"""The rules for imports. Each yields a sentence for everything in a source tree that breaks it."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from tests.repo.architecture import (
    RANKS,
    ROOTS,
    SHARED,
    Modules,
    importers,
    module_graph,
    package_graph,
    route,
    unit,
)

# Who may import what: every library that does not come with Python, and those of Python's own that reach far.
# A door is a module, or a package with all that is in it.
DOORS: dict[str, tuple[str, ...]] = {
    "apprise": ("server.notify.sending",),
    "anyio": (
        "server.api",
        "server.clients.tool_call",
        "server.cli.control",
        "server.cli.serve",
        "server.clients.optuna_search",
        "server.study.background",
        "server.watch",
    ),
    "charset_normalizer": ("server.library.extraction.text.charset",),
    "httpcore2": ("server.library.fetching.reach", "server.library.fetching.web"),
    "httpx2": ("server.clients.http_call", "server.library.fetching.web"),
    "concurrent": ("server.cli.serve", "trainer.datasets.encoding"),
    "ctypes": (
        "server.cli.serve",
        "server.library.extraction.pdf_text",
        "trainer.processes.parentage",
        "trainer.sandbox",
        "trainer.session",
        "trainer.upstream.hooks",
    ),
    "fcntl": (
        "server.library.store",
        "server.locks",
        "server.runs.device_lock",
        "server.runs.engines.ray.tenant",
        "trainer.commands.file_modes",
        "trainer.datasets.artifact_store",
        "trainer.node.seat",
        "trainer.processes.quiet",
    ),
    "git": ("server.vcs",),
    "http": ("server.notify.sending", "trainer.datasets.download"),
    "importlib": (
        "server.cli.doctor",
        "server.cli.entry",  # loads the command that is called; which version is installed
        "server.late",
        "server.library.extraction",  # only which version is installed
        "server.runs.engines",
        "server.runs.hardware",
        "trainer.commands.own_imports",
        "trainer.node.seat",
        "trainer.run.compiler",
        "trainer.upstream.hooks",
    ),
    "lxml": ("server.library.extraction.html.tree",),
    "matplotlib": ("server.reporting.chart",),
    "mcp": (
        "server.api",
        "server.cli.demo",  # this one and the next are clients
        "server.clients.optuna_search",
        "server.clients.tool_call",
    ),
    "mcp_types": ("server.api", "server.clients.tool_call"),
    "multiprocessing": ("trainer.datasets.encoding",),
    "numpy": ("trainer.datasets", "trainer.evaluators", "trainer.run.child", "trainer.upstream"),
    "optuna": ("server.clients.optuna_search",),
    "psutil": ("server.runs", "trainer.processes", "trainer.run.child_launch"),
    "pyarrow": ("trainer.datasets.documents",),
    "pydantic": ("server",),
    "pypdfium2": ("server.library.extraction.pdf_text",),
    "pynvml": ("server.runs.hardware", "trainer.processes.gpu_monitor"),
    "readability": ("server.library.extraction.page.vote",),
    "rich": ("server.cli", "server.reporting.table", "server.watch.terminal", "trainer.prepare"),
    "socket": (
        "server.api.http.server",
        "server.cli.doctor",
        "server.library.extraction.confinement",
        "server.library.fetching.reach",
        "server.library.fetching.tunnel",
        "server.watch.local_page",
        "trainer.commands.confined_process",
        "trainer.processes.fork_server",
        "trainer.run.child_launch",
        "trainer.run.protocol",
    ),
    "sqlite3": ("server.history.ledger", "server.library.reading.index"),
    "starlette": ("server.api.http", "server.api.messages", "server.api.stdio", "server.watch"),
    "subprocess": (
        "server.clients.driver",
        "server.clients.service",
        "server.library.extraction.confinement",
        "server.library.fetching.git_objects",
        "server.runs.engines.ray.link",
        "server.runs.engines.ray.tenant",
        "server.runs.engines.slurm.commands",
        "server.runs.spawn",
        "trainer.commands.confined_process",
        "trainer.commands.judge_process",
        "trainer.node.seat",
        "trainer.processes.fork_server",
        "trainer.run.child_launch",
        "trainer.run.compiler",
    ),
    "torch": (
        "trainer.launch",
        "trainer.model_weights",
        "trainer.session",
        "trainer.torch_view",
        "trainer.upstream.hooks",
    ),
    "trafilatura": ("server.library.extraction.page.vote",),
    "typer": ("server.cli",),
    "urllib": ("server.library", "server.notify", "trainer.datasets.download"),
    "uvicorn": ("server.api.http.server",),
    "yaml": ("server.library", "server.task.front_matter"),
}

# Modules that import inside a function or for the type checker, each with its reason.
LATE_IMPORTS = {
    "server.api.app": "the prompt that sets up a study pays for what it asks, and no start of a server does",
    "server.api.http.server": "a page of its own is served without the SDK, which takes half a second to import",
    "server.cli": "`from server.cli import main` loads the commands when main is called",
    "server.cli.adopt": "a command loads what it needs when it runs",
    "server.cli.call": "a command loads what it needs when it runs",
    "server.cli.control": "a command loads what it needs when it runs",
    "server.cli.entry": "a command loads what it needs when it runs",
    "server.cli.library": "a command loads what it needs when it runs",
    "server.cli.reports": "only a chart pays for matplotlib",
    "server.cli.screens.layout": "a server that has nothing to say starts without rich",
    "server.cli.serve": "a server starts fast",
    "server.cli.terminal": "a server that has nothing to say starts without rich",
    "server.notify.sending": "apprise is an extra, for whoever names such an address",
    "server.chosen_engine": "whoever does not ask for an engine loads nothing of it",
    "server.cli.setup": "a command loads what it needs when it runs",
    "server.clients.tool_call": "a call to a server that listens needs neither the SDK nor the tools",
    "server.library.extraction.child": "each kind of source loads its own libraries, where they are installed",
    "server.study.find_study": "most commands name a study and read no row of it",
    "server.study.reruns": "a report looks at what was run again, and opens no study",
    "server.foreign.load": "a workspace of ours pays for no reader of another tool's",
    "trainer": "Session needs torch, which takes seconds to import, and the supervisor starts without",
    "trainer.evaluators.registry": "a run pays for the evaluator that it asks for, and for no other",
    "trainer.launch": "torch is loaded where train.py needs it, once for all processes that are forked",
    "trainer.node.seat": "a seat pays for what it needs where it needs it",
    "trainer.supervisor": "a run pays for the evaluator that it asks for, and for no other",
    "trainer.upstream.hooks": "it runs where only some of its roles have torch",
}

# What is pure whatever its docstring says. Beside these, every module whose docstring says so.
PURE = (
    "server.api.timeouts",
    "server.errors",
    "server.metric",
    "server.records",
    "server.scoring",
    "server.source",
    "server.study.phase",
    "server.task.policy",
    "server.text",
    "trainer.evaluators.audit",
    "trainer.run.throughput",
    "trainer.text",
)
PURE_LIBRARIES = set(
    "__future__ abc array ast bisect builtins collections contextlib copy dataclasses datetime decimal difflib enum "
    "errno fractions functools hashlib heapq html itertools json keyword math numbers numpy operator pydantic re "
    "statistics string struct textwrap types typing unicodedata warnings yaml zlib".split()
)
IMPURE_CALLS = re.compile(
    r"(?:open|print|input|exec|eval|__import__)"
    r"|(?:.*\.)?(?:datetime|date)\.(?:now|utcnow|today)"
    r"|.*\.(?:open|(?:read|write)_(?:text|bytes)|memmap|fromfile|tofile)"
)

_CLAIM = re.compile(r"\b(?=[Tt]he only\b)|(?<!he )\b(?=only (?:importer|place|spawner|writer)\b)")

# What may not come into one process, however many imports away.
APART = (
    ("trainer.launch", "trainer.datasets", "train.py's process must not hold code that opens validation text"),
    ("trainer.launch", "trainer.evaluators", "train.py's process must not hold code that scores it"),
    ("trainer.session", "trainer.datasets", "train.py's process must not hold code that opens validation text"),
    ("trainer.session", "trainer.evaluators", "train.py's process must not hold code that scores it"),
    ("trainer.judge", "trainer.evaluators", "what runs the author's code must not hold the referee's"),
    ("trainer.supervisor", "trainer.session", "the supervisor starts fast, without torch"),
    ("server.vcs", "server.history", "server.study is where they meet"),
    ("server.vcs", "server.runs", "server.study is where they meet"),
    ("server.runs", "server.history", "server.study is where they meet"),
)

# Sentences with "the only ..." that no import can show, read and found true: (module, words of the sentence).
CHECKED_BY_HAND: set[tuple[str, str]] = set()


def misplaced(modules: Modules) -> Iterator[str]:
    """Imports that do not go down. As each one goes down or stays in its package, so does a chain of them."""
    for name, module in modules.items():
        here = unit(name)
        if here is None:
            yield f"{name} has no floor: add it, or its package, to FLOORS in tests/repo/architecture.py."
            continue
        for target in {one.target for one in module.imports if one.library in ROOTS}:
            there = unit(target)
            if there is None or target not in modules:
                yield f"{name} imports {target}, which does not exist."
            elif module.root != modules[target].root:
                if target not in SHARED:
                    yield f"{name} imports {target}: server and trainer share {' and '.join(SHARED)} alone."
            elif there != here and RANKS[there] >= RANKS[here]:
                yield f"{name} (floor {RANKS[here]}) imports {target} (floor {RANKS[there]}): imports go down only."


def circles(modules: Modules) -> Iterator[str]:
    """Modules or packages that import each other, late imports included."""
    for graph in (module_graph(modules), package_graph(modules)):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield "A circle of imports: " + " ← ".join(error.args[1])


def meetings(modules: Modules) -> Iterator[str]:
    """What must stay apart and does not."""
    graph = module_graph(modules)
    for name in modules:
        for target, way in route(graph, name).items():
            for one, other, reason in APART:
                if any(within(name, a) and within(target, b) for a, b in ((one, other), (other, one))):
                    yield f"{' → '.join(way)}: {reason}."


def without_door(modules: Modules) -> Iterator[str]:
    """Imports of a library by a module that is not its door, or of a library that has none."""
    for name, module in modules.items():
        for library in {one.library for one in module.imports} - set(ROOTS):
            doors = DOORS.get(library, () if library not in sys.stdlib_module_names else ("server", "trainer"))
            if not any(within(name, door) for door in doors):
                known = (
                    f"only {', '.join(doors)} may" if doors else "a new library needs an entry in DOORS, with its door"
                )
                yield f"{name} imports {library}: {known}."


def late(modules: Modules) -> Iterator[str]:
    """Imports that are not at the top of their module."""
    for name, module in modules.items():
        if name not in LATE_IMPORTS:
            for target in {one.target for one in module.imports if one.late}:
                yield f"{name} imports {target} late: move it to the top, or give the reason in LATE_IMPORTS."


def impure(modules: Modules) -> Iterator[str]:
    """The first thing outside the process that a pure module uses, itself or through what it imports.

    The `__init__` of the packages around a module is not looked at, unless it is imported by name.
    """
    graph = module_graph(modules)
    for name, module in modules.items():
        says_so = any(re.search(r"\b[Pp]ure\b", text) for text in module.docstrings())
        if says_so or any(within(name, entry) for entry in PURE):
            ways = route(graph, name)
            used = (" → ".join([*way, what]) for target, way in ways.items() for what in _uses(modules, target))
            yield from (f"{name} is called pure: {way}" for way in islice(used, 1))


def _uses(modules: Modules, name: str) -> Iterator[str]:
    """The impure imports and calls of one module."""
    for one in modules[name].imports:
        pure_path = one.target.startswith("pathlib.Pure")
        if one.library not in PURE_LIBRARIES and not pure_path and one.library not in ROOTS:
            yield one.target
    for node in ast.walk(modules[name].tree):
        if isinstance(node, ast.Call) and IMPURE_CALLS.fullmatch(called := ast.unparse(node.func)):
            yield f"{called}()"


def untrue(modules: Modules) -> Iterator[str]:
    """Docstrings that claim to be the only one of something and are not, or claim what cannot be checked."""
    for name, module in modules.items():
        for text in module.docstrings():
            for sentence in re.split(r"(?<=[.;:]) ", text):
                for claim in _CLAIM.split(sentence)[1:]:
                    yield from _untrue(modules, name, claim)


def _untrue(modules: Modules, name: str, claim: str) -> Iterator[str]:
    also = _also(modules, claim)
    if also is not None and also != {name}:
        yield f"{name} says {claim!r}: it holds for {', '.join(sorted(also)) or 'nobody'}."
    elif also is None and not any(name == one and words in claim for one, words in CHECKED_BY_HAND):
        yield f"{name} says {claim!r}: reword it, or check it and add it to CHECKED_BY_HAND."


def _also(modules: Modules, claim: str) -> set[str] | None:
    """The modules for which a claim with "the only ..." holds; None if imports do not show it."""
    if found := re.search(r"only (?:importer of|module that imports) `?(\w+)", claim):
        return importers(modules, found[1])
    if "only spawner" in claim:
        return importers(modules, "subprocess")
    if found := re.search(r"only place where (.+) meet", claim):
        stems = set(re.findall(r"\w+", found[1])) - {"and"}
        graph = module_graph(modules)
        return {one for one in modules if stems <= {target.rpartition(".")[2] for target in graph[one]}}
    return None


def within(name: str, entry: str) -> bool:
    """Whether a module is the entry, or in it."""
    return name == entry or name.startswith(entry + ".")
