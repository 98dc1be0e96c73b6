"""Which guards this machine can put around train.py, found by putting them on this process.

`python -P -m trainer.guards_view [counted]` prints them as JSON, for `doctor` and for whoever asks for sealed runs.
`counted`: budgets are CPU seconds here, so that none may be missed.
"""

import json
import os
import sys
from pathlib import Path

from trainer.processes.usage import METER, Usage
from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine


def main() -> None:
    """Print for each guard `held`, or why it is not."""
    told, telling = os.pipe()
    waits, held = os.pipe()
    if not (pid := os.fork()):  # what is counted is a process of its own, as train.py's
        os.close(held)
        nowhere = Path("/nonexistent")
        os.write(telling, json.dumps(confine(build_allowlist(nowhere, nowhere, nowhere, []))).encode())
        os.close(telling)
        os.read(waits, 1)
        os._exit(0)
    os.close(telling)
    with open(told, encoding="utf-8") as answer:
        guards: dict[str, str] = json.loads(answer.read())
    usage = Usage(pid, os.getpid(), frozenset(), True, guards["network"]) if sys.argv[1:] == ["counted"] else None
    os.close(held)
    os.waitpid(pid, 0)
    if usage:
        guards[METER] = usage.state
        usage.close()
    print(json.dumps(guards))  # noqa: T201


if __name__ == "__main__":
    main()
