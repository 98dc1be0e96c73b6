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
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from trainer.sandbox import system_files
from trainer.sandbox.environment import places

PACKAGES = Path(__file__).resolve().parents[2]
_OURS = (PACKAGES / "trainer", PACKAGES / "server")
# What `from trainer import Session` imports; all else of ours, with the corpus, is out of reach.
SESSION = ("__init__.py", "session.py", "contract.py", "model_weights.py", "run/__init__.py", "run/protocol.py")
_DEVICES = ("null", "zero", "full", "random", "urandom")  # below /dev
_GPUS = ("nvidia*", "dxg", "kfd", "dri/renderD*")  # NVIDIA's, WSL's, AMD's
_MAX_IMPORTS = 5000  # files; a workspace with more modules has something else in mind
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_NOT_CODE = ("pkgs", "envs", "share", "conda-meta")  # below an interpreter's folder


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
    code, listed = _code(gpu, tuple(hidden))
    session = (PACKAGES / "trainer" / name for name in SESSION)
    folders = list(_folders(imports))
    modules = islice((module for folder in folders for module in folder.glob("*.py")), _MAX_IMPORTS)
    listed = (*listed, *folders, PACKAGES, PACKAGES / "trainer", Path("/proc"))  # the last: what lists descriptors
    patterns = _DEVICES + _GPUS * gpu
    devices = [path for pattern in patterns for path in Path("/dev").glob(pattern)]
    return Allowlist([train, *session, *system_files.facts(gpu), *code, *modules], [*listed], devices, scratch)


def exposed(files: Iterable[Path]) -> Path | None:
    """The first of these files that train.py could read because of where it lies."""
    roots = [root.resolve() for root in (PACKAGES / "trainer", *_roots(gpu=True), *_named(()))]
    return next((file for file in files if any(file.resolve().is_relative_to(root) for root in roots)), None)


@cache  # a process that forks others asks once for all of them
def _code(gpu: bool, hidden: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is readable of the interpreter, its packages and the system, and which folders of it are listed."""
    out_of_reach = {path.resolve() for path in (*_OURS, *_not_needed(), *hidden)}
    roots = {Path(os.path.realpath(root)) for root in (*_roots(gpu), *_named(hidden))}
    above = {folder for path in out_of_reach for folder in path.parents}
    readable = dict.fromkeys(path for root in roots for path in _around(root, out_of_reach, above))
    return tuple(readable), tuple(above.intersection(roots))  # what is readable can be listed


def _roots(gpu: bool) -> Iterator[Path]:
    """The interpreter, the packages it can import, and what these need of the system."""
    yield from system_files.needed(gpu)
    known = sysconfig.get_paths()
    names = [sys.prefix, sys.base_prefix, *(known[name] for name in known if name not in ("scripts", "data"))]
    names += [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    names += os.environ.get("LD_LIBRARY_PATH", "").split(
        os.pathsep
    )  # also where something hidden lies in such a folder
    for path in {Path(name).resolve() for name in names if name} - _shared():
        if path.is_dir():
            yield path
    yield Path(sys.executable).resolve()


def _named(hidden: Iterable[Path]) -> Iterator[Path]:
    """What the operator's variables name for drivers and compilers, unless something hidden lies there or around it."""
    out_of_reach = [path.resolve() for path in hidden]
    for path in {path.resolve() for path in places()} - _shared():
        if not any(one.is_relative_to(path) or path.is_relative_to(one) for one in out_of_reach):
            yield path


def _shared() -> set[Path]:
    """Folders that hold far more than code, whoever names them: homes, the root, a checkout of ours, the system's."""
    home = Path(os.path.expanduser("~")).absolute()  # where there is none: nothing that exists
    homes = {home, *home.parents}
    with suppress(KeyError):  # a container may run us under a number that nobody knows
        known = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME may be a scratch folder
        homes |= {known, *known.parents}
    checkout = {PACKAGES} if (PACKAGES / "pyproject.toml").exists() else set[Path]()
    return homes | checkout | system_files.shared_folders()


def _not_needed() -> Iterator[Path]:
    """What is below the interpreter's folders and is not its code: packages that it does not import, other ones'."""
    imported = {Path(name).resolve() for name in (*sys.path, site.getusersitepackages())}
    for name in ("stdlib", "platstdlib"):
        packages = (Path(sysconfig.get_path(name)) / part for part in _PACKAGE_FOLDERS)
        yield from (folder for folder in packages if folder.resolve() not in imported)
    for prefix in {sys.prefix, sys.base_prefix}:
        yield from (Path(prefix) / part for part in _NOT_CODE)


def _around(root: Path, hidden: set[Path], above: set[Path]) -> Iterator[Path]:
    """`root`, or where something hidden lies below it (`above` are the folders with such), its parts without that."""
    if root in above and root not in hidden:
        with suppress(OSError):  # not ours to see, and not train.py's
            for part in root.iterdir():
                yield from _around(part.resolve(), hidden, above)
    elif root not in hidden:
        yield root


def _folders(top: Path) -> Iterator[Path]:
    """`top` and the folders below it that could be packages."""
    for folder, names, _ in os.walk(top):
        names[:] = [name for name in names if name.isidentifier()]
        yield Path(folder)
