"""One step of a profile on fake tensors: `python shapes.py DEVICE PROFILE [MACHINE]`, a JSON object."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from memory_estimate import TRAIN, estimate


def main() -> None:
    _, _, profile, *rest = sys.argv
    machine: Any = tuple(map(int, rest[0].split(","))) if rest else None
    found = estimate(TRAIN.read_text(encoding="utf-8"), profile, machine=machine)
    print(json.dumps(asdict(found) | {"peak_gib": round(found.peak_gb, 2)}))


if __name__ == "__main__":
    main()
