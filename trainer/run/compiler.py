"""Whether torch.compile can work on this machine: found out by compiling something, as train.py's process would.

On a CPU it needs a C++ compiler with OpenMP, on a GPU (for Triton) a C compiler, on both the headers of Python. A
compiler may be missing, broken, or out of the guards' reach; then train.py runs eagerly. That one works is remembered,
until it changes. What torch itself sees of the machine is asked here as well.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from trainer.contract import COOKIE_VARIABLE, ScratchRole, Spec
from trainer.processes import scratch
from trainer.processes.parentage import die_with_parent
from trainer.run.child_launch import ask
from trainer.run.clock import RunEnded, StageClock
from trainer.run.profiles import PROFILES
from trainer.run.run_folder import RunFolder
from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine
from trainer.text import plain

_LANGUAGES = {"cpu": ("C++",), "cuda": ("C",)}  # by torch's device; Metal's kernels are compiled by the system
_NAMES = {"C": ("CC", ("gcc", "clang")), "C++": ("CXX", ("clang++",) if sys.platform == "darwin" else ("g++",))}
_SECONDS = 20.0
_COMPILE_SECONDS = 15.0
_TORCH_SECONDS = 40.0  # from a disk that is slow
_MEMORY = "compilers.json"  # in the folder of data, out of train.py's reach
_SOURCE = """
#include <Python.h>
{more}
static struct PyModuleDef probe = {{PyModuleDef_HEAD_INIT, "probe"}};
PyMODINIT_FUNC PyInit_probe(void) {{ return PyModule_Create(&probe); }}
"""
_FLAGS = {"darwin": ["-undefined", "dynamic_lookup"]}.get(sys.platform, [])
_MORE = {"C": ("", []), "C++": ("#include <vector>", ["-std=c++17"])}
if sys.platform == "linux":
    _MORE["C++"] = ("#include <omp.h>\n#include <vector>", ["-std=c++17", "-fopenmp"])


def broken(run_folder: RunFolder, spec: Spec, afresh: bool = False) -> str:
    """Why nothing can be compiled for the run; empty if it can.

    Args:
        afresh: something did not compile: believe no memory, and try what any device may need.

    Raises:
        RunEnded: somebody cancelled the run.
    """
    languages = _LANGUAGES.get(PROFILES[spec.profile].device, ())
    if afresh and languages:
        languages = tuple(_NAMES)
    if "C++" in languages and (why := _unspeakable(run_folder.folder)):
        return why
    stage = StageClock(run_folder)
    stage.enter("starting", _SECONDS, "trying the compiler")
    settings = {COOKIE_VARIABLE: spec.cookie}
    for language in languages:
        key = _key(language, run_folder.folder, spec.confine)
        if afresh or key not in _known(Path(spec.data)):
            folder = scratch.make(run_folder.folder, ScratchRole.COMPILER)
            try:
                if why := _try(language, folder, stage.watch, settings | {"CONFINE": str(int(spec.confine))}):
                    return plain(why)
            finally:
                with suppress(OSError):
                    scratch.remove(folder)
            _remember(Path(spec.data), key)
    return ""


def torchless(run_folder: RunFolder, cookie: str, device: str = "cpu") -> str:
    """Why torch cannot be imported here, by nobody, or cannot compute on this device; empty if it can."""
    stage, folder = StageClock(run_folder), scratch.make(run_folder.folder, ScratchRole.COMPILER)
    stage.enter("starting", 3 * _SECONDS, "importing torch")
    question = f"from trainer.session import machine; raise SystemExit(machine({device!r})['missing'] or 0)"
    command = [sys.executable, "-P", "-B", "-c", question]
    try:
        code, told = ask(command, folder, {COOKIE_VARIABLE: cookie}, stage.watch)
    except RunEnded as ended:
        if ended.outcome == "cancelled":
            raise
        return ""  # slow is not missing
    finally:
        with suppress(OSError):
            scratch.remove(folder)
    return plain(told) if code else ""


def _unspeakable(folder: Path) -> str:
    """Why torch cannot name files of this folder to a C++ compiler: it joins its command with spaces, unquoted."""
    with suppress(ValueError):  # a quote that is not closed
        if shlex.split(str(folder)) == [str(folder)]:
            return ""
    return "torch.compile fails below a folder with a space or a quote in its path"


def _try(language: str, folder: Path, watch: Callable[[], None], settings: dict[str, str]) -> str:
    """Why a process cannot compile; empty if it can."""
    try:
        _compiler(language)
        command = [sys.executable, "-P", "-B", "-m", "trainer.run.compiler", "try", language]
        code, told = ask(command, folder, settings, watch)
    except FileNotFoundError as error:
        return str(error)
    except RunEnded as ended:
        if ended.outcome == "cancelled":
            raise
        return f"the {language} compiler does not finish"
    return (told or f"the {language} compiler cannot be tried") if code else ""


def _compiler(language: str) -> str:
    """The path of the compiler that torch will take. Raises FileNotFoundError: says what is missing."""
    variable, names = _NAMES[language]
    if told := os.environ.get(variable):
        names = (told,)
    found = next(filter(None, map(shutil.which, names)), None)
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if found is None:
        wanted = f"{variable} says {told}, which is not a program" if told else f"{names[0]} is not on the PATH"
        raise FileNotFoundError(f"there is no {language} compiler ({wanted})")
    if not header.exists():
        raise FileNotFoundError(f"the headers of Python are missing ({header})")
    return found


def _compile(language: str, folder: Path) -> str:
    """Compile a module for Python and import it. Returns why that fails."""
    more, flags = _MORE[language]
    source, library = folder / ("probe.cpp" if language == "C++" else "probe.c"), folder / "probe.so"
    source.write_text(_SOURCE.format(more=more), encoding="ascii")
    compiler, include = _compiler(language), f"-I{sysconfig.get_path('include')}"
    command = [compiler, str(source), *flags, *_FLAGS, "-shared", "-fPIC", include, "-o", str(library)]
    try:
        with (folder / "errors").open("w+b") as errors:
            done = subprocess.run(command, stdout=errors, stderr=errors, timeout=_COMPILE_SECONDS, check=False)
            errors.seek(0)
            lines = errors.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
        if code := done.returncode:
            told = next((line for line in lines if "error" in line), lines[-1] if lines else f"exit code {code}")
            return f"{compiler} does not work ({told[:200]})"
        loader = ExtensionFileLoader("probe", str(library))
        spec = spec_from_loader("probe", loader)
        assert spec is not None
        module_from_spec(spec)
    except subprocess.TimeoutExpired:
        return f"{compiler} does not finish"
    except OSError as error:
        return f"{compiler} cannot be run ({error.strerror})"
    except ImportError as error:
        return f"what {compiler} makes cannot be loaded ({str(error)[:200]})"
    return ""


def _key(language: str, folder: Path, confined: bool) -> str:
    """What the answer depends on; empty where there is nothing to try."""
    try:
        compiler = Path(_compiler(language)).resolve()
        marks = [path.stat().st_mtime_ns for path in (compiler, Path(sysconfig.get_path("include")) / "Python.h")]
        return json.dumps([language, str(compiler), *marks, folder.stat().st_dev, confined, os.environ.get("PATH")])
    except OSError:
        return ""


def _known(data: Path) -> list[str]:
    try:
        told = json.loads((data / _MEMORY).read_bytes())
    except (OSError, ValueError):
        return []
    return told if isinstance(told, list) else []


def _remember(data: Path, key: str) -> None:
    """Note that it works. The last few are kept: one machine's folder may be mounted on another."""
    if not key:
        return
    with suppress(OSError):
        temporary = data / f".{_MEMORY}.{os.getpid()}"
        temporary.write_text(json.dumps([*_known(data)[-7:], key]), encoding="utf-8")
        temporary.replace(data / _MEMORY)


