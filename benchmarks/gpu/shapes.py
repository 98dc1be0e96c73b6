"""Two steps of a profile on fake tensors: `python shapes.py DEVICE PROFILE [MACHINE]`, a JSON object."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hardware_table import size


def main() -> None:
    _, _, profile, *rest = sys.argv
    machine: Any = tuple(map(int, rest[0].split(","))) if rest else None
    print(json.dumps(asdict(size(profile, machine=machine))))


if __name__ == "__main__":
    main()
