"""What the child process runs: train.py, as `__main__`, confined, with its exceptions told to the referee by structure.

`python -P -m trainer.launch RUN_FOLDER` becomes such a process; with the number of a descriptor behind it, it becomes
the server from which they are forked. It reads the spec and train.py's text on its standard input, from the supervisor:
who changes the files in the run folder changes nothing. Until the referee says `go`, only trusted code has run here;
what it tells by then can be believed.
"""

import ast
import gc
import linecache
import os
import re
import signal
import sys
import traceback
from contextlib import suppress
from errno import errorcode
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.contract import Spec
from trainer.processes.fork_server import offered, serve, shares_nothing
from trainer.processes.parentage import die_with_parent, forget_no_child
from trainer.run.failure_cause import lineage
from trainer.run.profiles import PROFILES, Profile
from trainer.run.protocol import ChannelClosed, inherited
from trainer.run.run_folder import RunFolder
from trainer.sandbox.allowlist import SESSION
from trainer.sandbox.guards import confine
from trainer.sandbox.privileges import GUARDS

# characters: a frame's header holds them all, however escaped
_MAX_FRAMES = 3000
_MAX_MESSAGE = 500
_MAX_NAME = 80
_MAX_LINEAGE = 15

_SESSION_MODULES = {f"trainer.{name[:-3].replace('/', '.')}".removesuffix(".__init__") for name in SESSION}

_SERVING = 2  # the place of the descriptor's number on the command line
# Names in whose presence torch must not be imported before train.py's first line: they can change the environment,
# which torch reads as it is imported, or import a module that does; and torch chooses a folder for one of them.
_SETTING = {"environ", "environb", "putenv", "unsetenv", "exec", "import_module", "__import__", "caching_precompile"}
_KNOWN = {"torch", "trainer", "numpy", *sys.stdlib_module_names}  # of which none sets the environment


def main() -> None:
    """Run train.py of the run folder named on the command line; its scratch folder is the working directory."""
    run_folder = RunFolder(Path(sys.argv[1]))
    given = _given() or run_folder.given(run_folder.spec())  # nothing: from a supervisor of an earlier version
    told, _, text = given.partition(b"\n")
    spec = Spec.from_json(told.decode())
    if len(sys.argv) > _SERVING:
        _serve(run_folder, spec, given, int(sys.argv[_SERVING]))
    die_with_parent()
    channel = inherited()
    forget_no_child()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt is then train.py's own, and no signal's
    guards = _confine(run_folder, spec)
    channel.send("ready", guards=guards, **_machine(PROFILES[spec.profile]))
    if channel.receive("import", "go").kind == "import":
        _import_ahead(text)
        channel.receive("go")
    sys.path.append(spec.imports)  # last: nothing there can shadow torch or trainer
    _close_the_referee()
    sys.argv = [str(run_folder.train)]
    try:
        _run(text, str(run_folder.train))
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            return
        _tell(error, run_folder.train)
        raise


def _given() -> bytes:
    """Everything on the standard input, which is empty from then on."""
    with open(0, "rb", closefd=False) as told:
        given = told.read()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return given


def _run(text: bytes, name: str) -> None:
    """Run `text` as `__main__`. Tracebacks and `inspect` show it, and not what is in the file by then."""
    lines = list(StringIO(text.decode("utf-8", "replace").removeprefix("\ufeff"), newline=None))
    linecache.cache[name] = (len(text), None, lines, name)
    main = sys.modules["__main__"] = ModuleType("__main__")
    vars(main).update(__file__=name, __cached__=None, __package__="")
    exec(compile(text, name, "exec", dont_inherit=True), vars(main))


def _serve(run_folder: RunFolder, spec: Spec, given: bytes, control: int) -> None:
    """Import ahead and fork for each request; returns in forked processes alone.

    One that could not use what was imported begins again as a new program: torch failed to be imported, or an import
    has begun with CUDA, which does not outlive a fork.
    """
    die_with_parent()
    usable = True
    gc.disable()  # a fifth of the time of the imports
    try:
        _import_ahead(given.partition(b"\n")[2])
    except Exception:  # train.py meets the same one, and tells it in its own words
        usable = False
    with suppress(OSError):  # the processes meet the same
        run_folder.reach(spec, Path.cwd())  # for all that are forked: it lists folders
    gc.freeze()
    gc.enable()
    serve(control)
    torch: Any = sys.modules.get("torch")
    dynamo: Any = sys.modules.get("torch._dynamo.config")
    if not (usable and shares_nothing()) or (torch and torch.cuda._is_in_bad_fork()):
        with offered(given, Path.cwd()) as told:
            os.dup2(told.fileno(), 0)
        os.execv(sys.executable, sys.orig_argv[:-1])
    if dynamo:
        dynamo.debug_dir_root = str(Path.cwd() / "torch_compile_debug")  # else in the server's folder


