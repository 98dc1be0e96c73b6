"""`python -P -m trainer.torch_view PROFILE`: print, as JSON, what the torch that trains sees here; for `doctor`.

Drivers and torch may disagree: torch may be built for another device, or for a newer driver, and cannot be imported
where a library is missing. So torch itself is asked, in the environment and behind the guards of a run.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trainer.processes.process_tree import die_with_parent
from trainer.run.child_launch import ask
from trainer.run.clock import RunEnded
from trainer.run.profiles import PROFILES
from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine

_SECONDS = 40.0  # of the import, from a disk that is slow
_MOST = 200  # characters: the answer is one short line
_LOOK = "look"


def main() -> None:
    """Ask a process, or be the one that is asked."""
    device = PROFILES[sys.argv[1]].device
    if sys.argv[2:] == [_LOOK]:
        die_with_parent()
        nowhere = Path("/nonexistent")
        confine(build_allowlist(nowhere, Path.cwd(), nowhere, []))
        print(json.dumps(_seen(device)))  # noqa: T201
        sys.stdout.flush()
        os._exit(0)  # nothing is printed behind it
    until = time.monotonic() + _SECONDS

    def watch() -> None:
        if time.monotonic() > until:
            raise RunEnded("timeout", f"importing torch takes more than {_SECONDS:g} s")

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-B", "-m", "trainer.torch_view", sys.argv[1], _LOOK]
        try:
            code, told = ask(command, Path(folder), {}, watch)
        except RunEnded as ended:
            code, told = 1, ended.reason
    print(json.dumps({"problem": told or f"exit code {code}"}) if code else told)  # noqa: T201


def _seen(device: str) -> dict[str, Any]:
    """Why torch cannot compute for the profile, and the first GPU that it sees."""
    from trainer.session import missing

    problem, gpu = missing(device)[:_MOST], {}
    if not (device == "cuda" and problem):
        gpu = _gpu()
    return {"problem": problem, **gpu}


def _gpu() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {}
    known = torch.cuda.get_device_properties(0)
    kind = getattr(known, "gcnArchName", "").partition(":")[0] if torch.version.hip else f"{known.major}.{known.minor}"
    return {
        "gpu": known.name[:60],
        "gpu_memory_gb": round(known.total_memory / 2**30, 1),
        "gpu_kind": kind,
        "gpus": torch.cuda.device_count(),
    }


if __name__ == "__main__":
    main()
