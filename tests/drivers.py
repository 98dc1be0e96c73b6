"""A GPU's driver for machines that have none: a library under the name of NVIDIA's, which says what a file says."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import STAND_INS


def driver(folder: Path, state: str = "") -> dict[str, str] | None:
    """Build it into `folder`, saying `state`.

    Returns:
        What a process needs in its environment to meet it; None where it cannot be built.
    """
    if sys.platform != "linux" or (compiler := shutil.which("cc")) is None:
        return None
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, STAND_INS / "nvml.c"], check=True)
    (folder / "gpu").write_text(state, encoding="ascii")
    return {"LD_LIBRARY_PATH": str(folder), "NVML_STATE": str(folder / "gpu")}
