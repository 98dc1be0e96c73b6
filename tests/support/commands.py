"""Runs of a task without a server: a run folder with its files, and the evaluator in this process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.contract import RunFile, RunResult, Spec, TaskSpec
from trainer.evaluators import registry
from trainer.processes.parentage import become_subreaper
from trainer.run.run_folder import RunFolder

Files = Mapping[str, str | bytes]


def write_tree(folder: Path, files: Files) -> None:
    """Write files below a folder; what begins with #! can be run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.read_bytes().startswith(b"#!"):
            path.chmod(0o755)


def run_folder(top: Path, files: Files, incumbent: Files | None = None) -> Path:
    """The folder of a run as the server lays it out, in a workspace at `top`."""
    folder = top / "workspace" / ".autoresearch" / "studies" / "night" / "runs" / "00001"
    write_tree(folder / RunFile.TREE, files)
    if incumbent is not None:
        write_tree(folder / RunFile.INCUMBENT, incumbent)
    return folder


def task_spec(folder: Path, budget_seconds: float = 300.0, confine: bool = True, **task: Any) -> Spec:
    """A run's spec; `task` are the terms of program.md."""
    terms = TaskSpec.from_fields({"metric": "ms", **task})
    data = folder.parents[3] / "data"
    return Spec(
        number=1,
        profile="cpu",
        seed=42,
        budget_seconds=budget_seconds,
        grace_seconds=1.0,
        setup_seconds=300.0,
        evaluation_seconds=300.0,
        data=str(data),
        imports=str(folder),
        cookie=str(folder),
        referee="command",
        confine=confine,
        task=terms,
    )


def run_command(top: Path, files: Files, incumbent: Files | None = None, **told: Any) -> RunResult:
    """One run by `referee: command`, in this process."""
    become_subreaper()
    folder = run_folder(top, files, incumbent)
    return registry.evaluate(RunFolder(folder), task_spec(folder, paired=incumbent is not None, **told))


def log(top: Path) -> str:
    """What the run's log shows."""
    return (run_folder(top, {}) / RunFile.LOG).read_text(encoding="utf-8")
