"""A workspace from nothing."""

import difflib
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from server.errors import WorkspaceUnusable
from server.paths import HOME
from server.vcs.git_environment import init_repository

_TEMPLATES = Path(__file__).parents[1] / "templates"
TASKS = _TEMPLATES / "tasks"
_FILES = ("program.md", "train.py")
_IGNORED = f"{HOME}/\n__pycache__/\n.venv/\n"
# Of an example, what says how it can be done: an agent that works on it must not find it.
_OUR_OWN = ("changes", "README.md")


def examples(tasks: Path = TASKS) -> list[str]:
    """The tasks that come with us, by name."""
    return sorted(path.parent.name for path in tasks.glob("*/program.md"))


def example(name: str, tasks: Path = TASKS) -> Path:
    """The folder of a task that comes with us. Raises WorkspaceUnusable: there is none of this name."""
    if name not in (known := examples(tasks)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        there = f"There are {', '.join(known)}." if known else "This installation has no examples."
        raise WorkspaceUnusable(f"There is no task {name!r}.", f"{hint}{there}")
    return tasks / name


def create(folder: Path, task: str = "", tasks: Path = TASKS) -> list[str]:
    """Fill `folder` with program.md, train.py, .gitignore and a first commit; or with the files of a task.

    Args:
        task: the name of one that comes with us; empty: a language model. tasks: the folder that they are in.

    Returns:
        What was done and what comes next, a line each.

    Raises:
        WorkspaceUnusable: there is no such task, the folder has one of the files, or cannot be written, or git fails;
            nothing was changed.
    """
    files = _files_of(example(task, tasks)) if task else {name: _TEMPLATES / name for name in _FILES}
    tops = list(dict.fromkeys(name.partition("/")[0] for name in files if name != ".gitignore"))
    taken = [name for name in (*tops, ".git") if (folder / name).exists()]
    if taken:
        raise WorkspaceUnusable(
            f"{folder} already has {', '.join(taken)}.", "Name a new folder, or start `autoresearch serve` in this one."
        )
    made = [folder / name for name in (*tops, ".git", ".gitignore") if not (folder / name).exists()]
    above = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _fill(folder, files)
        commit = init_repository(folder, "Start a workspace for autonomous research")
    except BaseException:
        _remove(made, above)
        raise
    about = [f"about the task: {tasks / task / 'README.md'}"] if task else []
    return [
        f"{folder}: {', '.join(tops)}, .gitignore, committed as {commit[:7]}",
        *about,
        f"next: cd {shlex.quote(str(folder))} && autoresearch doctor && autoresearch connect claude-code --write",
    ]


def _files_of(folder: Path) -> dict[str, Path]:
    """The files of an example by their paths in the workspace."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path
        for name, path in found.items()
        if name.partition("/")[0] not in _OUR_OWN and "__pycache__" not in path.parts
    }


def _fill(folder: Path, files: dict[str, Path]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignored = files.get(".gitignore")
        for name, source in files.items():
            if source is not ignored:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(source.read_bytes())
                (folder / name).chmod(0o755 if name.endswith(".sh") else 0o644)  # an installed file lost its mode
        if not (folder / ".gitignore").exists():
            more = ignored.read_text(encoding="utf-8") if ignored else ""
            (folder / ".gitignore").write_text(_IGNORED + more, encoding="utf-8")
    except OSError as error:
        raise WorkspaceUnusable(f"{folder} cannot be written: {error}.", "Name another folder.") from error


def _remove(made: list[Path], folders: list[Path]) -> None:
    """Files and the repository, then what is empty of the folders, innermost first."""
    for path in made:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    for path in folders:
        with suppress(OSError):
            path.rmdir()
