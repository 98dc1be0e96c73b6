"""What a busy machine does to a run on a CPU, whose budget counts CPU seconds.

    python benchmarks/shared_cpu.py [--seconds 20] [--turns 3]

train.py in turn on the machine as it is and with a busy loop on every core beside it. Prints tokens, wall time and
val_bpb of each run, and what val_bpb and tokens lose. Under a wall clock the tokens would fall as the wall time rises.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from run import TRAIN, run

from server.records import Figures


def measured(place: Path, seconds: float, busy: int) -> tuple[float, Figures]:
    """val_bpb and figures of one run beside `busy` endless loops."""
    with ExitStack() as stack:
        for _ in range(busy):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            )
            stack.callback(process.kill)
        result, _ = run(place, TRAIN.read_text(encoding="utf-8"), "cpu", seconds)
    assert result.score
    return result.score.value, result.figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    runs: dict[int, list[tuple[float, int, float]]] = defaultdict(list)
    print("busy loops   val_bpb    tokens   wall s   CPU s")
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.turns):
            for busy in (0, cores):
                score, figures = measured(Path(folder) / f"{turn}-{busy}", given.seconds, busy)
                wall, tokens = figures.training_wall_seconds or 0.0, figures.tokens or 0
                runs[busy].append((score, tokens, wall))
                print(f"{busy:>10} {score:9.4f} {tokens:9d} {wall:8.1f} {figures.training_seconds:7.1f}", flush=True)
    quiet, loud = ([statistics.mean(column) for column in zip(*runs[busy], strict=True)] for busy in (0, cores))
    names = ("val_bpb", "tokens", "wall time")
    print("busy / quiet: " + ", ".join(f"{name} {b / a:.3f}" for name, a, b in zip(names, quiet, loud, strict=True)))


if __name__ == "__main__":
    main()