def _import_ahead(text: bytes) -> None:
    """Import what takes seconds, where train.py seems to need it."""
    train = text.decode("utf-8", "replace")
    if not _may_come_first(train):
        return
    if "import torch" in train or "from torch" in train or "Session" in train:
        import trainer.session  # noqa: F401

    if "torch.optim" in train or "compile(" in train:  # both bring torch's compiler along
        import torch._dynamo  # noqa: F401


def _may_come_first(train: str) -> bool:
    """Whether torch may be imported before train.py's first line, as far as its text tells.

    Not where train.py, or a package that it imports, may set the environment first: torch reads that as it is imported.
    """
    try:
        nodes = list(ast.walk(ast.parse(train.removeprefix("\ufeff"))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    only_read: set[ast.AST] = set()
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            only_read.add(node.value)
        elif isinstance(node, ast.Attribute) and node.attr == "get":
            only_read.add(node.value)
    return not any(_imported(node) - _KNOWN or (_name(node) in _SETTING and node not in only_read) for node in nodes)


def _imported(node: ast.AST) -> set[str]:
    """The packages that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant):  # getattr and setattr are given it as a text
        return node.value if isinstance(node.value, str) else ""
    return node.name if isinstance(node, ast.alias) else getattr(node, "id", None) or getattr(node, "arg", None) or ""


def _machine(profile: Profile) -> dict[str, Any]:
    """What the run computes with, by code that is trusted; `missing`: why it cannot, in words, empty if it can.

    For a CPU torch is not imported: it always can.
    """
    known = {"device": profile.device, "threads": profile.threads, "torch": _torch_version(), "missing": ""}
    if profile.device == "cpu":
        return known
    try:
        from trainer.session import machine
    except (ImportError, OSError) as error:  # OSError: a library of torch's is missing
        return known | {"missing": f"torch cannot be imported: {error}"}
    return known | machine(profile.device)


def _torch_version() -> str | None:
    """torch.__version__, without importing torch for it."""
    if torch := sys.modules.get("torch"):
        return str(torch.__version__)
    for folder in sys.path:
        with suppress(OSError):
            text = (Path(folder) / "torch" / "version.py").read_text("utf-8")
            return told[1] if (told := re.search(r"^__version__ = '(.*)'$", text, re.MULTILINE)) else None
    return None


def _confine(run_folder: RunFolder, spec: Spec) -> dict[str, str]:
    if not spec.confine:
        return dict.fromkeys(GUARDS, "switched off by the operator")
    return confine(run_folder.reach(spec, Path.cwd()))


class _RefereeClosed:
    """Finds no module of the referee's: train.py is given Session, and computes nothing by the referee's own code."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> None:
        if fullname.startswith("trainer.") and fullname not in _SESSION_MODULES:
            raise ModuleNotFoundError(f"{fullname} is the referee's; import Session from trainer", name=fullname)


def _close_the_referee() -> None:
    """Forget what was imported of the referee for the start, and import no more of it."""
    sys.meta_path.insert(0, _RefereeClosed())
    for name in [name for name in sys.modules if name.startswith("trainer.") and name not in _SESSION_MODULES]:
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(own, None)
        del sys.modules[name]


def _tell(error: BaseException, train: Path) -> None:
    try:
        inherited().send(
            "crash",
            type=type(error).__name__[:_MAX_NAME],
            lineage=[name[:_MAX_NAME] for name in lineage(error)[:_MAX_LINEAGE]],
            errno=number if type(number := getattr(error, "errno", None)) is int and number in errorcode else None,
            message=_message(error)[:_MAX_MESSAGE],
            traceback=_traceback(error, train),
        )
    except (ChannelClosed, OSError):
        return  # the referee is gone or has hung up; the exit code tells the rest


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a class of train.py's, which may do anything
        return "its message cannot be read"


def _traceback(error: BaseException, train: Path) -> str:
    """Whole if it is short; otherwise the last frames, and how the message begins."""
    lines = traceback.TracebackException.from_exception(error)
    frames = list(lines.stack)
    first = next((i for i, frame in enumerate(frames) if frame.filename == str(train)), len(frames))
    lines.stack = traceback.StackSummary.from_list(frames[first:])  # ours help nobody
    text = "".join(lines.format())
    if len(text) > _MAX_FRAMES + _MAX_MESSAGE:
        text = "".join(lines.stack.format())[-_MAX_FRAMES:] + "".join(lines.format_exception_only())[:_MAX_MESSAGE]
    return text.replace(str(train), "train.py")


if __name__ == "__main__":
    main()
