"""karpathy/autoresearch's repository as it is: known by its two files, and what they need beside them.

Nothing of it is imported or run here: prepare.py and train.py are read as text.
"""

import ast
import operator
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.records import Trust, Value, lm_names
from server.task.definition import Task
from trainer.contract import Referee

PREPARE = "prepare.py"
TRAIN = "train.py"
CACHE = ".cache/autoresearch"  # below the home folder: the data that prepare.py has made
HUB = ".cache/huggingface/hub"  # what packages have fetched; the tokens beside it stay out of reach
_VENV = ".venv"
_MOST_BYTES = 1 << 20
# Together upstream's own limit: it kills a run of five minutes after ten.
_USUAL = {"name": "karpathy/autoresearch", "setup_seconds": 120.0, "evaluation_seconds": 180.0}
_FUNCTIONS = ("make_dataloader", "evaluate_bpb")
_BUDGET = re.compile(r"^TIME_BUDGET\s*(?::\s*\w+\s*)?=\s*(.+)$", re.MULTILINE)
_OURS = re.compile(r"^\s*(?:from\s+trainer\b|import\s+trainer\b)", re.MULTILINE)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda dividend, divisor: dividend / divisor,
}
_WHY = f"{PREPARE} has {' and '.join(_FUNCTIONS)}, as karpathy/autoresearch's, and program.md has no front matter"
_NO_PACKAGES = {"trainer", "server", "prepare", "train"}
_SEED = "its seed is fixed in the file, so repeated runs differ less than with random seeds"
_PRINTED = (
    "train.py itself counts its seconds of training, so only the kill at the end is certain",
    _SEED,
    "it is evaluated in its own process, so it could read the validation shard",
)
_AUDITED = (
    "its set-up and the compiling in it may take somewhat longer than the baseline's, and could be training",
    _SEED,
    "train.py could contain text of the validation shard, if its author knows it",
)


class Upstream(Value):
    """What the two files say."""

    budget_seconds: float | None  # TIME_BUDGET; None: it is no plain number
    cached: bool  # whether prepare.py keeps its data in CACHE


class Reach(NamedTuple):
    """What a run sees beside the files of its commit: paths in its tree, and below its home, and where they lead."""

    links: tuple[tuple[str, str], ...] = ()
    home_links: tuple[tuple[str, str], ...] = ()
    python: str = ""  # what runs train.py, in the tree or absolute


def upstream_shape(root: Path) -> Upstream | None:
    """What a folder's prepare.py says, if that and train.py have the shape of karpathy/autoresearch's; else None."""
    train = _text(root / TRAIN)
    return _shape(_text(root / PREPARE)) if train and not _OURS.search(train) else None


def near_miss(root: Path) -> str:
    """The names that prepare.py lacks, of a folder that evaluates as upstream's does and is not taken for it."""
    prepare = _text(root / PREPARE)
    if f"def {_FUNCTIONS[1]}" not in prepare:
        return ""
    wanted = {"TIME_BUDGET": _BUDGET, **{name: re.compile(rf"^def {name}\s*\(", re.MULTILINE) for name in _FUNCTIONS}}
    return ", ".join(name for name, pattern in wanted.items() if not pattern.search(prepare))


@lru_cache(maxsize=4)  # a study asks with each call
def _shape(prepare: str) -> Upstream | None:
    found = _BUDGET.search(prepare)
    if found is None or not all(re.search(rf"^def {name}\s*\(", prepare, re.MULTILINE) for name in _FUNCTIONS):
        return None
    return Upstream(budget_seconds=_number(found[1]), cached=".cache" in prepare and "autoresearch" in prepare)


def _number(text: str) -> float | None:
    """The value of a plain sum such as `5 * 60`; None for anything else."""
    with suppress(SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError):
        value = _value(ast.parse(text.strip(), mode="eval").body)
        return value if 0 < value <= 86400 else None
    return None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError("no plain number")


