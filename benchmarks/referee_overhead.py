"""What the referee costs: a sealed evaluation beside one inside the training process, of the same model in one run.

    python benchmarks/referee_overhead.py [--profile cpu] [--budget 90] [--runs 3]

The train.py of this repository is trained under the referee. After some steps it scores as many rows of its training
text in its own process, as upstream's loop does at the end; that is the cost an evaluation has anyway, and it must fit
into the budget. At the end the referee takes claims for the validation rows, ends the process, rebuilds the model in a
replica and audits it, as in a candidate's first run. The difference, as a share of a five-minute experiment, is the
price of numbers that need not be believed. It is given in wall seconds, for a quiet machine, and in CPU seconds of
train.py's processes, which other work changes little.
"""

import argparse
import platform
import re
import statistics
import tempfile
from pathlib import Path

import torch
from run import TRAIN, run

from server.records import Result
from trainer.datasets.embedded import load, rows
from trainer.run.profiles import PROFILES

EXPERIMENT_SECONDS = 300
LOOP = re.compile(r"^while .*session\.training\(\).*:\n", re.MULTILINE)
INSIDE = """
def inside(count: int, height: int) -> tuple[float, float]:
    model.eval()
    begun, used = time.monotonic(), time.process_time()
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        for _ in range(0, count, height):
            batch = next_rows(height)
            logits = model(batch[:, :-1])
            F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten(), reduction="none").cpu()
    return time.monotonic() - begun, time.process_time() - used


import time
{loop}    if session.steps == 3:  # neither in the preflight nor in the replica
        print("inside:", *inside({count}, {height}), flush=True)
        model.train()
"""


def measured(place: Path, text: str, profile: str, budget: float) -> tuple[Result, float, float]:
    """One run: its result, and the seconds and CPU seconds of the evaluation inside the training process."""
    result, log = run(place, text, profile, budget)
    found = re.search(r"^inside: (\S+) (\S+)$", log, re.MULTILINE)
    assert found, log
    return result, float(found[1]), float(found[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--budget", type=float, default=90.0, help="training seconds a run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    profile = PROFILES[options.profile]
    names = ("inside", "sealed", "preflight", "set-up", "inside CPU", "sealed CPU")
    columns: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as name:
        shards = load(Path(name) / "data")
        count = len(rows(shards.val, profile.sequence_length, shards.bos)[: profile.max_rows])
        result = None
        text = TRAIN.read_text(encoding="utf-8")
        loop = LOOP.findall(text)[-1]
        text = text.replace(loop, INSIDE.format(loop=loop, count=count, height=profile.rows))
        for number in range(options.runs):
            result, inside, used = measured(Path(name) / str(number), text, options.profile, options.budget)
            figures = result.figures
            seconds = inside, figures.evaluation_seconds, figures.preflight_seconds, figures.setup_seconds
            for column, value in zip(columns.values(), (*seconds, used, figures.evaluation_cpu_seconds), strict=True):
                column.append(value or 0.0)
            print(f"run {number + 1}: " + ", ".join(f"{key} {values[-1]:.2f} s" for key, values in columns.items()))
    assert result
    figures = result.figures
    inside, sealed, preflight, _, used, taken = (statistics.median(values) for values in columns.values())
    print(
        f"\nmedian of {options.runs}, {count} rows of {profile.sequence_length} tokens, trust {result.trust},"
        f" {figures.device}, {platform.machine()} {platform.system()}, torch {torch.__version__}:\n"
        f"evaluation inside the training process {inside:.2f} s, sealed {sealed:.2f} s: ratio {sealed / inside:.2f},\n"
        f"{sealed - inside:+.2f} s or {100 * (sealed - inside) / EXPERIMENT_SECONDS:+.2f} % of {EXPERIMENT_SECONDS} s;"
        f" with the preflight {100 * (sealed - inside + preflight) / EXPERIMENT_SECONDS:+.2f} %\n"
        f"in CPU seconds {used:.2f} and {taken:.2f}: {100 * (taken - used) / EXPERIMENT_SECONDS:+.2f} %"
    )


if __name__ == "__main__":
    main()
