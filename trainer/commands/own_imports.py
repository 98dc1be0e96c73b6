"""The modules of a judge: compiled from their text, and none that the candidate may change."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from trainer.text import glob_matches


class CandidateImported(Exception):
    """The judge imports what the candidate may change."""


class OwnImports:
    """What judge.py imports from the tree of a run. The current folder is the top of the tree."""

    def __init__(self, judge: Path, editable: Sequence[str], off_limits: Sequence[str]) -> None:
        self._judge, self._editable, self._off_limits = judge, editable, off_limits
        self._top = Path.cwd()
        self._places: dict[str, str] = {}
        self._refused = ""

    def begin(self) -> None:
        """From now on, compile modules of the tree from their text, and refuse to run the candidate's.

        A compiled module that lies beside a text may be of another text.
        """
        tops = {os.path.realpath(folder) for folder in (self._top, self._judge.parent)}
        found = FileFinder.path_hook(*self._loaders())

        def finder(path: str) -> Any:
            real = os.path.realpath(path)
            if not any(f"{real}/".startswith(f"{top}/") for top in tops):
                raise ImportError("the usual finder sees to it", path=path)
            return found(path)

        sys.path_hooks.insert(0, finder)
        sys.path_importer_cache.clear()

    def files(self) -> dict[str, str]:
        """The files of the tree that were imported, each with its path from the top."""
        found = dict[str, str]()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if file and module is not sys.modules.get("judge") and (path := self._place(file)):
                found[file] = path
        return found

    def require_own(self) -> None:
        """Raise CandidateImported where the judge has tried, also where it caught the first refusal."""
        for path in [self._refused, *self.files().values()]:
            if self._is_of_candidate(path):
                told = "the candidate may change that file, and only the worker may run its code"
                raise CandidateImported(f"it imports {path}: {told}")

    def _require(self, file: str) -> None:
        if self._is_of_candidate(path := self._place(file)):
            self._refused = path
            self.require_own()

    def _is_of_candidate(self, path: str) -> bool:
        editable = glob_matches(self._editable, path) and not glob_matches(self._off_limits, path)
        return bool(path) and editable and not path.startswith(self._folder())

    def _place(self, file: str) -> str:
        """A file's path from the top; empty for one that is elsewhere."""
        if file not in self._places:
            place = Path(file).resolve()
            self._places[file] = place.relative_to(self._top).as_posix() if place.is_relative_to(self._top) else ""
        return self._places[file]

    def _folder(self) -> str:
        """The judge's folder below the top, as paths in it begin; of a judge at the top a name that no path has."""
        folder, top = self._judge.parent.resolve(), self._top
        return f"{folder.relative_to(top).as_posix()}/" if folder != top and folder.is_relative_to(top) else "//"

    def _loaders(self) -> list[tuple[type[Any], list[str]]]:
        require = self._require

        class FromText(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType | None:
                path = self.get_filename(fullname)
                require(path)
                return self.source_to_code(self.get_data(path), path)

        class Compiled(SourcelessFileLoader):
            def get_code(self, fullname: str) -> CodeType | None:
                require(self.get_filename(fullname))
                return super().get_code(fullname)

        class Extension(ExtensionFileLoader):
            def create_module(self, spec: ModuleSpec) -> ModuleType:
                require(self.get_filename(spec.name))
                return super().create_module(spec)

        return [(Extension, EXTENSION_SUFFIXES), (FromText, SOURCE_SUFFIXES), (Compiled, BYTECODE_SUFFIXES)]