def completed(task: Task, bare: bool, root: Path) -> Task:
    """The task of a workspace, with what the two files say where it is upstream's repository.

    Args:
        bare: whether program.md has no front matter. root: folder of the two files.

    Raises:
        ProgramInvalid: program.md asks for upstream's referee, and the files are not of its shape.
    """
    if not bare and task.kind is not Referee.KARPATHY:
        return task
    shape = upstream_shape(root)
    if shape is None and bare:
        return task
    if shape is None:
        told = f"program.md has `referee: karpathy`, and there is no {PREPARE} with TIME_BUDGET, {_FUNCTIONS[0]} and"
        step = f"Put {PREPARE} and {TRAIN} beside it, or name another referee; see docs/tasks.md."
        raise ProgramInvalid(f"{told} {_FUNCTIONS[1]}, with a {TRAIN} that uses it, in {root.absolute()}.", step)
    seconds = _budget(task, shape)
    fields = {name: value for name, value in _USUAL.items() if name not in task.model_fields_set}
    made = task if not bare else Task(referee=Referee.KARPATHY)
    return made.as_found(_WHY if bare else "", **fields, budget_seconds=seconds)


def _budget(task: Task, shape: Upstream) -> float:
    told = task.budget_seconds if "budget_seconds" in task.model_fields_set else None
    if shape.budget_seconds is None and told is None:
        step = "Give the seconds of training as `budget_seconds` in a front matter, with `referee: karpathy`."
        raise ProgramInvalid(f"TIME_BUDGET in {PREPARE} is no plain number of seconds.", step)
    if None not in (told, shape.budget_seconds) and told != shape.budget_seconds:
        both = f"program.md has budget_seconds: {told:g}, and TIME_BUDGET in {PREPARE} is {shape.budget_seconds:g}."
        raise ProgramInvalid(both, "Remove it from program.md: upstream's train.py uses TIME_BUDGET.")
    return cast("float", shape.budget_seconds or told)


def reach(task: Task, root: Path) -> Reach:
    """What a run of this task sees beside its commit's files."""
    links = tuple((path, str(root / path)) for path in task.link if (root / path).exists())
    if task.kind is not Referee.KARPATHY:
        return Reach(links)
    python, home = _python(task, root), Path.home()
    prefix = python.parent.parent
    shown = f"{_VENV}/bin/{python.name}" if (prefix / "pyvenv.cfg").exists() else str(python)
    links = (*(link for link in links if link[0] != _VENV), (_VENV, str(prefix)))
    shape = upstream_shape(root)
    wanted = (*([CACHE] if shape is None or shape.cached else []), HUB)
    return Reach(links, tuple((path, str(home / path)) for path in wanted if (home / path).is_dir()), shown)


def audit_asked(trust: Trust | None) -> str:
    """How far the next run is audited: as the incumbent's was.

    Args:
        trust: the mark of the incumbent's score by this task; None: it has none, so this run shows what can be had.
    """
    return "try" if trust is None else "must" if trust is Trust.AUDITED else ""


def _python(task: Task, root: Path) -> Path:
    """The interpreter that runs train.py, whether it is there or not; links are not followed: one leads out of it."""
    told = Path(task.python).expanduser() if task.python else Path(_VENV, "bin", "python")
    return Path(os.path.abspath(root / told))


def lacking(task: Task, root: Path, files: Collection[str]) -> Iterator[tuple[str, str, bool]]:
    """What is not there for a run: problem, what the operator does, and whether nothing can be measured without.

    Args:
        files: those that git has.
    """
    for name in (PREPARE, TRAIN):
        if name not in files:
            yield f"git has no {name}", f"commit {name}, because a run sees only what git has", True
    if any(path == _VENV or path.startswith(f"{_VENV}/") for path in files):
        yield f"git has {_VENV}, which belongs to one machine", f"git rm --cached -r {_VENV}, and ignore it", True
    python = _python(task, root)
    if not python.exists():
        step = "make it (`uv sync`; runs never start uv), or name an interpreter: `python` in a front matter"
        yield f"there is no {python}", f"{step} with `referee: karpathy`", True
    texts = {name: _text(root / name) for name in (PREPARE, TRAIN)}
    if gone := sorted(_not_installed(texts.values(), python.parent.parent, files)):
        yield (
            f"{python} has no {', '.join(gone)}, which {PREPARE} or {TRAIN} imports",
            "install what pyproject.toml asks for (`uv sync`)",
            True,
        )
    yield from _data(texts, python)
    named_cuda = [name for name, text in texts.items() if '"cuda"' in text or "torch.cuda" in text]
    if named_cuda and not any(Path("/dev").glob("nvidia[0-9]*")):
        step = "run it on a machine with one, or commit files that choose another device"
        yield f"this machine has no NVIDIA GPU, and {' and '.join(named_cuda)} asks for CUDA", step, False


