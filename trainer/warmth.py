"""Compiled kernels, handed from the baseline's run to later ones: compiling takes longer than all else but training.

The baseline alone leaves any, because its train.py is the operator's. Every run works on a copy of its own, so that
none finds what an agent's train.py has left; a confirmation gets none, and compiles as if nothing had been before it.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_NAME = "kernels"


def lend(kept: Path | None, scratch: Path) -> dict[str, str]:
    """Copy kernels into a scratch folder, where there are any. Returns what the process needs in its environment."""
    mine = scratch / _NAME
    if kept is not None:
        with suppress(OSError):  # without them a run is slower to start, and no worse
            shutil.copytree(kept, mine, symlinks=True)
    return {"TORCHINDUCTOR_CACHE_DIR": str(mine)}


def keep(scratch: Path, kept: Path) -> None:
    """Keep what the baseline compiled, whole or not at all; what was kept before stays."""
    if not (scratch / _NAME).is_dir() or kept.exists():
        return
    with suppress(OSError), tempfile.TemporaryDirectory(prefix=".kernels-", dir=kept.parent) as folder:
        shutil.copytree(scratch / _NAME, Path(folder) / _NAME, symlinks=True).rename(kept)
