"""A repository as it is looked at: its paths, and the texts of a few files. Nothing of it is run."""

import json
import os
import tomllib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

_MOST_BYTES = 1 << 20
_LEFT_OUT = {"node_modules", "vendor", "third_party", "target", "dist", "build", ".venv", "venv"}


class Project:
    """The files that git has, and those that are new: a benchmark is often not committed yet."""

    def __init__(self, root: Path, files: Collection[str], new: Collection[str] = ()) -> None:
        self.root = root
        self.paths = sorted({*files, *new} - {"program.md"}, key=lambda path: (path.count("/"), path))
        self._known = frozenset(self.paths)
        self._new = frozenset(new)

    def has(self, path: str) -> bool:
        return path in self._known

    def is_new(self, path: str) -> bool:
        """Whether git does not have the file, so that no run sees it."""
        return path in self._new

    @property
    def own(self) -> list[str]:
        """The paths without those of other people's code, the top first."""
        return [path for path in self.paths if not _LEFT_OUT & set(path.split("/")[:-1])]

    def text(self, path: str) -> str:
        """The beginning of a file; empty where there is none, or where it leads out of the repository."""
        found = self.root / path
        with suppress(OSError, ValueError):
            if path in self._known and Path(os.path.realpath(found)).is_relative_to(os.path.realpath(self.root)):
                with found.open("rb") as file:
                    return file.read(_MOST_BYTES).decode("utf-8", "replace")
        return ""

    def json(self, path: str) -> dict[str, Any]:
        """The object in a JSON file; empty where there is none."""
        with suppress(ValueError, RecursionError):
            return _mapping(json.loads(self.text(path)))
        return {}

    def toml(self, path: str) -> dict[str, Any]:
        """What a TOML file says; empty where it cannot be read."""
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            return tomllib.loads(self.text(path))
        return {}


def inner(told: Any, *names: str) -> dict[str, Any]:
    """The mapping at the end of some names; empty where there is none."""
    for name in names:
        told = _mapping(told).get(name)
    return _mapping(told)


def _mapping(told: Any) -> dict[str, Any]:
    return {str(name): value for name, value in cast("dict[Any, Any]", told).items()} if isinstance(told, dict) else {}