def _data(texts: dict[str, str], python: Path) -> Iterator[tuple[str, str, bool]]:
    cache, home = Path.home() / CACHE, Path.home()
    if CACHE.rpartition("/")[2] in texts[PREPARE] and ".cache" in texts[PREPARE]:
        gone = [name for name in ("data", "tokenizer") if not (cache / name).is_dir()]
        if gone:
            yield f"there is no {' and no '.join(gone)} in {cache}", f"run `{python} {PREPARE}` once, by hand", True
    if "get_kernel(" in texts[TRAIN] and not (home / HUB).is_dir():
        yield (
            f"{TRAIN} fetches a kernel, runs have no network, and {home / HUB} is not there",
            f"run `{python} {TRAIN}` once by hand, which fetches it",
            False,
        )


def _not_installed(texts: Iterable[str], prefix: Path, files: Collection[str]) -> Iterator[str]:
    """Packages that the texts import at their top and that the environment does not have, without starting it."""
    folders = list(prefix.glob("lib*/python*/*-packages"))
    configured = _text(prefix / "pyvenv.cfg")
    if not folders or not configured or "include-system-site-packages = true" in configured:
        return  # what it can import is not to be seen from outside
    paths = [line.strip() for folder in folders for file in folder.glob("*.pth") for line in _text(file).splitlines()]
    folders += [Path(path) for path in paths if path.startswith("/")]
    known = {path.name.partition(".")[0] for folder in folders for path in _children(folder)}
    own = {path.partition("/")[0].removesuffix(".py") for path in files}
    for name in {name for text in texts for name in _imported(text)} - known - own - _NO_PACKAGES:
        if name not in sys.stdlib_module_names:
            yield name


def _children(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _imported(text: str) -> Iterator[str]:
    with suppress(SyntaxError, ValueError, RecursionError):
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def run_in_words(task: Task) -> str:
    """What a run does to train.py."""
    if not task.audit:
        limit = task.budget_seconds + task.setup_seconds + task.evaluation_seconds
        return f"runs it as it is, beside the commit's {PREPARE}, and ends it after {limit:g} s"
    return (
        f"runs it as it is, beside the commit's {PREPARE}, on the referee's clock from its first training batch to its "
        "call of evaluate_bpb, and asks a replica of its model for logits"
    )


def promises(task: Task) -> str:
    """What nobody can enforce, and what follows where a repository is not upstream's to the last."""
    if not task.audit:
        return f"only bounded: {'; '.join(_PRINTED)}"
    order = "where the baseline's calls have another order, all runs are `printed`, and say so"
    return f"{order}; only bounded: {'; '.join(_AUDITED)}"


def metric_in_words(task: Task) -> str:
    """What is measured, and by whom."""
    by = f"by the logits of {TRAIN}'s model" if task.audit else f"which {TRAIN} prints"
    return f"{lm_names.NAME}, {lm_names.WORDS}, {by}; lower is better"


def require_pinned(root: Path, pinned: bytes | None) -> None:
    """Refuse to run while the workspace's prepare.py is another than the one in the study's commits.

    Args:
        root: folder of the workspace. pinned: the text in the commits; None: there is none.

    Raises:
        WorkspaceUnusable: scores by two of them cannot be compared.
    """
    with suppress(OSError):
        text = (root / PREPARE).read_bytes()
        if pinned is not None and text.replace(b"\r\n", b"\n") != pinned.replace(b"\r\n", b"\n"):
            told = f"{PREPARE} has changed since this study began, and scores by two of them cannot be compared."
            step = f"Put it back (`git checkout -- {PREPARE}`), or commit it and start the server with a new --tag."
            raise WorkspaceUnusable(told, step)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
    return ""
