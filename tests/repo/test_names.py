"""Names that only some modules may know: of files and folders, ports, variables, formats, and of scores."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.repo.architecture import ROOT, Module, read, source_files

LM_NAMES = re.compile(r"val[_-](?:bpb|tokens|bytes)", re.IGNORECASE)
MAY_KNOW = ("server/records/lm_names.py", "server/templates/", "trainer/evaluators/", "trainer/upstream/")
NAMES = {
    "server.paths": (
        r"(?<!\w)\.autoresearch\b",
        r"autoresearch\.lock",
        r"(?<!\w)(ledger\.sqlite3|(notes|sweep|tasks|hours)\.json)",
        r"^(reruns|pulse|front-matter)$",
    ),
    "server.serve_words": ("8765",),
    "trainer.contract": (
        r"^(spec|progress|result)\.json",
        r"^(curve\.jsonl|run\.log|supervisor\.log|lease)",
        r"AUTORESEARCH_(RUN|CHANNEL)",
        r"^trainer\.(supervisor|prepare|processes\.scratch|sandbox\.guards)$",
        r"^gpu-small$",
    ),
    "nobody": (r"(candidate|replica|compiler)-$",),  # a prefix of a scratch folder is made from its role
}


def literals(module: Module) -> Iterator[str]:
    """What a module says, docstrings aside."""
    said = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and id(node) not in said:
            yield str(node.value)


@cache
def said() -> dict[str, list[str]]:
    """What each module says. Not at the import: every process of the tests imports this one."""
    return {one: list(literals(module)) for one, module in read().items()}


@pytest.mark.parametrize(("home", "name"), [(home, name) for home, names in NAMES.items() for name in names])
def test_a_name_stands_in_one_module(home: str, name: str) -> None:
    assert {one for one, texts in said().items() if any(re.search(name, text) for text in texts)} <= {home}


def test_times_are_written_by_one_function() -> None:
    def to_the_second(module: Module) -> bool:  # MCP's tasks, which have milliseconds, are no records
        words = (node for node in ast.walk(module.tree) if isinstance(node, ast.keyword) and node.arg == "timespec")
        return any(ast.unparse(word.value) == "'seconds'" for word in words)

    assert {one for one, module in read().items() if to_the_second(module)} == {"trainer.contract"}


def test_the_score_of_language_models_is_named_by_their_evaluator_and_one_module() -> None:
    """Everything else takes the name of a score from its metric, so that it works for any."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in source_files("server", "trainer")}
    knowing = {path for path, text in texts.items() if LM_NAMES.search(text)}
    assert not [path for path in knowing if not path.startswith(MAY_KNOW)]
    assert {"server/records/lm_names.py", "trainer/evaluators/sealed.py"} <= knowing
