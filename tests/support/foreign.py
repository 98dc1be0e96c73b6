"""Workspaces in the formats of other tools, written from their formats: one a file of tests/fixtures/foreign."""

import hashlib
import tomllib
from pathlib import Path

from tests.support.repositories import git

FIXTURES = Path(__file__).parents[1] / "fixtures" / "foreign"


def lay_out(name: str, root: Path) -> frozenset[str]:
    """Write the files of a fixture below `root`, without a repository. Returns the paths that git is to have."""
    told = tomllib.loads((FIXTURES / f"{name}.toml").read_text(encoding="utf-8"))
    assert told["quirk"]
    for path, text in {**told["tracked"], **told.get("ignored", {})}.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.removeprefix("\n").replace("@ROOT@", str(root.resolve())), encoding="utf-8")
    return frozenset(told["tracked"])


def repository(name: str, root: Path) -> Path:
    """A fixture as a repository of its user."""
    tracked = lay_out(name, root)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--force", *sorted(tracked))
    git(root, "commit", "--quiet", "-m", "start")
    return root


def hashes(root: Path) -> dict[str, str]:
    """Every file of the workspace but git's and the server's: what nobody may write to."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    own = (path for path in files if {".git", ".autoresearch"}.isdisjoint(path.relative_to(root).parts))
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in own}
