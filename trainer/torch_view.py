"""What torch sees of the machine from behind the guards, for `doctor` and `status`.

`python -P -m trainer.torch_view DEVICE` prints it, as a short line of JSON. It is no part of the session: train.py
imports that, and nothing of the sandbox.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine
from trainer.session import machine


def _first_gpu() -> dict[str, Any]:
    """What torch tells of the first GPU that it sees: name, GiB, architecture, how many there are; nothing of none."""
    if not torch.cuda.is_available():
        return {}
    known = torch.cuda.get_device_properties(0)
    kind = known.gcnArchName.partition(":")[0] if torch.version.hip else f"{known.major}.{known.minor}"
    memory = round(known.total_memory / 2**30, 1)
    return {"gpu": known.name[:60], "gpu_memory_gb": memory, "gpu_kind": kind, "gpus": torch.cuda.device_count()}


def main() -> None:
    """Print it."""
    nowhere = Path("/nonexistent")
    confine(build_allowlist(nowhere, Path.cwd(), nowhere, []))
    problem = machine(sys.argv[1])["missing"][:200]
    gpu = {} if sys.argv[1] == "cuda" and problem else _first_gpu()
    print(json.dumps({"problem": problem, **gpu}), flush=True)  # noqa: T201
    os._exit(0)  # nothing is printed behind it


if __name__ == "__main__":
    main()
