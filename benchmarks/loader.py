"""Tokens a second that train.py's loader makes, against the training step that consumes them, in one run.

    python benchmarks/loader.py [--profile cpu] [--budget 10]

Both are measured in train.py's own process at the end of a run under the referee: batches are cut and shuffled as in
the loop, brought to the device, and thrown away; then as many steps are made with one batch that is there already.
"""

import argparse
import re
import tempfile
from pathlib import Path

from run import TRAIN, run

from trainer.run.profiles import PROFILES

SUBMIT = "session.submit(model)"
INSIDE = """
import time


def tokens_per_second(work, turns: int) -> float:
    begun = time.perf_counter()
    for _ in range(turns):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return turns * BATCH_ROWS * session.sequence_length / (time.perf_counter() - begun)


def cut() -> list[Tensor]:
    return [next_rows(micro_rows) for _ in range(BATCH_ROWS // micro_rows)]


if session.steps > 2:  # neither in the preflight nor in the replica
    ready = cut()
    loader, step = tokens_per_second(cut, 1000), tokens_per_second(lambda: train_step(ready, 0.0), 20)
    print(f"loader {loader:.0f} step {step:.0f}", flush=True)
session.submit(model)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--budget", type=float, default=10.0, help="training seconds before the measurement")
    options = parser.parse_args()
    text = TRAIN.read_text(encoding="utf-8").replace(SUBMIT, INSIDE)
    with tempfile.TemporaryDirectory() as folder:
        _, log = run(Path(folder) / "run", text, options.profile, options.budget)
    found = re.search(r"^loader (\d+) step (\d+)$", log, re.MULTILINE)
    assert found, log
    loader, step = int(found[1]), int(found[2])
    print(f"loader {loader:,} tokens/s, training step {step:,} tokens/s: {loader / step:,.0f} times as many")


if __name__ == "__main__":
    main()
