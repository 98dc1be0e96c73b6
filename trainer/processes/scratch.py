"""The private folder of one process that runs train.py, and the compiled kernels that are copied into it.

Each pass gets a new folder, which is removed after it. Only the baseline's kernels are saved, because its train.py is
the operator's. Each run works on its own copy, so none finds what an agent's train.py has left; a confirmation gets
none, and compiles as if nothing had been before it.
"""

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

from trainer.contract import ScratchRole


def make(folder: Path, role: ScratchRole) -> Path:
    """A new folder that nobody can name beforehand: one pass must not find what another left."""
    return Path(tempfile.mkdtemp(prefix=role.prefix, dir=folder))


def remove(top: Path) -> None:
    """Remove a folder of a process that is dead. Without recursion, through any mode: it was filled by train.py.

    Raises:
        OSError: something cannot be removed.
    """
    if os.path.islink(top) or not os.path.isdir(top):  # what has been put in its place, and leads elsewhere
        return os.unlink(top)
    names = count()
    os.chmod(top, 0o700)
    while entries := list(os.scandir(top)):
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _lift(entry.path, top, names)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
    os.rmdir(top)


def _lift(folder: str, top: Path, names: "count[int]") -> None:
    """Move what is in `folder` to the top, so that no path grows with the depth."""
    os.chmod(folder, 0o700)
    for inner in list(os.scandir(folder)):
        if inner.is_dir(follow_symlinks=False):
            os.chmod(inner.path, 0o700)  # a folder's parent can be changed by those who may write into it
        while os.path.lexists(target := top / f".{next(names)}"):
            continue
        os.rename(inner.path, target)


_KERNELS = "kernels"


def copy_kernels_in(kept: Path | None, scratch: Path) -> dict[str, str]:
    """Copy kernels into a scratch folder, where there are any. Returns what the process needs in its environment."""
    mine = scratch / _KERNELS
    if kept is not None:
        with suppress(OSError):  # without them a run is slower to start, and no worse
            shutil.copytree(kept, mine, symlinks=True)
    return {"TORCHINDUCTOR_CACHE_DIR": str(mine)}


def save_kernels(scratch: Path, kept: Path) -> None:
    """Keep what the baseline compiled, whole or not at all; what was kept before stays."""
    if not (scratch / _KERNELS).is_dir() or kept.exists():
        return
    with suppress(OSError), tempfile.TemporaryDirectory(prefix=".kernels-", dir=kept.parent) as folder:
        shutil.copytree(scratch / _KERNELS, Path(folder) / _KERNELS, symlinks=True).rename(kept)


if __name__ == "__main__":  # what a killed supervisor could not remove
    for left in sys.argv[1:]:
        with suppress(OSError):
            remove(Path(left))
