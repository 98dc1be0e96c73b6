"""Which engine runs a study: the operator's choice, and what is remembered of it for commands after the night."""

import json
from contextlib import suppress
from pathlib import Path

from server.paths import StudyPaths
from server.runs.executor import Engine
from server.runs.local_executor import LocalExecutor
from server.serve_options import ServeOptions


def engine_of(choices: ServeOptions) -> Engine:
    """The engine that the operator has chosen. Raises RunnerUnavailable: it cannot be used."""
    if choices.executor == "ray":
        from server.runs.engines.ray.executor import RayEngine

        return RayEngine.of(choices.ray_address)
    if choices.executor == "slurm":
        from server.runs.engines.slurm.executor import SlurmEngine

        return SlurmEngine.of(choices.slurm)
    return LocalExecutor


def remember(paths: StudyPaths, choices: ServeOptions) -> None:
    """Write down on what a study runs; of one that runs on this machine, nothing."""
    told = choices.model_dump(include={"executor", "slurm", "ray_address", "slots", "profile"})
    if choices.executor == "local":
        paths.engine.unlink(missing_ok=True)
    else:
        paths.engine.write_text(json.dumps(told), encoding="utf-8")


def remembered(paths: StudyPaths) -> ServeOptions:
    """The choices that a study's server was started with, as far as they say on what it runs."""
    with suppress(OSError, ValueError):
        return ServeOptions(**json.loads(Path(paths.engine).read_text(encoding="utf-8")))
    return ServeOptions()
