"""The run folder, seen from the trainer's side. Every file in it appears whole."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.contract import Order, RunFile, RunResult, Spec, sign
from trainer.run.failure_cause import FULL
from trainer.run.profiles import PROFILES
from trainer.sandbox.allowlist import build_allowlist, on_own_gpu
from trainer.sandbox.reach import Allowlist
from trainer.text import glob_matches

_PLACES = "places"  # beside the run folders
# seconds that a score waits for space on the disk, and between two looks
_PATIENCE = 60.0
_PAUSE = 0.5
_LEAST_SPACE = 64 << 20  # bytes: a disk with less is full


class RunFolder:
    """One run folder, seen from the trainer's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train = folder / RunFile.TRAIN
        self.log = folder / RunFile.LOG
        self.curve = folder / RunFile.CURVE
        self.place = self  # what train.py's processes see of it
        self.standing: dict[str, Any] = {}  # what every report of progress says
        self._order: Order | None = None

    def accept(self, order: Order) -> None:
        """Take the spec from the order, and sign the result with its key."""
        self._order = order

    def spec(self) -> Spec:
        if self._order:
            return self._order.spec
        return Spec.from_json((self.folder / RunFile.SPEC).read_text(encoding="utf-8"))

    @cached_property
    def text(self) -> bytes:
        """train.py's, read once: whoever changes the file later changes nothing. Raises OSError."""
        return self.train.read_bytes()

    def given(self, spec: Spec) -> bytes:
        """What each process of the run reads on its standard input: the spec in one line, then train.py.

        What differs between the runs of one train.py is left out: it must not know what its run is for.
        """
        alike = replace(spec, number=0, preflight=True, ceiling=(), kernels="", keeps_kernels=False)
        alike = replace(alike, audit_factor=1, first_look=False, split="val", train_sha256="", setup_allowed=None)
        alike = replace(alike, evaluation_seconds=0.0)  # longer where more positions are asked
        return alike.to_json().encode() + b"\n" + self.text

    def changed(self, spec: Spec) -> str:
        """How train.py differs from the one that the spec is about; empty if it does not, or if there is none."""
        if spec.task is not None:
            return ""
        try:
            found = hashlib.sha256(self.text).hexdigest()
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        if not spec.train_sha256 or found == spec.train_sha256:
            return ""
        return f"it has sha256 {found[:12]}, the attempt's is {spec.train_sha256[:12]}"

    def move_out(self, spec: Spec) -> Spec:
        """Make the place of train.py's processes, under a name of its own.

        Returns:
            The spec that holds there. Raises OSError.
        """
        places = self.folder.parent / _PLACES
        places.mkdir(exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="", dir=places))
        (self.folder / RunFile.PLACE).unlink(missing_ok=True)
        (self.folder / RunFile.PLACE).symlink_to(Path("..", _PLACES, place.name))
        (place / RunFile.TRAIN).write_bytes(self.text)
        moved = replace(spec, cookie=str(place))
        if spec.imports == str(self.folder / RunFile.MODULES):
            (place / RunFile.MODULES).mkdir()
            with suppress(FileNotFoundError):  # there are none
                (self.folder / RunFile.MODULES).replace(place / RunFile.MODULES)
            moved = replace(moved, imports=str(place / RunFile.MODULES))
        self.place = RunFolder(place)
        return moved

    def keep_candidate(self, editable: Sequence[str]) -> None:
        """Remove the trees of a task's run but for the candidate's own files: a lost commit is made anew from those."""
        shutil.rmtree(self.folder / RunFile.INCUMBENT, ignore_errors=True)
        tree = self.folder / RunFile.TREE
        for top, folders, files in os.walk(tree, topdown=False):
            for name in (*files, *(folder for folder in folders if os.path.islink(os.path.join(top, folder)))):
                path = Path(top, name)
                if path.is_symlink() or not glob_matches(editable, path.relative_to(tree).as_posix()):
                    with suppress(OSError):  # it costs space, and no run
                        path.unlink()
            with suppress(OSError):  # what is left is in it
                os.rmdir(top)

    def reach(self, spec: Spec, scratch: Path) -> Allowlist:
        """What the run's processes may reach; `scratch` is the folder of the one in question."""
        others = [self.folder.parent, self.folder.parent.parent]
        hidden = [Path(spec.data), *others, *([Path(spec.dataset)] if spec.dataset else [])]
        gpu = PROFILES[spec.profile].device == "cuda"
        allowed = build_allowlist(self.train, scratch, Path(spec.imports), hidden, gpu)
        return on_own_gpu(allowed, spec.gpu_nodes) if gpu else allowed

    def cancelled(self) -> str | None:
        """The reason why somebody asked for the end of the run, or None."""
        try:
            return (self.folder / RunFile.CANCEL).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def cancel(self, reason: str) -> None:
        """Ask for the end of the run, as the server does."""
        (self.folder / RunFile.CANCEL).write_text(reason, encoding="utf-8")

    def report(self, progress: dict[str, Any]) -> None:
        # Not fsynced: progress is worth nothing after a power cut.
        temporary = self.folder / f"{RunFile.PROGRESS}.new"
        try:
            temporary.write_text(json.dumps(self.standing | progress), encoding="utf-8")
            temporary.replace(self.folder / RunFile.PROGRESS)
        except OSError:  # a disk that is full for a moment costs the message, not the run; as below
            self._show_life()

    def plot(self, point: dict[str, Any]) -> None:
        with suppress(OSError), self.curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: value for name, value in point.items() if value is not None}) + "\n")

    def end(self, ending: RunResult, patience: float = _PATIENCE) -> None:
        """Write result.json; while the disk is full, try again: the score was paid for.

        Args:
            patience: seconds after which a full disk is an OSError like any other.
        """
        if self.place is not self:
            shutil.rmtree(self.place.folder, ignore_errors=True)
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._write(ending)
            except OSError as error:
                if error.errno not in FULL or time.monotonic() > deadline:
                    raise
            self._show_life()
            time.sleep(_PAUSE)

    def full(self) -> bool:
        """Whether its disk is, or this user's share of it: a quota shows in nothing but a file that finds no room."""
        if shutil.disk_usage(self.folder).free < _LEAST_SPACE:
            return True
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                if hasattr(os, "posix_fallocate"):  # not on macOS
                    os.posix_fallocate(file.fileno(), 0, _LEAST_SPACE)
        except OSError as error:
            return error.errno in FULL
        return False

    def _show_life(self) -> None:
        """By a file's time, which takes no space: a supervisor that is silent for too long is believed to hang."""
        with suppress(OSError):
            os.utime(self.folder / RunFile.PROGRESS)

    def _write(self, ending: RunResult) -> None:
        """Whole and durable: beside, fsync, rename, fsync of the folder. The signature first."""
        told = json.dumps(asdict(ending), allow_nan=False, ensure_ascii=False).encode(errors="replace")
        if self._order:
            spec = self._order.spec
            self._put(RunFile.SIGNATURE, sign(self._order.key, spec.number, spec.train_sha256, told).encode())
        self._put(RunFile.RESULT, told)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _put(self, name: str, content: bytes) -> None:
        temporary = self.folder / f"{name}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)
