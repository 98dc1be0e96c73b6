"""One call is made of one version of what it reads, and what only looks changes nothing."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from server.api import history_views, views
from server.api.tools import Tools
from server.errors import ProgramInvalid
from server.study.study import Study
from server.task.program import Program
from tests.support.lifecycle import begin, improved, kept_baseline, leave_result, measured
from tests.support.repositories import git

BEFORE = "---\nbudget_seconds: 11\nstop: {experiments: 11}\n---\nBefore.\n"
AFTER = "---\nbudget_seconds: 22\nstop: {experiments: 22}\n---\nAfter.\n"


class Watch:
    """Sees which files this process opens, and acts in the middle of that. A hook of Python's cannot be removed."""

    def __init__(self) -> None:
        self.opened: Callable[[str], None] | None = None
        sys.addaudithook(self._see)

    def _see(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and self.opened and isinstance(given[0], str | os.PathLike):
            self.opened(os.fspath(cast("str", given[0])))


@pytest.fixture(scope="module")
def hook() -> Watch:
    return Watch()


@pytest.fixture
def watch(hook: Watch) -> Iterator[Watch]:
    yield hook
    hook.opened = None


def edited_once_it_was_read(watch: Watch, program: Path) -> list[str]:
    """Edit program.md with the first file that is opened after it. Returns the list of the times it is read."""
    read: list[str] = []

    def opened(path: str) -> None:
        if path == str(program):
            read.append(path)
        elif read and program.read_text(encoding="utf-8") != AFTER:
            program.write_text(AFTER, encoding="utf-8")

    def guarded(path: str) -> None:
        watch.opened = None  # what we open ourselves does not count
        opened(path)
        watch.opened = guarded

    watch.opened = guarded
    return read


async def test_a_program_that_is_edited_in_the_middle_of_a_call_counts_from_the_next_call_on(
    study: Study, watch: Watch
) -> None:
    kept_baseline(study)
    program, tools = study.workspace.program, Tools(study)
    program.write_text(BEFORE, encoding="utf-8")
    read = edited_once_it_was_read(watch, program)
    old = await tools.call(views.status, study)
    watch.opened = None
    assert len(read) == 1 and program.read_text(encoding="utf-8") == AFTER
    assert (old.budget_seconds, old.program) == (11, "Before.") and "1 of 11 experiments" in old.limits
    new = await tools.call(views.status, study)
    assert (new.budget_seconds, new.program) == (22, "After.") and "1 of 22 experiments" in new.limits
    assert old.program_sha256 != new.program_sha256


async def test_each_call_reads_the_program_once(study: Study, watch: Watch) -> None:
    improved(study)
    tools = Tools(study)
    read: list[str] = []
    watch.opened = lambda path: read.append(path) if path == str(study.workspace.program) else None
    for done, call in enumerate(
        (
            lambda: views.read_program(study, 1, 0),
            lambda: views.read_train(study, 1, 0),
            lambda: views.show_run(study),
            lambda: history_views.list_experiments(study, 20, 0, ""),
            lambda: views.keep(study, "lower"),
        )
    ):
        await tools.call(call)
        assert len(read) == done + 1


async def test_a_result_is_judged_by_the_program_that_the_answer_shows(study: Study, watch: Watch) -> None:
    program = study.workspace.program
    program.write_text(BEFORE, encoding="utf-8")
    begin(study, 1)
    leave_result(study, 1, measured(2.0))
    read = edited_once_it_was_read(watch, program)
    status = await Tools(study).call(views.status, study)
    watch.opened = None
    assert len(read) == 1 and status.counts["kept"] == 1 and status.budget_seconds == 11


def test_a_program_that_cannot_be_read_is_read_again(study: Study) -> None:
    program = study.workspace.program
    text = program.read_text(encoding="utf-8")
    with study.one_call():
        program.write_text("---\nbudget: 1\n---\n", encoding="utf-8")
        with pytest.raises(ProgramInvalid, match=r"line 2, budget: .*did you mean budget_seconds"):
            study.program()
        program.write_text(text, encoding="utf-8")
        found = study.program()
        program.write_text(AFTER, encoding="utf-8")
        with study.one_call():
            assert study.program() is found
    assert study.program().sha256 != found.sha256


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below `root`, with the time of its last change."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_no_property_writes(study: Study) -> None:
    """Also where a move, or the next call, has something to mend: a deleted branch, a front matter that is new."""
    row = improved(study)
    git(study.workspace.root, "update-ref", "-d", f"refs/heads/{study.workspace.branch}")
    (study.workspace.state / "front-matter").unlink()
    parts = [
        *(study, study.workspace, study.workspace.refs, study.workspace.objects, study.ledger, study.queue),
        *(study.notebook, study.executor, study.verdicts, row, Program.model_construct(body="")),
    ]
    before, seen = everything(study.workspace.root), 0
    for part in parts:
        for name, found in inspect.getmembers_static(type(part)):
            if isinstance(found, property | functools.cached_property) and not name.startswith(("model_", "__")):
                getattr(part, name)
                seen += 1
    assert seen > 10 and everything(study.workspace.root) == before
    assert not study.head_moved, "what was deleted was not moved"


@pytest.mark.parametrize("packed", [False, True])
def test_a_deleted_branch_is_made_again_by_the_next_call(study: Study, packed: bool) -> None:
    kept_baseline(study)
    tip = study.workspace.tip()
    if packed:
        git(study.workspace.root, "pack-refs", "--all")
    assert study.workspace.has_branch()
    git(study.workspace.root, "update-ref", "-d", f"refs/heads/{study.workspace.branch}")
    assert not study.head_moved and not study.workspace.has_branch()
    study.settle()
    assert study.workspace.tip() == tip
