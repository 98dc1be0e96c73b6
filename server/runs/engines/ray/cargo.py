"""What travels to a node: our own code, a run's folder, a data set. Each is named by its hash."""

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from server.runs.run_folder import RunFolder
from trainer.contract import RunFile
from trainer.text import glob_matches

_PACKAGES = Path(__file__).resolve().parents[4]
_PART = 16 << 20  # bytes of a data set that travel at once
_MANIFEST = "manifest.json"  # of a data set: the checksum of each other file
_STAYS = {RunFile.JOB, RunFile.LEASE, RunFile.PROGRESS}  # files of a run's folder that are this machine's
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Code(NamedTuple):
    """The trainer's package in an archive."""

    data: bytes
    digest: str


def code(packages: Path = _PACKAGES) -> Code:
    """The code that referees a run: the same bytes for the same files. Raises OSError."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted((packages / "trainer").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(path.relative_to(packages).as_posix(), _EPOCH)
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return Code(made.getvalue(), sha256(made.getvalue()).hexdigest())


def folder(run: Path, job: str) -> bytes:
    """A run's folder as a tar, with the job that the node is to know it by. Raises OSError."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path in sorted(run.iterdir()):
            if path.name not in _STAYS and not path.name.startswith("."):
                archive.add(path, path.name)
        entry = tarfile.TarInfo(RunFile.JOB)
        entry.size, entry.mode = len(job.encode()), 0o600
        archive.addfile(entry, io.BytesIO(job.encode()))
    return made.getvalue()


def lighten(run: RunFolder) -> None:
    """Remove from the folder of a run that is over what only its node needed, as a supervisor does here."""
    for name in (RunFile.MODULES, RunFile.INCUMBENT):
        shutil.rmtree(run.path / name, ignore_errors=True)
    task: dict[str, Any] = run.spec().get("task") or {}
    tree, editable = run.path / RunFile.TREE, task.get("editable", ())
    for top, folders, files in os.walk(tree, topdown=False):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for path in (Path(top, name) for name in (*files, *links)):
            if path.is_symlink() or not glob_matches(editable, path.relative_to(tree).as_posix()):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # what is left is in it
            os.rmdir(top)


class DataSet:
    """A prepared data set on this machine."""

    def __init__(self, place: Path) -> None:
        """Raises OSError, ValueError: it has no manifest."""
        self._place = place
        told = (place / _MANIFEST).read_bytes()
        self.digest = sha256(told).hexdigest()
        self.sums: dict[str, str] = {**json.loads(told), _MANIFEST: self.digest}

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Its files, each in parts that come in order. Raises OSError."""
        for name in self.sums:
            with (self._place / name).open("rb") as file:
                while part := file.read(_PART):
                    yield name, part


def digest_of(place: Path) -> str:
    """By which hash a node knows a data set. Raises OSError, ValueError."""
    return DataSet(place).digest
