"""What train.py's process may reach in the file system: code to import, a compiler to run, a GPU, and one folder.

Nothing that holds validation text is reachable: not the corpus in this package, not the token arrays, not another
run's folder, not the repository's history.
"""

import os
import pwd
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.sandbox.environment import places

PACKAGES = Path(__file__).resolve().parents[2]
_CORPUS = PACKAGES / "trainer" / "data"
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/opt/homebrew",
    "/opt/rocm",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/alternatives",
    "/proc",
    "/sys/devices",
    "/sys/bus",
    "/sys/class",
    "/sys/module",
)
_DEVICES = ("null", "zero", "full", "random", "urandom")  # below /dev
_GPUS = ("nvidia*", "dxg", "kfd", "dri/renderD*")  # NVIDIA's, WSL's, AMD's
_MAX_IMPORTS = 5000  # files; a workspace with more modules has something else in mind


@dataclass(frozen=True)
class Allowlist:
    """All that a process may reach: files, or folders with everything below."""

    readable: list[Path]  # and to be run
    listed: list[Path]  # only the names in these folders may be seen
    devices: list[Path]  # to read, write and control
    writable: Path


def build_allowlist(train: Path, scratch: Path, imports: Path, hidden: list[Path], gpu: bool = True) -> Allowlist:
    """The reach of one process.

    Args:
        train: the file it runs. scratch: its own folder. imports: folder of modules, of which *.py may be read.
        hidden: folders that stay out of reach whatever else is allowed; the corpus is always one of them.
        gpu: whether it may open one. A run whose budget is CPU seconds must not compute where none are counted.
    """
    out_of_reach = [path.resolve() for path in (_CORPUS, *hidden)]
    readable, listed = [train], [PACKAGES]
    for root in (*_roots(), *_named(out_of_reach)):
        listed += [root] if root.is_dir() else []
        readable += _around(root, out_of_reach)
    for folder in _folders(imports):
        listed.append(folder)
        readable += list(folder.glob("*.py"))[: _MAX_IMPORTS - len(readable)]
    patterns = _DEVICES + _GPUS * gpu
    devices = [path for pattern in patterns for path in Path("/dev").glob(pattern)]
    return Allowlist(readable, listed, devices, scratch)


def exposed(files: Iterable[Path]) -> Path | None:
    """The first of these files that train.py could read because of where it lies."""
    roots = [root.resolve() for root in (*_roots(), *_named([]))]
    return next((file for file in files if any(file.resolve().is_relative_to(root) for root in roots)), None)


def _roots() -> Iterator[Path]:
    """The system's programs, the interpreter and the packages it can import."""
    yield from filter(os.path.exists, map(Path, _SYSTEM))
    yield PACKAGES / "trainer"
    names = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()]
    names += [site.getusersitepackages(), *sys.path]
    yield from filter(os.path.isdir, _meant(Path(name) for name in names if name))


def _named(hidden: list[Path]) -> Iterator[Path]:
    """What the operator's variables name for drivers and compilers, unless something hidden lies there or around it."""
    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME may be a scratch folder
    except KeyError:  # a container may run us under a number that nobody knows
        home = Path("/")
    for path in _meant(places()):
        if not any(one.is_relative_to(path) or path.is_relative_to(one) for one in hidden):
            if path not in (home, *home.parents):
                yield path


def _meant(paths: Iterable[Path]) -> Iterator[Path]:
    """Those that are there, without a checkout of ours, which is more than code, a home and the root."""
    home = Path(os.path.expanduser("~")).absolute()  # where there is none: nothing that exists
    for path in {path.resolve() for path in paths}:
        if path not in (PACKAGES, home, *home.parents) and os.path.exists(path):
            yield path


def _around(root: Path, hidden: list[Path]) -> Iterator[Path]:
    """`root`, or where something hidden lies below it, its parts without that."""
    root = root.resolve()
    if root in hidden:
        return
    if not any(path.is_relative_to(root) for path in hidden):
        yield root
        return
    for part in root.iterdir():
        yield from _around(part, hidden)


def _folders(top: Path) -> Iterator[Path]:
    """`top` and the folders below it that could be packages."""
    for folder, names, _ in os.walk(top):
        names[:] = [name for name in names if name.isidentifier()]
        yield Path(folder)
