"""What machines have and tests do not, as libraries that are built on the spot: a GPU's driver, a disk that fails."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

from tests.support.repositories import STAND_INS


def driver(folder: Path, state: str = "") -> dict[str, str] | None:
    """A library in `folder` under the name of NVIDIA's, which says what a file says: at first `state`.

    Returns:
        What a process needs in its environment to meet it; None where it cannot be built.
    """
    if not _built("nvml.c", folder / "libnvidia-ml.so.1"):
        return None
    (folder / "gpu").write_text(state, encoding="ascii")
    return {"LD_LIBRARY_PATH": str(folder), "NVML_STATE": str(folder / "gpu")}


class Disk:
    """A disk that fails where and when it is told to. It is well at first."""

    def __init__(self, folder: Path, under: Path) -> None:
        """What is below `under` is on it; `folder` is not. Raises OSError where it cannot be built."""
        self._state, library = folder / "disk", folder / "disk.so"
        if not _built("disk.c", library):
            raise OSError("no Linux, or no C compiler")
        self._state.write_bytes(struct.pack("ii", 0, 0))
        self.environment = {"LD_PRELOAD": str(library), "DISK_STATE": str(self._state), "DISK_UNDER": str(under)}

    def fail(self, after: int, times: int) -> None:
        """Answer EIO `times` times, once `after` more calls have changed something."""
        with self._state.open("r+b") as file:  # processes have it mapped
            file.write(struct.pack("ii", after, times))


def _built(source: str, library: Path) -> bool:
    if sys.platform != "linux" or (compiler := shutil.which("cc")) is None:
        return False
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, STAND_INS / source], check=True)
    return True
