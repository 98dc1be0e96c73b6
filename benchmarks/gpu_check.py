"""What no CPU can show, in two commands of at most five minutes each: the goals first, then the rest.

    python benchmarks/gpu_check.py --json gpu.json --markdown gpu.md [--upstream ../upstream]
    python benchmarks/gpu_check.py --only cheats --only attention ...        what did not fit, by itself
    python benchmarks/gpu_check.py --dry                                     all of it on a CPU, with tiny shapes
    python benchmarks/gpu_check.py --pack wheels --python 3.12               on a machine that has a network
    python3 benchmarks/gpu_check.py --packed wheels                          on one that has none, and only torch

Runs go through the real supervisor. Each part is printed as soon as it is known. One that fails does not end the
others, and those for which no time is left are named. A machine needs Python 3.11 and torch 2.6 or newer.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from gpu.check import main

if __name__ == "__main__":
    main()
