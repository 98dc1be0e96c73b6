"""The branch: kept changes put on top of a commit, one commit each, and written down only if all of it works."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from server.errors import Unavailable
from server.finalize import line_merge, selection
from server.finalize.kept import Kept
from server.finalize.messages import message, subject
from server.paths import StudyPaths
from server.records import Experiment
from server.text import shorten
from server.vcs.stack import Change, Files, Stack

Trailers = Callable[[Sequence[int]], Sequence[str]]  # further ones, by the numbers of a commit
Merge = Callable[[tuple[str, str, str]], tuple[str, str]]  # base, ours, theirs: one text, and where they conflict
_QUOTED = 2000  # characters of a conflict
_NAMED = 60


class Wish(NamedTuple):
    """What the operator asks for."""

    onto: str = ""  # a branch; empty: where the checkout is
    name: str = ""  # of the new branch; empty: autoresearch-TAG
    only: str = "sure"
    squash: bool = False


class Made(NamedTuple):
    """One commit of the branch."""

    numbers: list[int]
    commit: str
    subject: str
    effect: str


@dataclass(frozen=True)
class Branch:
    """What was made, or would be."""

    name: str
    onto: str  # commit
    commits: list[Made]
    there: list[list[int]]  # groups that the commit had already
    left: list[list[int]]  # groups that were not asked for
    tree: str
    measured: bool  # the text at its tip is the incumbent's, and so was measured
    kept: Kept = field(repr=False)


def plan(kept: Kept, stack: Stack, wish: Wish, more: Trailers = lambda numbers: ()) -> Branch:
    """Make the commits in memory. Nothing is written.

    Raises:
        Unavailable: the name is taken, a change conflicts with the commit (named, with both sides), nothing is left
            to commit, or git fails.
    """
    name = wish.name or f"autoresearch-{kept.paths.tag}"
    stack.rewind()
    stack.require_new(name)
    groups = selection.chosen(wish.only, kept.groups, {group[-1]: kept.together(group) for group in kept.groups})
    taken = {number for group in groups for number in group}
    left = [rest for group in kept.groups if (rest := [number for number in group if number not in taken])]
    steps = [sorted(taken)] if wish.squash and taken else groups
    commits, there = _composed(kept, stack, steps, more)
    if not commits:
        raise Unavailable(f"{wish.onto or 'The checkout'} has all of that already.", "There is nothing to commit.")
    final = stack.tree_of(kept.rows[-1].commit)
    return Branch(name, stack.onto, commits, there, left, stack.tree, stack.tree == final, kept)


def _composed(kept: Kept, stack: Stack, steps: list[list[int]], more: Trailers) -> tuple[list[Made], list[list[int]]]:
    """Chains together where that gives what was measured, else each change by itself, in the order of the night."""
    singly = [[number] for number in sorted(number for step in steps for number in step)]
    final = stack.tree_of(kept.rows[-1].commit)
    whole = len(singly) == len(kept.rows) and stack.tree == stack.tree_of(kept.base)  # then the tree is known
    try:
        found = _stacked(kept, stack, steps, more)
        if len(steps) == len(singly) or not whole or stack.tree == final:
            return found
    except Conflict:
        if len(steps) == len(singly):
            raise
    stack.rewind()
    return _stacked(kept, stack, singly, more)


def _stacked(kept: Kept, stack: Stack, steps: list[list[int]], more: Trailers) -> tuple[list[Made], list[list[int]]]:
    made: list[Made] = []
    there: list[list[int]] = []
    for step in steps:
        before = stack.tree
        if _is_there(kept, stack, step):
            there.append(step)
            continue
        for number in step:
            try:
                called = _called(kept.row(number), step, kept)
                stack.put(applied(kept.changes[number], stack.text, stack.merge, called))
            except Conflict as error:
                raise Conflict(error.problem, _without(kept, number, steps)) from error
        if stack.tree == before:
            there.append(step)
            continue
        known, told = kept.together(step), kept.measured(step)
        trailers = [*more(step), *_as_measured(kept, stack, step)]
        commit = stack.commit(message(told, known, kept.facts, trailers), kept_at(kept.row(step[-1])))
        made.append(Made(step, commit, subject(told), known.text(kept.facts.metric)))
    return made, there


def _without(kept: Kept, number: int, steps: list[list[int]]) -> str:
    """What to do about a change that conflicts."""
    chain = next(group for group in kept.groups if number in group)
    others = sorted(other for step in steps for other in step if other not in chain)
    leave = f"Leave it out with `--only {','.join(map(str, others))}`, or choose" if others else "Choose"
    return f"Nothing was made. {leave} another branch with --onto."


def _is_there(kept: Kept, stack: Stack, step: list[int]) -> bool:
    """Whether the text has the end of a chain already: then its beginning would not fit."""
    if len(step) == 1:
        return False
    files: dict[str, str | None] = {}

    def text_of(path: str) -> str | None:
        return files[path] if path in files else stack.text(path)

    for number in reversed(step):
        back = {path: (after, before) for path, (before, after) in kept.changes[number].items()}
        try:
            undone = applied(back, text_of, stack.merge, "")
        except Conflict:
            return False
        if back.keys() != undone.keys() or any(text_of(path) == text for path, text in undone.items()):
            return False
        files |= undone
    return True


def _as_measured(kept: Kept, stack: Stack, step: list[int]) -> list[str]:
    """Which measured commit has the very same tree."""
    row = kept.row(step[-1])
    same = stack.tree == stack.tree_of(row.commit)
    return [f"Measured: {'this text' if same else 'on another text, not on this one'}"]


def kept_at(row: Experiment) -> str:
    """When an experiment was kept, ISO 8601."""
    return row.decision.decided_at if row.decision else row.attempt.started_at


class Conflict(Unavailable):
    """A change does not fit."""


def applied(change: Change, text_of: Callable[[str], str | None], merge: Merge, what: str) -> Files:
    """The files that a change makes anew.

    Args:
        text_of: a file as it is now, by path.
        what: the change, and what to do without it, for a conflict.

    Raises:
        Conflict: with both sides.
    """
    files: dict[str, str | None] = {}
    for path, (before, after) in change.items():
        now = text_of(path)
        if now == before:
            files[path] = after
        elif now != after:
            files[path] = _merged((before, now, after), merge, f"{what} conflicts in {path}")
    return files


def _merged(texts: tuple[str | None, str | None, str | None], merge: Merge, what: str) -> str:
    before, now, after = texts
    if now is None or after is None:
        told = "the file is not there" if now is None else "it deletes the file, which differs"
        raise Conflict(f"{what}: {told}.", _STEP)
    merged, conflicts = merge((before or "", now, after))
    if conflicts:
        merged = line_merge.merge(before or "", now, after)
    if merged is None:
        raise Conflict(f"{what}:\n{conflicts[:_QUOTED]}\n", _STEP)
    return merged


_STEP = "Nothing was made."


def _called(row: Experiment, step: list[int], kept: Kept) -> str:
    chain = next(group for group in kept.groups if row.number in group)
    lacking = [number for number in chain if number < row.number and number not in step]
    onto = f" (it builds on {', '.join(map(str, lacking))})" if lacking else ""
    return f"Experiment {row.number}, {shorten(row.attempt.description, _NAMED)}{onto},"


def scratch(paths: StudyPaths) -> Path | None:
    """A folder on the repository's disk for files that are gone afterwards."""
    return paths.state if paths.state.is_dir() else None
