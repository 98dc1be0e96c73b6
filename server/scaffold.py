"""A workspace from nothing."""

from pathlib import Path

from server.errors import WorkspaceUnusable
from server.repositories import initialise

_TEMPLATES = Path(__file__).parent / "templates"
_FILES = ("program.md", "train.py")
_IGNORED = ".autoresearch/\n__pycache__/\n.venv/\n"


def create(folder: Path) -> list[str]:
    """Fill `folder` with program.md, train.py, .gitignore and a first commit.

    Returns:
        What was done and what comes next, a line each.

    Raises:
        WorkspaceUnusable: the folder has one of the files already, or cannot be written; nothing was changed.
    """
    taken = [name for name in (*_FILES, ".git") if (folder / name).exists()]
    if taken:
        raise WorkspaceUnusable(
            f"{folder} already has {', '.join(taken)}.", "Name a new folder, or start `autoresearch serve` in this one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            text = (_TEMPLATES / name).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    except OSError as error:
        raise WorkspaceUnusable(f"{folder} cannot be filled: {error}.", "Name a folder that can be written.") from error
    commit = initialise(folder, "Start a workspace for autonomous research")
    return [
        f"{folder}: program.md, train.py, .gitignore, committed as {commit[:7]}",
        f"next: cd {folder} && autoresearch doctor && autoresearch connect claude-code --write",
    ]
