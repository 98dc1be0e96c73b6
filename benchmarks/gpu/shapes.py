"""One step of a profile on fake tensors: `python shapes.py DEVICE PROFILE`, a JSON object."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from memory_estimate import TRAIN, estimate


def main() -> None:
    found = estimate(TRAIN.read_text(encoding="utf-8"), sys.argv[2])
    print(json.dumps(asdict(found) | {"peak_gib": round(found.peak_gb, 2)}))


if __name__ == "__main__":
    main()
