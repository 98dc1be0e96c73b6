"""The packages that the referee needs beside torch, carried along as wheels to a machine without a network.

train.py's process may read the interpreter's packages and the trainer's own folder. So where packages are missing, the
code is copied, and they are unpacked inside the copy's trainer folder, with links beside it that can be imported.
"""

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NEEDED = {"numpy": "numpy", "psutil": "psutil", "nvidia-ml-py": "pynvml"}  # distribution: the module it brings
_SERVERS = {  # for its clean-up alone
    "pydantic": "pydantic",
    "pydantic-core": "pydantic_core",
    "typing-extensions": "typing_extensions",
    "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection",
}
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010")
_MOST_BYTES = 40 << 20


def pack(folder: Path, python: str, machine: str) -> list[Path]:
    """Download the wheels for a Python of that version ("3.12") on Linux.

    Args:
        machine: as `uname -m` calls it there.

    Raises:
        SystemExit: pip cannot get them, or they are larger than 40 MB.
    """
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--dest", str(folder)]
    wanted = [name for name in _NEEDED | _SERVERS if name != "pydantic-core"]
    if subprocess.run([*command, *wanted], check=False).returncode:
        raise SystemExit("pip cannot get these wheels")
    core = next(line for line in _metadata(folder, "pydantic") if line.startswith("Requires-Dist: pydantic-core"))
    if subprocess.run([*command, core.partition(": ")[2].replace(" ", "")], check=False).returncode:
        raise SystemExit("pip cannot get these wheels")
    wheels = sorted(folder.glob("*.whl"))
    if (size := sum(wheel.stat().st_size for wheel in wheels)) > _MOST_BYTES:
        raise SystemExit(f"the wheels have {size >> 20} MB")
    return wheels


def provide(packed: Path | None, place: Path) -> Path:
    """The folder from which every process imports the referee and what it needs; this process does so from now on.

    Args:
        packed: the folder of wheels, used only for what the interpreter lacks.

    Raises:
        SystemExit: a package is missing, and there is no wheel of it.
    """
    lacking = [name for name, module in (_NEEDED | _SERVERS).items() if find_spec(module) is None]
    wheels = {name: _wheel(packed, name) for name in lacking} if packed else {}
    if absent := [name for name in lacking if name in _NEEDED and wheels.get(name) is None]:
        raise SystemExit(f"missing here: {', '.join(absent)}. Pack them with --pack where there is a network.")
    found = [wheel for wheel in wheels.values() if wheel is not None]
    code = _copy(found, place / "code") if found else ROOT
    sys.path.insert(0, str(code))
    return code


def _copy(wheels: list[Path], code: Path) -> Path:
    for package in ("server", "trainer"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    inside = code / "trainer" / "packed"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(inside)
    for entry in inside.iterdir():
        (code / entry.name).symlink_to(Path("trainer", "packed", entry.name))
    return code


def _wheel(folder: Path, name: str) -> Path | None:
    written = name.replace("-", "_")
    return next((path for path in sorted(folder.glob("*.whl")) if path.name.startswith(f"{written}-")), None)


def _metadata(folder: Path, name: str) -> list[str]:
    wheel = _wheel(folder, name)
    assert wheel is not None
    with zipfile.ZipFile(wheel) as archive:
        file = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        return archive.read(file).decode().splitlines()
