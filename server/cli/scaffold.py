"""A workspace from nothing."""

import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from server.errors import WorkspaceUnusable
from server.paths import HOME
from server.vcs.git_environment import init_repository

_TEMPLATES = Path(__file__).parents[1] / "templates"
_FILES = ("program.md", "train.py")
_IGNORED = f"{HOME}/\n__pycache__/\n.venv/\n"


def create(folder: Path) -> list[str]:
    """Fill `folder` with program.md, train.py, .gitignore and a first commit.

    Returns:
        What was done and what comes next, a line each.

    Raises:
        WorkspaceUnusable: the folder has one of the files, or cannot be written, or git fails; nothing was changed.
    """
    taken = [name for name in (*_FILES, ".git") if (folder / name).exists()]
    if taken:
        raise WorkspaceUnusable(
            f"{folder} already has {', '.join(taken)}.", "Name a new folder, or start `autoresearch serve` in this one."
        )
    made = [folder / name for name in (*_FILES, ".git", ".gitignore") if not (folder / name).exists()]
    above = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _fill(folder)
        commit = init_repository(folder, "Start a workspace for autonomous research")
    except BaseException:
        _remove(made, above)
        raise
    return [
        f"{folder}: program.md, train.py, .gitignore, committed as {commit[:7]}",
        f"next: cd {shlex.quote(str(folder))} && autoresearch doctor && autoresearch connect claude-code --write",
    ]


def _fill(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            text = (_TEMPLATES / name).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    except OSError as error:
        raise WorkspaceUnusable(f"{folder} cannot be filled: {error}.", "Name a folder that can be written.") from error


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
