"""Begins a program of ours on a node: `python -I -S .../begin.py SERIES MODULE WORD...`, as a job's script has it.

Python starts anew for the module: the environment of a process can be read while it lives, so what is secret in it must
go. Therefore this imports nothing of ours, which would be imported twice.
"""

import os
import sys

_OTHER_PYTHON = 78  # exit code: NO_PYTHON of server.runs.engines.slurm.commands
_ORDER = "AUTORESEARCH_SEAT"  # SEAT_VARIABLE of trainer.contract


def main() -> None:
    """Become the module, if this Python is of the series named. An order in the environment becomes an open file, whose
    descriptor is the module's last word.
    """
    series, *words = sys.argv[1:]
    if ".".join(map(str, sys.version_info[:2])) != series:
        sys.exit(_OTHER_PYTHON)
    if order := os.environ.pop(_ORDER, ""):
        descriptor = os.memfd_create("order", 0)
        os.write(descriptor, order.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        words.append(str(descriptor))
    os.execve(sys.executable, [sys.executable, "-P", "-B", "-m", *words], {**os.environ})


if __name__ == "__main__":
    main()