def _torch_view(profile: str) -> str:
    """What the torch that trains sees here, in the environment of a run, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-B", "-m", "trainer.torch_view", PROFILES[profile].device]
        try:
            code, told = ask(command, Path(folder), {}, _until(time.monotonic() + _TORCH_SECONDS))
        except RunEnded:
            return json.dumps({"problem": f"importing torch takes more than {_TORCH_SECONDS:g} s", "slow": True})
    return json.dumps({"problem": told or f"exit code {code}"}) if code else told


def _until(end: float) -> Callable[[], None]:
    def watch() -> None:
        if time.monotonic() > end:
            raise RunEnded("timeout", "")

    return watch


def main() -> None:
    """`PROFILE FOLDER`: print, as JSON, why nothing is compiled for runs there. `try LANGUAGE`: be who tries.

    `torch PROFILE`: print, as JSON, what torch sees of the machine.
    """
    if sys.argv[1] == "try":
        die_with_parent()
        nowhere = Path("/nonexistent")
        if os.environ["CONFINE"] != "0":
            confine(build_allowlist(nowhere, Path.cwd(), nowhere, []))
        if why := _compile(sys.argv[2], Path.cwd()):
            raise SystemExit(why)
        return
    if sys.argv[1] == "torch":
        print(_torch_view(sys.argv[2]))  # noqa: T201
        return
    watch = _until(time.monotonic() + _COMPILE_SECONDS)
    languages = _LANGUAGES.get(PROFILES[sys.argv[1]].device, ())
    found = _unspeakable(Path(sys.argv[2])) if "C++" in languages else ""
    for language in languages:
        try:
            with tempfile.TemporaryDirectory(dir=sys.argv[2], prefix=".probe-") as folder:
                found = found or _try(language, Path(folder), watch, {"CONFINE": "1"})
        except OSError as error:
            found = f"nothing can be compiled in {sys.argv[2]} ({error.strerror})"
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
