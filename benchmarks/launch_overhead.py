"""What it costs to have the four processes of a run ready for train.py: forked from one process, and each started anew.

    python benchmarks/launch_overhead.py [--runs 3]

Both ways end where train.py's own first line would run with torch and torch's compiler imported. They take turns.
"""

import argparse
import os
import platform
import resource
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from trainer.contract import ScratchRole, Spec
from trainer.processes import scratch
from trainer.processes.parentage import become_subreaper
from trainer.processes.process_tree import kill_descendants
from trainer.run.child import ChildProcess
from trainer.run.child_launch import Launcher
from trainer.run.clock import StageClock
from trainer.run.run_folder import RunFolder

TRAIN = "from trainer import Session\nimport torch.optim\nimport torch._dynamo\nimport os\nos.kill(os.getpid(), 9)\n"
PROCESSES = 4  # candidate and replica, in the rehearsal and in the run


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(folder: RunFolder, forks: bool) -> tuple[float, float]:
    """Seconds of wall time and of CPU time, for candidate and replica twice."""
    begun, spent, stage = time.monotonic(), _spent(), StageClock(folder)
    with closing(Launcher(folder.folder, str(folder.folder), {}, forks)) as launcher:
        for _ in range(PROCESSES // 2):
            children = list[ChildProcess]()
            for role in (ScratchRole.CANDIDATE, ScratchRole.REPLICA):
                launched = launcher.launch(scratch.make(folder.folder, role), {}, stage.watch)
                children.append(ChildProcess(launched, stage))
            for child in children:
                child.ready()
                child.tell("go")
            for child in children:
                while os.waitpid(child.pid, 0)[0] != child.pid:
                    continue
    kill_descendants(str(folder.folder))
    return time.monotonic() - begun, _spent() - spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    become_subreaper()
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(options.runs):
        for forks in found:
            with tempfile.TemporaryDirectory() as name:
                folder = RunFolder(Path(name))
                spec = Spec(1, "smoke", 42, 1.0, 1.0, 60.0, 60.0, name, "", name)
                (folder.folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
                folder.train.write_text(TRAIN, encoding="utf-8")
                found[forks].append(measured(folder, forks))
    (fork_wall, fork_cpu), (new_wall, new_cpu) = (
        [statistics.median(one) for one in zip(*found[forks], strict=True)] for forks in found
    )
    print(f"forked from one process   {fork_wall:5.2f} s   CPU {fork_cpu:5.2f} s")
    print(f"each started anew         {new_wall:5.2f} s   CPU {new_cpu:5.2f} s")
    print(f"ratio                     {new_wall / fork_wall:5.2f}     CPU {new_cpu / fork_cpu:5.2f}")


if __name__ == "__main__":
    main()
