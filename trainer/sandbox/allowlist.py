"""What train.py's process may reach in the file system: code to import, a compiler to run, a GPU, and one folder.

Nothing that holds validation text is reachable: not the corpus in this package, not the token arrays, not another
run's folder, not the repository's history.
"""

import os
import pwd
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

from trainer.sandbox import system_files
from trainer.sandbox.environment import places
from trainer.sandbox.reach import Allowlist

PACKAGES = Path(__file__).resolve().parents[2]
_OURS = (PACKAGES / "trainer", PACKAGES / "server")
# What `from trainer import Session` imports; all else of ours, with the corpus, is out of reach.
SESSION = ("__init__.py", "session.py", "contract.py", "model_weights.py", "run/__init__.py", "run/protocol.py")
_DEV = Path("/dev")
_DEVICES = ("null", "zero", "full", "random", "urandom")  # below /dev
_WSL = "dxg"
_GPUS = ("nvidia*", _WSL, "kfd", "dri/renderD*")  # NVIDIA's, WSL's, AMD's
_MAX_IMPORTS = 5000  # files; a workspace with more modules has something else in mind
_MAX_LINKS = 10  # from one name to the next in a folder
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
# Of a machine, for commands: what is installed on it, and what there is not for others to read, also for root.
_INSTALLED = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"),
    *("/nix/store", "/run/current-system"),
)
_SECRETS = (
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d"),
    *("/etc/ssh", "/etc/ssl/private"),
)
_BESIDE = ("lib", "lib64", "libexec", "include")  # a folder of programs: what they load
SHIMS = "shims"  # a folder of scripts that choose among versions: slow, and of no use to who cannot see those
_NOT_CODE = ("pkgs", "envs", "share", "state", "conda-meta")  # below an interpreter's folder


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
    devices = [path for pattern in patterns for path in _DEV.glob(pattern)]
    return Allowlist([train, *session, *system_files.facts(gpu), *code, *modules], [*listed], devices, scratch)


def command_allowlist(
    readable: Iterable[Path], writable: Path, hidden: Iterable[Path], processes: bool = True, gpu: bool = True
) -> Allowlist:
    """The reach of a command of program.md: what is installed on the machine, and what it is given.

    Args:
        readable: what it is given beside, files or folders. writable: its own folder.
        hidden: folders that stay out of reach where they lie in one that is in it; what is given in them is not hidden.
        processes: whether it may read what the kernel tells of all processes: many programs look at their own.
        gpu: whether it may open one.
    """
    out_of_reach = tuple(path.resolve() for path in (*_OURS, *map(Path, _SECRETS), *hidden))
    above = {folder for path in out_of_reach for folder in path.parents}
    given = [part for path in readable for part in _outside(path.resolve(), set(out_of_reach), above)]
    installed, listed = _installed(out_of_reach, os.environ.get("PATH", ""))
    facts = [*system_files.facts(gpu), *([Path("/proc")] if processes else [])]
    devices = [path for pattern in _DEVICES + _GPUS * gpu for path in _DEV.glob(pattern)]
    return Allowlist([*installed, *given, *facts], [*listed, Path("/proc")], devices, writable)


def on_own_gpu(allowed: Allowlist, nodes: Sequence[str], dev: Path = _DEV) -> Allowlist:
    """The same reach, less every GPU but the one that these files below /dev open; none named: unchanged.

    Those of WSL and of other makers are not numbered by NVIDIA's driver: WSL's one file is for all GPUs, and stays.
    """
    if not nodes:
        return allowed
    gpus = {path for pattern in _GPUS if pattern != _WSL for path in dev.glob(pattern)}
    own = [path for path in (dev / node for node in nodes) if path.exists()]
    return allowed._replace(devices=[*(path for path in allowed.devices if path not in gpus), *own])


@cache
def _installed(out_of_reach: tuple[Path, ...], search_path: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is readable of the machine, each once and nothing below another, and which folders of it are listed."""
    hidden, above = set(out_of_reach), {folder for path in out_of_reach for folder in path.parents}
    programs = (folder.resolve() for path in _programs(search_path) for folder in _with_libraries(path))
    roots = {*(Path(root).resolve() for root in _INSTALLED), *_roots(gpu=True), *_named(out_of_reach), *programs}
    parts = {part for root in roots for part in _outside(root, hidden, above)}
    return tuple(part for part in sorted(parts) if parts.isdisjoint(part.parents)), tuple(above & roots - hidden)


def _programs(search_path: str) -> Iterator[Path]:
    """The operator's folders of programs, wherever they are, but for those that hold scripts which look elsewhere."""
    shared = _shared()
    for path in map(Path, search_path.split(os.pathsep)):
        if path.is_absolute() and path.name != SHIMS and path.resolve() not in shared:
            yield path


def _with_libraries(programs: Path) -> Iterator[Path]:
    yield programs
    yield from (programs.parent / name for name in _BESIDE)


def _outside(root: Path, hidden: set[Path], above: set[Path]) -> Iterator[Path]:
    """`root`, or where something hidden lies below it (`above` are the folders with such), its parts without that.

    A link below it is followed, and what it leads to is left out where that is not whole in reach.
    """
    if root in hidden or root == Path("/"):
        return
    if root not in above:
        yield root
        return
    with suppress(OSError):  # not ours to see
        for part in root.iterdir():
            target = part.resolve()
            if not part.is_symlink():
                yield from _outside(part, hidden, above)
            elif target not in above and not any(target.is_relative_to(path) for path in hidden):
                yield target


def exposed(files: Iterable[Path]) -> Path | None:
    """The first of these files that train.py could read because of where it lies."""
    roots = [root.resolve() for root in (PACKAGES / "trainer", *_roots(gpu=True), *_named(()))]
    resolved = ((file, file.resolve()) for file in files)
    return next((file for file, real in resolved if any(map(real.is_relative_to, roots))), None)


@cache  # a process that forks others asks once for all of them
def _code(gpu: bool, hidden: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is readable of the interpreter, its packages and the system, and which folders of it are listed."""
    out_of_reach = {path.resolve() for path in (*_OURS, *_not_needed(), *hidden)}
    roots = _resolved(_roots(gpu)) | set(_named(hidden))
    above = {folder for path in out_of_reach for folder in path.parents}
    readable = dict.fromkeys(path for root in roots for path in _around(root, out_of_reach, above))
    return tuple(readable), tuple(above.intersection(roots))  # what is readable can be listed


def _resolved(paths: Iterable[Path]) -> set[Path]:
    """Where they lead. A thousand lie in a few folders, most are links within one, and a run asks twice."""
    folder = cache(os.path.realpath)
    parts = (os.path.split(path) for path in paths)
    return {*map(Path, {_led(os.path.join(folder(above), name)) for above, name in parts})}


def _led(name: str) -> str:
    """Where a name in a resolved folder leads."""
    for _ in range(_MAX_LINKS):
        try:
            target = os.readlink(name)
        except OSError:  # no link
            return name
        if os.sep in target or target in (os.curdir, os.pardir):
            break
        name = os.path.join(os.path.dirname(name), target)
    return os.path.realpath(name)


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
            for part in root.iterdir():  # `root` is resolved
                yield from _around(part.resolve() if part.is_symlink() else part, hidden, above)
    elif root not in hidden:
        yield root


def _folders(top: Path) -> Iterator[Path]:
    """`top` and the folders below it that could be packages."""
    for folder, names, _ in os.walk(top):
        names[:] = [name for name in names if name.isidentifier()]
        yield Path(folder)
