"""Around the commands of a task: the folder that a run works in, what they find on PATH, what is in their reach."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from trainer.commands import file_tree
from trainer.contract import PLACE_PREFIX, RunFile, Spec, TaskSpec
from trainer.processes.quiet import users_place
from trainer.run.run_folder import RunFolder
from trainer.sandbox.allowlist import SHIMS

_LEAST_SPACE = 1 << 30  # bytes: a place with less is not chosen, where there is another
_TOOLCHAINS = {"RUSTUP_HOME": ".rustup"}  # by the variable, the usual folder in the operator's home


def make_place(run_folder: RunFolder) -> Path:
    """A folder of this run alone, under a name that nobody knows, where nothing above is of a project's.

    Tools look for their settings in the folders above, and would meet there what they must not read.
    """
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), run_folder.folder.parent / "places"]
    found = next((place for place in places[:-1] if _fits(place)), places[-1])
    found.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=PLACE_PREFIX, dir=found)).resolve()
    (run_folder.folder / RunFile.PLACE).unlink(missing_ok=True)
    (run_folder.folder / RunFile.PLACE).symlink_to(place)
    return place


def _fits(place: Path) -> bool:
    with suppress(OSError):
        told = os.statvfs(place)
        return (
            os.access(place, os.W_OK)
            and not told.f_flag & getattr(os, "ST_NOEXEC", 8)
            and (told.f_bavail * told.f_frsize >= _LEAST_SPACE)
        )
    return False


def search_path() -> str:
    """The operator's PATH, without folders of scripts that choose among versions; first the interpreter they stand for.

    Those scripts lie where no command looks, and would cost each start a tenth of a second.
    """
    folders = [word for word in os.environ.get("PATH", "").split(os.pathsep) if word]
    named = shutil.which("python3")
    if named is None or Path(named).parent.name == SHIMS:
        folders.insert(0, str(Path(sys.executable).parent))
    return os.pathsep.join(word for word in folders if Path(word).name != SHIMS)


def toolchains() -> dict[str, str]:
    """Variables that say where programs on PATH find the rest of themselves, for HOME is another; and those folders."""
    found = {name: os.environ.get(name) or str(Path.home() / usual) for name, usual in _TOOLCHAINS.items()}
    return {name: folder for name, folder in found.items() if Path(folder).is_dir()}


def linked(task: TaskSpec) -> list[str]:
    """What links lead to; for an environment of Python also the interpreter that it was made from."""
    found = [target for _, target in task.home_links]
    for _, target in task.links:
        found.append(target)
        with suppress(OSError):
            lines = (Path(target) / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
            homes = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "home"]
            found += [str(Path(home).resolve().parent) for home in homes]
    return found


def hidden(run_folder: RunFolder, spec: Spec) -> list[Path]:
    """What is out of reach in whatever folder it lies: this run and others, the server's data, the workspace, home."""
    folder = run_folder.folder.resolve()
    states = [parent for parent in folder.parents if (parent / ".git").exists()]
    states += [other for workspace in states if (other := _repository(workspace))]
    homes = [] if spec.task and spec.task.home else [Path.home()]
    withheld = _withheld(spec.task.links, spec.task.hidden) if spec.task and spec.task.hidden else ()
    meeting = [place] if (place := users_place()) else []  # of the runs: its locks are not for commands
    return [folder.parent, folder.parent.parent, *states, Path(spec.data), *homes, *meeting, *withheld]


def listed_around(withheld: Iterable[Path], readable: Iterable[Path]) -> set[Path]:
    """The folders around what is withheld that lie in what is readable: their names may be seen."""
    given = [path.resolve() for path in readable]
    folders = {folder for path in withheld for folder in path.resolve().parents}
    return {folder for folder in folders if any(folder.is_relative_to(path) for path in given)}


@cache  # a run asks for each command and each worker
def _withheld(links: tuple[tuple[str, str], ...], globs: tuple[str, ...]) -> tuple[Path, ...]:
    """What only the judge may read of that which links lead to."""
    is_hidden = file_tree.matcher(globs)
    whole = tuple(Path(target) for inner, target in links if is_hidden(inner))
    inside = ((target, name, f"{inner}/{name}") for inner, target in links for name in file_tree.names(Path(target)))
    return (*whole, *(Path(target, name) for target, name, path in inside if is_hidden(path)))


def _repository(workspace: Path) -> Path | None:
    """The repository that a workspace is a linked worktree of; None where it is none."""
    with suppress(OSError):
        told = (workspace / ".git").read_text(encoding="utf-8", errors="replace")
        folder = Path(workspace, told.partition("gitdir:")[2].strip()).resolve()
        return next((parent.parent for parent in folder.parents if parent.name == ".git"), folder)
    return None
