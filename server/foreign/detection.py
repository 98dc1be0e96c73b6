"""By which names a workspace of another tool is seen, before anything of it is read."""

from pathlib import Path

_SIGNS = (".auto", ".autoauto/programs", "piloop.toml")
TABLES = (
    "results.tsv",
    "autoresearch-results.tsv",
    "research-results.tsv",
    "autoresearch-results/results.tsv",
)  # of attempts, as several tools write them


def is_likely(root: Path) -> bool:
    """Whether there may be one."""
    return any((root / name).exists() for name in _SIGNS) or any(root.glob("autoresearch.*"))


def table(root: Path) -> Path | None:
    """A table of earlier attempts that no server of ours has written."""
    return next((root / name for name in TABLES if (root / name).is_file()), None)
